"""Writes of the health check: just enough to detect that PostgreSQL's disk is full."""

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import health_writes

SPILLED_ROWS = 20_000
"""This many numbers exceed 64 kB, so PostgreSQL writes them to a temporary file of about 300 kB."""


async def write_to_disk(connection: AsyncConnection) -> None:
    """Write a temporary file, which needs new disk space, and a row, whose commit goes to the write-ahead log.

    A row alone would fit into an existing page even on a full disk. Several rows
    exist: update one that no other process has locked, so that a frozen process
    delays no other; if all are locked, update none.
    """
    await connection.execute(text("SET LOCAL work_mem = '64kB'"))
    await connection.execute(text("SELECT count(*) FROM generate_series(1, :rows)"), {"rows": SPILLED_ROWS})
    free = select(health_writes.c.slot).limit(1).with_for_update(skip_locked=True).scalar_subquery()
    await connection.execute(
        update(health_writes).where(health_writes.c.slot == free).values(written_at=func.clock_timestamp())
    )
