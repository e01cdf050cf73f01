import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
import uvloop
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database, open_database
from app.db.keepalive import SILENCE, enable_keepalive
from app.errors import QueryTimedOut, ServiceUnavailable, ValidationFailed
from app.resources import Resources
from app.settings import Settings
from tests.conftest import MakeSettings
from tests.timeouts import WAIT_SECONDS

Open = Callable[[Database], AbstractAsyncContextManager[AsyncConnection]]
NOBODY = "postgresql://postgres@127.0.0.1:9/nothing"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Return settings with a small pool."""
    return make_settings(database_pool_size=1, database_pool_overflow=1)


@pytest.fixture
async def database(settings: Settings, database_url: str) -> AsyncIterator[Database]:
    async with open_database(settings, database_url) as opened:
        yield opened


@pytest.fixture
async def hasty(settings: Settings, database_url: str) -> AsyncIterator[Database]:
    """Open a database with short time limits, for tests that exceed them."""
    changed = settings.model_copy(update={"database_statement_timeout_seconds": 0.2})
    async with open_database(changed, database_url) as opened:
        yield opened


async def kill_all(dsn: str) -> None:
    """End all other connections to the test's database."""
    await _kill(dsn, "pid != pg_backend_pid()")


async def kill_waiting(dsn: str) -> None:
    """End the connections to the test's database that wait for a lock; its holder keeps the lock."""
    await _kill(dsn, "wait_event_type = 'Lock'")


async def _kill(dsn: str, which: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, $1) FROM pg_stat_activity "  # noqa: S608 - conditions of this file
        f"WHERE datname = current_database() AND {which}",
        int(1000 * WAIT_SECONDS),  # the time limit of the wait for their end
    )
    await connection.close()


def measured() -> dict[str, float]:
    states = ("in_use", "idle", "overflow")
    return {state: metrics.database_connections.labels(state)._value.get() for state in states}  # noqa: SLF001 - prometheus_client has no other way to read a gauge


async def count_notes(database: Database) -> int:
    async with database.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM notes")) or 0)


async def test_a_transaction_commits_and_rolls_back(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE notes (value int)"))
        await connection.execute(text("INSERT INTO notes VALUES (1)"))

    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO notes VALUES (2)"))
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        await fail()
    assert await count_notes(database) == 1


async def test_the_transaction_of_a_reader_is_rolled_back(database: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(text("CREATE TABLE notes (value int)"))
    with pytest.raises(DBAPIError, match="notes"):
        await count_notes(database)


async def test_a_connection_is_set_up(hasty: Database) -> None:
    expected = {"application_name": "vk-comments", "TimeZone": "UTC", "jit": "off", "statement_timeout": "200ms"}
    async with hasty.connect() as connection:
        found = {name: await connection.scalar(text(f"SHOW {name}")) for name in expected}
    assert found == expected


async def test_json_is_not_changed(database: Database) -> None:
    async with database.connect() as connection:
        found = await connection.scalar(text("""SELECT '{"а": [1, null, 4294967297]}'::jsonb"""))
    assert found == {"а": [1, None, 4294967297]}


async def test_options_of_libpq_in_the_url(settings: Settings, database_url: str) -> None:
    url = database_url.replace("postgresql://", "postgres://") + "&sslmode=disable&search_path=pg_catalog"
    async with open_database(settings, url) as database, database.connect() as connection:
        assert await connection.scalar(text("SHOW search_path")) == "pg_catalog"


@pytest.mark.parametrize("open_", [Database.connect, Database.transaction])
async def test_no_server_listens(settings: Settings, open_: Open) -> None:
    async with open_database(settings, NOBODY) as database:
        with pytest.raises(ServiceUnavailable, match="PostgreSQL cannot answer"):
            async with open_(database):
                pytest.fail("connected without a server")
        with pytest.raises(OSError, match="Connect call failed"):
            await database.listen()


@pytest.mark.parametrize("open_", [Database.connect, Database.transaction])
async def test_a_connection_is_killed_in_use(database: Database, open_: Open) -> None:
    async def use() -> None:
        async with open_(database) as connection:
            await connection.execute(text("SELECT 1"))
            await kill_all(database.dsn)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(ServiceUnavailable):
        await use()
    async with open_(database) as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_a_connection_is_killed_during_a_statement(database: Database) -> None:
    async def wait() -> None:
        async with database.connect() as connection:
            started.set()
            await connection.execute(text("SELECT pg_sleep(600)"))

    started = asyncio.Event()
    task = asyncio.create_task(wait())
    await started.wait()
    await kill_all(database.dsn)
    with pytest.raises(ServiceUnavailable):
        await task


async def test_a_connection_is_killed_while_idle(database: Database) -> None:
    async with database.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await kill_all(database.dsn)
    async with database.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_a_statement_has_a_time_limit(hasty: Database) -> None:
    with pytest.raises(QueryTimedOut):
        async with hasty.connect() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))


