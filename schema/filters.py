"""Filters and orderings of communities, posts and comments: the inputs of their lists."""

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
        GroupOrder.ADDED: "The most recently added first.",
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
        CommentOrder.MOST_LIKED: "The most liked first.",
        CommentOrder.RELEVANCE: "The best match of `filter.search` first; requires such a search.",
    },
)


@strawberry.input(description="Selects communities; all conditions must hold. An omitted condition does not restrict.")
class GroupFilter:
    """Selects communities."""

    search: str | None = strawberry.field(default=None, description="Part of the name or the screen name.")
    labels: list[str] | None = strawberry.field(
        default=None, description="Communities with at least one of these labels."
    )

    def conditions(self) -> groups.GroupConditions:
        """Return the filter as conditions of the store."""
        return conditions_of(groups.GroupConditions, self)

    @staticmethod
    def everything() -> groups.GroupConditions:
        """Return conditions that select everything."""
        return groups.GroupConditions()


@strawberry.input(description="Selects posts; all conditions must hold. An omitted condition does not restrict.")
class PostFilter:
    """Selects posts."""

    group_ids: list[strawberry.ID] | None = ids_field("Group", "owner_ids", "Posts of these communities.")
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    has_comments: bool | None = strawberry.field(default=None, description="`true`: with comments; `false`: without.")

    def conditions(self) -> posts.PostConditions:
        """Return the filter as conditions of the store."""
        return conditions_of(posts.PostConditions, self)

    @staticmethod
    def everything() -> posts.PostConditions:
        """Return conditions that select everything."""
        return posts.PostConditions()


DEEPEST_FILTER = 5
MOST_PARTS = 50
MOST_SEARCHED = 500
"""The maximum length of a search, in characters."""
INDEXED = re.compile(r"[^\W_]{3}")
"""Three letters or digits in a row: the shortest text that the trigram index finds."""


@strawberry.input(description="Selects comments.")
class CommentFilter:
    """Selects comments."""

    search: str | None = strawberry.field(
        default=None,
        description='Full text search: words in any Russian form, "phrases", -words to '
        "exclude, `or` between alternatives. Stop words such as и, не, на are "
        "ignored.",
    )
    contains: str | None = strawberry.field(
        default=None,
        description="Part of the text, ignoring case and the difference between ё and е. Needs "
        "three letters or digits in a row.",
    )
    group_ids: list[strawberry.ID] | None = ids_field("Group", "owner_ids", "Comments on posts of these communities.")
    post_ids: list[strawberry.ID] | None = ids_field("Post", "posts", "Comments on these posts.")
    author_ids: list[strawberry.ID] | None = ids_field("Author", "author_ids", "Comments of these authors.")
    keyword_ids: list[strawberry.ID] | None = ids_field(
        "Keyword", "keyword_ids", "Comments that match at least one of these keywords."
    )
    keyword_categories: list[str] | None = strawberry.field(
        default=None, description="Comments that match a keyword in at least one of these categories."
    )
    has_matches: bool | None = strawberry.field(
        default=None, description="`true`: matches a keyword; `false`: matches none."
    )
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    is_reply: bool | None = strawberry.field(
        default=None, description="`true`: a reply in the thread of another comment; `false`: a top comment."
    )
    is_deleted: bool | None = strawberry.field(default=None, description="`true`: deleted at VK; `false`: not deleted.")
    is_viewed: bool | None = strawberry.field(
        default=None, description="`true`: marked as viewed on this server; `false`: not marked."
    )
    is_archived: bool | None = strawberry.field(
        default=None, description="`true`: archived on this server; `false`: not archived."
    )
    language: str | None = strawberry.field(
        default=None,
        description="The language that an analysis has detected: ISO 639-1, such as `ru`; `und`: not determined.",
    )
    mood: Mood | None = strawberry.field(
        default=None, description="The sentiment that an analysis has derived from emoji and brackets: a weak signal."
    )
    has_links: bool | None = strawberry.field(
        default=None, description="`true`: contains a link; `false`: contains none, or was not analysed."
    )
    is_in_wave: bool | None = strawberry.field(
        default=None, description="`true`: in a wave of near-duplicates; `false`: in none, or not analysed."
    )
    wave_ids: list[strawberry.ID] | None = ids_field("Wave", "wave_ids", "Comments in at least one of these waves.")
    min_likes: int | None = strawberry.field(default=None, description="The minimum number of likes.")
    and_: list["CommentFilter"] | None = strawberry.field(
        default=None, name="and", description="All of these filters must hold, too."
    )
    or_: list["CommentFilter"] | None = strawberry.field(
        default=None,
        name="or",
        description="At least one of these filters must hold, too; an empty list does not restrict.",
    )
    not_: "CommentFilter | None" = strawberry.field(
        default=None,
        name="not",
        description="This filter must not hold. An empty filter always holds, so nothing is selected.",
    )

    def conditions(self, path: str = "filter") -> CommentConditions:
        """Return the filter as conditions of the store.

        Raises:
            ValidationFailed: an id is not valid, a search is too long or too short, or there are too many filters.
        """
        parts = list(_parts(self, path))
        if len(parts) > MOST_PARTS:
            raise ValidationFailed({path: f"contains {len(parts)} filters; at most {MOST_PARTS} are allowed"})
        if problems_by_path := {where: problem for where, part in parts for where, problem in _problems(part, where)}:
            raise ValidationFailed(problems_by_path)
        return _conditions(self, path)

    @staticmethod
    def everything() -> CommentConditions:
        """Return conditions that select everything."""
        return CommentConditions()


NESTED = {"and_": "all_of", "or_": "any_of", "not_": "none_of"}
"""The fields of a filter that contain filters -> the corresponding conditions."""


def _nested(part: CommentFilter, path: str) -> Iterator[tuple[str, str, CommentFilter]]:
    """Yield the filters directly inside a filter: the name of the condition, the path, and the filter."""
    for field, condition in NESTED.items():
        inner, where = getattr(part, field), f"{path}.{field.rstrip('_')}"
        if isinstance(inner, CommentFilter):
            yield condition, where, inner
        for number, each in enumerate(inner if isinstance(inner, list) else ()):
            yield condition, f"{where}.{number}", each


def _parts(part: CommentFilter, path: str, depth: int = 1) -> Iterator[tuple[str, CommentFilter]]:
    """Yield a filter and all filters inside it, with their paths."""
    if depth > DEEPEST_FILTER:
        raise ValidationFailed({path: f"is nested deeper than {DEEPEST_FILTER} levels"})
    yield path, part
    for _, where, inner in _nested(part, path):
        yield from _parts(inner, where, depth + 1)


def _problems(part: CommentFilter, path: str) -> Iterator[tuple[str, str]]:
    if part.search is not None and not 1 <= len(part.search.strip()) <= MOST_SEARCHED:
        yield f"{path}.search", f"must have between 1 and {MOST_SEARCHED} characters"
    if part.contains is not None and (len(part.contains) > MOST_SEARCHED or not INDEXED.search(part.contains)):
        yield (
            f"{path}.contains",
            f"must contain three letters or digits in a row, and have at most {MOST_SEARCHED} characters",
        )


def _conditions(part: CommentFilter, path: str) -> CommentConditions:
    inner: dict[str, tuple[CommentConditions, ...]] = {}
    for condition, where, nested in _nested(part, path):
        inner[condition] = (*inner.get(condition, ()), _conditions(nested, where))
    forms = forms_of_search(part.search) if part.search else ()
    return conditions_of(CommentConditions, part, path, but=NESTED, search_forms=forms, **inner)
