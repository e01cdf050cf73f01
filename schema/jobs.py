"""Jobs: their type and queries, the mutations that start, cancel and retry them, and following their progress."""

from collections.abc import Awaitable
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from app.actions.start_collection import start_collection
from app.errors import ErrorCode, JobAlreadyRunning
from app.jobs import queue
from app.jobs.states import JobEventKind, JobPriority, JobState
from app.jobs.upkeep import remove_finished
from app.store import jobs
from app.store.keyset import StoredRow
from app.work.collecting.collection import owners_of
from app.work.kinds import JobKind
from schema.conditions import conditions_of
from schema.context import Info
from schema.enums import described
from schema.errors import (
    Error,
    FaultHandler,
    GroupNotFoundError,
    JobNotFoundError,
    JobStateConflictError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.job_results import RESULTS, JobResult
from schema.node import Id, Node, key_of, relation
from schema.paging import After, Before, ChildrenRequest, Connection, First, Last, PageArguments, all_of
from schema.scalars import as_int
from schema.wall import Group


class JobOrder(Enum):
    """Orderings of jobs."""

    NEWEST = jobs.NEWEST
    OLDEST = jobs.OLDEST


described(
    JobOrder,
    "The orderings of jobs, by when they were asked for.",
    {JobOrder.NEWEST: "The newest first.", JobOrder.OLDEST: "The oldest first."},
)


@strawberry.input(description="Which jobs are wanted; all conditions hold. What is left out does not restrict.")
class JobFilter:
    """Restricts jobs."""

    kinds: list[JobKind] | None = strawberry.field(default=None, description="Of one of these kinds.")
    states: list[JobState] | None = strawberry.field(default=None, description="In one of these states.")

    def conditions(self) -> jobs.JobConditions:
        """Return the filter as the store takes it."""
        return conditions_of(jobs.JobConditions, self)

    @staticmethod
    def everything() -> jobs.JobConditions:
        """Return the conditions of no filter."""
        return jobs.JobConditions()


@strawberry.type(description="How far a job is.")
class Progress:
    """Progress of a job."""

    done: int = strawberry.field(description="How much is done; comments, for a collection.")
    total: int | None = strawberry.field(description="How much there is to do; null while that is not known.")
    stage: str = strawberry.field(description="What it is doing.")
    message: str | None = strawberry.field(description="More about it, for people: `12 of 60 posts`.")
    rate_per_second: float | None = strawberry.field(description="How fast it goes, smoothed over some seconds.")
    eta_seconds: float | None = strawberry.field(description="How long it will take at this rate.")
    percent: float | None = strawberry.field(description="How much of the total is done, 0 to 100.")

    @classmethod
    def of(cls, row: StoredRow) -> "Progress":
        """Make the progress of a job's row."""
        left = None if row.total is None else max(0, row.total - row.done)
        rate = row.rate_per_second if row.state == JobState.RUNNING.value else None
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


@strawberry.type(description="Why a job, or one try of it, has failed.")
class JobFailure(Error):
    """A stored failure."""

    facts: JSON = strawberry.field(description="The values behind the message, such as `retryAfterSeconds`.")

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> "JobFailure | None":
        """Make a failure of what a row holds."""
        if stored is None:
            return None
        return cls(message=stored["message"], code=ErrorCode(stored["code"]), facts=JSON(stored["facts"]))


@strawberry.type(description="Something that happened to a job and is kept.")
class JobEvent:
    """An event of a job."""

    seq: int = strawberry.field(description="Its number within the job: 1, 2, 3 ... without gaps.")
    at: datetime = strawberry.field(description="When it happened.")
    kind: JobEventKind = strawberry.field(description="What it tells.")
    message: str = strawberry.field(description="What happened, in a sentence.")
    facts: JSON = strawberry.field(description="The values behind the message.")

    @classmethod
    def of(cls, row: StoredRow) -> "JobEvent":
        """Make an event of its row."""
        return cls(seq=row.seq, at=row.at, kind=JobEventKind(row.kind), message=row.message, facts=row.facts)


@strawberry.type(description="Where a job that waits is in the queue.")
class JobPlace:
    """A place in the queue."""

    position: int = strawberry.field(
        description="1 for the next one to be taken, over all kinds. While a job waits it rises, to HIGH at the most."
    )
    not_before: datetime | None = strawberry.field(
        description="When it will be tried again, after a failure that may pass; null if it can be taken at once."
    )

    @classmethod
    def of(cls, row: StoredRow) -> "JobPlace":
        """Make a place of its row."""
        return cls(position=row.position, not_before=row.not_before)


@strawberry.type(description="Work that is done in the background.")
class Job(Node):
    """A job."""

    group_keys: strawberry.Private[list[tuple[int]]]
    kind: JobKind = strawberry.field(description="What it does.")
    state: JobState = strawberry.field(description="Where it is in its life.")
    priority: JobPriority = strawberry.field(description="How soon it is taken, compared to others.")
    progress: Progress = strawberry.field(description="How far it is.")
    attempts: int = strawberry.field(description="How often it has been tried.")
    max_attempts: int = strawberry.field(description="How often it is tried at the most.")
    timeout_seconds: float = strawberry.field(description="How long one try may take.")
    worker: str | None = strawberry.field(description="Which worker runs it: its name in `jobStats`.")
    heartbeat_age_seconds: float | None = relation(
        "silences_by_job",
        lambda job: job.key,
        float | None,
        "How long ago the process that runs it last showed life; null unless it is being run.",
    )
    place: JobPlace | None = relation(
        "places_by_job", lambda job: job.key, JobPlace | None, "Where it is in the queue; null unless it waits there."
    )
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When it was first begun.")
    finished_at: datetime | None = strawberry.field(description="When it ended.")
    cancel_requested_at: datetime | None = strawberry.field(description="When somebody asked to cancel it.")
    failure: Error | None = strawberry.field(description="Why it, or its last try, has failed.")
    result: JobResult | None = strawberry.field(
        description="What it has brought; null until it has succeeded, and mostly null if it failed: "
        "a collection that VK refused half-way states what it had read."
    )

    @strawberry.field(description="The communities it is about that are still there.", graphql_type=list[Group])
    async def groups(self, info: Info) -> Any:
        """Return the communities."""
        found = await info.context.loaders.groups.load_many(self.group_keys)
        return [group for group in found if group]

    @strawberry.field(description="What has happened to it, in order.", graphql_type=Connection[JobEvent])
    def events(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Any:
        """Return a page of the events."""
        page = PageArguments(first, after, last, before).page(jobs.BY_SEQ)
        return info.context.loaders.events_by_job.load((self.key, ChildrenRequest(page, None)))

    @classmethod
    def of(cls, row: StoredRow) -> "Job":
        """Make a job of its row."""
        return cls(
            key=(row.id,),
            group_keys=[(owner_id,) for owner_id in owners_of(row.arguments)],
            kind=JobKind(row.kind),
            state=JobState(row.state),
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
            failure=JobFailure.of(row.failure),
            result=RESULTS[JobKind(row.kind)](row) if row.result is not None else None,
        )


@strawberry.type
class JobQuery:
    """The queries of this file."""

    @strawberry.field(description="One job; null if there is none with this id.", graphql_type=Job | None)
    def job(self, info: Info, id: Id) -> Awaitable[Job | None]:
        """Find a job."""
        return info.context.loaders.jobs.load(key_of(id, "Job"))

    jobs: Connection[Job] = all_of(
        Job, "All jobs.", JobFilter, JobOrder, JobOrder.NEWEST, jobs.jobs_page, jobs.count_jobs
    )


# mutations


@strawberry.type(
    description="A community is being collected, or removed, already, and nothing was started. Follow that job."
)
class JobAlreadyRunningError(Error):
    """A community is busy."""

    job_id: strawberry.Private[int]
    job: Job = relation("jobs", lambda error: (error.job_id,), Job, "The job that collects it.")


@strawberry.input(description="What to collect: communities, single posts of communities, or both.")
class StartCollectionInput:
    """The input of startCollection."""

    group_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Communities that have been added, by their global ids."
    )
    post_urls: list[str] = strawberry.field(
        default_factory=list,
        description="Links to single posts of communities that have been added. They may be collected "
        "also while their community is.",
    )
    since: datetime | None = strawberry.field(default=None, description="Only posts published at this time or later.")
    max_posts_per_group: int | None = strawberry.field(
        default=None, description="Only so many posts of each community, the newest ones."
    )
    full: bool = strawberry.field(
        default=False,
        description="Read all comments again, also of posts and threads whose numbers have not changed: so edits and "
        "deletions are noticed.",
    )
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="How soon the job is taken.")
    timeout_seconds: float | None = strawberry.field(default=None, description="How long one try may take.")


