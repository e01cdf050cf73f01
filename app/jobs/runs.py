"""How a run of a job begins and ends: the moves of its row, each checked against the state it was in."""

import random
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import stamina
from sqlalchemy import Row, func
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.errors import ErrorCode, Fault, JobGaveUp, ServiceUnavailable
from app.events import job_topic
from app.jobs.queue import add_state_event
from app.jobs.states import FORMER, JobEventKind, JobState, MoveReason
from app.log import log
from app.resources import Resources
from app.store import jobs

FIRST_BACKOFF_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: the state the job goes to, and what else becomes of it.

    With QUEUED it is tried again after `retry_after_seconds`; `counts` says
    whether this run was one of its attempts.
    """

    state: JobState
    reason: MoveReason
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    retry_after_seconds: float = 0.0
    counts: bool = True


# a run begins and ends also when PostgreSQL is away for a moment
_patiently = stamina.retry(on=ServiceUnavailable, attempts=None, timeout=60.0, wait_max=2.0)


@_patiently
async def take(resources: Resources, job_id: int, worker: str) -> Row[Any] | None:
    """Make a job this worker's and return its row, or None if there is nothing to run.

    A higher epoch shuts out whoever had it before. A job that somebody asked to
    cancel, or that ended its process `max_attempts` times, ends here.
    """
    async with resources.events.telling([job_topic(job_id)]) as connection:
        row = await jobs.job_by_id(connection, job_id)
        if row is None or JobState(row.state).is_final:
            return None
        if row.cancel_requested_at:
            taken = await _end(connection, row, End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED))
        elif row.attempts >= row.max_attempts:
            failure = failure_of(JobGaveUp(row.attempts))
            taken = await _end(connection, row, End(JobState.FAILED, MoveReason.GAVE_UP, failure=failure))
        else:
            taken = await jobs.take_job(connection, job_id, row.epoch, FORMER[JobState.RUNNING], worker)
            if taken:
                reason = MoveReason.RESCUED if row.state == JobState.RUNNING.value else MoveReason.TAKEN
                facts = {"attempt": taken.attempts, "worker": worker}
                await add_state_event(connection, job_id, JobState.RUNNING, reason, facts)
    return taken if taken and taken.state == JobState.RUNNING.value else None


@_patiently
async def finish(resources: Resources, row: Row[Any], end: End) -> bool:
    """Write how the run that took `row` ended; False if the job is no longer this run's."""
    async with resources.events.telling([job_topic(row.id)]) as connection:
        moved = await _end(connection, row, end)
    if moved is None:
        log.warning("job_taken_away")
        return False
    metrics.jobs_ended.labels(row.kind, end.state.value).inc()
    log.info("job_ended", state=end.state.value, reason=end.reason.value, failure=end.failure)
    return True


async def _end(connection: AsyncConnection, row: Row[Any], end: End) -> Row[Any] | None:
    values: dict[str, Any] = {"state": end.state.value, "failure": end.failure, "worker": None}
    if end.state.is_final:
        values |= {"finished_at": func.now(), "result": end.result, "rate_per_second": None}
    else:
        values["queued_at"] = func.now()
    if not end.counts:
        values["attempts"] = row.attempts - 1
    moved = await jobs.move_job(connection, row.id, former=FORMER[end.state], epoch=row.epoch, values=values)
    if moved is None:
        return None
    if end.failure and not end.state.is_final:
        await jobs.add_event(
            connection, row.id, JobEventKind.ATTEMPT_FAILED.value, end.failure["message"], {"failure": end.failure}
        )
    if end.state.is_final:
        await jobs.release_groups(connection, row.id)
    facts = {"failure": end.failure} if end.failure and end.state.is_final else {}
    await add_state_event(connection, row.id, end.state, end.reason, facts)
    return moved


def end_of_failure(error: BaseException, row: Row[Any]) -> End:
    """Decide what follows from an exception: another try where it may soon pass and tries are left, else FAILED."""
    if isinstance(error, Fault):
        failure = failure_of(error)
        wait_seconds = _wait_seconds(error)
        if error.passes and row.attempts < row.max_attempts and wait_seconds <= LONGEST_BACKOFF_SECONDS:
            # a fault that knows when it passes is not asked again before
            wait_seconds = max(_backoff_seconds(row.attempts), wait_seconds)
            return End(JobState.QUEUED, MoveReason.FAILURE_MAY_PASS, failure=failure, retry_after_seconds=wait_seconds)
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
