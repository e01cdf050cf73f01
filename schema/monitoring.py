"""Monitoring: the periodic collection of communities, an overview, and the mutations that set and run it."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.actions.set_monitoring import DEFAULTS, run_monitoring, set_monitoring
from app.job_states import JobPriority, JobState
from app.json_models import from_json
from app.store import monitorings
from app.store.keyset import Key
from app.store.rows import MonitoringRow
from app.work.collecting.collection import CollectionSummary
from schema.context import Info
from schema.errors import (
    Error,
    GroupNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
)
from schema.job_results import CollectionResult, JobResult
from schema.jobs import JOBS, Job, JobAlreadyRunningError, JobFailure
from schema.node import key_of, relation
from schema.paging import After, Before, Connection, First, Last, PageArguments, page_of_all
from schema.wall import GROUPS, Group


@strawberry.type(description="The periodic collection of a community.")
class Monitoring:
    """The monitoring of a community."""

    group_key: strawberry.Private[Key]
    job_key: strawberry.Private[Key | None] = None
    is_enabled: bool = strawberry.field(description="`true`: it runs periodically; `false`: only by `runMonitoring`.")
    interval_minutes: int = strawberry.field(
        description="The minutes between two runs. Each run starts up to a tenth of the interval earlier or "
        "later, so that not all communities are collected at once."
    )
    priority: JobPriority = strawberry.field(description="The priority of its jobs.")
    next_run_at: datetime | None = strawberry.field(
        default=None, description="When it runs next; null if it is not enabled. Missed runs are caught up by one run."
    )
    last_run_at: datetime | None = strawberry.field(default=None, description="When its last job ended; null: never.")
    last_state: JobState | None = strawberry.field(
        default=None, description="The final state of its last job; null if none has ended."
    )
    last_result: JobResult | None = strawberry.field(
        default=None, description="The result of its last job that succeeded; null if none has."
    )
    last_error: Error | None = strawberry.field(
        default=None, description="Why its last job failed; null if it did not."
    )

    last_job: Job | None = relation(
        JOBS,
        lambda monitoring: monitoring.job_key,
        Job | None,
        "The last job that was started for it; null before the first one, and after that job was removed.",
    )
    group: Group = relation(GROUPS, lambda monitoring: monitoring.group_key, Group, "The community.")

    @classmethod
    def of(cls, row: MonitoringRow) -> "Monitoring":
        """Convert a row."""
        return cls(
            group_key=(row.owner_id,),
            job_key=None if row.job_id is None else (row.job_id,),
            is_enabled=row.is_enabled,
            interval_minutes=row.interval_seconds // 60,
            priority=JobPriority(row.priority),
            next_run_at=row.next_run_at,
            last_run_at=row.last_run_at,
            last_state=row.last_state,
            last_result=_last_result(row),
            last_error=JobFailure.of_stored(row.last_failure),
        )

    @classmethod
    def unset(cls, key: Key) -> "Monitoring":
        """Return the default monitoring of a community for which none was set."""
        return cls(
            group_key=key,
            is_enabled=DEFAULTS["is_enabled"],
            interval_minutes=DEFAULTS["interval_seconds"] // 60,
            priority=JobPriority(DEFAULTS["priority"]),
        )


@strawberry.type(description="An overview of the monitoring of all communities.")
class MonitoringOverview:
    """An overview of all monitorings."""

    enabled_count: int = strawberry.field(description="The number of monitored communities.")
    due_count: int = strawberry.field(description="The number of communities that are due and not started yet.")
    running_count: int = strawberry.field(
        description="The number of communities with a waiting or running job of their monitoring, including "
        "those started by `runMonitoring`."
    )
    failing_count: int = strawberry.field(description="The number of monitored communities whose last job has failed.")
    next_run_at: datetime | None = strawberry.field(
        description="When the next community is due; null if none is monitored."
    )

    @strawberry.field(description="The monitored communities, the next due first.")
    async def monitorings(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Monitoring]:
        """Return a page of the enabled monitorings."""
        return await page_of_all(
            info,
            PageArguments(first, after, last, before).page(monitorings.NEXT_RUN),
            None,
            monitorings.monitorings_page,
            monitorings.count_monitorings,
            Monitoring.of,
        )


@strawberry.type
class MonitoringQuery:
    """The query of this file."""

    @strawberry.field(description="An overview of the monitoring of all communities.")
    async def monitoring(self, info: Info) -> MonitoringOverview:
        """Return the overview."""
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


@strawberry.input(description="Changes of a community's monitoring. Omitted fields stay unchanged.")
class SetMonitoringInput:
    """The input of setMonitoring."""

    group_id: strawberry.ID = strawberry.field(description="The global id of the community.")
    enabled: bool | None = strawberry.field(
        default=None,
        description="`true`: run periodically, the first time within a minute; `false`: do not. Initially `false`.",
    )
    interval_minutes: int | None = strawberry.field(
        default=None, description="The minutes between two runs, 1 to 43,200 (30 days). Initially 60."
    )
    priority: JobPriority | None = strawberry.field(
        default=None, description="The priority of its jobs. Initially LOW."
    )


def _last_result(row: MonitoringRow) -> CollectionResult | None:
    return None if row.last_result is None else CollectionResult.of(from_json(CollectionSummary, row.last_result))


@strawberry.type(description="The monitoring was set.")
class SetMonitoringSuccess:
    """A monitoring was set."""

    monitoring: Monitoring = strawberry.field(description="The current monitoring.")


SetMonitoringResult = Annotated[
    SetMonitoringSuccess | GroupNotFoundError | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("SetMonitoringResult", description="The result of setMonitoring."),
]


@strawberry.input(description="Which community to collect now.")
class RunMonitoringInput:
    """The input of runMonitoring."""

    group_id: strawberry.ID = strawberry.field(description="The global id of the community.")


@strawberry.type(description="The collection waits for a worker. Follow it with `jobProgress`.")
class RunMonitoringSuccess:
    """A monitoring was run."""

    job: Job = strawberry.field(description="The job that collects.")
    monitoring: Monitoring = strawberry.field(description="The current monitoring.")


RunMonitoringResult = Annotated[
    RunMonitoringSuccess
    | GroupNotFoundError
    | ValidationFailedError
    | JobAlreadyRunningError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("RunMonitoringResult", description="The result of runMonitoring."),
]


@strawberry.type
class MonitoringMutation:
    """The mutations of this file."""

    @strawberry.mutation(
        description="Set whether, how often and with which priority a community is collected periodically."
    )
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
        description="Collect a community now, whether its monitoring is enabled or not. If it is enabled, its "
        "next run is one interval from now."
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
