"""The results of jobs: one type per kind."""

from collections.abc import Callable
from typing import Annotated, Any

import strawberry

from app.work.kinds import JobKind
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
    def of(cls, stored: dict[str, Any] | None) -> "CollectionResult | None":
        """Convert a stored result; None if nothing is stored."""
        if stored is None:
            return None
        return cls(
            group_count=stored["groups"],
            failed_group_count=stored.get("failed_groups", 0),
            incomplete_group_count=stored.get("incomplete_groups", 0),
            post_count=stored["posts"],
            failed_post_count=stored["failed_posts"],
            incomplete_post_count=stored.get("incomplete_posts", 0),
            broken_items=stored.get("broken_items", 0),
            comment_count=stored["comments"],
            new_comment_count=stored["new_comments"],
            # older results lack these, because they were added later
            changed_comment_count=stored.get("changed_comments", 0),
            deleted_comment_count=stored.get("deleted_comments", 0),
            request_count=stored.get("requests", 0),
            call_count=stored.get("calls", 0),
            saved_call_count=stored.get("saved_calls", 0),
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
    def of(cls, stored: dict[str, Any]) -> "MatchingResult":
        """Convert a stored result."""
        return cls(
            keyword_count=stored["keywords"],
            comment_count=stored["comments"],
            new_match_count=stored["new_matches"],
            removed_match_count=stored["removed_matches"],
        )


@strawberry.type(description="The result of refreshing communities.")
class RefreshResult:
    """The result of a refresh."""

    group_count: int = strawberry.field(description="Communities that were requested from VK.")
    changed_count: int = strawberry.field(description="Communities whose data have changed.")
    missing_count: int = strawberry.field(description="Communities that VK no longer knows; they stay stored.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "RefreshResult":
        """Convert a stored result."""
        return cls(group_count=stored["groups"], changed_count=stored["changed"], missing_count=stored["missing"])


@strawberry.type(description="The result of removing communities.")
class RemovalResult:
    """The result of a removal."""

    group_count: int = strawberry.field(description="Removed communities.")
    comment_count: int = strawberry.field(description="Removed comments and replies.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "RemovalResult":
        """Convert a stored result."""
        return cls(group_count=stored["groups"], comment_count=stored["comments"])


JobResult = Annotated[
    CollectionResult | MatchingResult | ExportResult | AnalysisResult | RefreshResult | RemovalResult,
    strawberry.union("JobResult", description="The result of a job; a type per kind of job."),
]
RESULTS: dict[JobKind, Callable[[int, dict[str, Any]], Any]] = {
    JobKind.COLLECT_COMMENTS: lambda _, result: CollectionResult.of(result),
    JobKind.MATCH_KEYWORDS: lambda _, result: MatchingResult.of(result),
    JobKind.REFRESH_GROUPS: lambda _, result: RefreshResult.of(result),
    JobKind.REMOVE_GROUPS: lambda _, result: RemovalResult.of(result),
    JobKind.ANALYZE_COMMENTS: lambda _, result: AnalysisResult.of(result),
    JobKind.EXPORT_COMMENTS: ExportResult.of,
}
"""Job kind -> function that converts the id and the stored result of a job."""
