"""The mutations that start a collection, and cancel, retry and remove jobs."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.actions.start_collection import start_collection
from app.job_states import JobPriority
from app.jobs import queue
from app.jobs.upkeep import remove_finished
from schema.context import Info
from schema.errors import (
    GroupNotFoundError,
    JobNotFoundError,
    JobStateConflictError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.jobs import Job, JobAlreadyRunningError
from schema.node import key_of


@strawberry.input(description="What to collect: communities, single posts of communities, or both.")
class StartCollectionInput:
    """The input of startCollection."""

    group_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Communities that have been added, by global id."
    )
    post_urls: list[str] = strawberry.field(
        default_factory=list,
        description="Links to single posts of communities that have been added. A post can be collected while "
        "its community is being collected.",
    )
    since: datetime | None = strawberry.field(default=None, description="Only posts published at this time or later.")
    max_posts_per_group: int | None = strawberry.field(
        default=None, description="Only this number of posts per community, newest first; null: all."
    )
    full: bool = strawberry.field(
        default=False,
        description="Read all comments again, including those of posts and threads whose counts have not "
        "changed, to detect edits and deletions.",
    )
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="The priority of the job.")
    timeout_seconds: float | None = strawberry.field(
        default=None, description="The timeout of one attempt, in seconds."
    )


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
    strawberry.union("StartCollectionResult", description="The result of startCollection."),
]


@strawberry.input(description="Which job to cancel.")
class CancelJobInput:
    """The input of cancelJob."""

    job_id: strawberry.ID = strawberry.field(description="The global id of the job.")


@strawberry.type(description="The job was cancelled, or its worker was notified to stop it.")
class CancelJobSuccess:
    """A job was cancelled."""

    job: Job = strawberry.field(description="The job; a running one ends within a second.")


CancelJobResult = Annotated[
    CancelJobSuccess | JobNotFoundError | JobStateConflictError | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("CancelJobResult", description="The result of cancelJob."),
]


@strawberry.input(description="Which job to retry.")
class RetryJobInput:
    """The input of retryJob."""

    job_id: strawberry.ID = strawberry.field(description="The global id of a failed or cancelled job.")


@strawberry.type(description="The job waits for a worker again and will resume from its checkpoint.")
class RetryJobSuccess:
    """A job was enqueued again."""

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
    strawberry.union("RetryJobResult", description="The result of retryJob."),
]


@strawberry.input(description="Which ended jobs to remove.")
class RemoveFinishedJobsInput:
    """The input of removeFinishedJobs."""

    older_than: datetime | None = strawberry.field(
        default=None, description="Only jobs that ended before this time; null: all ended jobs."
    )


@strawberry.type(
    description="The jobs are removed, with their events. The data that they stored stays, except export files."
)
class RemoveFinishedJobsSuccess:
    """Jobs were removed."""

    removed_count: int = strawberry.field(description="The number of removed jobs.")


RemoveFinishedJobsResult = Annotated[
    RemoveFinishedJobsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("RemoveFinishedJobsResult", description="The result of removeFinishedJobs."),
]


@strawberry.type
class JobMutation:
    """The mutations of this file."""

    @strawberry.mutation(
        description="Collect the comments of communities. If one of `groupIds` is busy, no job starts."
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

    @strawberry.mutation(description="Cancel a job. The data that it has stored stays.")
    async def cancel_job(
        self,
        info: Info,
        input: Annotated[CancelJobInput, strawberry.argument(description="Which job.")],
    ) -> CancelJobResult:
        """Cancel a job."""
        row = await queue.cancel(info.context.resources, key_of(input.job_id, "Job", "jobId")[0])
        return CancelJobSuccess(job=Job.of(row))

    @strawberry.mutation(description="Retry a failed or cancelled job; it resumes from its checkpoint.")
    async def retry_job(
        self,
        info: Info,
        input: Annotated[RetryJobInput, strawberry.argument(description="Which job.")],
    ) -> RetryJobResult:
        """Retry a job."""
        row = await queue.retry(info.context.resources, key_of(input.job_id, "Job", "jobId")[0])
        return RetryJobSuccess(job=Job.of(row))

    @strawberry.mutation(description="Remove ended jobs. Waiting and running jobs stay.")
    async def remove_finished_jobs(
        self,
        info: Info,
        input: Annotated[RemoveFinishedJobsInput, strawberry.argument(description="Which jobs.")],
    ) -> RemoveFinishedJobsResult:
        """Remove jobs."""
        return RemoveFinishedJobsSuccess(removed_count=await remove_finished(info.context.resources, input.older_than))
