"""Collection numbers: the logical clock by which a collection knows what VK has returned since it began.

Each collection gets the next number when it begins. A stored row of `posts` or
`comments` gets the newest number that exists, whichever collection stores it.
So a row with a lower number than a collection's own has not been seen by any
collection since that one began. Times cannot show this: PostgreSQL's clock may
be set back while a collection runs.
"""

from collections.abc import Collection

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import collection_numbers

NEWEST_COLLECTION = "(SELECT last_value FROM collection_numbers)"
"""SQL expression for the number of the collection that began last; 0 before the first one."""


async def begin_collection(connection: AsyncConnection) -> int:
    """Return the number of a collection that begins now. Numbers only increase; gaps are possible."""
    number: int = (await connection.execute(select(collection_numbers.next_value()))).scalar_one()
    return number


async def count_present_comments(connection: AsyncConnection, owner_ids: Collection[int]) -> dict[int, int]:
    """Count the comments of walls that are not marked as deleted: owner id -> count; zeros are absent."""
    statement = text("""
        SELECT owner_id, sum(comments - deleted)::bigint AS number FROM comment_hours
         WHERE owner_id = ANY(CAST(:owner_ids AS bigint[])) GROUP BY owner_id
    """)
    rows = await connection.execute(statement, {"owner_ids": list(owner_ids)})
    return {row.owner_id: row.number for row in rows if row.number}
