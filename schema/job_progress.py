"""Following jobs: what happens to one of them, over graphql-transport-ws."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import strawberry

from app.errors import Fault
from app.jobs.follow import follow
from schema.context import Info
from schema.errors import JobNotFoundError, ValidationFailedError, error_of
from schema.jobs import Job, JobEvent
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
    JobProgress | JobNotFoundError | ValidationFailedError,
    strawberry.union(
        "JobProgressEvent", description="A message about a job, or why there are none; then the last one."
    ),
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
            int, strawberry.argument(description="The last `seq` that is known already; 0 for everything.")
        ] = 0,
    ) -> AsyncIterator[JobProgressEvent]:
        """Follow a job."""
        try:
            key = key_of(job_id, "Job", "jobId")
            async with aclosing(follow(info.context.resources, key[0], after_seq)) as changes:
                async for change in changes:
                    event = JobEvent.of(change.event) if change.event else None
                    yield JobProgress(seq=change.seq, job=Job.of(change.job), event=event)
        except Fault as fault:
            yield error_of(fault)  # type: ignore[misc]  # the union lists what `follow` raises
