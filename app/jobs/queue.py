"""Enqueues, cancels and retries jobs; each writes the job row and its queue entry in one transaction."""

from dataclasses import dataclass
from typing import Any, Generic

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.queries import Queries
from pgqueuer.types import JobId
from sqlalchemy import CursorResult, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import GroupNotFound, JobNotFound, JobStateConflict, QueueFull
from app.job_states import RETRYABLE, JobEventKind, JobPriority, JobState, MoveReason
from app.jobs.definitions import Arguments, JobDefinition
from app.json_models import to_json
from app.json_types import JsonObject
from app.log import log
from app.notifications import CANCELLATIONS, job_topic
from app.resources import Resources
from app.store import entries, groups, jobs, locks, monitorings
from app.store.rows import JobRow, LostJobRow

CLOSE_TO_LIMIT = 200
"""Within this many jobs of the queue limit, transactions that enqueue jobs are serialised by a lock."""


@dataclass(frozen=True, slots=True)
class NewJob(Generic[Arguments]):
    """A job to enqueue. `timeout_seconds` limits one attempt; None: JOB_TIMEOUT_SECONDS."""

    definition: JobDefinition[Arguments, Any, Any]  # its handler is not called here, so its other types do not matter
    arguments: Arguments
    priority: JobPriority = JobPriority.NORMAL
    timeout_seconds: float | None = None
    reason: MoveReason = MoveReason.REQUESTED


async def start_job(resources: Resources, new: NewJob[Arguments]) -> JobRow:
    """Enqueue a job that a client has requested, in a transaction of its own, and return its row.

    Raises:
        GroupNotFound: one of the communities that the job is about has not been added.
        JobAlreadyRunning: another job collects or removes one of the communities that it claims.
        QueueFull: QUEUE_LIMIT jobs are waiting already.
    """
    owner_ids = list(new.definition.groups(new.arguments))
    topics: list[str] = []
    async with resources.notifications.publish_on_commit(topics) as connection:
        await groups.require_groups(connection, owner_ids)
        row = await enqueue(connection, resources, new)
        topics.append(job_topic(row.id))
    log.info("job_queued", job_id=row.id, kind=row.kind, groups=len(owner_ids))
    return row


async def enqueue(connection: AsyncConnection, resources: Resources, new: NewJob[Arguments]) -> JobRow:
    """Insert a job and its queue entry in the caller's transaction and return the job's row.

    A rollback of the transaction leaves neither.

    Raises:
        QueueFull: QUEUE_LIMIT jobs are waiting already.
        GroupNotFound: one of the communities was removed meanwhile.
        JobAlreadyRunning: another job collects or removes one of the communities.
    """
    settings = resources.settings
    await _check_room(connection, settings.queue_limit)
    row = await jobs.insert_job(
        connection,
        {
            "kind": new.definition.kind.value,
            "arguments": to_json(new.arguments, omit_defaults=True),
            "claims": sorted(new.definition.claims(new.arguments)),
            "removes_claims": new.definition.removes_claims,
            "priority": new.priority.value,
            "max_attempts": settings.job_max_attempts,
            "timeout_seconds": new.timeout_seconds or settings.job_timeout_seconds,
        },
    )
    await _claim_groups(connection, row)
    await _add_queue_entry(connection, row)
    await add_state_event(connection, row.id, JobState.QUEUED, new.reason)
    return row


