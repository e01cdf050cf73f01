"""Queue entries: PgQueuer's table, which has one entry for each waiting or running job.

The job's row is the source of truth. These functions repair differences between
the two tables and set the order of waiting jobs.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.keyset import Key
from app.store.rows import LostJobRow, QueuePositionRow


async def lost_jobs(connection: AsyncConnection, idle_seconds: float) -> Sequence[LostJobRow]:
    """Lock and return unfinished jobs without a queue entry and without a heartbeat for `idle_seconds`.

    Jobs that another process has locked are skipped. Jobs with a cancellation
    request are included: their worker died, and the next worker ends them.
    """
    statement = text("""
        SELECT id, kind, priority FROM jobs
         WHERE state IN ('QUEUED', 'RUNNING')
           AND greatest(queued_at, started_at, heartbeat_at) < now() - make_interval(secs => :silent)
           AND NOT EXISTS (SELECT 1 FROM pgqueuer WHERE pgqueuer.id = jobs.queue_id)
         ORDER BY id FOR UPDATE SKIP LOCKED
    """)
    return (await connection.execute(statement, {"silent": idle_seconds})).all()


async def release(connection: AsyncConnection, entry_ids: Sequence[int]) -> None:
    """Release queue entries that were claimed without their jobs: delete those of ended jobs, requeue the others.

    An unfinished job could not be claimed because another transaction is changing
    it, which may be waiting for its queue entry: the claim is retried 0.1 s later.
    """
    if not entry_ids:
        return
    statement = text("""
        WITH waiting AS (
            SELECT queue_id FROM jobs WHERE queue_id = ANY(:ids) AND state IN ('QUEUED', 'RUNNING')),
        back AS (
            UPDATE pgqueuer SET status = 'queued', queue_manager_id = NULL, slot = NULL, updated = now(),
                   execute_after = now() + interval '0.1 seconds'
              FROM waiting WHERE pgqueuer.id = waiting.queue_id)
        DELETE FROM pgqueuer WHERE id = ANY(:ids) AND id NOT IN (SELECT queue_id FROM waiting)
    """)
    await connection.execute(statement, {"ids": list(entry_ids)})


async def drop_orphans(connection: AsyncConnection, kinds: Sequence[str], idle_seconds: float) -> int:
    """Delete waiting queue entries of these kinds, older than this, without an unfinished job; return how many."""
    statement = text("""
        DELETE FROM pgqueuer
         WHERE status = 'queued' AND entrypoint = ANY(:kinds)
           AND updated < now() - make_interval(secs => :silent)
           AND NOT EXISTS (
               SELECT 1 FROM jobs WHERE jobs.queue_id = pgqueuer.id AND jobs.state IN ('QUEUED', 'RUNNING'))
    """)
    result = await connection.execute(statement, {"kinds": list(kinds), "silent": idle_seconds})
    return int(result.rowcount)


async def raise_waiting(connection: AsyncConnection, ageing_seconds: float, step: int, highest: int) -> int:
    """Raise the priority of waiting jobs by `step` for each `ageing_seconds` since they were first enqueued.

    The age counts from the first enqueueing: a lost run or a retry does not reset
    it. `highest` is the highest priority that ageing gives; queue entries with this
    priority or a higher one are not changed. Return how many were raised.
    """
    statement = text("""
        UPDATE pgqueuer SET priority = aged.priority
          FROM (SELECT queue_id,
                       least(:highest,
                             priority + :step * floor(extract(epoch FROM now() - enqueued_at) / :ageing)::int)
                       AS priority
                  FROM jobs WHERE state = 'QUEUED' AND priority < :highest) AS aged
         WHERE pgqueuer.id = aged.queue_id AND pgqueuer.status = 'queued' AND pgqueuer.priority < aged.priority
    """)
    result = await connection.execute(statement, {"ageing": ageing_seconds, "step": step, "highest": highest})
    return int(result.rowcount)


async def raise_abandoned(connection: AsyncConnection, heartbeat_timeout_seconds: float, priority: int) -> int:
    """Give the jobs of dead workers a priority above all waiting ones; return how many were raised.

    Such a job has already been scheduled: more urgent jobs that came later must not
    delay its resumption. The timeout counts from the last heartbeat.
    """
    statement = text("""
        UPDATE pgqueuer SET priority = :priority
         WHERE id IN (SELECT id FROM pgqueuer
                       WHERE status = 'picked' AND priority < :priority
                         AND heartbeat < now() - make_interval(secs => :timeout) FOR UPDATE SKIP LOCKED)
    """)
    result = await connection.execute(statement, {"priority": priority, "timeout": heartbeat_timeout_seconds})
    return int(result.rowcount)


async def queue_positions_by_job(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, QueuePositionRow]:
    """Read the queue positions of jobs: (job id,) -> `position` and `not_before`; jobs that do not wait are absent.

    `position` counts from 1 over all kinds, in the order in which workers claim
    the jobs: those that wait for a retry come last until `not_before`.
    """
    statement = text("""
        SELECT jobs.id, waiting.position, CASE WHEN execute_after > now() THEN execute_after END AS not_before
          FROM (SELECT id, execute_after,
                       row_number() OVER (ORDER BY execute_after > now(), priority DESC, id) AS position
                  FROM pgqueuer WHERE status = 'queued') AS waiting
          JOIN jobs ON jobs.queue_id = waiting.id
         WHERE jobs.state = 'QUEUED' AND jobs.id = ANY(:ids)
    """)
    rows = await connection.execute(statement, {"ids": [job_id for (job_id,) in keys]})
    return {(row.id,): row for row in rows}


async def delete_old_log(connection: AsyncConnection, log_days: float, statistics_days: float) -> None:
    """Delete PgQueuer's log and statistics that are older than this; the application does not read them."""
    for table, days in (("pgqueuer_log", log_days), ("pgqueuer_statistics", statistics_days)):
        statement = text(f"DELETE FROM {table} WHERE created < now() - make_interval(secs => :seconds)")  # noqa: S608 - only constant SQL is interpolated
        await connection.execute(statement, {"seconds": days * 86_400})
