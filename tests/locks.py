"""Tests locks deterministically: one transaction is held open, and another one must wait for it.

If the other one does not wait, it ends, and the test fails at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.resources import Resources
from tests.timeouts import WAIT_SECONDS

Key = TypeVar("Key")

_WAITING = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND CAST(:holder AS int) = ANY(pg_blocking_pids(pid)) LIMIT 1
"""


@asynccontextmanager
async def held(resources: Resources, statement: str, **values: Any) -> AsyncIterator[AsyncConnection]:
    """Hold a transaction open that has executed a statement, and roll it back at the end."""
    async with resources.database.connect() as connection:
        await connection.execute(text(statement), values)
        yield connection


async def until_it_waits(resources: Resources, holder: AsyncConnection, other: "asyncio.Future[Any]") -> int:
    """Return the process id of the session that waits for a lock of `holder`, as soon as one does.

    Raises:
        AssertionError: `other`, which should wait, has ended.
    """
    pid = await holder.scalar(text("SELECT pg_backend_pid()"))
    async with asyncio.timeout(WAIT_SECONDS), resources.database.engine.connect() as looking:
        autocommit = await looking.execution_options(isolation_level="AUTOCOMMIT")
        while True:
            if (waiting := await autocommit.scalar(text(_WAITING), {"holder": pid})) is not None:
                return int(waiting)
            if other.done():
                raise AssertionError("It did not wait for the lock.") from other.exception()
            await asyncio.sleep(0.01)


async def advisory_locks(resources: Resources, pid: int) -> set[int]:
    """Return the keys of the advisory locks that a session holds in this database."""
    statement = text("""
        SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND pid = :pid
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """)
    async with resources.database.connect() as connection:
        return set(await connection.scalars(statement, {"pid": pid}))


async def hash_of(resources: Resources, name: str, seed: int = 0) -> int:
    """Return the key of an advisory lock with this name."""
    async with resources.database.connect() as connection:
        key: int = await connection.scalar(
            text("SELECT hashtextextended(:name, CAST(:seed AS bigint))"), {"name": name, "seed": seed}
        )
    return key


async def assert_one_order(
    resources: Resources, lock: Callable[[AsyncConnection, Sequence[Key]], Awaitable[Any]], keys: Sequence[Key]
) -> None:
    """Check that `lock` locks `keys` in this order, in whatever order they are given.

    One transaction locks the first key, waits until another one, which was given
    all keys in the opposite order, waits for it, and then locks the rest. If the
    other one had locked any of these, there would be a deadlock, which PostgreSQL
    ends with an error.
    """

    async def lock_all() -> None:
        async with resources.database.transaction() as connection:
            # so that rows are met in the order of the table, and not by chance in that of an index
            for plan in ("indexscan", "bitmapscan", "nestloop", "mergejoin"):
                await connection.execute(text(f"SET LOCAL enable_{plan} = off"))
            await lock(connection, keys[::-1])

    async with asyncio.TaskGroup() as tasks, resources.database.transaction() as holder:
        await lock(holder, keys[:1])
        await until_it_waits(resources, holder, tasks.create_task(lock_all()))
        await lock(holder, keys[1:])
