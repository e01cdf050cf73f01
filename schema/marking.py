"""Mutations that mark comments as viewed or archived, or remove them, selected by ids or by a filter."""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import strawberry

from app.actions.mark_comments import Marked, Selection, mark_comments, remove_comments
from app.errors import ValidationFailed
from app.store.comment_marks import Marks
from app.store.keyset import Key
from schema.context import Info
from schema.errors import ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.node import key_of
from schema.wall import GROUPS, Group


@strawberry.input(description="Which comments to mark, and as what.")
class MarkCommentsInput:
    """The input of markComments."""

    comment_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="These comments, at most 10,000. Exactly one of `commentIds` and `filter` must be given.",
    )
    filter: CommentFilter | None = strawberry.field(
        default=None,
        description="All comments that it selects, at most 100,000 per call. Exactly one of `commentIds` and "
        "`filter` must be given.",
    )
    viewed: bool | None = strawberry.field(
        default=None, description="`true`: mark as viewed; `false`: remove the mark; null: leave unchanged."
    )
    archived: bool | None = strawberry.field(
        default=None, description="`true`: archive; `false`: remove from the archive; null: leave unchanged."
    )


@strawberry.input(description="Which comments to remove.")
class RemoveCommentsInput:
    """The input of removeComments."""

    comment_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="These comments, at most 10,000. Exactly one of `commentIds` and `filter` must be given.",
    )
    filter: CommentFilter | None = strawberry.field(
        default=None,
        description="All comments that it selects, at most 100,000 per call; it must restrict something. "
        "Exactly one of `commentIds` and `filter` must be given.",
    )


@strawberry.type(description="The comments were changed; those that were so already are not counted.")
class _Changed:
    """The result of both mutations."""

    group_keys: strawberry.Private[list[Key]]
    changed_count: int = strawberry.field(description="The number of changed comments.")
    has_more: bool = strawberry.field(
        description="`true`: the filter selects more comments than one call changes: send the same request again."
    )

    @strawberry.field(description="The communities of the changed comments, whose `statistics` have changed.")
    async def groups(self, info: Info) -> list[Group]:
        """Return the communities."""
        found = await info.context.loaders.of(GROUPS).load_many(self.group_keys)
        return [group for group in found if group]


S = TypeVar("S", bound=_Changed)


@strawberry.type(description="The comments were marked.")
class MarkCommentsSuccess(_Changed):
    """Comments were marked."""


@strawberry.type(description="The comments were removed permanently: no collection stores them again.")
class RemoveCommentsSuccess(_Changed):
    """Comments were removed."""


MarkCommentsResult = Annotated[
    MarkCommentsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("MarkCommentsResult", description="The result of markComments."),
]
RemoveCommentsResult = Annotated[
    RemoveCommentsSuccess | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("RemoveCommentsResult", description="The result of removeComments."),
]


@strawberry.type
class MarkingMutation:
    """The mutations of this file."""

    @strawberry.mutation(description="Mark comments as viewed or archived, or remove these marks.")
    async def mark_comments(
        self,
        info: Info,
        input: Annotated[MarkCommentsInput, strawberry.argument(description="Which comments, and as what.")],
    ) -> MarkCommentsResult:
        """Mark comments."""
        marks = Marks(input.viewed, input.archived)
        done = await mark_comments(info.context.resources, _selection(input.comment_ids, input.filter), marks)
        return _success(MarkCommentsSuccess, done)

    @strawberry.mutation(description="Remove comments permanently, with all results of their analysis.")
    async def remove_comments(
        self,
        info: Info,
        input: Annotated[RemoveCommentsInput, strawberry.argument(description="Which comments.")],
    ) -> RemoveCommentsResult:
        """Remove comments."""
        done = await remove_comments(info.context.resources, _selection(input.comment_ids, input.filter))
        return _success(RemoveCommentsSuccess, done)


def _selection(comment_ids: Sequence[strawberry.ID] | None, filter: CommentFilter | None) -> Selection:
    if (comment_ids is None) == (filter is None):
        raise ValidationFailed({"commentIds": "exactly one of commentIds and filter must be given"})
    if filter is not None:
        return filter.conditions()
    keys = [key_of(value, "Comment", f"commentIds.{number}") for number, value in enumerate(comment_ids or ())]
    return [(key[0], key[1]) for key in keys]


def _success(kind: type[S], done: Marked) -> S:
    group_keys: list[Key] = [(owner_id,) for owner_id in sorted(done.owner_ids)]
    return kind(group_keys=group_keys, changed_count=done.count, has_more=done.has_more)
