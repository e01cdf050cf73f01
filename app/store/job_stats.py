"""Counts and times of jobs, for operators. One statement each."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, column, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import jobs
from app.store.rows import JobCountRow, JobTimesRow

_COUNTED = (jobs.c.kind, jobs.c.state, column("number", BigInteger))


async def counts(connection: AsyncConnection, seconds: float) -> Sequence[JobCountRow]:
    """Count jobs (`number`) by `kind` and `state`: all unfinished ones, and those that ended in the last `seconds`."""
    statement = text("""
        SELECT kind, state, count(*) AS number FROM jobs
         WHERE state IN ('QUEUED', 'RUNNING') OR finished_at > now() - make_interval(secs => :seconds)
         GROUP BY kind, state ORDER BY kind, state
    """)
    return (await connection.execute(statement.columns(*_COUNTED), {"seconds": seconds})).all()


async def unfinished(connection: AsyncConnection) -> Sequence[JobCountRow]:
    """Count the waiting and running jobs (`number`) by `kind` and `state`."""
    statement = text("""
        SELECT kind, state, count(*) AS number FROM jobs WHERE state IN ('QUEUED', 'RUNNING') GROUP BY kind, state
    """)
    return (await connection.execute(statement.columns(*_COUNTED))).all()


async def times(connection: AsyncConnection, seconds: float) -> Sequence[JobTimesRow]:
    """Measure the jobs that ended in the last `seconds`, by `kind`.

    `waiting` and `duration` are lists of seconds: the 50th, 90th and 99th
    percentile and the maximum. A job waits until its first start (jobs that never
    started do not count), and lasts from then until it ends, including pauses
    between attempts. `ended` is how many jobs ended. `longest_wait` is the longest
    time in seconds that a queued job has been waiting; None if no job is queued.
    """
    statement = text("""
        WITH ended AS (
            SELECT kind, count(*) AS ended,
                   percentile_cont(ARRAY[0.5, 0.9, 0.99, 1.0]) WITHIN GROUP (
                       ORDER BY extract(epoch FROM started_at - created_at)::float) AS waiting,
                   percentile_cont(ARRAY[0.5, 0.9, 0.99, 1.0]) WITHIN GROUP (
                       ORDER BY extract(epoch FROM finished_at - started_at)::float) AS duration
              FROM jobs WHERE finished_at > now() - make_interval(secs => :seconds) GROUP BY kind),
        waits AS (
            SELECT kind, max(extract(epoch FROM now() - queued_at))::float AS longest_wait
              FROM jobs WHERE state = 'QUEUED' GROUP BY kind)
        SELECT coalesce(ended.kind, waits.kind) AS kind, coalesce(ended.ended, 0) AS ended,
               ended.waiting, ended.duration, waits.longest_wait
          FROM ended FULL JOIN waits ON waits.kind = ended.kind
         ORDER BY 1
    """)
    return (await connection.execute(statement, {"seconds": seconds})).all()
