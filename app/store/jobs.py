"""Jobs, their events, and which of them collects a community. The row is the truth that clients see.

Each write of a running job names the epoch that its worker took it with, so
that a worker that was declared dead can write nothing any more.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import job_events, job_groups, jobs
from app.errors import JobAlreadyRunning
from app.store.keyset import Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key

NEWEST = Order("NEWEST", ("created_at", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("created_at", "id"))
BY_SEQ = Order("SEQ", ("seq",))
KEY = ("id",)
QUEUE_LOCK = 0x6A6F6273
"""PostgreSQL's advisory lock of those who fill the last places of the queue."""


@dataclass(frozen=True, slots=True)
class JobConditions:
    """Which jobs are wanted; what is None does not restrict."""

    kinds: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; all of them hold for a wanted job."""
        wanted: list[tuple[object, Callable[[], ColumnElement[bool]]]] = [
            (self.kinds, lambda: jobs.c.kind.in_(self.kinds or ())),
            (self.states, lambda: jobs.c.state.in_(self.states or ())),
        ]
        return [condition() for value, condition in wanted if value is not None]


# reading


async def jobs_by_key(connection: AsyncConnection, keys: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Row[Any]]:
    """Read jobs: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, jobs, KEY, keys)


async def job_by_id(connection: AsyncConnection, job_id: int) -> Row[Any] | None:
    """Read one job, or None."""
    return (await connection.execute(select(jobs).where(jobs.c.id == job_id))).first()


async def current_time(connection: AsyncConnection) -> datetime:
    """Return PostgreSQL's time, which all `*_at` columns are by."""
    now: datetime = (await connection.execute(select(func.now()))).scalar_one()
    return now


async def jobs_page(connection: AsyncConnection, conditions: JobConditions, page: Page) -> Slice:
    """Read a page of the jobs that are wanted."""
    return await page_rows(connection, jobs, conditions.sql(), page)


async def count_jobs(connection: AsyncConnection, conditions: JobConditions) -> int:
    """Count the jobs that are wanted."""
    return await count_rows(connection, jobs, conditions.sql())


async def events_by_job(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], _: None, page: Page
) -> dict[tuple[int, ...], Slice]:
    """Read the same page of each job's events: (job_id,) -> slice; jobs without events are absent."""
    return await pages_by_key(connection, job_events, ("job_id",), keys, (), page)


async def count_events_by_job(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], _: None
) -> dict[tuple[int, ...], int]:
    """Count each job's events: (job_id,) -> count; zeros are absent."""
    return await counts_by_key(connection, job_events, ("job_id",), keys)


async def events_after(connection: AsyncConnection, job_id: int, seq: int, limit: int) -> Sequence[Row[Any]]:
    """Read up to `limit` events of a job with a greater `seq`, in order."""
    statement = select(job_events).where(job_events.c.job_id == job_id, job_events.c.seq > seq)
    return (await connection.execute(statement.order_by(job_events.c.seq).limit(limit))).all()


async def cancelled_among(connection: AsyncConnection, ids: Collection[int]) -> set[int]:
    """Return which of these jobs somebody has asked to cancel."""
    wanted = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.cancel_requested_at.is_not(None))
    return set(await connection.scalars(wanted))


async def lost_jobs(connection: AsyncConnection, silent_seconds: float) -> Sequence[Row[Any]]:
    """Lock and return unfinished jobs that no queue entry stands for and that have been silent for so long.

    They are left out while another process looks at them. One that somebody
    asked to cancel is among them: its worker died, and the next one ends it.
    """
    statement = text("""
        SELECT id, kind, priority, epoch FROM jobs
         WHERE state IN ('QUEUED', 'RUNNING')
           AND greatest(created_at, started_at, heartbeat_at) < now() - make_interval(secs => :silent)
           AND NOT EXISTS (SELECT 1 FROM pgqueuer WHERE pgqueuer.id = jobs.queue_id)
         ORDER BY id FOR UPDATE SKIP LOCKED
    """)
    return (await connection.execute(statement, {"silent": silent_seconds})).all()


# writing


async def lock_queue(connection: AsyncConnection) -> None:
    """Keep others who call this waiting until the transaction ends."""
    await connection.execute(select(func.pg_advisory_xact_lock(QUEUE_LOCK)))


async def insert_job(connection: AsyncConnection, values: Mapping[str, Any]) -> Row[Any]:
    """Insert a job and return its row."""
    row: Row[Any] = (await connection.execute(insert(jobs).values(**values).returning(jobs))).one()
    return row


