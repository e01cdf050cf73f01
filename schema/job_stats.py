"""Statistics of all jobs: how many there are, how long they wait and run, and which workers run them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import strawberry

from app.errors import ValidationFailed
from app.job_states import JobState
from app.store import job_stats, workers
from app.store.rows import ActiveWorkerRow, JobTimesRow
from app.work.kinds import JobKind
from schema.context import Info

LONGEST_HOURS = 24 * 31


@strawberry.type(description="The number of jobs of one kind in one state.")
class JobCount:
    """A count."""

    kind: JobKind = strawberry.field(description="The kind.")
    state: JobState = strawberry.field(description="The state.")
    count: int = strawberry.field(
        description="The number of jobs: of waiting and running ones all, of ended ones those within `lastHours`."
    )


@strawberry.type(description="Percentiles of a duration over many jobs, in seconds.")
class Percentiles:
    """Percentiles of a duration."""

    p50: float = strawberry.field(description="The median.")
    p90: float = strawberry.field(description="90 % took no longer.")
    p99: float = strawberry.field(description="99 % took no longer.")
    max: float = strawberry.field(description="The maximum.")

    @classmethod
    def of(cls, values: Sequence[float | None] | None) -> "Percentiles | None":
        """Convert a row's list; None if nothing was measured."""
        numbers = [round(value, 3) for value in values or () if value is not None]
        return cls(p50=numbers[0], p90=numbers[1], p99=numbers[2], max=numbers[3]) if numbers else None


@strawberry.type(description="The statistics of one kind within `lastHours`.")
class JobKindStats:
    """The statistics of a kind."""

    kind: JobKind = strawberry.field(description="The kind.")
    ended_count: int = strawberry.field(description="The number of jobs that ended.")
    ended_per_hour: float = strawberry.field(description="The number of jobs that ended per hour.")
    waiting_seconds: Percentiles | None = strawberry.field(
        description="The waiting time of the ended jobs until their first start; null if none ended."
    )
    duration_seconds: Percentiles | None = strawberry.field(
        description="The time of the ended jobs from their first start to their end; null if none ended."
    )
    longest_wait_seconds: float | None = strawberry.field(
        description="The waiting time so far of the job that has waited longest; null if none waits."
    )

    @classmethod
    def of(cls, row: JobTimesRow, hours: float) -> "JobKindStats":
        """Convert a row."""
        return cls(
            kind=JobKind(row.kind),
            ended_count=row.ended,
            ended_per_hour=round(row.ended / hours, 3),
            waiting_seconds=Percentiles.of(row.waiting),
            duration_seconds=Percentiles.of(row.duration),
            longest_wait_seconds=None if row.longest_wait is None else round(row.longest_wait, 3),
        )


@strawberry.type(description="A worker with a recent heartbeat.")
class ActiveWorker:
    """A worker."""

    name: str = strawberry.field(
        description="Host name, process id and a random part; new after each start. The same as `Job.worker`."
    )
    kinds: list[JobKind] = strawberry.field(description="The kinds of jobs that it runs.")
    concurrency: int = strawberry.field(description="The maximum number of concurrent jobs.")
    running_count: int = strawberry.field(description="The number of jobs that it is running.")
    started_at: datetime = strawberry.field(description="When it was started.")
    heartbeat_age_seconds: float = strawberry.field(description="The seconds since its last heartbeat.")

    @classmethod
    def of(cls, row: ActiveWorkerRow) -> "ActiveWorker":
        """Convert a worker's row."""
        return cls(
            name=row.name,
            # a worker of another version may have other kinds
            kinds=[kind for kind in JobKind if kind.value in row.kinds],
            concurrency=row.concurrency,
            running_count=row.running_count,
            started_at=row.started_at,
            heartbeat_age_seconds=round(float(row.heartbeat_age_seconds), 3),
        )


@strawberry.type(description="Statistics of all jobs.")
class JobStats:
    """The statistics of jobs."""

    last_hours: float = strawberry.field(description="The period in hours, back from now.")
    counts: list[JobCount] = strawberry.field(description="The number of jobs by kind and state; zeros are omitted.")
    kinds: list[JobKindStats] = strawberry.field(description="Statistics by kind, for each kind that has jobs.")
    workers: list[ActiveWorker] = strawberry.field(description="The workers with a recent heartbeat, by name.")


@strawberry.type
class JobStatsQuery:
    """The query of this file."""

    @strawberry.field(description="Statistics of all jobs.")
    async def job_stats(
        self,
        info: Info,
        last_hours: Annotated[
            float, strawberry.argument(description="The period in hours for ended jobs, at most 744.")
        ] = 24.0,
    ) -> JobStats:
        """Return the statistics."""
        if not 0 < last_hours <= LONGEST_HOURS:
            raise ValidationFailed({"lastHours": f"must be more than 0 and at most {LONGEST_HOURS}"})
        resources = info.context.resources
        async with resources.database.connect() as connection:
            counted = await job_stats.counts(connection, last_hours * 3600)
            measured = await job_stats.times(connection, last_hours * 3600)
            alive = await workers.live_workers(connection, resources.settings.job_heartbeat_timeout_seconds)
        return JobStats(
            last_hours=last_hours,
            counts=[JobCount(kind=JobKind(row.kind), state=row.state, count=row.number) for row in counted],
            kinds=[JobKindStats.of(row, last_hours) for row in measured],
            workers=[ActiveWorker.of(row) for row in alive],
        )
