"""Jobs: their types and queries. The mutations are in `job_changes`."""

from collections.abc import Awaitable
from datetime import datetime
from enum import Enum

import strawberry
from strawberry.scalars import JSON

from app.background import DEFINITIONS
from app.errors import ErrorCode, JobAlreadyRunning
from app.job_states import JobEventKind, JobPriority, JobState
from app.json_models import from_json
from app.json_types import JsonObject
from app.store import entries, jobs
from app.store.keyset import Key
from app.store.rows import FollowedJobRow, HeartbeatAgeRow, JobEventRow, QueuePositionRow, StoredFailure
from app.work.kinds import JobKind
from schema.conditions import conditions_of
from schema.context import Info
from schema.enums import described
from schema.errors import Error
from schema.job_results import JobResult, result_of
from schema.loaders import Loader, rows_loader, values_loader
from schema.node import Id, Node, key_of, relation
from schema.paging import (
    After,
    Before,
    ChildrenLoader,
    ChildrenRequest,
    Connection,
    First,
    Last,
    PageArguments,
    all_of,
    children_loader,
)
from schema.scalars import as_int
from schema.wall import GROUPS, Group


def _heartbeat_age(row: HeartbeatAgeRow) -> float:
    return round(float(row.seconds), 3)


JOBS: Loader[Key, "Job | None"] = rows_loader(jobs.jobs_by_key, lambda: Job)
QUEUE_POSITIONS_BY_JOB: Loader[Key, "QueuePosition | None"] = rows_loader(
    entries.queue_positions_by_job, lambda: QueuePosition
)
HEARTBEAT_AGES_BY_JOB: Loader[Key, float | None] = values_loader(None, jobs.heartbeat_ages_by_job, _heartbeat_age)
EVENTS_BY_JOB: ChildrenLoader[None, "JobEvent"] = children_loader(
    jobs.events_by_job, jobs.count_events_by_job, lambda: JobEvent
)


class JobOrder(Enum):
    """Orderings of jobs."""

    NEWEST = jobs.NEWEST
    OLDEST = jobs.OLDEST


described(
    JobOrder,
    "The orderings of jobs, by creation time.",
    {JobOrder.NEWEST: "The newest first.", JobOrder.OLDEST: "The oldest first."},
)


@strawberry.input(description="Selects jobs; all conditions must hold. An omitted condition does not restrict.")
class JobFilter:
    """Selects jobs."""

    kinds: list[JobKind] | None = strawberry.field(default=None, description="Jobs of these kinds.")
    states: list[JobState] | None = strawberry.field(default=None, description="Jobs in these states.")

    def conditions(self) -> jobs.JobConditions:
        """Return the filter as conditions of the store."""
        return conditions_of(jobs.JobConditions, self)

    @staticmethod
    def everything() -> jobs.JobConditions:
        """Return conditions that select everything."""
        return jobs.JobConditions()


@strawberry.type(description="The progress of a job.")
class Progress:
    """The progress of a job."""

    done: int = strawberry.field(description="The number of units done; for a collection, comments.")
    total: int | None = strawberry.field(description="The total number of units; null while unknown.")
    stage: str = strawberry.field(description="The current stage.")
    message: str | None = strawberry.field(description="Details for people: `12 of 60 posts`.")
    rate_per_second: float | None = strawberry.field(
        description="Units per second, smoothed over some seconds; null while unknown or if the job is not running."
    )
    eta_seconds: float | None = strawberry.field(
        description="The estimated remaining time at this rate; null while unknown."
    )
    percent: float | None = strawberry.field(
        description="The share of the total that is done, 0 to 100; null while the total is unknown."
    )

    @classmethod
    def of(cls, row: FollowedJobRow) -> "Progress":
        """Convert a job's row."""
        left = None if row.total is None else max(0, row.total - row.done)
        rate = row.rate_per_second if row.state is JobState.RUNNING else None
        share = None if row.total is None else min(1.0, row.done / row.total) if row.total else 1.0
        return cls(
            done=row.done,
            total=None if row.total is None else as_int(row.total),
            stage=row.stage,
            message=row.message,
            rate_per_second=None if rate is None else round(rate, 1),
            eta_seconds=round(left / rate, 1) if rate and left is not None else None,
            percent=None if share is None else round(100 * share, 1),
        )


@strawberry.type(description="Why a job, or one attempt, has failed.")
class JobFailure(Error):
    """A stored failure."""

    facts: JSON = strawberry.field(description="The facts of the failure, such as `retryAfterSeconds`.")

    @classmethod
    def of_stored(cls, stored: StoredFailure | None) -> "JobFailure | None":
        """Convert a stored failure; None if nothing is stored."""
        if stored is None:
            return None
        return cls(message=stored["message"], code=ErrorCode(stored["code"]), facts=JSON(stored["facts"]))


