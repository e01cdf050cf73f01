"""What jobs have brought: a type per kind of job, put together."""

from collections.abc import Callable
from typing import Annotated, Any

import strawberry

from app.store.keyset import StoredRow
from app.work.kinds import JobKind
from schema.analysis_results import AnalysisResult
from schema.export_files import ExportResult


@strawberry.type(description="What a collection has brought.")
class CollectionResult:
    """The result of a collection."""

    group_count: int = strawberry.field(description="Communities that were read.")
    failed_group_count: int = strawberry.field(
        description="Communities that VK does not show, or closed meanwhile; each is an event."
    )
    incomplete_group_count: int = strawberry.field(
        description="Communities of which VK shows fewer posts than it states, or posts that cannot be used; "
        "each is an event."
    )
    post_count: int = strawberry.field(description="Posts whose comments were read to the end.")
    failed_post_count: int = strawberry.field(description="Posts that could not be read; each is an event.")
    incomplete_post_count: int = strawberry.field(
        description="Posts of which VK shows fewer comments than it states; each is an event, "
        "and the next collection reads it again."
    )
    broken_items: int = strawberry.field(
        description="Items of VK's replies that could not be used and were left out; each page of them is an event."
    )
    comment_count: int = strawberry.field(description="Comments and replies that were read.")
    new_comment_count: int = strawberry.field(description="Those of them that were not stored before.")
    changed_comment_count: int = strawberry.field(
        description="Comments that were edited, or restored, since they were last read."
    )
    deleted_comment_count: int = strawberry.field(description="Comments that are gone; they stay here, marked.")
    request_count: int = strawberry.field(description="HTTP requests to VK.")
    call_count: int = strawberry.field(description="Calls of VK's methods; a request makes up to 25 of them.")
    saved_call_count: int = strawberry.field(
        description="Calls that were not made, as the posts and threads they read have not changed."
    )

    @classmethod
    def of(cls, stored: dict[str, Any] | None) -> "CollectionResult | None":
        """Make a result of what a row holds."""
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
            # these came later: results that are older lack them
            changed_comment_count=stored.get("changed_comments", 0),
            deleted_comment_count=stored.get("deleted_comments", 0),
            request_count=stored.get("requests", 0),
            call_count=stored.get("calls", 0),
            saved_call_count=stored.get("saved_calls", 0),
        )


@strawberry.type(description="What matching stored comments with keywords has brought.")
class MatchingResult:
    """The result of a matching."""

    keyword_count: int = strawberry.field(description="Keywords that were to be matched.")
    comment_count: int = strawberry.field(description="Comments that were looked at.")
    new_match_count: int = strawberry.field(
        description="Pairs of a comment and a keyword that matches it which are new, or elsewhere in its text."
    )
    removed_match_count: int = strawberry.field(description="Such pairs that are gone, or elsewhere in the text.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "MatchingResult":
        """Make a result of what a row holds."""
        return cls(
            keyword_count=stored["keywords"],
            comment_count=stored["comments"],
            new_match_count=stored["new_matches"],
            removed_match_count=stored["removed_matches"],
        )


@strawberry.type(description="What refreshing communities has brought.")
class RefreshResult:
    """The result of a refresh."""

    group_count: int = strawberry.field(description="Communities that VK was asked for.")
    changed_count: int = strawberry.field(description="Those of them of which it says something else than before.")
    missing_count: int = strawberry.field(description="Those that it does not know any more; they stay as they are.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "RefreshResult":
        """Make a result of what a row holds."""
        return cls(group_count=stored["groups"], changed_count=stored["changed"], missing_count=stored["missing"])


@strawberry.type(description="What was removed.")
class RemovalResult:
    """The result of a removal."""

    group_count: int = strawberry.field(description="Communities that are gone.")
    comment_count: int = strawberry.field(description="Their comments and replies.")

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "RemovalResult":
        """Make a result of what a row holds."""
        return cls(group_count=stored["groups"], comment_count=stored["comments"])


JobResult = Annotated[
    CollectionResult | MatchingResult | ExportResult | AnalysisResult | RefreshResult | RemovalResult,
    strawberry.union("JobResult", description="What a job has brought; a type per kind of job."),
]
RESULTS: dict[JobKind, Callable[[StoredRow], Any]] = {
    JobKind.COLLECT_COMMENTS: lambda row: CollectionResult.of(row.result),
    JobKind.MATCH_KEYWORDS: lambda row: MatchingResult.of(row.result),
    JobKind.REFRESH_GROUPS: lambda row: RefreshResult.of(row.result),
    JobKind.REMOVE_GROUPS: lambda row: RemovalResult.of(row.result),
    JobKind.ANALYZE_COMMENTS: lambda row: AnalysisResult.of(row.result),
    JobKind.EXPORT_COMMENTS: lambda row: ExportResult.of(row.id, row.result),
}
"""Kind of job -> what makes a result of its row, which has one."""
