"""Work on comments: marking them as viewed or archived, and removing them; by their ids or by a filter."""

from collections.abc import Sequence
from typing import Annotated, Any

import strawberry

from app.actions.mark_comments import Marked, Selection, mark_comments, remove_comments
from app.errors import ValidationFailed
from app.store.comment_marks import Marks
from schema.context import Info
from schema.errors import ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.node import Key, key_of
from schema.wall import Group


@strawberry.input(description="Which comments to mark, and as what.")
class MarkCommentsInput:
    """The input of markComments."""

    comment_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="These comments, up to 10,000. Either they or a filter."
    )
    filter: CommentFilter | None = strawberry.field(
        default=None, description="All comments that it wants, 100,000 a call at the most. Either this or `commentIds`."
    )
    viewed: bool | None = strawberry.field(default=None, description="Viewed, or no longer; as it is if left out.")
    archived: bool | None = strawberry.field(default=None, description="Archived, or no longer; as it is if left out.")


@strawberry.input(description="Which comments to remove.")
class RemoveCommentsInput:
    """The input of removeComments."""

    comment_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="These comments, up to 10,000. Either they or a filter."
    )
    filter: CommentFilter | None = strawberry.field(
        default=None,
        description="All comments that it wants, 100,000 a call at the most; it has to restrict something. Either this "
        "or `commentIds`.",
    )


@strawberry.type(description="The comments that were not so yet are changed.")
class _Changed:
    """What both mutations answer."""

    group_keys: strawberry.Private[list[Key]]
    changed_count: int = strawberry.field(description="How many comments were changed.")
    has_more: bool = strawberry.field(
        description="Whether the filter wants more than a call changes: then send the same again."
    )

    @strawberry.field(
        description="The communities that they belong to, with new counts in `statistics`.", graphql_type=list[Group]
    )
    async def groups(self, info: Info) -> Any:
        """Return the communities."""
        found = await info.context.loaders.groups.load_many(self.group_keys)
        return [group for group in found if group]


@strawberry.type(description="The comments are marked.")
class MarkCommentsSuccess(_Changed):
    """Comments were marked."""


@strawberry.type(description="The comments are removed for good: no collection stores them again.")
class RemoveCommentsSuccess(_Changed):
    """Comments were removed."""


MarkCommentsResult = Annotated[
    MarkCommentsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("MarkCommentsResult", description="What became of markComments."),
]
RemoveCommentsResult = Annotated[
    RemoveCommentsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("RemoveCommentsResult", description="What became of removeComments."),
]


@strawberry.type
class MarkingMutation:
    """The mutations of this file."""

    @strawberry.mutation(description="Mark comments as viewed or archived, or no longer.")
    async def mark_comments(
        self,
        info: Info,
        input: Annotated[MarkCommentsInput, strawberry.argument(description="Which comments, and as what.")],
    ) -> MarkCommentsResult:
        """Mark comments."""
        marks = Marks(input.viewed, input.archived)
        done = await mark_comments(info.context.resources, _wanted(input.comment_ids, input.filter), marks)
        return MarkCommentsSuccess(**_facts(done))

    @strawberry.mutation(description="Remove comments for good, with all that was found in them.")
    async def remove_comments(
        self,
        info: Info,
        input: Annotated[RemoveCommentsInput, strawberry.argument(description="Which comments.")],
    ) -> RemoveCommentsResult:
        """Remove comments."""
        done = await remove_comments(info.context.resources, _wanted(input.comment_ids, input.filter))
        return RemoveCommentsSuccess(**_facts(done))


def _wanted(comment_ids: Sequence[strawberry.ID] | None, wanted: CommentFilter | None) -> Selection:
    if (comment_ids is None) == (wanted is None):
        raise ValidationFailed({"commentIds": "give either commentIds or filter"})
    if wanted is not None:
        return wanted.conditions()
    keys = [key_of(value, "Comment", f"commentIds.{number}") for number, value in enumerate(comment_ids or ())]
    return [(key[0], key[1]) for key in keys]


def _facts(done: Marked) -> dict[str, Any]:
    return {
        "group_keys": [(owner_id,) for owner_id in sorted(done.owner_ids)],
        "changed_count": done.count,
        "has_more": done.has_more,
    }
