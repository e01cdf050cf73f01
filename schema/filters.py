"""Which communities, posts and comments are wanted, and in which order: the inputs of their lists."""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum

import strawberry

from app.analysis.moods import Mood
from app.analysis.searches import forms_of_search
from app.errors import ValidationFailed
from app.store import comments, groups, posts
from app.store.comment_conditions import CommentConditions
from schema.conditions import conditions_of, ids_field
from schema.enums import described


class GroupOrder(Enum):
    """Orderings of `groups`."""

    ADDED = groups.ADDED
    NAME = groups.NAME


described(
    GroupOrder,
    "The orderings of communities.",
    {
        GroupOrder.ADDED: "The newest addition first.",
        GroupOrder.NAME: "By name, from A to Z.",
    },
)


class PostOrder(Enum):
    """Orderings of posts."""

    NEWEST = posts.NEWEST
    OLDEST = posts.OLDEST


described(
    PostOrder,
    "The orderings of posts, by time.",
    {
        PostOrder.NEWEST: "The newest first.",
        PostOrder.OLDEST: "The oldest first.",
    },
)


class CommentOrder(Enum):
    """Orderings of comments."""

    NEWEST = comments.NEWEST
    OLDEST = comments.OLDEST
    MOST_LIKED = comments.MOST_LIKED
    RELEVANCE = comments.RELEVANCE


described(
    CommentOrder,
    "The orderings of comments.",
    {
        CommentOrder.NEWEST: "The newest first.",
        CommentOrder.OLDEST: "The oldest first.",
        CommentOrder.MOST_LIKED: "The one with the most likes first.",
        CommentOrder.RELEVANCE: "The one that meets `filter.search` best first; needs such a search.",
    },
)


@strawberry.input(description="Which communities are wanted. What is left out does not restrict.")
class GroupFilter:
    """Restricts communities."""

    search: str | None = strawberry.field(default=None, description="Part of the name or the screen name.")
    labels: list[str] | None = strawberry.field(default=None, description="With one of these labels.")

    def conditions(self) -> groups.GroupConditions:
        """Return the filter as the store takes it."""
        return conditions_of(groups.GroupConditions, self)

    @staticmethod
    def everything() -> groups.GroupConditions:
        """Return the conditions of no filter."""
        return groups.GroupConditions()


@strawberry.input(description="Which posts are wanted; all conditions hold. What is left out does not restrict.")
class PostFilter:
    """Restricts posts."""

    group_ids: list[strawberry.ID] | None = ids_field("Group", "owner_ids", "Posts of these communities.")
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    has_comments: bool | None = strawberry.field(default=None, description="With comments, or without.")

    def conditions(self) -> posts.PostConditions:
        """Return the filter as the store takes it."""
        return conditions_of(posts.PostConditions, self)

    @staticmethod
    def everything() -> posts.PostConditions:
        """Return the conditions of no filter."""
        return posts.PostConditions()


DEEPEST_FILTER = 5
MOST_PARTS = 50
MOST_SEARCHED = 500
"""Letters of a search."""
INDEXED = re.compile(r"[^\W_]{3}")
"""Three letters or digits in a row: what the index of parts of texts is made of."""


