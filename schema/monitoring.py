"""Monitoring: how communities are collected again and again, an overview, and the mutations that set and run it."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.actions.set_monitoring import DEFAULTS, run_monitoring, set_monitoring
from app.jobs.states import JobPriority, JobState
from app.store import monitorings
from app.store.keyset import StoredRow
from schema.context import Info
from schema.errors import (
    Error,
    GroupNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.job_results import CollectionResult, JobResult
from schema.jobs import Job, JobAlreadyRunningError, JobFailure
from schema.node import Key, key_of, relation
from schema.paging import After, Before, Connection, First, Last, PageArguments, page_of_all
from schema.wall import Group


@strawberry.type(description="How a community is collected again and again.")
class Monitoring:
    """The monitoring of a community."""

    group_key: strawberry.Private[Key]
    job_key: strawberry.Private[Key | None] = None
    is_enabled: bool = strawberry.field(description="Whether it runs by itself.")
    interval_minutes: int = strawberry.field(
        description="The time between two runs; each comes up to a tenth of it earlier or later, so that not all "
        "communities are collected at once."
    )
    priority: JobPriority = strawberry.field(description="How soon its jobs are taken, compared to others.")
    next_run_at: datetime | None = strawberry.field(
        default=None, description="When it runs next; null while it is not enabled. Runs that were missed run once."
    )
    last_run_at: datetime | None = strawberry.field(default=None, description="When its last job ended.")
    last_state: JobState | None = strawberry.field(default=None, description="How its last job ended.")
    last_result: JobResult | None = strawberry.field(
        default=None, description="What the last of its jobs that succeeded has brought."
    )
    last_error: Error | None = strawberry.field(default=None, description="Why its last job has failed, if it has.")

    last_job: Job | None = relation(
        "jobs",
        lambda monitoring: monitoring.job_key,
        Job | None,
        "The last job that was started for it; null before the first one, and once that was removed.",
    )
    group: Group = relation("groups", lambda monitoring: monitoring.group_key, Group, "The community.")

    @classmethod
    def of(cls, row: StoredRow) -> "Monitoring":
        """Make a monitoring of its row."""
        return cls(
            group_key=(row.owner_id,),
            job_key=None if row.job_id is None else (row.job_id,),
            is_enabled=row.is_enabled,
            interval_minutes=row.interval_seconds // 60,
            priority=JobPriority(row.priority),
            next_run_at=row.next_run_at,
            last_run_at=row.last_run_at,
            last_state=JobState(row.last_state) if row.last_state else None,
            last_result=CollectionResult.of(row.last_result),
            last_error=JobFailure.of(row.last_failure),
        )

    @classmethod
    def unset(cls, key: Key) -> "Monitoring":
        """Make the monitoring of a community for which nobody has set one."""
        return cls(
            group_key=key,
            is_enabled=DEFAULTS["is_enabled"],
            interval_minutes=DEFAULTS["interval_seconds"] // 60,
            priority=JobPriority(DEFAULTS["priority"]),
        )


@strawberry.type(description="How the monitoring of all communities is.")
class MonitoringOverview:
    """All monitorings."""

    enabled_count: int = strawberry.field(description="Communities that are monitored.")
    due_count: int = strawberry.field(description="Those of them whose time has come, and that were not started yet.")
    running_count: int = strawberry.field(
        description="Communities with a job of their monitoring that waits or is being run; also by `runMonitoring`."
    )
    failing_count: int = strawberry.field(description="Monitored communities whose last job has failed.")
    next_run_at: datetime | None = strawberry.field(
        description="When the next community is due; null where none is monitored."
    )

    @strawberry.field(description="The monitored communities, the one that is due first at the beginning.")
    async def monitorings(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Monitoring]:
        """Read a page of the monitorings that are enabled."""
        return await page_of_all(
            info,
            PageArguments(first, after, last, before),
            monitorings.NEXT_RUN,
            None,
            monitorings.monitorings_page,
            monitorings.count_monitorings,
            Monitoring.of,
        )


@strawberry.type
class MonitoringQuery:
    """The query of this file."""

    @strawberry.field(description="How the monitoring of all communities is.")
    async def monitoring(self, info: Info) -> MonitoringOverview:
        """Read the overview."""
        async with info.context.resources.database.connect() as connection:
            row = await monitorings.overview(connection)
        return MonitoringOverview(
            enabled_count=row.enabled,
            due_count=row.due,
            running_count=row.running,
            failing_count=row.failing,
            next_run_at=row.next_run_at,
        )


# mutations


@strawberry.input(description="How to monitor a community. What is left out stays as it is.")
class SetMonitoringInput:
    """The input of setMonitoring."""

    group_id: strawberry.ID = strawberry.field(description="The global id of the community.")
    enabled: bool | None = strawberry.field(
        default=None, description="Whether it runs by itself; the first time within a minute. At first it does not."
    )
    interval_minutes: int | None = strawberry.field(
        default=None, description="The time between two runs, 1 to 43,200 (30 days); 60 at first."
    )
    priority: JobPriority | None = strawberry.field(
        default=None, description="How soon its jobs are taken; LOW at first."
    )


@strawberry.type(description="The community is monitored, or not, as was asked for.")
class SetMonitoringSuccess:
    """A monitoring was set."""

    monitoring: Monitoring = strawberry.field(description="The monitoring as it is now.")


SetMonitoringResult = Annotated[
    SetMonitoringSuccess | GroupNotFoundError | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("SetMonitoringResult", description="What became of setMonitoring."),
]


@strawberry.input(description="Which community to collect now.")
class RunMonitoringInput:
    """The input of runMonitoring."""

    group_id: strawberry.ID = strawberry.field(description="The global id of the community.")


@strawberry.type(description="The collection waits for a worker. Follow it with `jobProgress`.")
class RunMonitoringSuccess:
    """A monitoring was run."""

    job: Job = strawberry.field(description="The job that collects.")
    monitoring: Monitoring = strawberry.field(description="The monitoring as it is now.")


RunMonitoringResult = Annotated[
    RunMonitoringSuccess
    | GroupNotFoundError
    | ValidationFailedError
    | JobAlreadyRunningError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("RunMonitoringResult", description="What became of runMonitoring."),
]


@strawberry.type
class MonitoringMutation:
    """The mutations of this file."""

    @strawberry.mutation(description="Set how a community is monitored: whether, how often, with which priority.")
    async def set_monitoring(
        self,
        info: Info,
        input: Annotated[SetMonitoringInput, strawberry.argument(description="Which community, and how.")],
    ) -> SetMonitoringResult:
        """Set a monitoring."""
        row = await set_monitoring(
            info.context.resources,
            key_of(input.group_id, "Group", "groupId")[0],
            enabled=input.enabled,
            interval_minutes=input.interval_minutes,
            priority=input.priority,
        )
        return SetMonitoringSuccess(monitoring=Monitoring.of(row))

    @strawberry.mutation(
        description="Collect a community now, as its monitoring does, whether that is enabled or not. If it is, the "
        "next run comes an interval later."
    )
    async def run_monitoring(
        self,
        info: Info,
        input: Annotated[RunMonitoringInput, strawberry.argument(description="Which community.")],
    ) -> RunMonitoringResult:
        """Run a monitoring."""
        owner_id = key_of(input.group_id, "Group", "groupId")[0]
        job, monitoring = await run_monitoring(info.context.resources, owner_id)
        return RunMonitoringSuccess(job=Job.of(job), monitoring=Monitoring.of(monitoring))
