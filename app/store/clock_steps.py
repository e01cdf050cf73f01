"""Corrects times that lie in the future because PostgreSQL's clock was set back.

The queue compares times: when a queue entry may be claimed, when a heartbeat was
written, when a schedule is due. After a step back by an hour, entries written
before the step would wait for an hour, and dead workers would count as alive for
an hour. A worker that detects the step (see `app.jobs.worker`) has these times
rewritten by the new clock. Decisions to delete or overwrite data compare no times.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Skip locked rows: their transaction is writing them with the new clock, and may be waiting for rows that we hold.
# Waits that a queue entry, a job or a monitoring may legitimately have are kept.
_CORRECTIONS = (
    # `updated` is the time at which the wait was set
    """
    UPDATE pgqueuer SET execute_after = now() + greatest(execute_after - updated, interval '0'), updated = now()
     WHERE id IN (SELECT id FROM pgqueuer WHERE status = 'queued' AND updated > now() FOR UPDATE SKIP LOCKED)
    """,
    """
    UPDATE pgqueuer SET heartbeat = now(), execute_after = least(execute_after, now())
     WHERE id IN (SELECT id FROM pgqueuer WHERE status = 'picked' AND greatest(heartbeat, execute_after) > now()
                     FOR UPDATE SKIP LOCKED)
    """,
    """
    UPDATE pgqueuer_schedules
       SET next_run = least(next_run, now()), heartbeat = least(heartbeat, now()), updated = now()
     WHERE id IN (SELECT id FROM pgqueuer_schedules WHERE updated > now() FOR UPDATE SKIP LOCKED)
    """,
    """
    UPDATE workers SET seen_at = now()
     WHERE name IN (SELECT name FROM workers WHERE seen_at > now() FOR NO KEY UPDATE SKIP LOCKED)
    """,
    """
    UPDATE jobs SET heartbeat_at = least(heartbeat_at, now()), started_at = least(started_at, now()),
           queued_at = least(queued_at, now() + make_interval(secs => :longest_wait))
     WHERE id IN (SELECT id FROM jobs
                   WHERE state IN ('QUEUED', 'RUNNING')
                     AND (greatest(heartbeat_at, started_at) > now()
                          OR queued_at > now() + make_interval(secs => :longest_wait))
                     FOR NO KEY UPDATE SKIP LOCKED)
    """,
    """
    UPDATE monitorings SET next_run_at = now() + make_interval(secs => interval_seconds)
     WHERE owner_id IN (SELECT owner_id FROM monitorings
                         WHERE is_enabled AND next_run_at > now() + make_interval(secs => 1.2 * interval_seconds)
                           FOR NO KEY UPDATE SKIP LOCKED)
    """,
    """
    UPDATE tokens SET blocked_until = now() + make_interval(secs => :longest_cooldown)
     WHERE fingerprint IN (SELECT fingerprint FROM tokens
                            WHERE blocked_until > now() + make_interval(secs => :longest_cooldown)
                              AND blocked_until < 'infinity'
                              FOR NO KEY UPDATE SKIP LOCKED)
    """,
)


async def correct_future_times(
    connection: AsyncConnection, longest_wait_seconds: float, longest_cooldown_seconds: float
) -> int:
    """Correct times of the queue, workers, monitorings and tokens that are too far in the future; return how many rows.

    `longest_wait_seconds` is the maximum wait of a job for its next attempt,
    `longest_cooldown_seconds` the maximum cooldown of a token.
    """
    bounds = {"longest_wait": longest_wait_seconds, "longest_cooldown": longest_cooldown_seconds}
    count = 0
    for statement in _CORRECTIONS:
        values = {name: bound for name, bound in bounds.items() if f":{name}" in statement}
        count += (await connection.execute(text(statement), values)).rowcount
    return count