@strawberry.input(
    description="Which comments are wanted; all conditions hold. What is left out does not restrict. "
    "Filters may be nested, up to 5 deep and 50 in all."
)
class CommentFilter:
    """Restricts comments."""

    search: str | None = strawberry.field(
        default=None,
        description='Full text, as search engines take it: words in any Russian form, "phrases", -words that must not '
        "be there, `or` between alternatives. Words like и, не, на do not count.",
    )
    contains: str | None = strawberry.field(
        default=None,
        description="Part of the text, whatever the case, ё being е. Three letters or digits in a row are needed.",
    )
    group_ids: list[strawberry.ID] | None = ids_field("Group", "owner_ids", "Under posts of these groups.")
    post_ids: list[strawberry.ID] | None = ids_field("Post", "posts", "Under these posts.")
    author_ids: list[strawberry.ID] | None = ids_field("Author", "author_ids", "Written by these authors.")
    keyword_ids: list[strawberry.ID] | None = ids_field(
        "Keyword", "keyword_ids", "With a match of one of these keywords."
    )
    keyword_categories: list[str] | None = strawberry.field(
        default=None, description="With a match of a keyword in one of these categories."
    )
    has_matches: bool | None = strawberry.field(default=None, description="With a match of any keyword, or without.")
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    is_reply: bool | None = strawberry.field(default=None, description="In the thread of another comment, or not.")
    is_deleted: bool | None = strawberry.field(default=None, description="Deleted at VK, or not.")
    is_viewed: bool | None = strawberry.field(default=None, description="Marked as viewed here, or not.")
    is_archived: bool | None = strawberry.field(default=None, description="Archived here, or not.")
    language: str | None = strawberry.field(
        default=None,
        description="In this language, as an analysis has found it: ISO 639-1, such as `ru`; `und` where the text does "
        "not tell.",
    )
    mood: Mood | None = strawberry.field(
        default=None, description="Of this mood, as an analysis has read it off emoji and brackets: a weak signal."
    )
    has_links: bool | None = strawberry.field(
        default=None, description="With links, as an analysis has found them, or without, or not analysed."
    )
    is_in_wave: bool | None = strawberry.field(
        default=None, description="Nearly the same as others, as an analysis has found, or not, or not analysed."
    )
    wave_ids: list[strawberry.ID] | None = ids_field("Wave", "wave_ids", "In one of these waves.")
    min_likes: int | None = strawberry.field(default=None, description="With at least so many likes.")
    and_: list["CommentFilter"] | None = strawberry.field(
        default=None, name="and", description="All of these hold as well."
    )
    or_: list["CommentFilter"] | None = strawberry.field(
        default=None, name="or", description="At least one of these holds as well; an empty list does not restrict."
    )
    not_: "CommentFilter | None" = strawberry.field(
        default=None, name="not", description="This does not hold. An empty filter always holds, so nothing is left."
    )

    def conditions(self, path: str = "filter") -> CommentConditions:
        """Return the filter as the store takes it.

        Raises:
            ValidationFailed: an id is none, or a search is too long or too short, or there are too many filters.
        """
        parts = list(_parts(self, path))
        if len(parts) > MOST_PARTS:
            raise ValidationFailed({path: f"has {len(parts)} filters in it; {MOST_PARTS} are the most"})
        if wrong := {where: problem for where, part in parts for where, problem in _problems(part, where)}:
            raise ValidationFailed(wrong)
        return _conditions(self, path)

    @staticmethod
    def everything() -> CommentConditions:
        """Return the conditions of no filter."""
        return CommentConditions()


NESTED = {"and_": "all_of", "or_": "any_of", "not_": "none_of"}
"""The fields of a filter that hold filters, and the conditions that these become."""


def _nested(part: CommentFilter, path: str) -> Iterator[tuple[str, str, CommentFilter]]:
    """Yield the filters directly inside a filter: the condition that they become, their path, and themselves."""
    for field, condition in NESTED.items():
        inner, where = getattr(part, field), f"{path}.{field.rstrip('_')}"
        if isinstance(inner, CommentFilter):
            yield condition, where, inner
        for number, each in enumerate(inner if isinstance(inner, list) else ()):
            yield condition, f"{where}.{number}", each


def _parts(part: CommentFilter, path: str, depth: int = 1) -> Iterator[tuple[str, CommentFilter]]:
    """Yield a filter and all that are inside it, with their paths."""
    if depth > DEEPEST_FILTER:
        raise ValidationFailed({path: f"is nested more than {DEEPEST_FILTER} deep"})
    yield path, part
    for _, where, inner in _nested(part, path):
        yield from _parts(inner, where, depth + 1)


def _problems(part: CommentFilter, path: str) -> Iterator[tuple[str, str]]:
    if part.search is not None and not 1 <= len(part.search.strip()) <= MOST_SEARCHED:
        yield f"{path}.search", f"must have between 1 and {MOST_SEARCHED} letters"
    if part.contains is not None and (len(part.contains) > MOST_SEARCHED or not INDEXED.search(part.contains)):
        yield f"{path}.contains", f"needs three letters or digits in a row, and may have {MOST_SEARCHED} at most"


def _conditions(part: CommentFilter, path: str) -> CommentConditions:
    inner: dict[str, tuple[CommentConditions, ...]] = {}
    for condition, where, nested in _nested(part, path):
        inner[condition] = (*inner.get(condition, ()), _conditions(nested, where))
    forms = forms_of_search(part.search) if part.search else ()
    return conditions_of(CommentConditions, part, path, but=NESTED, search_forms=forms, **inner)
