"""Which comments are wanted: the conditions of their lists, searches, marks and exports, as SQL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    cast,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    tuple_,
    union,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from app.db.tables import CYRILLIC, LATIN, comment_features, comment_keywords, comment_search, comments, keywords
from app.store.arrays import are_among, is_among

RUSSIAN = "russian"
"""The configuration of PostgreSQL's full text search; it takes Latin words for English ones."""
_HAS_LINKS = comment_features.c.links != literal_column("'{}'::text[]")
_NOT_ALONE = ("search_forms", "all_of", "any_of", "none_of")
"""Fields without a condition of their own: part of `search`, or conditions to combine."""
_IS_IN_WAVE = comment_features.c.wave_id.is_not(None)


@dataclass(frozen=True, slots=True)
class CommentConditions:
    """Which comments are wanted; all that is not None holds, and what is None does not restrict.

    `search` is full text as people write it for search engines: words in any
    form, "phrases", -words that must not be there, or. `search_forms` are words
    of it, each with its other forms behind it. `contains` is a part of the text,
    whatever the case. Of `all_of` all hold, of `any_of` at least one, of
    `none_of` none; an empty tuple does not restrict.
    """

    search: str | None = None
    search_forms: tuple[tuple[str, ...], ...] = ()
    contains: str | None = None
    owner_ids: tuple[int, ...] | None = None
    posts: tuple[tuple[int, int], ...] | None = None
    author_ids: tuple[int, ...] | None = None
    keyword_ids: tuple[int, ...] | None = None
    keyword_categories: tuple[str, ...] | None = None
    has_matches: bool | None = None
    published_from: datetime | None = None
    published_to: datetime | None = None
    is_reply: bool | None = None
    is_deleted: bool | None = None
    is_viewed: bool | None = None
    is_archived: bool | None = None
    language: str | None = None
    mood: int | None = None
    has_links: bool | None = None
    is_in_wave: bool | None = None
    wave_ids: tuple[int, ...] | None = None
    min_likes: int | None = None
    all_of: tuple["CommentConditions", ...] = ()
    any_of: tuple["CommentConditions", ...] = ()
    none_of: tuple["CommentConditions", ...] = ()

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions on a row of `comments`; all of them hold for a wanted comment."""
        c, features = comments.c, comment_features.c
        conditions: dict[str, Callable[[], ColumnElement[bool]]] = {
            "search": lambda: _has_row(comment_search, query_matches(self.query())),
            "contains": lambda: _has_row(comment_search, _contains(self.contains or "")),
            "owner_ids": lambda: is_among(c.owner_id, self.owner_ids or ()),
            "posts": lambda: are_among((c.owner_id, c.post_id), self.posts or ()),
            "author_ids": lambda: is_among(c.from_id, self.author_ids or ()),
            "keyword_ids": lambda: _has_keyword(is_among(comment_keywords.c.keyword_id, self.keyword_ids or ())),
            "keyword_categories": lambda: _has_keyword(_is_in_categories(self.keyword_categories or ())),
            "has_matches": lambda: _truth(_has_keyword(_is_there()), is_true=bool(self.has_matches)),
            "published_from": lambda: c.published_at >= self.published_from,
            "published_to": lambda: c.published_at < self.published_to,
            "is_reply": lambda: _truth(c.thread_id.is_not(None), is_true=bool(self.is_reply)),
            "is_deleted": lambda: _truth(c.is_deleted, is_true=bool(self.is_deleted)),
            "is_viewed": lambda: _truth(c.viewed_at.is_not(None), is_true=bool(self.is_viewed)),
            "is_archived": lambda: _truth(c.archived_at.is_not(None), is_true=bool(self.is_archived)),
            "language": lambda: _has_row(comment_features, features.language == self.language),
            "mood": lambda: _has_row(comment_features, features.mood == self.mood),
            "has_links": lambda: _truth(_has_row(comment_features, _HAS_LINKS), is_true=bool(self.has_links)),
            "is_in_wave": lambda: _truth(_has_row(comment_features, _IS_IN_WAVE), is_true=bool(self.is_in_wave)),
            "wave_ids": lambda: _has_row(comment_features, is_among(features.wave_id, self.wave_ids or ())),
            "min_likes": lambda: c.like_count >= self.min_likes,
        }
        # every field is looked up, so a field without a condition is an error and never a filter that is ignored
        alone = [field.name for field in fields(self) if field.name not in _NOT_ALONE]
        found = [(getattr(self, name), conditions[name]) for name in alone]
        return [condition() for value, condition in found if value is not None] + list(self._combined())

    def query(self) -> ColumnElement[Any]:
        """Return what is searched for as PostgreSQL's tsquery."""
        return query(self.search or "", self.search_forms)

    def _combined(self) -> Iterator[ColumnElement[bool]]:
        yield from (and_(True, *part.sql()) for part in self.all_of)  # noqa: FBT003 - SQL's TRUE
        if self.any_of:
            yield _any(self.any_of)
        # IS NOT TRUE, as a comment without an author is by none, and so is not by somebody
        yield from (and_(True, *part.sql()).is_not(True) for part in self.none_of)  # noqa: FBT003

    def restrict(self) -> bool:
        """Tell whether there may be comments that do not meet them, as far as that can be told without looking."""
        plain = replace(self, all_of=(), any_of=(), none_of=(), min_likes=self.min_likes or None)
        return (
            plain != CommentConditions()
            or any(part.restrict() for part in self.all_of)
            or (bool(self.any_of) and all(part.restrict() for part in self.any_of))
            or any(part.restrict() and not part.want_nothing() for part in self.none_of)
        )

    def want_nothing(self) -> bool:
        """Tell whether a list of theirs is empty, so that no comment meets them."""
        lists = (self.owner_ids, self.posts, self.author_ids, self.keyword_ids, self.keyword_categories, self.wave_ids)
        return () in lists

    def are_selective(self) -> bool:
        """Tell whether an index finds those few that meet them, as far as that can be told without looking."""
        values: tuple[object, ...] = (self.search, self.contains, self.posts, self.author_ids, self.wave_ids)
        values += (self.keyword_ids, self.keyword_categories)
        return any(value is not None for value in values) or any(part.are_selective() for part in self.all_of)

    def are_on_one_wall(self) -> bool:
        """Tell whether only comments of a single wall can meet them."""
        walls = set(self.owner_ids or ()) if self.posts is None else {owner_id for owner_id, _ in self.posts}
        return len(walls) == 1


