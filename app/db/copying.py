"""COPY, which SQLAlchemy does not know: many rows into a table by the driver's own means, in the same transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection


async def copy_new_rows(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> bool:
    """Insert all rows and return True, or none and return False where a unique key is there already.

    The transaction goes on in either case. Values are as asyncpg takes them;
    jsonb is given as text. Another transaction that inserts the same keys is
    waited for, so rows must come in an order that all writers keep.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None  # noqa: S101 - a connection that is in use has one
    try:
        async with connection.begin_nested():
            await driver.copy_records_to_table(table, records=rows, columns=columns)
    except asyncpg.UniqueViolationError:
        return False
    return True