@strawberry.type(description="A stored event of a job.")
class JobEvent:
    """An event of a job."""

    seq: int = strawberry.field(description="The sequence number within the job: 1, 2, 3 ... without gaps.")
    at: datetime = strawberry.field(description="When it happened.")
    kind: JobEventKind = strawberry.field(description="What the event reports.")
    message: str = strawberry.field(description="What happened, in a sentence.")
    facts: JSON = strawberry.field(description="The facts of the event.")

    @classmethod
    def of(cls, row: JobEventRow) -> "JobEvent":
        """Convert an event's row."""
        return cls(seq=row.seq, at=row.at, kind=row.kind, message=row.message, facts=JSON(row.facts))


@strawberry.type(description="The position of a waiting job in the queue.")
class QueuePosition:
    """A position in the queue."""

    position: int = strawberry.field(
        description="1: the next job to be claimed, over all kinds. The priority of a waiting job rises with "
        "time, up to HIGH."
    )
    not_before: datetime | None = strawberry.field(
        description="When it will be retried after a transient failure; null: it can be claimed at once."
    )

    @classmethod
    def of(cls, row: QueuePositionRow) -> "QueuePosition":
        """Convert a row."""
        return cls(position=row.position, not_before=row.not_before)


@strawberry.type(description="A background job.")
class Job(Node):
    """A job."""

    arguments: strawberry.Private[JsonObject]
    kind: JobKind = strawberry.field(description="What the job does.")
    state: JobState = strawberry.field(description="The state of the job.")
    priority: JobPriority = strawberry.field(description="The priority in the queue.")
    progress: Progress = strawberry.field(description="The progress.")
    attempts: int = strawberry.field(description="The number of attempts so far.")
    max_attempts: int = strawberry.field(description="The maximum number of attempts.")
    timeout_seconds: float = strawberry.field(description="The timeout of one attempt, in seconds.")
    worker: str | None = strawberry.field(description="The worker that runs it: its name in `jobStats`.")
    heartbeat_age_seconds: float | None = relation(
        HEARTBEAT_AGES_BY_JOB,
        lambda job: job.key,
        float | None,
        "The seconds since the last heartbeat of the worker that runs it; null unless it is running.",
    )
    queue_position: QueuePosition | None = relation(
        QUEUE_POSITIONS_BY_JOB,
        lambda job: job.key,
        QueuePosition | None,
        "Its position in the queue; null unless it is waiting.",
    )
    created_at: datetime = strawberry.field(description="When it was created.")
    started_at: datetime | None = strawberry.field(description="When it was first started; null if it was not.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null if it has not.")
    cancel_requested_at: datetime | None = strawberry.field(
        description="When its cancellation was requested; null if it was not."
    )
    failure: Error | None = strawberry.field(
        description="Why the job, or its last attempt, has failed; null if it has not."
    )
    result: JobResult | None = strawberry.field(
        description="The result; null until it has succeeded, and mostly null if it has failed: a collection "
        "that VK refused half-way returns what it had read."
    )

    @strawberry.field(description="The communities of the job that still exist.")
    async def groups(self, info: Info) -> list[Group]:
        """Return the communities."""
        definition = DEFINITIONS[self.kind.value]
        owner_ids = definition.groups(from_json(definition.arguments, self.arguments))
        found = await info.context.loaders.of(GROUPS).load_many([(owner_id,) for owner_id in owner_ids])
        return [group for group in found if group]

    @strawberry.field(description="The events of the job, in order.", graphql_type=Connection[JobEvent])
    def events(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Awaitable[Connection[JobEvent]]:
        """Return a page of the events."""
        page = PageArguments(first, after, last, before).page(jobs.BY_SEQ)
        return info.context.loaders.load(EVENTS_BY_JOB, (self.key, ChildrenRequest(page, None)))

    @classmethod
    def of(cls, row: FollowedJobRow) -> "Job":
        """Convert a job's row."""
        return cls(
            key=(row.id,),
            arguments=row.arguments,
            kind=JobKind(row.kind),
            state=row.state,
            priority=JobPriority(row.priority),
            progress=Progress.of(row),
            attempts=row.attempts,
            max_attempts=row.max_attempts,
            timeout_seconds=row.timeout_seconds,
            worker=row.worker,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            cancel_requested_at=row.cancel_requested_at,
            failure=JobFailure.of_stored(row.failure),
            result=None if row.result is None else result_of(JobKind(row.kind), row.id, row.result),
        )


@strawberry.type
class JobQuery:
    """The queries of this file."""

    @strawberry.field(description="A job; null if it does not exist.", graphql_type=Job | None)
    def job(self, info: Info, id: Id) -> Awaitable[Job | None]:
        """Return a job."""
        return info.context.loaders.load(JOBS, key_of(id, "Job"))

    jobs: Connection[Job] = all_of(
        Connection[Job], Job.of, "All jobs.", JobFilter, JobOrder.NEWEST, jobs.jobs_page, jobs.count_jobs
    )


@strawberry.type(
    description="A community is being collected or removed already, and nothing was started. Follow that job."
)
class JobAlreadyRunningError(Error, fault=JobAlreadyRunning):
    """A community is busy."""

    job_id: strawberry.Private[int]
    job: Job = relation(JOBS, lambda error: (error.job_id,), Job, "The job that collects or removes the community.")
