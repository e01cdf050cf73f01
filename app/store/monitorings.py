"""Monitorings: which communities are collected again and again, when next, and how the last time ended.

A community that nobody has set a monitoring for has no row. `next_run_at` is
null exactly where a monitoring is not enabled.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import monitorings
from app.store.keyset import Order, Page, Slice, count_rows, page_rows, rows_by_key

NEXT_RUN = Order("NEXT_RUN", ("next_run_at", "owner_id"))
KEY = ("owner_id",)
JITTER = 0.1
"""By how much of its interval a run may come earlier or later: what falls due together drifts apart."""


# reading


async def monitorings_by_key(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read monitorings: (owner_id,) -> row; communities without one are absent."""
    return await rows_by_key(connection, monitorings, KEY, keys)


async def monitorings_page(connection: AsyncConnection, _: None, page: Page) -> Slice:
    """Read a page of the monitorings that are enabled."""
    return await page_rows(connection, monitorings, [monitorings.c.is_enabled], page)


async def count_monitorings(connection: AsyncConnection, _: None) -> int:
    """Count the monitorings that are enabled."""
    return await count_rows(connection, monitorings, [monitorings.c.is_enabled])


async def overview(connection: AsyncConnection) -> Row[Any]:
    """Count monitorings: `enabled`, of these `due` and `failing` (the last job failed), and the first `next_run_at`.

    `running` are those whose job waits or is being run, enabled or not.
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


async def lock_monitoring(connection: AsyncConnection, owner_id: int, defaults: Mapping[str, Any]) -> Row[Any]:
    """Lock the monitoring of a community until the transaction ends, and return its row with PostgreSQL's time, `now`.

    Where there is none, it is written with `defaults`. Lock it before the
    community is claimed for a job, as `take_due` does: those who do it the
    other way round and those who do it this way would wait for each other.
    """
    new = insert(monitorings).values(owner_id=owner_id, **defaults)
    # a conflict that writes nothing would neither lock nor return the row
    locked = new.on_conflict_do_update(index_elements=KEY, set_={"owner_id": new.excluded.owner_id})
    row: Row[Any] = (await connection.execute(locked.returning(monitorings, func.now().label("now")))).one()
    return row


async def write_monitoring(connection: AsyncConnection, owner_id: int, values: Mapping[str, Any]) -> Row[Any]:
    """Write values of a monitoring that this transaction has locked, and return the new row."""
    written = update(monitorings).where(monitorings.c.owner_id == owner_id).values(**values).returning(monitorings)
    row: Row[Any] = (await connection.execute(written)).one()
    return row


# running


async def take_due(connection: AsyncConnection, limit: int) -> Sequence[Row[Any]]:
    """Take up to `limit` monitorings that are due, the longest due first: `owner_id`, `priority`, `due_at`.

    Each gets its next run an interval from now, up to a tenth of it earlier or
    later, however many runs were missed. Who asks at the same time gets others.
    """
    # materialized: a plan that reads the rows to be locked twice would take more than the limit
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


async def put_back(connection: AsyncConnection, due: Mapping[int, datetime]) -> None:
    """Make monitorings that this transaction has taken due again: owner id -> when they were."""
    statement = text("""
        UPDATE monitorings SET next_run_at = due.at
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:times AS timestamptz[])) AS due (owner_id, at)
         WHERE monitorings.owner_id = due.owner_id
    """)
    if due:
        await connection.execute(statement, {"owner_ids": list(due), "times": list(due.values())})


async def note_jobs(connection: AsyncConnection, started: Mapping[int, int]) -> None:
    """Note the jobs that were started for monitorings: owner id -> job id."""
    statement = text("""
        UPDATE monitorings SET job_id = started.job_id
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:job_ids AS bigint[])) AS started (owner_id, job_id)
         WHERE monitorings.owner_id = started.owner_id
    """)
    if started:
        await connection.execute(statement, {"owner_ids": list(started), "job_ids": list(started.values())})


async def note_ends(connection: AsyncConnection, job_ids: Collection[int]) -> None:
    """Note how jobs ended with the monitorings they were started for, where there are some.

    A result stays until the next one; a failure goes with the next end without
    one. Call it before the jobs' communities are released: `take_due` locks
    monitorings first, too.
    """
    statement = text("""
        UPDATE monitorings
           SET last_run_at = jobs.finished_at, last_state = jobs.state, last_failure = jobs.failure,
               last_result = CASE WHEN jobs.state = 'SUCCEEDED' THEN jobs.result ELSE last_result END
          FROM jobs WHERE jobs.id = monitorings.job_id AND jobs.id = ANY(:ids)
    """)
    await connection.execute(statement, {"ids": list(job_ids)})