async def claim_groups(connection: AsyncConnection, job_id: int, owner_ids: Sequence[int]) -> None:
    """Reserve communities for a job until it ends, all or none.

    Two jobs that ask for the same one at once wait for each other here: the
    second sees the first one's row, or none if that was rolled back.

    Raises:
        JobAlreadyRunning: another unfinished job has one of them.
    """
    statement = text("""
        INSERT INTO job_groups (owner_id, job_id)
        SELECT owner_id, :job_id FROM unnest(CAST(:owner_ids AS bigint[])) AS wanted (owner_id) ORDER BY owner_id
        ON CONFLICT (owner_id) DO NOTHING RETURNING owner_id
    """)
    wanted = list(owner_ids)
    while wanted:
        claimed = set(await connection.scalars(statement, {"job_id": job_id, "owner_ids": wanted}))
        wanted = [owner_id for owner_id in wanted if owner_id not in claimed]
        held = select(job_groups.c.owner_id, job_groups.c.job_id).where(job_groups.c.owner_id.in_(wanted))
        # no holder any more: it has just ended, and the community is free
        if holder := (await connection.execute(held.order_by(job_groups.c.owner_id.desc()))).first():
            raise JobAlreadyRunning(holder.job_id, holder.owner_id)


async def release_groups(connection: AsyncConnection, job_id: int) -> None:
    """Let other jobs have the communities of this one."""
    await connection.execute(delete(job_groups).where(job_groups.c.job_id == job_id))


async def move_job(
    connection: AsyncConnection,
    job_id: int,
    *,
    former: Collection[str],
    values: Mapping[str, Any],
    epoch: int | None = None,
) -> Row[Any] | None:
    """Write `values` if the job is in one of the `former` states, and taken with `epoch` where that is given.

    Returns the new row, or None if the job is in another state or was taken again.
    """
    conditions = [jobs.c.id == job_id, jobs.c.state.in_(former)]
    if epoch is not None:
        conditions.append(jobs.c.epoch == epoch)
    moved: Row[Any] | None = (
        await connection.execute(update(jobs).where(*conditions).values(**values).returning(jobs))
    ).first()
    return moved


async def take_job(
    connection: AsyncConnection, job_id: int, epoch: int, former: Collection[str], worker: str
) -> Row[Any] | None:
    """Make a job that was last taken with `epoch` the run of `worker`; None if another one was faster."""
    values = {
        "state": "RUNNING",
        "epoch": epoch + 1,
        "attempts": jobs.c.attempts + 1,
        "started_at": func.coalesce(jobs.c.started_at, func.now()),
        "heartbeat_at": func.now(),
        "failure": None,
        "worker": worker,
    }
    return await move_job(connection, job_id, former=former, epoch=epoch, values=values)


async def write_queue_id(connection: AsyncConnection, job_id: int, queue_id: int) -> None:
    """Note which entry of the queue stands for a job."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(queue_id=queue_id))


async def lock_job(connection: AsyncConnection, job_id: int, epoch: int) -> Row[Any] | None:
    """Lock a running job against being taken by another worker until the transaction ends.

    None if it is no longer running with this epoch: whoever asked must not write.
    """
    statement = select(jobs.c.cancel_requested_at).where(
        jobs.c.id == job_id, jobs.c.epoch == epoch, jobs.c.state == "RUNNING"
    )
    return (await connection.execute(statement.with_for_update())).first()


async def write_progress(connection: AsyncConnection, job_id: int, values: Mapping[str, Any]) -> None:
    """Write progress and checkpoint of a job that this transaction has locked with `lock_job`."""
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(heartbeat_at=func.now(), **values))


async def beat(connection: AsyncConnection, epochs: Mapping[int, int]) -> None:
    """Note that these jobs (id -> epoch) are still being run."""
    statement = text("""
        UPDATE jobs SET heartbeat_at = now()
          FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS int[])) AS mine (id, epoch)
         WHERE jobs.id = mine.id AND jobs.epoch = mine.epoch AND jobs.state = 'RUNNING'
    """)
    await connection.execute(statement, {"ids": list(epochs), "epochs": list(epochs.values())})


async def add_event(connection: AsyncConnection, job_id: int, kind: str, message: str, facts: Mapping[str, Any]) -> int:
    """Append an event to a job and return its `seq`: one more than the last, without gaps."""
    raised = update(jobs).where(jobs.c.id == job_id).values(last_seq=jobs.c.last_seq + 1).returning(jobs.c.last_seq)
    seq = (await connection.execute(raised)).scalar_one()
    values = {"job_id": job_id, "seq": seq, "kind": kind, "message": message, "facts": dict(facts)}
    await connection.execute(insert(job_events).values(**values))
    return int(seq)
