"""COPY, which SQLAlchemy does not support: inserts many rows through the driver, in the same transaction."""

from collections.abc import Iterable, Sequence

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection


async def copy_new_rows(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> bool:
    """Insert all rows and return True, or insert none and return False if a unique key already exists.

    The transaction continues in either case. Values must have asyncpg's types, jsonb
    as str. The insert waits for other transactions that insert the same keys, so all
    writers must keep the same order of rows (deadlock).
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None  # noqa: S101 - a checked-out connection always has one
    try:
        async with connection.begin_nested():
            await driver.copy_records_to_table(table, records=rows, columns=columns)
    except asyncpg.UniqueViolationError:
        return False
    return True
