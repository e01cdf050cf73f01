"""Following jobs: what happens to one of them, and which ones change, over graphql-transport-ws."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import strawberry

from app.errors import Fault
from app.jobs.follow import follow, follow_all
from app.store.jobs import JobConditions
from schema.context import Info
from schema.errors import JobNotFoundError, SubscriberTooSlowError, ValidationFailedError, error_of
from schema.jobs import Job, JobEvent, JobFilter
from schema.node import key_of


@strawberry.type(description="A job as it is now, with an event that has happened to it, or just with new progress.")
class JobProgress:
    """A message about a job."""

    seq: int = strawberry.field(
        description="The last event that was told. Give it as `afterSeq` after a lost connection: nothing is missed."
    )
    job: Job = strawberry.field(description="The job as it is now.")
    event: JobEvent | None = strawberry.field(description="What has happened; null where only progress was made.")


JobProgressEvent = Annotated[
    JobProgress | JobNotFoundError | ValidationFailedError | SubscriberTooSlowError,
    strawberry.union(
        "JobProgressEvent", description="A message about a job, or why there are none; then the last one."
    ),
]


@strawberry.type(description="A job that has changed.")
class JobChanged:
    """A message about one of many jobs."""

    job: Job = strawberry.field(description="The job as it is now.")
    is_matching: bool = strawberry.field(
        description="Whether it meets the filter. False for one that did and no longer does: take it off the list."
    )


JobChange = Annotated[
    JobChanged | SubscriberTooSlowError,
    strawberry.union("JobChange", description="A job that has changed, or why no more are told; then the last one."),
]


@strawberry.type
class JobSubscription:
    """The subscriptions of this file."""

    @strawberry.subscription(
        description="Follow a job to its end: every event once and in order, progress up to five times a second."
    )
    async def job_progress(
        self,
        info: Info,
        job_id: Annotated[strawberry.ID, strawberry.argument(description="The global id of the job.")],
        after_seq: Annotated[
            int | None,
            strawberry.argument(description="The last `seq` that is known already; null or 0 for everything."),
        ] = None,
    ) -> AsyncIterator[JobProgressEvent]:
        """Follow a job."""
        try:
            key = key_of(job_id, "Job", "jobId")
            async with aclosing(follow(info.context.resources, key[0], after_seq or 0)) as changes:
                async for change in changes:
                    event = JobEvent.of(change.event) if change.event else None
                    yield JobProgress(seq=change.seq, job=Job.of(change.job), event=event)
        except Fault as fault:
            yield error_of(fault)  # type: ignore[misc]  # the union lists what `follow` raises

    @strawberry.subscription(
        description="Follow all jobs: first those that have not ended, then each that changes, up to five times a "
        "second."
    )
    async def jobs(
        self,
        info: Info,
        filter: Annotated[JobFilter | None, strawberry.argument(description="Which jobs are wanted.")] = None,
    ) -> AsyncIterator[JobChange]:
        """Follow all jobs."""
        conditions = filter.conditions() if filter else JobConditions()
        try:
            async with aclosing(follow_all(info.context.resources, conditions)) as changes:
                async for change in changes:
                    yield JobChanged(job=Job.of(change.job), is_matching=change.is_matching)
        except Fault as fault:
            yield error_of(fault)  # type: ignore[misc]  # the union lists what `follow_all` raises
