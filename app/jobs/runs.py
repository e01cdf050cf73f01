"""Starts and ends the runs of jobs; each state transition is checked against the previous state."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import uuid4

import stamina
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.errors import DATABASE_DELAYS, ErrorCode, Fault, JobGaveUp, JobTimedOut, ServiceUnavailable
from app.job_states import FORMER, JobEventKind, JobState, MoveReason
from app.jobs.queue import state_event
from app.jobs.running_job import CancelRequested, LeaseLost
from app.json_types import JsonObject, JsonValue
from app.log import log
from app.notifications import job_topic
from app.resources import Resources
from app.store import jobs, monitorings
from app.store.rows import ClaimedJobRow, JobRow

FIRST_BACKOFF_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 300.0
MAX_FREE_EPOCH = 100
"""From this epoch on, every run counts as an attempt, even if it ended without a fault of the job."""


class StopReason(Enum):
    """Why a handler is stopped before it returns."""

    CANCEL = "cancel requested"
    WORKER_STOPS = "worker stops"
    TIMED_OUT = "timed out"
    LEASE_LOST = "lease lost"


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: the job's new state, with result, failure and retry.

    With QUEUED, the job is retried after `retry_after_seconds`. `counts` says whether
    this run counts as an attempt: one that ended without a fault of the job does not.
    """

    state: JobState
    reason: MoveReason
    result: JsonValue = None
    failure: JsonObject | None = None
    retry_after_seconds: float = 0.0
    counts: bool = True


# keep trying to write a run's end while PostgreSQL is briefly unavailable
_retry_while_unavailable = stamina.retry(on=DATABASE_DELAYS, attempts=None, timeout=60.0, wait_max=2.0)


async def claim(connection: AsyncConnection, job_ids: Mapping[int, int], worker: str) -> dict[int, ClaimedJobRow]:
    """Claim jobs (queue entry id -> job id) for a worker. Return entry id -> job row; unclaimed jobs are absent.

    The new epoch locks out the worker that had the job before. A job that a client has
    requested to cancel, or that has used up its `max_attempts`, ends here.
    """
    claimed = {row.queue_id: row for row in await jobs.claim_jobs(connection, job_ids, worker, _CLAIM_EVENTS)}
    if not_claimed := [job_id for entry_id, job_id in job_ids.items() if entry_id not in claimed]:
        # Skip locked rows: their transaction may be waiting for the queue entry we hold (deadlock).
        rows = await jobs.lock_jobs(connection, not_claimed, skip_locked=True)
        found = [row for row in rows if row.queue_id in job_ids]
        await _write_ends(connection, [(row, end) for row in found if (end := _end_without_run(row))])
    for row in claimed.values():
        _count_claim(row)
    return claimed


def _claim_event(reason: MoveReason) -> Mapping[str, str]:
    _, message, _ = state_event(JobState.RUNNING, reason)
    return {"message": message, "reason": reason.value}


_CLAIM_EVENTS = {JobState.QUEUED: _claim_event(MoveReason.CLAIMED), JobState.RUNNING: _claim_event(MoveReason.RESCUED)}


def _end_without_run(row: JobRow) -> End | None:
    """Return how an unclaimed job ends without a run; None if it has ended already, or was only skipped as locked."""
    has_no_attempts_left = row.attempts >= row.max_attempts
    if row.state.is_final or not (row.cancel_requested_at or has_no_attempts_left):
        return None
    if row.cancel_requested_at:
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    return End(JobState.FAILED, MoveReason.GAVE_UP, failure=failure_of(JobGaveUp(row.attempts)))


@_retry_while_unavailable
async def finish(resources: Resources, ends: Sequence[tuple[JobRow, End]]) -> list[End | None]:
    """Write how runs ended that were claimed as these rows. Return the end written for each; None: its lease is lost.

    The same transaction removes their queue entries or makes them wait again. A job
    that a client has requested to cancel ends instead of waiting again.
    """
    topics = [job_topic(row.id) for row, _ in ends]
    async with resources.notifications.publish_on_commit(topics) as connection:
        written = await _write_ends(connection, ends)
    return [written.get(row.id) for row, _ in ends]


async def _write_ends(connection: AsyncConnection, ends: Sequence[tuple[JobRow, End]]) -> dict[int, End]:
    if not ends:
        return {}
    moved = await jobs.end_jobs(connection, [_ended(row, end) for row, end in ends])
    written = {row.id: end for row, end in ends if row.id in moved}
    written |= await _end_cancelled(
        connection, [row for row, end in ends if not end.state.is_final and row.id not in moved]
    )
    final = {job_id for job_id, end in written.items() if end.state.is_final}
    if releasing := [row.id for row, _ in ends if row.id in final and row.claims]:
        await monitorings.note_ends(connection, releasing)
        await jobs.release_groups(connection, releasing)
    return written


