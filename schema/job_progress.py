"""Subscriptions to jobs over graphql-transport-ws: the events of one job, and the changes of all jobs."""

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


@strawberry.type(description="The current state of a job, with an event or only with new progress.")
class JobProgress:
    """A message about a job."""

    seq: int = strawberry.field(
        description="The sequence number of the last event sent. Pass it as `afterSeq` after a lost "
        "connection, so that nothing is missed."
    )
    job: Job = strawberry.field(description="The current state of the job.")
    event: JobEvent | None = strawberry.field(description="The event; null if only the progress has changed.")


JobProgressEvent = Annotated[
    JobProgress | JobNotFoundError | ValidationFailedError | SubscriberTooSlowError,
    strawberry.union(
        "JobProgressEvent",
        description="A message about a job, or as the last message the reason why the subscription ends.",
    ),
]


@strawberry.type(description="A changed job.")
class JobChanged:
    """A message about one of many jobs."""

    job: Job = strawberry.field(description="The current state of the job.")
    is_matching: bool = strawberry.field(
        description="`true`: the job meets the filter; `false`: it did, and no longer does: remove it from the list."
    )


JobChange = Annotated[
    JobChanged | SubscriberTooSlowError,
    strawberry.union(
        "JobChange", description="A changed job, or as the last message the reason why the subscription ends."
    ),
]


@strawberry.type
class JobSubscription:
    """The subscriptions of this file."""

    @strawberry.subscription(
        description="Follow a job until it has ended: every event once and in order, progress at most five "
        "times per second."
    )
    async def job_progress(
        self,
        info: Info,
        job_id: Annotated[strawberry.ID, strawberry.argument(description="The global id of the job.")],
        after_seq: Annotated[
            int | None,
            strawberry.argument(
                description="The last `seq` that the client has received; null or 0: start from the first event."
            ),
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
        description="Follow all jobs: first those that have not ended, then each change, at most five times per second."
    )
    async def jobs(
        self,
        info: Info,
        filter: Annotated[JobFilter | None, strawberry.argument(description="Selects jobs.")] = None,
    ) -> AsyncIterator[JobChange]:
        """Follow all jobs."""
        conditions = filter.conditions() if filter else JobConditions()
        try:
            async with aclosing(follow_all(info.context.resources, conditions)) as changes:
                async for change in changes:
                    yield JobChanged(job=Job.of(change.job), is_matching=change.is_matching)
        except Fault as fault:
            yield error_of(fault)  # type: ignore[misc]  # the union lists what `follow_all` raises
