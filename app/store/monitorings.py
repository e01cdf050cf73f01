"""Monitorings: the communities that are collected periodically, their next run and the outcome of the last one.

A community for which no monitoring has been set has no row. `next_run_at` is
null if and only if a monitoring is not enabled.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import monitorings
from app.store.keyset import Key, Order, Page, Slice, count_rows, page_rows, rows_by_key
from app.store.rows import DueMonitoringRow, LockedMonitoringRow, MonitoringOverviewRow, MonitoringRow

NEXT_RUN = Order("NEXT_RUN", ("next_run_at", "owner_id"))
KEY = ("owner_id",)
JITTER = 0.1
"""The fraction of its interval by which a run may come earlier or later: simultaneous runs drift apart."""


# reading


async def monitorings_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, MonitoringRow]:
    """Read monitorings: (owner_id,) -> row; communities without a monitoring are absent."""
    return await rows_by_key(connection, monitorings, KEY, keys)


async def monitorings_page(connection: AsyncConnection, _: None, page: Page) -> Slice[MonitoringRow]:
    """Read a page of the enabled monitorings."""
    return await page_rows(connection, monitorings, [monitorings.c.is_enabled], page)


async def count_monitorings(connection: AsyncConnection, _: None) -> int:
    """Count the enabled monitorings."""
    return await count_rows(connection, monitorings, [monitorings.c.is_enabled])


async def overview(connection: AsyncConnection) -> MonitoringOverviewRow:
    """Count monitorings: `enabled`, of these `due` and `failing` (the last job failed), and the earliest `next_run_at`.

    `running` counts those whose job is queued or running, enabled or not.
    """
    statement = text("""
        SELECT count(*) FILTER (WHERE is_enabled) AS enabled,
               count(*) FILTER (WHERE is_enabled AND next_run_at <= now()) AS due,
               count(*) FILTER (WHERE is_enabled AND last_state = 'FAILED') AS failing,
               min(next_run_at) FILTER (WHERE is_enabled) AS next_run_at,
               (SELECT count(*) FROM jobs JOIN monitorings ON monitorings.job_id = jobs.id
                 WHERE jobs.state IN ('QUEUED', 'RUNNING')) AS running
          FROM monitorings
    """)
    return (await connection.execute(statement)).one()


# setting


async def lock_monitoring(
    connection: AsyncConnection, owner_id: int, defaults: Mapping[str, object]
) -> LockedMonitoringRow:
    """Lock the monitoring of a community until the transaction ends, and return its row with PostgreSQL's time, `now`.

    A missing row is inserted with `defaults`. Lock it before the community is
    claimed for a job, as `claim_due` does: the reverse order could deadlock.
    """
    new = insert(monitorings).values(owner_id=owner_id, **defaults)
    # DO NOTHING would neither lock nor return an existing row.
    locked = new.on_conflict_do_update(index_elements=KEY, set_={"owner_id": new.excluded.owner_id})
    row: LockedMonitoringRow = (await connection.execute(locked.returning(monitorings, func.now().label("now")))).one()
    return row


async def write_monitoring(connection: AsyncConnection, owner_id: int, values: Mapping[str, object]) -> MonitoringRow:
    """Write values of a monitoring that this transaction has locked, and return the new row."""
    written = update(monitorings).where(monitorings.c.owner_id == owner_id).values(**values).returning(monitorings)
    row: MonitoringRow = (await connection.execute(written)).one()
    return row


# running


async def claim_due(connection: AsyncConnection, limit: int) -> Sequence[DueMonitoringRow]:
    """Claim up to `limit` due monitorings, the longest due first: `owner_id`, `priority`, `due_at`.

    Each gets its next run an interval from now, up to a tenth of it earlier or
    later, however many runs were missed. Concurrent calls claim different ones.
    """
    # MATERIALIZED: a plan that evaluates the locking subquery twice would claim more than `limit`.
    statement = text("""
        WITH due AS MATERIALIZED (
             SELECT owner_id, next_run_at FROM monitorings
              WHERE is_enabled AND next_run_at <= now()
              ORDER BY next_run_at LIMIT :limit FOR UPDATE SKIP LOCKED)
        UPDATE monitorings
           SET next_run_at = now() + make_interval(secs => interval_seconds * (1 + :jitter * (2 * random() - 1)))
          FROM due WHERE monitorings.owner_id = due.owner_id
        RETURNING monitorings.owner_id, monitorings.priority, due.next_run_at AS due_at
    """)
    return (await connection.execute(statement, {"limit": limit, "jitter": JITTER})).all()


async def make_due_again(connection: AsyncConnection, due: Mapping[int, datetime]) -> None:
    """Make monitorings that this transaction has claimed due again: owner id -> former due time."""
    statement = text("""
        UPDATE monitorings SET next_run_at = due.at
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:times AS timestamptz[])) AS due (owner_id, at)
         WHERE monitorings.owner_id = due.owner_id
    """)
    if due:
        await connection.execute(statement, {"owner_ids": list(due), "times": list(due.values())})


async def note_jobs(connection: AsyncConnection, started: Mapping[int, int]) -> None:
    """Record the jobs that were started for monitorings: owner id -> job id."""
    statement = text("""
        UPDATE monitorings SET job_id = started.job_id
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:job_ids AS bigint[])) AS started (owner_id, job_id)
         WHERE monitorings.owner_id = started.owner_id
    """)
    if started:
        await connection.execute(statement, {"owner_ids": list(started), "job_ids": list(started.values())})


async def note_ends(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Record how jobs ended in the monitorings for which they were started, if any.

    A result stays until the next result; a failure is cleared by the next end
    without one. Call it before the jobs' communities are released: `claim_due`
    locks monitorings first, too.
    """
    statement = text("""
        UPDATE monitorings
           SET last_run_at = jobs.finished_at, last_state = jobs.state, last_failure = jobs.failure,
               last_result = CASE WHEN jobs.state = 'SUCCEEDED' THEN jobs.result ELSE last_result END
          FROM jobs WHERE jobs.id = monitorings.job_id AND jobs.id = ANY(:ids)
    """)
    await connection.execute(statement, {"ids": list(job_ids)})