def query(search: str, forms: Sequence[Sequence[str]]) -> ColumnElement[Any]:
    """Return a search as PostgreSQL's tsquery, in which a word stands for all forms it has in `forms`, as the first."""
    found = func.websearch_to_tsquery(RUSSIAN, func.translate(search, "ёЁ", "еЕ"))
    # in two steps, by signs that are no words: else the forms of one word would be replaced for another one
    signs = [cast(f"'{number} '", TSQUERY) for number in range(len(forms))]
    for sign, words in zip(signs, forms, strict=True):
        found = func.ts_rewrite(found, func.plainto_tsquery(RUSSIAN, words[0]), sign)
    for sign, words in zip(signs, forms, strict=True):
        found = func.ts_rewrite(found, sign, func.to_tsquery(RUSSIAN, " | ".join(words)))
    return found


def query_matches(wanted: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a row of `comment_search` meets a tsquery."""
    return comment_search.c.vector.bool_op("@@")(wanted)


def _contains(part: str) -> ColumnElement[bool]:
    folded = func.lower(func.translate(part, "ёЁ", "еЕ"))
    pattern = func.concat("%", func.regexp_replace(folded, r"([\\%_])", r"\\\1", "g"), "%")
    # the first condition is what there is an index for: it finds too much, as it takes letters of two scripts for one
    return and_(_latin(comment_search.c.folded).like(_latin(pattern)), comment_search.c.folded.like(pattern))


def _latin(words: ColumnElement[Any]) -> ColumnElement[Any]:
    # as literals, by which PostgreSQL knows the index' expression again
    return func.translate(words, literal_column(f"'{CYRILLIC}'"), literal_column(f"'{LATIN}'"))


def _any(parts: tuple[CommentConditions, ...]) -> ColumnElement[bool]:
    """Return the condition that at least one of these holds."""
    c = comments.c
    if all(part.are_selective() for part in parts):
        # each finds its own by its own index; with OR, all comments would be looked at one after the other
        found = (select(c.owner_id, c.id).where(*part.sql()).correlate(None) for part in parts)
        return tuple_(c.owner_id, c.id).in_(union(*found))
    return or_(*(and_(True, *part.sql()) for part in parts))  # noqa: FBT003 - SQL's TRUE


def _truth(condition: ColumnElement[bool], *, is_true: bool) -> ColumnElement[bool]:
    # as bare conditions, which partial indexes are found for
    return condition if is_true else not_(condition)


def _has_row(table: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # EXISTS, as IN is slow under NOT and OR: what does not fit into memory is asked anew for each comment
    is_its = (table.c.owner_id == comments.c.owner_id, table.c.comment_id == comments.c.id)
    return exists().where(*is_its, *conditions).correlate(comments)


def _has_keyword(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return _has_row(comment_keywords, *conditions)


def _is_there() -> ColumnElement[bool]:
    # matches of a keyword that was removed stay until a job has deleted them
    return exists().where(keywords.c.id == comment_keywords.c.keyword_id).correlate(comment_keywords)


def _is_in_categories(categories: tuple[str, ...]) -> ColumnElement[bool]:
    is_in = (keywords.c.id == comment_keywords.c.keyword_id) & is_among(keywords.c.category, categories)
    return exists().where(is_in).correlate(comment_keywords)