@strawberry.type(description="The collection waits for a worker. Follow it with `jobProgress`.")
class StartCollectionSuccess:
    """A collection was started."""

    job: Job = strawberry.field(description="The job that collects.")


StartCollectionResult = Annotated[
    StartCollectionSuccess
    | GroupNotFoundError
    | ValidationFailedError
    | JobAlreadyRunningError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("StartCollectionResult", description="What became of startCollection."),
]


@strawberry.input(description="Which job to cancel.")
class CancelJobInput:
    """The input of cancelJob."""

    job_id: strawberry.ID = strawberry.field(description="The global id of the job.")


@strawberry.type(description="The job was cancelled, or its worker was told to end it.")
class CancelJobSuccess:
    """A job was cancelled."""

    job: Job = strawberry.field(description="The job; a running one ends within a second.")


CancelJobResult = Annotated[
    CancelJobSuccess | JobNotFoundError | JobStateConflictError | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("CancelJobResult", description="What became of cancelJob."),
]


@strawberry.input(description="Which job to try again.")
class RetryJobInput:
    """The input of retryJob."""

    job_id: strawberry.ID = strawberry.field(description="The global id of a failed or cancelled job.")


@strawberry.type(description="The job waits for a worker again and will go on from where it was.")
class RetryJobSuccess:
    """A job was put back into the queue."""

    job: Job = strawberry.field(description="The job.")


