"""Starts and stops the PostgreSQL server of a cluster directory; the caller holds the lock under which this is safe."""

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from app.db.file_locks import lock, open_lock, wait_until
from app.db.programs import ELSEWHERE, Account, process_options, run_program
from app.errors import StartFailed
from app.log import log

_SUPERUSER = "postgres"
_PORT = 5432
_SOCKET_PATH_LIMIT = 103
"""The maximum length of the path of a Unix socket: 103 bytes on macOS, 107 on Linux."""
_CREATE_DATABASE = """
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""
_PSQL_NO_CONNECTION = 2


@dataclass(frozen=True, slots=True)
class Cluster:
    """The PostgreSQL server of one cluster directory. `app.db.embedded` describes the directory."""

    directory: Path
    binaries: Path
    account: Account
    database: str
    settings: Mapping[str, str]
    start_timeout_seconds: float
    stop_timeout_seconds: float

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def pid_file(self) -> Path:
        """PostgreSQL's own file with its process id and state."""
        return self.data / "postmaster.pid"

    @property
    def log_file(self) -> Path:
        """The log since the last start."""
        return self.directory / "server.log"

    @property
    def socket_directory(self) -> Path:
        """The directory of the Unix socket: in /tmp if the path in the cluster directory would be too long."""
        inside = self.directory / "run"
        fits = len(os.fsencode(inside / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT
        return inside if fits else Path("/tmp") / f"vk-comments-{short_hash(self.directory)}"  # noqa: S108 - `owns_socket_directory` checks its owner

    @property
    def url(self) -> str:
        """The address for asyncpg and libpq."""
        sockets = quote(str(self.socket_directory), safe="")
        # Name the port: otherwise libpq would use PGPORT.
        return f"postgresql://{_SUPERUSER}@/{quote(self.database, safe='')}?host={sockets}&port={_PORT}"

    def answers(self) -> bool:
        """Return whether a client's connection succeeds; create the database if it is missing.

        Raises:
            StartFailed: the server refuses to create the database.
        """
        if not self.owns_socket_directory():
            return False
        sockets = ("-h", self.socket_directory, "-p", str(_PORT), "-U", _SUPERUSER, "-d", "postgres")
        try:
            psql = run_program(
                *(self.binaries / "psql", "-X", "-q", *sockets, "-v", "ON_ERROR_STOP=1", "-v", f"name={self.database}"),
                text=_CREATE_DATABASE,
                timeout_seconds=min(5, self.start_timeout_seconds),
            )
        except subprocess.TimeoutExpired:
            return False
        if psql.returncode not in (0, _PSQL_NO_CONNECTION):
            raise StartFailed(
                f"PostgreSQL in {self.directory} did not create the database {self.database!r}: {psql.stdout.strip()}",
            )
        return psql.returncode == 0

    def owns_socket_directory(self) -> bool:
        """Return whether the socket directory belongs to the server's account: in /tmp, any account can create one."""
        try:
            return self.socket_directory.lstat().st_uid == self.account.uid
        except FileNotFoundError:
            return False

    def start(self) -> None:
        """Start the server and wait until it answers. The caller holds the start lock.

        Raises:
            StartFailed: it does not start, or a former server still runs and does not answer.
        """
        with open_lock(self.directory / "server.lock") as server:
            # After a kill -9 of the postmaster its children take a while to end. Two servers would destroy the data.
            if not wait_until(lambda: lock(server), self.start_timeout_seconds):
                raise StartFailed(
                    f"PostgreSQL in {self.directory} runs, but has not answered for {self.start_timeout_seconds:g} s."
                    f" End its processes (`ps -u {self.account.uid}` lists them) and try again.{self.log_tail()}",
                )
            self.make_data()
            self.make_surroundings()
            self.launch(server)
        in_time = wait_until(
            lambda: (self.says_ready() and self.answers()) or self.has_ended(), self.start_timeout_seconds
        )
        if self.has_ended():
            raise StartFailed(f"PostgreSQL in {self.directory} ended while it started. {ELSEWHERE}{self.log_tail()}")
        if not in_time:
            raise StartFailed(
                f"PostgreSQL in {self.directory} did not answer within {self.start_timeout_seconds:g} s."
                f" If its log says that it recovers, try again.{self.log_tail()}",
            )

    def make_data(self) -> None:
        """Run initdb unless the data directory exists. The directory appears complete or not at all."""
        if self.data.exists():
            return
        new = self.directory / "data.new"
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        self.account.give(new)
        # The builtin locale supports the case of Cyrillic letters and is the same on every machine.
        locale = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        access = (f"--username={_SUPERUSER}", "--auth-local=trust", "--auth-host=reject")
        initdb = run_program(
            *(self.binaries / "initdb", *locale, *access, "--no-instructions", "-D", new),
            account=self.account,
        )
        if initdb.returncode != 0:  # tests reach this as root only
            raise StartFailed(f"PostgreSQL could not create {self.data}. {ELSEWHERE}\n{initdb.stdout.strip()}")
        new.rename(self.data)

    def make_surroundings(self) -> None:
        """Write the settings, begin a new log, and remove the pid file and sockets of a killed server.

        With an old pid file PostgreSQL would not start if another process has that id by now.
        """
        sockets = {"unix_socket_directories": str(self.socket_directory), "port": str(_PORT), "listen_addresses": ""}
        settings = {**self.settings, **sockets}
        configuration = self.directory / "postgresql.conf"
        configuration.write_text("".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items()))
        configuration.chmod(0o644)
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".log.old"))
        self.pid_file.unlink(missing_ok=True)
        self.remove_sockets()
        self.socket_directory.mkdir(mode=0o700)
        self.account.give(self.socket_directory)

    def launch(self, server: IO[bytes]) -> None:
        """Start the postmaster, which inherits `server` with its lock."""
        with open_lock(self.log_file) as output:
            postmaster = subprocess.Popen(  # noqa: S603 - the command is a constant of this package
                [
                    *(self.binaries / "postgres", "-D", self.data),
                    *("-c", f"config_file={self.directory / 'postgresql.conf'}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                pass_fds=(server.fileno(),),
                **process_options(self.account),
            )
        # Any process may stop the postmaster. While its parent lives, the parent must wait for it (zombies).
        threading.Thread(target=postmaster.wait, name="embedded-postgres", daemon=True).start()

    def says_ready(self) -> bool:
        """Return whether the server's pid file says that it is ready: earlier connections are refused and logged."""
        try:
            return self.pid_file.read_text().rstrip().endswith("\nready")
        except FileNotFoundError:
            return False

    def has_ended(self) -> bool:
        """Return whether no process of the server is left."""
        with open_lock(self.directory / "server.lock") as server:
            return lock(server)

    def stop(self) -> None:
        """Stop the server and wait until it is gone: fast shutdown (SIGINT), after the timeout immediate (SIGQUIT)."""
        wait_until(lambda: self.pid_file.exists() or self.has_ended(), self.stop_timeout_seconds)
        for mode in ("fast", "immediate"):
            stop = ("stop", "--silent", "--no-wait", "-D", self.data, "-m", mode)
            run_program(self.binaries / "pg_ctl", *stop, account=self.account)
            if wait_until(self.has_ended, self.stop_timeout_seconds):
                self.remove_sockets()
                return
        log.warning("embedded_postgres_still_runs", directory=str(self.directory))

    def remove_sockets(self) -> None:
        """Remove the directory of the Unix socket."""
        if self.socket_directory.exists():
            shutil.rmtree(self.socket_directory)

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the server's log, formatted to be appended to a message."""
        if not self.log_file.exists():
            return ""
        tail = self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"\nThe end of {self.log_file}:", *tail])


def short_hash(path: Path) -> str:
    """Return a name for a path that is short and contains no separators."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _quoted(value: str) -> str:
    """Quote a value for postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
