"""How the jobs are doing as a whole: how many there are, how long they wait and last, and who runs them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import strawberry

from app.errors import ValidationFailed
from app.jobs.states import JobState
from app.store import job_stats, workers
from app.store.keyset import StoredRow
from app.work.kinds import JobKind
from schema.context import Info

LONGEST_HOURS = 24 * 31


@strawberry.type(description="How many jobs of one kind are in one state.")
class JobCount:
    """A count."""

    kind: JobKind = strawberry.field(description="The kind.")
    state: JobState = strawberry.field(description="The state.")
    count: int = strawberry.field(
        description="How many: all that wait or run now, or those that ended so within the time that is looked at."
    )


@strawberry.type(description="How long something took, in seconds, over many jobs.")
class Percentiles:
    """Percentiles of a time."""

    p50: float = strawberry.field(description="Half of them took no longer.")
    p90: float = strawberry.field(description="Nine in ten took no longer.")
    p99: float = strawberry.field(description="99 in a hundred took no longer.")
    max: float = strawberry.field(description="The longest.")

    @classmethod
    def of(cls, values: Sequence[float | None] | None) -> "Percentiles | None":
        """Make them of a row's list; None where there was nothing to measure."""
        numbers = [round(value, 3) for value in values or () if value is not None]
        return cls(p50=numbers[0], p90=numbers[1], p99=numbers[2], max=numbers[3]) if numbers else None


@strawberry.type(description="How jobs of one kind did within the time that is looked at.")
class JobKindStats:
    """The times of a kind."""

    kind: JobKind = strawberry.field(description="The kind.")
    ended_count: int = strawberry.field(description="How many ended.")
    ended_per_hour: float = strawberry.field(description="The same as a rate.")
    waiting_seconds: Percentiles | None = strawberry.field(
        description="How long those that ended had waited until they were first begun; null if none ended."
    )
    duration_seconds: Percentiles | None = strawberry.field(
        description="How long they lasted from then until they ended; null if none ended."
    )
    longest_wait_seconds: float | None = strawberry.field(
        description="For how long the one waits now that waits longest; null if none waits."
    )

    @classmethod
    def of(cls, row: StoredRow, hours: float) -> "JobKindStats":
        """Make them of a row."""
        return cls(
            kind=JobKind(row.kind),
            ended_count=row.ended,
            ended_per_hour=round(row.ended / hours, 3),
            waiting_seconds=Percentiles.of(row.waiting),
            duration_seconds=Percentiles.of(row.duration),
            longest_wait_seconds=None if row.longest_wait is None else round(row.longest_wait, 3),
        )


@strawberry.type(description="A process that takes jobs and shows life.")
class LivingWorker:
    """A worker."""

    name: str = strawberry.field(
        description="Host, process id and a random part; another one after each start. The same as `Job.worker`."
    )
    kinds: list[JobKind] = strawberry.field(description="The kinds of jobs it takes.")
    concurrency: int = strawberry.field(description="How many it runs at once at the most.")
    running_count: int = strawberry.field(description="How many it is running.")
    started_at: datetime = strawberry.field(description="When it was started.")
    silent_seconds: float = strawberry.field(description="How long ago it last showed life.")

    @classmethod
    def of(cls, row: StoredRow) -> "LivingWorker":
        """Make a worker of its row."""
        return cls(
            name=row.name,
            # a worker of another version may know other kinds
            kinds=[kind for kind in JobKind if kind.value in row.kinds],
            concurrency=row.concurrency,
            running_count=row.running_count,
            started_at=row.started_at,
            silent_seconds=round(float(row.silent_seconds), 3),
        )


@strawberry.type(description="How the jobs are doing as a whole.")
class JobStats:
    """The statistics of jobs."""

    last_hours: float = strawberry.field(description="The time that is looked at: so many hours back from now.")
    counts: list[JobCount] = strawberry.field(description="Jobs by kind and state; zeros are left out.")
    kinds: list[JobKindStats] = strawberry.field(description="Times by kind, for each that has jobs.")
    workers: list[LivingWorker] = strawberry.field(description="The workers that show life, by name.")


@strawberry.type
class JobStatsQuery:
    """The query of this file."""

    @strawberry.field(description="How the jobs are doing as a whole.")
    async def job_stats(
        self,
        info: Info,
        last_hours: Annotated[
            float, strawberry.argument(description="How many hours to look back at jobs that have ended, up to 744.")
        ] = 24.0,
    ) -> JobStats:
        """Count and measure jobs."""
        if not 0 < last_hours <= LONGEST_HOURS:
            raise ValidationFailed({"lastHours": f"must be more than 0, and {LONGEST_HOURS} at the most"})
        resources = info.context.resources
        async with resources.database.connect() as connection:
            counted: Any = await job_stats.counts(connection, last_hours * 3600)
            measured: Any = await job_stats.times(connection, last_hours * 3600)
            alive: Any = await workers.living_workers(connection, resources.settings.job_heartbeat_timeout_seconds)
        return JobStats(
            last_hours=last_hours,
            counts=[JobCount(kind=JobKind(row.kind), state=JobState(row.state), count=row.number) for row in counted],
            kinds=[JobKindStats.of(row, last_hours) for row in measured],
            workers=[LivingWorker.of(row) for row in alive],
        )
