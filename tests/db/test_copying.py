import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.db.copying import copy_new_rows
from app.db.engine import Database, open_database
from app.errors import QueryTimedOut, ServiceUnavailable
from tests.conftest import MakeSettings, has_lock_waiter, until
from tests.db.test_engine import kill_waiting


@pytest.fixture
async def database(make_settings: MakeSettings, database_url: str) -> AsyncIterator[Database]:
    """Open a database with a table `notes`."""
    async with open_database(make_settings(), database_url) as opened:
        async with opened.transaction() as connection:
            await connection.execute(text("CREATE TABLE notes (value int PRIMARY KEY)"))
        yield opened


async def copy(database: Database, *values: int) -> bool:
    async with database.transaction() as connection:
        return await copy_new_rows(connection, "notes", ["value"], ((value,) for value in values))


async def notes(database: Database) -> list[int]:
    async with database.connect() as connection:
        return list(await connection.scalars(text("SELECT value FROM notes ORDER BY value")))


async def test_all_rows_or_none(database: Database) -> None:
    assert await copy(database, 1, 2)
    assert not await copy(database, 3, 2)
    assert await notes(database) == [1, 2]


async def test_the_transaction_continues(database: Database) -> None:
    async with database.transaction() as connection:
        assert await copy_new_rows(connection, "notes", ["value"], [(1,)])
        assert not await copy_new_rows(connection, "notes", ["value"], [(1,)])
        await connection.execute(text("INSERT INTO notes VALUES (2)"))
    assert await notes(database) == [1, 2]


async def test_the_transaction_is_rolled_back(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            assert await copy_new_rows(connection, "notes", ["value"], [(1,)])
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        await fail()
    assert await notes(database) == []


async def test_a_time_limit(database: Database, make_settings: MakeSettings) -> None:
    settings = make_settings(database_statement_timeout_seconds=0.2)
    async with database.transaction() as other, open_database(settings, database.dsn) as hasty:
        await other.execute(text("INSERT INTO notes VALUES (1)"))
        with pytest.raises(QueryTimedOut):
            await copy(hasty, 1)
    assert await notes(database) == [1]


async def test_a_connection_is_killed(database: Database) -> None:
    other = await database.listen()
    await other.execute("BEGIN; INSERT INTO notes VALUES (1)")
    task = asyncio.create_task(copy(database, 1))
    await until(lambda: has_lock_waiter(database.dsn))
    await kill_waiting(database.dsn)
    with pytest.raises(ServiceUnavailable):
        await task
    other.terminate()
    assert await copy(database, 1)