async def _end_cancelled(connection: AsyncConnection, rows: Sequence[JobRow]) -> dict[int, End]:
    """Cancel those of these jobs, which were to be queued again, for which a client has requested it."""
    if not rows:
        return {}
    end = End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    # No lock needed: a cancel request is never withdrawn, and the end is written only if this run still has the lease.
    requested = await jobs.cancelled_among(connection, [row.id for row in rows])
    moved = await jobs.end_jobs(connection, [_ended(row, end) for row in rows if row.id in requested])
    return dict.fromkeys(moved, end)


def _ended(row: JobRow, end: End) -> jobs.RunEnd:
    events: list[tuple[JobEventKind, str, Mapping[str, object]]] = []
    if end.failure and not end.state.is_final:
        events.append((JobEventKind.ATTEMPT_FAILED, str(end.failure["message"]), {"failure": end.failure}))
    facts: JsonObject = {"failure": end.failure} if end.failure and end.state.is_final else {}
    events.append(state_event(end.state, end.reason, facts))
    return jobs.RunEnd(
        id=row.id,
        epoch=row.epoch,
        # Require the state in which this run has the lease. A run that was declared dead may continue after its job has
        # ended and was queued again; neither raises the epoch.
        former=tuple(state for state in FORMER[end.state] if state == row.state),
        state=end.state,
        is_final=end.state.is_final,
        result=end.result,
        failure=end.failure,
        retry_after_seconds=end.retry_after_seconds,
        is_attempt=end.counts,
        events=events,
    )


def _count_claim(row: ClaimedJobRow) -> None:
    if row.former == JobState.RUNNING.value:
        metrics.jobs_rescued.labels(row.kind).inc()
    else:
        metrics.job_waiting_seconds.labels(row.kind).observe((row.heartbeat_at - row.queued_at).total_seconds())


def end_of_run(row: JobRow, handler: "asyncio.Future[JsonValue]", stop_reason: StopReason | None) -> End | None:
    """Return how a run ended that was claimed as `row`; None if its lease is lost.

    `handler` has ended, unless it was stopped and ignored that; `stop_reason` is why it was
    stopped. If it returned a result nevertheless, the job has succeeded.
    """
    error = handler.exception() if handler.done() and not handler.cancelled() else asyncio.CancelledError()
    if stop_reason is StopReason.LEASE_LOST or isinstance(error, LeaseLost):
        return None
    if error is None:
        return End(JobState.SUCCEEDED, MoveReason.DONE, result=handler.result())
    if stop_reason is None:
        return end_of_failure(error, row)
    if not isinstance(error, asyncio.CancelledError):
        log.info("handler_ended", stop_reason=stop_reason.value, reason=type(error).__name__)
    return _end_of_stop(stop_reason, row)


def _end_of_stop(stop_reason: StopReason, row: JobRow) -> End:
    if stop_reason is StopReason.CANCEL:
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    if stop_reason is StopReason.TIMED_OUT:
        failure = failure_of(JobTimedOut(row.timeout_seconds))
        return End(JobState.FAILED, MoveReason.TIMED_OUT, failure=failure)
    return End(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False)


def end_of_failure(error: BaseException, row: JobRow) -> End:
    """Return what follows from an exception: a retry if it is transient and attempts are left, otherwise FAILED.

    A run that failed because PostgreSQL was unavailable does not count as an attempt.
    """
    if isinstance(error, CancelRequested):
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    if isinstance(error, Fault):
        failure = failure_of(error)
        wait_seconds = error.retry_after_seconds
        counts = not isinstance(error, ServiceUnavailable) or row.epoch >= MAX_FREE_EPOCH
        has_attempts_left = row.attempts < row.max_attempts or not counts
        if error.is_transient and has_attempts_left and wait_seconds <= LONGEST_BACKOFF_SECONDS:
            # do not retry before the time that the fault names
            wait_seconds = max(_backoff_seconds(row.attempts), wait_seconds)
            return End(JobState.QUEUED, MoveReason.TRANSIENT_FAILURE, None, failure, wait_seconds, counts=counts)
        return End(JobState.FAILED, MoveReason.FAILURE, failure=failure)
    error_id = uuid4().hex[:12]
    log.error("job_crashed", error_id=error_id, exc_info=error)
    message = f"The job failed with an unexpected error. The log has its traceback under error id {error_id}."
    failure = {"code": ErrorCode.INTERNAL.value, "message": message, "facts": {"errorId": error_id}}
    return End(JobState.FAILED, MoveReason.CRASHED, failure=failure)


def failure_of(fault: Fault) -> JsonObject:
    """Return a fault in the form in which a job's row stores it."""
    return {"code": fault.code.value, "message": fault.message, "facts": fault.facts()}


def _backoff_seconds(attempt: int) -> float:
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter needs no secure randomness
