"""The mutation that starts an analysis."""

from typing import Annotated

import strawberry

from app.actions.start_analysis import start_analysis
from app.jobs.states import JobPriority
from schema.context import Info
from schema.errors import GroupNotFoundError, QueueFullError, ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.jobs import Job
from schema.node import key_of


@strawberry.input(description="Which comments to analyse; all if nothing is given.")
class StartAnalysisInput:
    """The input of startAnalysis."""

    group_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Only under posts of these communities, by their global ids."
    )
    filter: CommentFilter | None = strawberry.field(
        default=None,
        description="Only comments that meet this. What analyses find (languages, moods, links, waves) is only known "
        "of comments that were analysed before.",
    )
    full: bool = strawberry.field(
        default=False,
        description="Analyse also comments that were analysed before and have not changed: after an update of this "
        "server that analyses differently.",
    )
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="How soon the job is taken.")
    timeout_seconds: float | None = strawberry.field(default=None, description="How long one try may take.")


@strawberry.type(
    description="The analysis waits for a worker. Follow it with `jobProgress`; its result sums up the comments."
)
class StartAnalysisSuccess:
    """An analysis was started."""

    job: Job = strawberry.field(description="The job that analyses.")


StartAnalysisResult = Annotated[
    StartAnalysisSuccess | GroupNotFoundError | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("StartAnalysisResult", description="What became of startAnalysis."),
]


@strawberry.type
class AnalysisMutation:
    """The mutation of this file."""

    @strawberry.mutation(
        description="Analyse comments in the background: their languages, terms, links, phone numbers, mentions and "
        "moods, which of them say nearly the same, and what stands out. Only what is new or has changed is analysed. "
        "Keywords are matched already when comments are stored; the result counts what they match."
    )
    async def start_analysis(
        self,
        info: Info,
        input: Annotated[StartAnalysisInput, strawberry.argument(description="Which comments, and how.")],
    ) -> StartAnalysisResult:
        """Start an analysis."""
        owner_ids = None
        if input.group_ids is not None:
            owner_ids = [key_of(value, "Group", f"groupIds.{n}")[0] for n, value in enumerate(input.group_ids)]
        row = await start_analysis(
            info.context.resources,
            owner_ids=owner_ids,
            conditions=(input.filter or CommentFilter()).conditions(),
            full=input.full,
            priority=input.priority,
            timeout_seconds=input.timeout_seconds,
        )
        return StartAnalysisSuccess(job=Job.of(row))
