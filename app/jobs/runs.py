"""How a run of a job begins and ends: the moves of its row, each checked against the state it was in."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import uuid4

import stamina
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.errors import ErrorCode, Fault, JobGaveUp, JobTimedOut, ServiceUnavailable
from app.events import job_topic
from app.jobs.queue import state_event
from app.jobs.running_job import CancelRequested, TakenAway
from app.jobs.states import FORMER, JobEventKind, JobState, MoveReason
from app.log import log
from app.resources import Resources
from app.store import jobs, monitorings

FIRST_BACKOFF_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 300.0
MOST_TAKINGS = 100
"""A job that was taken so often pays for every run, also for those that ended for no fault of its own."""


class Order(Enum):
    """Why a body is told to end before its end."""

    CANCEL = "somebody asked to cancel the job"
    STOP = "its worker stops"
    TIME_IS_UP = "it took longer than it may"
    LET_GO = "another worker has the job"


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: the state the job goes to, and what else becomes of it.

    With QUEUED it is tried again after `retry_after_seconds`; `counts` says
    whether this run was one of its attempts: one that ended for no fault of the job is none.
    """

    state: JobState
    reason: MoveReason
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    retry_after_seconds: float = 0.0
    counts: bool = True


# a run's end is written also when PostgreSQL is away for a moment
_patiently = stamina.retry(on=ServiceUnavailable, attempts=None, timeout=60.0, wait_max=2.0)


async def take(connection: AsyncConnection, job_ids: Mapping[int, int], worker: str) -> dict[int, Row[Any]]:
    """Make jobs this worker's: entry of the queue -> job id. Returns entry -> row; those not to be run are absent.

    A higher epoch shuts out whoever had one before. A job that somebody asked to
    cancel, or that ended its process `max_attempts` times, ends here.
    """
    taken = {row.queue_id: row for row in await jobs.take_jobs(connection, job_ids, worker, _TOLD_OF_TAKING)}
    if left := [job_id for entry_id, job_id in job_ids.items() if entry_id not in taken]:
        # who is locked is being moved by somebody, who may wait for the entry that is held here
        rows = await jobs.lock_jobs(connection, left, skip_locked=True)
        ours = [row for row in rows if row.queue_id in job_ids]
        await _write_ends(connection, [(row, end) for row in ours if (end := _end_before_its_run(row))])
    for row in taken.values():
        _count_taking(row)
    return taken


def _told(reason: MoveReason) -> Mapping[str, str]:
    _, message, facts = state_event(JobState.RUNNING, reason)
    return {"message": message, "reason": facts["reason"]}


_TOLD_OF_TAKING = {"QUEUED": _told(MoveReason.TAKEN), "RUNNING": _told(MoveReason.RESCUED)}


def _end_before_its_run(row: Row[Any]) -> End | None:
    """Return how a job ends that is not to be run; None if it has ended, or was only passed over."""
    is_worn_out = row.attempts >= row.max_attempts
    if JobState(row.state).is_final or not (row.cancel_requested_at or is_worn_out):
        return None
    if row.cancel_requested_at:
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    return End(JobState.FAILED, MoveReason.GAVE_UP, failure=failure_of(JobGaveUp(row.attempts)))


@_patiently
async def finish(resources: Resources, ends: Sequence[tuple[Row[Any], End]]) -> list[End | None]:
    """Write how runs ended that were taken as these rows; returns how each did, None where it has lost its job.

    Their entries in the queue end, or wait again, in the same transaction. A job
    that somebody has asked to cancel ends instead of waiting again.
    """
    topics = [job_topic(row.id) for row, _ in ends]
    async with resources.events.telling(topics) as connection:
        written = await _write_ends(connection, ends)
    return [written.get(row.id) for row, _ in ends]


async def _write_ends(connection: AsyncConnection, ends: Sequence[tuple[Row[Any], End]]) -> dict[int, End]:
    if not ends:
        return {}
    moved = await jobs.end_jobs(connection, [_ended(row, end) for row, end in ends])
    written = {row.id: end for row, end in ends if row.id in moved}
    written |= await _end_cancelled(
        connection, [row for row, end in ends if not end.state.is_final and row.id not in moved]
    )
    final = {job_id for job_id, end in written.items() if end.state.is_final}
    if claiming := [row.id for row, _ in ends if row.id in final and row.arguments.get("claims")]:
        await monitorings.note_ends(connection, claiming)
        await jobs.release_groups(connection, claiming)
    return written