async def cancel(resources: Resources, job_id: int) -> JobRow:
    """Cancel a waiting job at once, or request a running one to stop, and return its row.

    Cancelling a running job again changes nothing.

    Raises:
        JobNotFound: no job has this id.
        JobStateConflict: it has ended already.
    """
    async with resources.notifications.publish_on_commit([CANCELLATIONS, job_topic(job_id)]) as connection:
        # lock the row, so that its state cannot change before the update
        found = await jobs.lock_jobs(connection, [job_id])
        if not found or found[0].state.is_final:
            raise await _conflict(connection, job_id, "cancelled")
        if found[0].state is JobState.QUEUED:
            values: dict[str, object] = {
                "state": "CANCELLED",
                "cancel_requested_at": func.now(),
                "finished_at": func.now(),
            }
            row = await jobs.move_job(connection, job_id, former=[JobState.QUEUED], values=values)
            await monitorings.note_ends(connection, [job_id])
            await jobs.release_groups(connection, [job_id])
            assert found[0].queue_id is not None  # noqa: S101 - the transaction that queues a job writes it
            await _cancel_queue_entry(connection, found[0].queue_id)
            await add_state_event(connection, job_id, JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
        else:
            values = {"cancel_requested_at": found[0].cancel_requested_at or func.now()}
            row = await jobs.move_job(connection, job_id, former=[JobState.RUNNING], values=values)
    assert row  # noqa: S101 - the row is locked, so it exists
    log.info("job_cancel_requested", job_id=job_id)
    return row


async def retry(resources: Resources, job_id: int) -> JobRow:
    """Enqueue a failed or cancelled job again and return its row. It resumes from its checkpoint.

    Raises:
        JobNotFound: no job has this id.
        JobStateConflict: it has not ended, or has succeeded.
        GroupNotFound: one of its communities was removed meanwhile, other than by this job.
        JobAlreadyRunning: another job collects or removes one of its communities meanwhile.
        QueueFull: QUEUE_LIMIT jobs are waiting already.
    """
    async with resources.notifications.publish_on_commit([job_topic(job_id)]) as connection:
        await _check_room(connection, resources.settings.queue_limit)
        row = await jobs.move_job(
            connection,
            job_id,
            former=RETRYABLE,
            values={
                "state": JobState.QUEUED,
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
        await _add_queue_entry(connection, row)
        await add_state_event(connection, job_id, JobState.QUEUED, MoveReason.RETRY_REQUESTED)
    log.info("job_retried", job_id=job_id)
    return row


async def restore_lost(resources: Resources, idle_seconds: float) -> list[int]:
    """Enqueue unfinished jobs again that have had no queue entry for `idle_seconds`, and return their ids."""
    async with resources.database.transaction() as connection:
        lost = await entries.lost_jobs(connection, idle_seconds)
        for row in lost:
            await _add_queue_entry(connection, row)
    return [row.id for row in lost]


async def add_state_event(connection: AsyncConnection, job_id: int, state: JobState, reason: MoveReason) -> None:
    """Record that a job has changed to a state, and why."""
    await jobs.add_event(connection, job_id, *state_event(state, reason))


def state_event(
    state: JobState, reason: MoveReason, facts: JsonObject | None = None
) -> tuple[JobEventKind, str, JsonObject]:
    """Return kind, message and facts of the event for a job's change to a state."""
    facts = {"state": state.value, "reason": reason.value, **(facts or {})}
    return JobEventKind.STATE_CHANGED, f"The job {state.phrase}: {reason.phrase}.", facts


async def _check_room(connection: AsyncConnection, limit: int) -> None:
    if await count_waiting_jobs(connection, limit) >= limit:
        raise QueueFull(limit)


async def count_waiting_jobs(connection: AsyncConnection, limit: int, requested: int = 0) -> int:
    """Count the waiting jobs; if the queue limit is near, first lock the queue until the transaction ends.

    Without the lock, two transactions that count at once would both see the last free
    place. A transaction that enqueues several jobs passes their number as `requested`
    before the first one. Otherwise `enqueue` would take the lock in the middle, after
    communities were claimed that another transaction may wait for (deadlock).
    """
    waiting = jobs.JobConditions(states=(JobState.QUEUED,))
    count = await jobs.count_jobs(connection, waiting)
    if count < limit - CLOSE_TO_LIMIT - requested:
        return count
    await locks.lock_queue(connection)
    return await jobs.count_jobs(connection, waiting)


async def _claim_groups(connection: AsyncConnection, row: JobRow) -> None:
    missing = set(row.claims) - await jobs.claim_groups(connection, row.id, row.claims)
    if missing and not row.removes_claims:
        raise GroupNotFound(max(missing))


async def _conflict(connection: AsyncConnection, job_id: int, action: str) -> JobNotFound | JobStateConflict:
    row = await jobs.job_by_id(connection, job_id)
    return JobStateConflict(job_id, row.state, action) if row else JobNotFound(job_id)


async def _add_queue_entry(connection: AsyncConnection, row: JobRow | LostJobRow) -> None:
    # the dedupe key allows one entry per job, even if several processes restore a lost one at once
    name = str(row.id)
    [queue_id] = await queries_of(connection).enqueue(
        row.kind, name.encode(), row.priority, dedupe_key=name, on_conflict="update_priority"
    )
    await jobs.write_queue_id(connection, row.id, queue_id)


async def _cancel_queue_entry(connection: AsyncConnection, queue_id: int) -> None:
    await queries_of(connection).mark_job_as_cancelled([JobId(queue_id)])


class _InTransaction(AsyncpgDriver):
    """PgQueuer's driver on a connection of SQLAlchemy, inside its transaction.

    On asyncpg's connection itself the first statement of a transaction would be
    committed on its own, because SQLAlchemy begins the transaction with the first
    statement that it executes.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._sqlalchemy_connection = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        return [dict(row) for row in (await self._execute(query, args)).mappings()]

    async def execute(self, query: str, *args: object) -> str:
        await self._execute(query, args)
        return ""

    async def _execute(self, query: str, args: tuple[object, ...]) -> CursorResult[*tuple[object, ...]]:
        try:
            return await self._sqlalchemy_connection.exec_driver_sql(query, args)
        except DBAPIError as error:
            raise _driver_exception(error) from error.orig

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)


def _driver_exception(error: DBAPIError) -> BaseException:
    """Return asyncpg's exception if PgQueuer handles it (lost races); otherwise SQLAlchemy's, unchanged."""
    driver = error.driver_exception
    is_handled = isinstance(driver, asyncpg.UniqueViolationError | asyncpg.DeadlockDetectedError)
    return driver if is_handled else error


def queries_of(connection: AsyncConnection) -> Queries:
    """Return PgQueuer's queries, executed in the current transaction of a connection."""
    return Queries(_InTransaction(connection))
