"""What jobs on communities have brought. A type per kind of job; `schema.jobs` puts them together."""

from typing import Any

import strawberry


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