RetryJobResult = Annotated[
    RetryJobSuccess
    | JobNotFoundError
    | JobStateConflictError
    | GroupNotFoundError
    | JobAlreadyRunningError
    | QueueFullError
    | ValidationFailedError
    | ServiceUnavailableError,
    strawberry.union("RetryJobResult", description="What became of retryJob."),
]


@strawberry.input(description="Which of the jobs that have ended to remove.")
class RemoveFinishedJobsInput:
    """The input of removeFinishedJobs."""

    older_than: datetime | None = strawberry.field(
        default=None, description="Only those that ended before this time; all if it is left out."
    )


@strawberry.type(
    description="The jobs are removed, with their events. What they have stored stays, but for files of exports."
)
class RemoveFinishedJobsSuccess:
    """Jobs were removed."""

    removed_count: int = strawberry.field(description="How many there were.")


RemoveFinishedJobsResult = Annotated[
    RemoveFinishedJobsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("RemoveFinishedJobsResult", description="What became of removeFinishedJobs."),
]


@strawberry.type
class JobMutation:
    """The mutations of this file."""

    @strawberry.mutation(
        description="Collect the comments of communities. If one of `groupIds` is busy, nothing starts."
    )
    async def start_collection(
        self,
        info: Info,
        input: Annotated[StartCollectionInput, strawberry.argument(description="What to collect.")],
    ) -> StartCollectionResult:
        """Start a collection."""
        row = await start_collection(
            info.context.resources,
            owner_ids=[key_of(value, "Group", f"groupIds.{number}")[0] for number, value in enumerate(input.group_ids)],
            post_urls=input.post_urls,
            since=input.since,
            max_posts=input.max_posts_per_group,
            full=input.full,
            priority=input.priority,
            timeout_seconds=input.timeout_seconds,
        )
        return StartCollectionSuccess(job=Job.of(row))

    @strawberry.mutation(description="End a job. What it has stored stays.")
    async def cancel_job(
        self,
        info: Info,
        input: Annotated[CancelJobInput, strawberry.argument(description="Which job.")],
    ) -> CancelJobResult:
        """Cancel a job."""
        row = await queue.cancel(info.context.resources, key_of(input.job_id, "Job", "jobId")[0])
        return CancelJobSuccess(job=Job.of(row))

    @strawberry.mutation(description="Try a failed or cancelled job again, from where it was.")
    async def retry_job(
        self,
        info: Info,
        input: Annotated[RetryJobInput, strawberry.argument(description="Which job.")],
    ) -> RetryJobResult:
        """Retry a job."""
        row = await queue.retry(info.context.resources, key_of(input.job_id, "Job", "jobId")[0])
        return RetryJobSuccess(job=Job.of(row))

    @strawberry.mutation(description="Remove jobs that have ended. Those that wait or run stay.")
    async def remove_finished_jobs(
        self,
        info: Info,
        input: Annotated[RemoveFinishedJobsInput, strawberry.argument(description="Which jobs.")],
    ) -> RemoveFinishedJobsResult:
        """Remove jobs."""
        return RemoveFinishedJobsSuccess(removed_count=await remove_finished(info.context.resources, input.older_than))


JOB_HANDLERS = [FaultHandler(JobAlreadyRunning, JobAlreadyRunningError, lambda fault: {"job_id": fault.job_id})]
"""The faults whose types are in this file, beside those of `schema.errors`."""