async def _end_cancelled(connection: AsyncConnection, rows: Sequence[Row[Any]]) -> dict[int, End]:
    """End those of these jobs, which were not to wait again, that somebody has asked to cancel."""
    if not rows:
        return {}
    end = End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    # not locked: a request to cancel stays, and the end is written only if this run still has the job
    wished = await jobs.cancelled_among(connection, [row.id for row in rows])
    moved = await jobs.end_jobs(connection, [_ended(row, end) for row in rows if row.id in wished])
    return dict.fromkeys(moved, end)


def _ended(row: Row[Any], end: End) -> jobs.Ended:
    events: list[tuple[str, str, Mapping[str, Any]]] = []
    if end.failure and not end.state.is_final:
        events.append((JobEventKind.ATTEMPT_FAILED.value, end.failure["message"], {"failure": end.failure}))
    facts = {"failure": end.failure} if end.failure and end.state.is_final else {}
    events.append(state_event(end.state, end.reason, facts))
    return jobs.Ended(
        id=row.id,
        epoch=row.epoch,
        # Only from the state in which the run has it. One that was declared dead may come back after its job has
        # ended, and was queued again by somebody: none of that raises the epoch.
        former=tuple(state for state in FORMER[end.state] if state == row.state),
        state=end.state.value,
        is_final=end.state.is_final,
        result=end.result,
        failure=end.failure,
        retry_after_seconds=end.retry_after_seconds,
        is_attempt=end.counts,
        events=events,
    )


def _count_taking(row: Row[Any]) -> None:
    if row.former == JobState.RUNNING.value:
        metrics.jobs_rescued.labels(row.kind).inc()
    else:
        metrics.job_waiting_seconds.labels(row.kind).observe((row.heartbeat_at - row.queued_at).total_seconds())


def end_of_run(row: Row[Any], body: "asyncio.Future[dict[str, Any]]", order: Order | None) -> End | None:
    """Decide how a run ended that was taken as `row`; None if the job is another worker's now.

    `body` has ended, but for one that was ordered to and does not; `order` is
    what it was told. One that came to its end nevertheless has done its work.
    """
    error = body.exception() if body.done() and not body.cancelled() else asyncio.CancelledError()
    if order is Order.LET_GO or isinstance(error, TakenAway):
        return None
    if error is None:
        return End(JobState.SUCCEEDED, MoveReason.DONE, result=body.result())
    if order is None:
        return end_of_failure(error, row)
    if not isinstance(error, asyncio.CancelledError):
        log.info("body_ended", order=order.value, reason=type(error).__name__)
    return _end_of_order(order, row)


def _end_of_order(order: Order, row: Row[Any]) -> End:
    if order is Order.CANCEL:
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    if order is Order.TIME_IS_UP:
        failure = failure_of(JobTimedOut(row.timeout_seconds))
        return End(JobState.FAILED, MoveReason.TIMED_OUT, failure=failure)
    return End(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False)


def end_of_failure(error: BaseException, row: Row[Any]) -> End:
    """Decide what follows from an exception: another try where it may soon pass and tries are left, else FAILED.

    That PostgreSQL was away is no fault of the job, so that try is not counted.
    """
    if isinstance(error, CancelRequested):
        return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
    if isinstance(error, Fault):
        failure = failure_of(error)
        wait_seconds = _wait_seconds(error)
        counts = not isinstance(error, ServiceUnavailable) or row.epoch >= MOST_TAKINGS
        has_tries_left = row.attempts < row.max_attempts or not counts
        if error.passes and has_tries_left and wait_seconds <= LONGEST_BACKOFF_SECONDS:
            # a fault that knows when it passes is not asked again before
            wait_seconds = max(_backoff_seconds(row.attempts), wait_seconds)
            return End(JobState.QUEUED, MoveReason.FAILURE_MAY_PASS, None, failure, wait_seconds, counts=counts)
        return End(JobState.FAILED, MoveReason.FAILURE, failure=failure)
    error_id = uuid4().hex[:12]
    log.error("job_crashed", error_id=error_id, exc_info=error)
    message = f"An unexpected error ended the job. Its trace is in the log under {error_id}."
    failure = {"code": ErrorCode.INTERNAL.value, "message": message, "facts": {"errorId": error_id}}
    return End(JobState.FAILED, MoveReason.CRASHED, failure=failure)


def _wait_seconds(fault: Fault) -> float:
    """Return after how many seconds a fault says that it passes; 0 where it does not say."""
    return float(fault.facts().get("retryAfterSeconds", 0.0))


def failure_of(fault: Fault) -> dict[str, Any]:
    """Return a fault as a job's row holds it."""
    return {"code": fault.code.value, "message": fault.message, "facts": fault.facts()}


def _backoff_seconds(attempt: int) -> float:
    longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
