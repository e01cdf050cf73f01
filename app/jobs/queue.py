"""Asking for jobs: enqueue, cancel and retry, each in one transaction with the entry of the queue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.queries import Queries
from pgqueuer.types import JobId
from sqlalchemy import CursorResult, Row, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import GroupNotFound, JobNotFound, JobStateConflict, QueueFull
from app.events import CANCELLATIONS, job_topic
from app.jobs.states import RETRYABLE, JobEventKind, JobPriority, JobState, MoveReason
from app.log import log
from app.resources import Resources
from app.store import entries, jobs, monitorings

CLOSE_TO_LIMIT = 200
"""So many places before the limit of the queue is reached, jobs are queued one after the other."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job that is requested. `claims` are the communities that no other job may collect or remove meanwhile.

    They are kept in its arguments, for it to be retried with. With `removes_claims`
    the job itself may have removed some of them before it is retried.
    """

    kind: Enum
    arguments: Mapping[str, Any]
    claims: Sequence[int] = ()
    priority: JobPriority = JobPriority.NORMAL
    timeout_seconds: float | None = None
    reason: MoveReason = MoveReason.REQUESTED
    removes_claims: bool = False


async def enqueue(connection: AsyncConnection, resources: Resources, new: NewJob) -> Row[Any]:
    """Write a job and its entry in the queue in the caller's transaction and return the job's row.

    If the transaction rolls back, there was never a job.

    Raises:
        QueueFull: as many jobs wait as QUEUE_LIMIT allows.
        GroupNotFound: one of the communities was removed meanwhile.
        JobAlreadyRunning: another job collects or removes one of the communities.
    """
    settings = resources.settings
    await _check_room(connection, settings.queue_limit)
    row = await jobs.insert_job(
        connection,
        {
            "kind": new.kind.value,
            "arguments": {**new.arguments, **_stored_claims(new)},
            "priority": new.priority.value,
            "max_attempts": settings.job_max_attempts,
            "timeout_seconds": new.timeout_seconds or settings.job_timeout_seconds,
        },
    )
    await _claim_groups(connection, row)
    await _put_into_queue(connection, row)
    await add_state_event(connection, row.id, JobState.QUEUED, new.reason)
    return row


async def cancel(resources: Resources, job_id: int) -> Row[Any]:
    """End a waiting job at once, or ask the worker of a running one to end it, and return the row.

    Asking twice is the same as asking once.

    Raises:
        JobNotFound: no job has this id.
        JobStateConflict: it has ended already.
    """
    async with resources.events.telling([CANCELLATIONS, job_topic(job_id)]) as connection:
        # locked, so that it stays what it is until this is written
        found = await jobs.lock_jobs(connection, [job_id])
        if not found or JobState(found[0].state).is_final:
            raise await _conflict(connection, job_id, "cancelled")
        if found[0].state == JobState.QUEUED.value:
            values = {"state": "CANCELLED", "cancel_requested_at": func.now(), "finished_at": func.now()}
            row = await jobs.move_job(connection, job_id, former=("QUEUED",), values=values)
            await monitorings.note_ends(connection, [job_id])
            await jobs.release_groups(connection, [job_id])
            await _take_from_queue(connection, found[0].queue_id)
            await add_state_event(connection, job_id, JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
        else:
            values = {"cancel_requested_at": found[0].cancel_requested_at or func.now()}
            row = await jobs.move_job(connection, job_id, former=("RUNNING",), values=values)
    assert row  # noqa: S101 - it was locked
    log.info("job_cancel_requested", job_id=job_id)
    return row


async def retry(resources: Resources, job_id: int) -> Row[Any]:
    """Put a failed or cancelled job back into the queue; it goes on from its checkpoint. Returns the row.

    Raises:
        JobNotFound: no job has this id.
        JobStateConflict: it has not ended, or has succeeded.
        GroupNotFound: one of its communities was removed meanwhile, other than by this job.
        JobAlreadyRunning: another job collects or removes one of its communities meanwhile.
        QueueFull: as many jobs wait as QUEUE_LIMIT allows.
    """
    async with resources.events.telling([job_topic(job_id)]) as connection:
        await _check_room(connection, resources.settings.queue_limit)
        row = await jobs.move_job(
            connection,
            job_id,
            former=RETRYABLE,
            values={
                "state": "QUEUED",
                "attempts": 0,
                "failure": None,
                "result": None,
                "finished_at": None,
                "cancel_requested_at": None,
                "queued_at": func.now(),
                "enqueued_at": func.now(),
            },
        )
        if not row:
            raise await _conflict(connection, job_id, "retried")
        await _claim_groups(connection, row)
        await _put_into_queue(connection, row)
        await add_state_event(connection, job_id, JobState.QUEUED, MoveReason.RETRY_REQUESTED)
    log.info("job_retried", job_id=job_id)
    return row


async def restore_lost(resources: Resources, silent_seconds: float) -> list[int]:
    """Put unfinished jobs back into the queue that have lost their entry there, and return their ids."""
    async with resources.database.transaction() as connection:
        lost = await entries.lost_jobs(connection, silent_seconds)
        for row in lost:
            await _put_into_queue(connection, row)
    return [row.id for row in lost]


async def add_state_event(connection: AsyncConnection, job_id: int, state: JobState, reason: MoveReason) -> None:
    """Record that a job has come to a state, and why."""
    await jobs.add_event(connection, job_id, *state_event(state, reason))


def state_event(
    state: JobState, reason: MoveReason, facts: Mapping[str, Any] | None = None
) -> tuple[str, str, Mapping[str, Any]]:
    """Return the kind, message and facts of the event that a job has come to a state."""
    facts = {"state": state.value, "reason": reason.value, **(facts or {})}
    return JobEventKind.STATE_CHANGED.value, f"The job {state.phrase}: {reason.phrase}.", facts


async def _check_room(connection: AsyncConnection, limit: int) -> None:
    if await keep_room(connection, limit) >= limit:
        raise QueueFull(limit)


async def keep_room(connection: AsyncConnection, limit: int, wanted: int = 0) -> int:
    """Count the jobs that wait; where the limit of the queue is near, let nobody else near it in this transaction.

    Two that count at once would both see the last place free. Who queues many in
    one transaction says how many are `wanted` before the first: `enqueue` would
    find the limit near in the middle, when communities are claimed already that
    somebody else waits for.
    """
    waiting = jobs.JobConditions(states=("QUEUED",))
    count = await jobs.count_jobs(connection, waiting)
    if count < limit - CLOSE_TO_LIMIT - wanted:
        return count
    await jobs.lock_queue(connection)
    return await jobs.count_jobs(connection, waiting)


def _stored_claims(new: NewJob) -> dict[str, Any]:
    if not new.claims:
        return {}
    return {"claims": list(new.claims), **({"removes_claims": True} if new.removes_claims else {})}


async def _claim_groups(connection: AsyncConnection, row: Row[Any]) -> None:
    owner_ids = row.arguments.get("claims", ())
    missing = set(owner_ids) - await jobs.claim_groups(connection, row.id, owner_ids)
    if missing and not row.arguments.get("removes_claims"):
        raise GroupNotFound(max(missing))


async def _conflict(connection: AsyncConnection, job_id: int, wish: str) -> JobNotFound | JobStateConflict:
    row = await jobs.job_by_id(connection, job_id)
    return JobStateConflict(job_id, row.state, wish) if row else JobNotFound(job_id)


async def _put_into_queue(connection: AsyncConnection, row: Row[Any]) -> None:
    # one entry of a job, however many processes restore a lost one at once
    name = str(row.id)
    [queue_id] = await queries_of(connection).enqueue(
        row.kind, name.encode(), row.priority, dedupe_key=name, on_conflict="update_priority"
    )
    await jobs.write_queue_id(connection, row.id, queue_id)


async def _take_from_queue(connection: AsyncConnection, queue_id: int) -> None:
    await queries_of(connection).mark_job_as_cancelled([JobId(queue_id)])


class _InTransaction(AsyncpgDriver):
    """PgQueuer's driver on a connection of SQLAlchemy's, in whose transaction it stays.

    On the driver's own connection the first statement of a transaction would
    commit by itself, as SQLAlchemy begins it with the first one it sees.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._in = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in (await self._executed(query, args)).mappings()]

    async def execute(self, query: str, *args: object) -> str:
        await self._executed(query, args)
        return ""

    async def _executed(self, query: str, args: tuple[object, ...]) -> CursorResult[Any]:
        try:
            return await self._in.exec_driver_sql(query, args)
        except DBAPIError as error:
            raise _as_pgqueuer_knows_it(error) from error.orig

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)


def _as_pgqueuer_knows_it(error: DBAPIError) -> BaseException:
    """Return the driver's own error where PgQueuer looks at it, to tell a lost race from a failure; else the same."""
    driver = error.driver_exception
    is_looked_at = isinstance(driver, asyncpg.UniqueViolationError | asyncpg.DeadlockDetectedError)
    return driver if is_looked_at else error


def queries_of(connection: AsyncConnection) -> Queries:
    """Return PgQueuer's queries within the transaction that a connection is in."""
    return Queries(_InTransaction(connection))
