"""Workers: the processes that claim jobs, and the last heartbeat of each."""

from collections.abc import Sequence

from sqlalchemy import delete, func, literal, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import jobs, workers
from app.job_states import JobState
from app.store.rows import ActiveWorkerRow

FORGOTTEN_SECONDS = 86_400.0


async def write_heartbeat(connection: AsyncConnection, name: str, concurrency: int, kinds: Sequence[str]) -> None:
    """Write the heartbeat of a worker, which runs up to `concurrency` jobs of these kinds at once."""
    values = {"name": name, "concurrency": concurrency, "kinds": list(kinds)}
    statement = insert(workers).values(**values)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["name"], set_={**values, "seen_at": func.now()})
    )


async def remove_worker(connection: AsyncConnection, name: str) -> None:
    """Delete the row of a worker that has stopped."""
    await connection.execute(delete(workers).where(workers.c.name == name))


async def forget_dead(connection: AsyncConnection) -> None:
    """Delete the rows of workers without a heartbeat for a day."""
    oldest = func.now() - text(f"make_interval(secs => {FORGOTTEN_SECONDS})")
    await connection.execute(delete(workers).where(workers.c.seen_at < oldest))


async def live_workers(connection: AsyncConnection, max_age_seconds: float) -> Sequence[ActiveWorkerRow]:
    """Return the workers whose heartbeat is at most `max_age_seconds` old, by name.

    A row has the columns of `workers`, `heartbeat_age_seconds`, and `running_count` (its running jobs).
    """
    heartbeat_age = func.extract("epoch", func.now() - workers.c.seen_at)
    running = (
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.state == JobState.RUNNING, jobs.c.worker == workers.c.name)
        .scalar_subquery()
    )
    statement = (
        select(workers, heartbeat_age.label("heartbeat_age_seconds"), running.label("running_count"))
        .where(heartbeat_age <= literal(max_age_seconds))
        .order_by(workers.c.name)
    )
    return (await connection.execute(statement)).all()
