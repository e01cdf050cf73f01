"""Workers: which processes take jobs, and when each last showed life."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import jobs, workers

FORGOTTEN_SECONDS = 86_400.0


async def note_alive(connection: AsyncConnection, name: str, concurrency: int, kinds: Sequence[str]) -> None:
    """Write the heartbeat of a worker. It claims jobs of these kinds, so many at once."""
    values = {"name": name, "concurrency": concurrency, "kinds": list(kinds)}
    statement = insert(workers).values(**values)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={**values, "seen_at": func.now()})
    )


async def remove_worker(connection: AsyncConnection, name: str) -> None:
    """Forget a worker that has stopped."""
    await connection.execute(delete(workers).where(workers.c.name == name))


async def forget_dead(connection: AsyncConnection) -> None:
    """Forget workers that have shown no life for a day."""
    cut = func.now() - text(f"make_interval(secs => {FORGOTTEN_SECONDS})")
    await connection.execute(delete(workers).where(workers.c.seen_at < cut))


async def living_workers(connection: AsyncConnection, silent_seconds: float) -> Sequence[Row[Any]]:
    """Return the workers that have shown life since then, by name.

    Each has its columns, `silent_seconds` since it last did, and how many jobs it is running: `running_count`.
    """
    silence = func.extract("epoch", func.now() - workers.c.seen_at)
    running = (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.state == "RUNNING", jobs.c.worker == workers.c.name)
        .scalar_subquery()
    )
    statement = (
        select(workers, silence.label("silent_seconds"), running.label("running_count"))
        .where(silence <= literal(silent_seconds))
        .order_by(workers.c.name)
    )
    return (await connection.execute(statement)).all()