async def test_a_full_pool(hasty: Database) -> None:
    async with hasty.connect(), hasty.connect():
        with pytest.raises(ServiceUnavailable):
            async with hasty.connect():
                pytest.fail("the pool holds two connections")


async def test_an_sql_error_is_not_a_missing_service(database: Database) -> None:
    with pytest.raises(DBAPIError, match="nowhere"):
        async with database.connect() as connection:
            await connection.execute(text("SELECT * FROM nowhere"))


async def test_the_gauges_of_the_pool(database: Database) -> None:
    async with database.connect():
        assert measured() == {"in_use": 1, "idle": 0, "overflow": 0}
        async with database.transaction():
            assert measured() == {"in_use": 2, "idle": 0, "overflow": 1}
    database.measure()
    assert measured() == {"in_use": 0, "idle": 1, "overflow": 0}


async def test_a_separate_connection_to_listen(database: Database) -> None:
    connection = await database.listen()
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    database.measure()  # other tests have set the gauges, too
    assert measured()["in_use"] == 0


async def test_a_deadlock_is_retryable(database: Database) -> None:
    async def lock(first: int, second: int, mine: asyncio.Event, others: asyncio.Event) -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": first})
            mine.set()
            await others.wait()
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": second})

    one, two = asyncio.Event(), asyncio.Event()
    ends = await asyncio.gather(lock(1, 2, one, two), lock(2, 1, two, one), return_exceptions=True)
    assert [type(end) for end in ends if end] == [ServiceUnavailable]


async def test_a_value_out_of_range(database: Database) -> None:
    async def query() -> None:
        async with database.connect() as connection:
            await connection.execute(text("SELECT CAST(:word AS text)"), {"word": "\x00"})

    with pytest.raises(ValidationFailed, match="NUL"):
        await query()


async def test_a_written_value_out_of_range_is_a_bug(database: Database) -> None:
    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT CAST(:word AS text)"), {"word": "\x00"})

    with pytest.raises(DBAPIError):
        await write()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_connection_whose_other_end_is_gone_is_detected(run: Any) -> None:
    """Over TCP, with any event loop: the options are those of the connection's own socket."""

    async def options() -> list[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *server.getsockname())
            enable_keepalive(SimpleNamespace(_transport=transport))  # type: ignore[arg-type]  # it has all attributes that are read
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as handle:
                found = [handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
                found += [handle.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in SILENCE]
            transport.close()
        return found

    assert run(options()) == [1, *SILENCE.values()]


async def one(database: Database) -> int:
    """Return the process id of the server process of a pool's connection."""
    async with database.connect() as connection:
        return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_a_recently_used_connection_is_not_pinged(database: Database) -> None:
    with pool_statements(database) as seen:
        assert await one(database) == await one(database)
    assert seen == ["SELECT pg_backend_pid()"] * 2


async def test_idle_connections_are_pinged(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.db.engine.IDLE_SECONDS", 0.0)
    first = await one(database)
    assert await one(database) == first
    # whether or not the loop notices this before the ping, the connection is replaced
    await kill_all(database.dsn)
    second = await one(database)
    assert second != first
    killing = threading.Thread(target=lambda: asyncio.run(kill_all(database.dsn)))
    killing.start()
    killing.join()
    assert await one(database) != second


@contextmanager
def pool_statements(database: Database) -> Iterator[list[str]]:
    """Record the statements that are executed through the pool."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def test_a_transaction_of_a_frozen_process_blocks_no_other(
    make_settings: MakeSettings, resources: Resources, database_url: str
) -> None:
    """Its locks are released when its transaction is ended; when the process continues, its transaction fails."""
    settings = make_settings(job_heartbeat_timeout_seconds=1)
    lock = text("SELECT pg_advisory_xact_lock(1)")

    async def freeze(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute(lock)
            async with resources.database.transaction() as other:
                await other.execute(lock)  # waits until the first one's transaction is ended
            await connection.execute(text("SELECT 1"))

    async with open_database(settings, database_url) as database:
        with pytest.raises(ServiceUnavailable):
            await freeze(database)
