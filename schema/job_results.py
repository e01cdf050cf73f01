"""The results of jobs: one type per kind."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import strawberry

from app.background import DEFINITIONS
from app.json_models import from_json
from app.json_types import JsonValue
from app.work.analyzing.analysis_summary import AnalysisSummary
from app.work.collecting.collection import CollectionSummary
from app.work.exporting.export_request import ExportSummary
from app.work.groups.refresh_groups import RefreshCounts
from app.work.groups.remove_groups import RemovalCounts
from app.work.kinds import JobKind
from app.work.matching.match_keywords import MatchingSummary
from schema.analysis_results import AnalysisResult
from schema.export_files import ExportResult


@strawberry.type(description="The result of a collection.")
class CollectionResult:
    """The result of a collection."""

    group_count: int = strawberry.field(description="Communities that were read completely.")
    failed_group_count: int = strawberry.field(
        description="Communities that VK does not show, or has closed meanwhile; each is an event."
    )
    incomplete_group_count: int = strawberry.field(
        description="Communities of which VK shows fewer posts than it states, or unusable posts; each is an event."
    )
    post_count: int = strawberry.field(description="Posts whose comments were read completely.")
    failed_post_count: int = strawberry.field(description="Posts that could not be read; each is an event.")
    incomplete_post_count: int = strawberry.field(
        description="Posts of which VK shows fewer comments than it states; each is an event, and the next "
        "collection reads it again."
    )
    broken_items: int = strawberry.field(
        description="Items of VK's replies that were unusable and skipped; each page with such items is an event."
    )
    comment_count: int = strawberry.field(description="Comments and replies that were read.")
    new_comment_count: int = strawberry.field(description="Comments and replies that were not stored before.")
    changed_comment_count: int = strawberry.field(
        description="Comments that were edited or restored since they were last read."
    )
    deleted_comment_count: int = strawberry.field(
        description="Comments that were deleted at VK; they stay stored and are marked."
    )
    request_count: int = strawberry.field(description="HTTP requests to VK.")
    call_count: int = strawberry.field(description="Calls of VK's methods; one request contains up to 25.")
    saved_call_count: int = strawberry.field(
        description="Calls that were skipped, because their posts or threads have not changed."
    )

    @classmethod
    def of(cls, summary: CollectionSummary) -> "CollectionResult":
        """Convert the result of a job."""
        return cls(
            group_count=summary.groups,
            failed_group_count=summary.failed_groups,
            incomplete_group_count=summary.incomplete_groups,
            post_count=summary.posts,
            failed_post_count=summary.failed_posts,
            incomplete_post_count=summary.incomplete_posts,
            broken_items=summary.broken_items,
            comment_count=summary.comments,
            new_comment_count=summary.new_comments,
            changed_comment_count=summary.changed_comments,
            deleted_comment_count=summary.deleted_comments,
            request_count=summary.requests,
            call_count=summary.calls,
            saved_call_count=summary.saved_calls,
        )


@strawberry.type(description="The result of matching stored comments with keywords.")
class MatchingResult:
    """The result of a matching."""

    keyword_count: int = strawberry.field(description="The matched keywords.")
    comment_count: int = strawberry.field(description="Comments that were searched.")
    new_match_count: int = strawberry.field(
        description="Pairs of a comment and a matching keyword that are new, or at new positions in the text."
    )
    removed_match_count: int = strawberry.field(
        description="Pairs of a comment and a keyword that no longer match, or at former positions in the text."
    )

    @classmethod
    def of(cls, summary: MatchingSummary) -> "MatchingResult":
        """Convert the result of a job."""
        return cls(
            keyword_count=summary.keywords,
            comment_count=summary.comments,
            new_match_count=summary.new_matches,
            removed_match_count=summary.removed_matches,
        )


@strawberry.type(description="The result of refreshing communities.")
class RefreshResult:
    """The result of a refresh."""

    group_count: int = strawberry.field(description="Communities that were requested from VK.")
    changed_count: int = strawberry.field(description="Communities whose data have changed.")
    missing_count: int = strawberry.field(description="Communities that VK no longer knows; they stay stored.")

    @classmethod
    def of(cls, summary: RefreshCounts) -> "RefreshResult":
        """Convert the result of a job."""
        return cls(group_count=summary.groups, changed_count=summary.changed, missing_count=summary.missing)


@strawberry.type(description="The result of removing communities.")
class RemovalResult:
    """The result of a removal."""

    group_count: int = strawberry.field(description="Removed communities.")
    comment_count: int = strawberry.field(description="Removed comments and replies.")

    @classmethod
    def of(cls, summary: RemovalCounts) -> "RemovalResult":
        """Convert the result of a job."""
        return cls(group_count=summary.groups, comment_count=summary.comments)


JobResult = Annotated[
    CollectionResult | MatchingResult | ExportResult | AnalysisResult | RefreshResult | RemovalResult,
    strawberry.union("JobResult", description="The result of a job; a type per kind of job."),
]
RESULT_TYPES: Mapping[type, Callable[[int, Any], object]] = {  # each function gets the model that is its key
    CollectionSummary: lambda _, summary: CollectionResult.of(summary),
    MatchingSummary: lambda _, summary: MatchingResult.of(summary),
    RefreshCounts: lambda _, summary: RefreshResult.of(summary),
    RemovalCounts: lambda _, summary: RemovalResult.of(summary),
    AnalysisSummary: lambda _, summary: AnalysisResult.of(summary),
    ExportSummary: ExportResult.of,
}
"""Result model of a job kind -> function that converts a job's id and result to the GraphQL type."""


def result_of(kind: JobKind, job_id: int, stored: JsonValue) -> Any:  # the type of a union's value is up to its members
    """Return the result of a job, from the JSON in its row."""
    model = DEFINITIONS[kind.value].result
    return RESULT_TYPES[model](job_id, from_json(model, stored))
