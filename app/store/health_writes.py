"""What the health check writes: enough to notice that PostgreSQL's disk is full, and no more."""

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import health_writes

SPILLED_ROWS = 20_000
"""So many numbers do not fit into 64 kB, so PostgreSQL writes them to a temporary file, of about 300 kB."""


async def write_to_disk(connection: AsyncConnection) -> None:
    """Write a temporary file, which needs new space, and a row, whose commit goes to the write-ahead log.

    A row alone would fit into a page that is there, also on a full disk. One of
    several rows is taken that no other process is writing, so that nobody waits
    for a process that was frozen; where all are being written, none is.
    """
    await connection.execute(text("SET LOCAL work_mem = '64kB'"))
    await connection.execute(text("SELECT count(*) FROM generate_series(1, :rows)"), {"rows": SPILLED_ROWS})
    free = select(health_writes.c.slot).limit(1).with_for_update(skip_locked=True).scalar_subquery()
    await connection.execute(
        update(health_writes).where(health_writes.c.slot == free).values(written_at=func.clock_timestamp())
    )
