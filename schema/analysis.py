"""The mutation that starts an analysis."""

from typing import Annotated

import strawberry

from app.actions.start_analysis import start_analysis
from app.job_states import JobPriority
from schema.context import Info
from schema.errors import GroupNotFoundError, QueueFullError, ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.jobs import Job
from schema.node import key_of


@strawberry.input(description="Which comments to analyse; all by default.")
class StartAnalysisInput:
    """The input of startAnalysis."""

    group_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Only comments on posts of these communities, by global ids; null: all."
    )
    filter: CommentFilter | None = strawberry.field(
        default=None,
        description="Only comments that match this filter. Conditions on analysis results (language, "
        "sentiment, links, waves) match only comments that were analysed before.",
    )
    full: bool = strawberry.field(
        default=False,
        description="`true`: also analyse comments that were analysed before and have not changed, for "
        "example after an update of this server that changes the analysis; `false`: only new and "
        "changed comments.",
    )
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="The priority of the job.")
    timeout_seconds: float | None = strawberry.field(
        default=None, description="The timeout of one attempt, in seconds."
    )


@strawberry.type(
    description="The analysis waits for a worker. Follow it with `jobProgress`; its result summarises the comments."
)
class StartAnalysisSuccess:
    """An analysis was started."""

    job: Job = strawberry.field(description="The job that analyses.")


StartAnalysisResult = Annotated[
    StartAnalysisSuccess | GroupNotFoundError | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("StartAnalysisResult", description="The result of startAnalysis."),
]


@strawberry.type
class AnalysisMutation:
    """The mutation of this file."""

    @strawberry.mutation(
        description="Analyse comments in the background: languages, terms, links, phone numbers, mentions, "
        "sentiment, near-duplicates, and characteristic terms. Only new and changed comments are "
        "analysed. Keywords are matched when comments are stored; the result counts their "
        "matches."
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
