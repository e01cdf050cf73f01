"""Conditions that select comments for lists, searches, marks and exports, as SQL."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

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
"""The configuration of PostgreSQL's full text search; it treats Latin words as English."""
_HAS_LINKS = comment_features.c.links != literal_column("'{}'::text[]")
_COMBINED_FIELDS = ("search_forms", "all_of", "any_of", "none_of")
"""Fields without a condition of their own: part of `search`, or nested conditions."""
_IS_IN_WAVE = comment_features.c.wave_id.is_not(None)


@dataclass(frozen=True, slots=True)
class CommentConditions:
    """Conditions that select comments: all fields that are not None must hold; None does not restrict.

    `search` is a full text query in search engine syntax: words in any form,
    "phrases", -excluded words, or. `search_forms` lists words of the query, each
    followed by its other forms. `contains` is a substring of the text, compared
    without case. All of `all_of`, at least one of `any_of` and none of `none_of`
    must hold; an empty tuple does not restrict.
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
        """Return the conditions on a row of `comments`; a selected comment meets all of them."""
        c, features = comments.c, comment_features.c
        conditions: dict[str, Callable[[], ColumnElement[bool]]] = {
            "search": lambda: _has_row(comment_search, query_matches(self.query())),
            "contains": lambda: _has_row(comment_search, _contains(self.contains or "")),
            "owner_ids": lambda: is_among(c.owner_id, self.owner_ids or ()),
            "posts": lambda: are_among((c.owner_id, c.post_id), self.posts or ()),
            "author_ids": lambda: is_among(c.from_id, self.author_ids or ()),
            "keyword_ids": lambda: _has_keyword(is_among(comment_keywords.c.keyword_id, self.keyword_ids or ())),
            "keyword_categories": lambda: _has_keyword(_is_in_categories(self.keyword_categories or ())),
            "has_matches": lambda: _truth(_has_keyword(_keyword_exists()), is_true=bool(self.has_matches)),
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
        # Look up every field: a field without a condition raises KeyError instead of being ignored silently.
        names = [field.name for field in fields(self) if field.name not in _COMBINED_FIELDS]
        values = [(getattr(self, name), conditions[name]) for name in names]
        return [condition() for value, condition in values if value is not None] + list(self._combined())

    def query(self) -> ColumnElement[object]:
        """Return the search as PostgreSQL's tsquery."""
        return query(self.search or "", self.search_forms)

    def _combined(self) -> Iterator[ColumnElement[bool]]:
        yield from (and_(True, *part.sql()) for part in self.all_of)  # noqa: FBT003 - SQL's TRUE
        if self.any_of:
            yield _any(self.any_of)
        # IS NOT TRUE instead of NOT: for a comment without an author the author condition is NULL, and the comment
        # must be selected.
        yield from (and_(True, *part.sql()).is_not(True) for part in self.none_of)  # noqa: FBT003 - SQL's TRUE

    def are_restrictive(self) -> bool:
        """Return whether some comments may not meet the conditions, as far as is known without a query."""
        plain = replace(self, all_of=(), any_of=(), none_of=(), min_likes=self.min_likes or None)
        return (
            plain != CommentConditions()
            or any(part.are_restrictive() for part in self.all_of)
            or (bool(self.any_of) and all(part.are_restrictive() for part in self.any_of))
            or any(part.are_restrictive() and not part.want_nothing() for part in self.none_of)
        )

    def want_nothing(self) -> bool:
        """Return whether one of the lists is empty, so that no comment meets the conditions."""
        lists = (self.owner_ids, self.posts, self.author_ids, self.keyword_ids, self.keyword_categories, self.wave_ids)
        return () in lists

    def are_selective(self) -> bool:
        """Return whether an index finds the few matching comments, as far as is known without a query."""
        values: tuple[object, ...] = (self.search, self.contains, self.posts, self.author_ids, self.wave_ids)
        values += (self.keyword_ids, self.keyword_categories)
        return any(value is not None for value in values) or any(part.are_selective() for part in self.all_of)

    def are_on_one_wall(self) -> bool:
        """Return whether only comments of a single wall can meet the conditions."""
        walls = set(self.owner_ids or ()) if self.posts is None else {owner_id for owner_id, _ in self.posts}
        return len(walls) == 1


def query(search: str, forms: Sequence[Sequence[str]]) -> ColumnElement[object]:
    """Return a search as PostgreSQL's tsquery; a word that is the first of a tuple in `forms` matches all its forms."""
    tsquery = func.websearch_to_tsquery(RUSSIAN, func.translate(search, "ёЁ", "еЕ"))
    # Rewrite in two steps, through placeholders that are not words: otherwise a form that was put in for one word
    # could be rewritten again for another word.
    placeholders = [cast(f"'{number} '", TSQUERY) for number in range(len(forms))]
    for placeholder, words in zip(placeholders, forms, strict=True):
        tsquery = func.ts_rewrite(tsquery, func.plainto_tsquery(RUSSIAN, words[0]), placeholder)
    for placeholder, words in zip(placeholders, forms, strict=True):
        tsquery = func.ts_rewrite(tsquery, placeholder, func.to_tsquery(RUSSIAN, " | ".join(words)))
    return tsquery


def query_matches(tsquery: ColumnElement[object]) -> ColumnElement[bool]:
    """Return the condition that a row of `comment_search` matches a tsquery."""
    return comment_search.c.vector.bool_op("@@")(tsquery)


def _contains(substring: str) -> ColumnElement[bool]:
    folded = func.lower(func.translate(substring, "ёЁ", "еЕ"))
    pattern = func.concat("%", func.regexp_replace(folded, r"([\\%_])", r"\\\1", "g"), "%")
    # The first condition uses the index. It matches too much, because it maps look-alike letters of two scripts to one;
    # the second condition is exact.
    return and_(_latin(comment_search.c.folded).like(_latin(pattern)), comment_search.c.folded.like(pattern))


def _latin(words: ColumnElement[str]) -> ColumnElement[str]:
    # Literals instead of parameters: PostgreSQL only then recognises the expression of the index.
    return func.translate(words, literal_column(f"'{CYRILLIC}'"), literal_column(f"'{LATIN}'"))


def _any(parts: tuple[CommentConditions, ...]) -> ColumnElement[bool]:
    """Return the condition that at least one of `parts` holds."""
    c = comments.c
    if all(part.are_selective() for part in parts):
        # A union lets each part use its own index; OR would scan all comments.
        keys = (select(c.owner_id, c.id).where(*part.sql()).correlate(None) for part in parts)
        return tuple_(c.owner_id, c.id).in_(union(*keys))
    return or_(*(and_(True, *part.sql()) for part in parts))  # noqa: FBT003 - SQL's TRUE


def _truth(condition: ColumnElement[bool], *, is_true: bool) -> ColumnElement[bool]:
    # The bare condition, without "= true": only then does PostgreSQL use partial indexes.
    return condition if is_true else not_(condition)


def _has_row(table: FromClause, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # EXISTS instead of IN: under NOT and OR, an IN subquery that does not fit into memory runs again for each comment.
    same_comment = (table.c.owner_id == comments.c.owner_id, table.c.comment_id == comments.c.id)
    return exists().where(*same_comment, *conditions).correlate(comments)


def _has_keyword(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return _has_row(comment_keywords, *conditions)


def _keyword_exists() -> ColumnElement[bool]:
    # The matches of a removed keyword stay until a job has deleted them.
    return exists().where(keywords.c.id == comment_keywords.c.keyword_id).correlate(comment_keywords)


def _is_in_categories(categories: tuple[str, ...]) -> ColumnElement[bool]:
    is_in = (keywords.c.id == comment_keywords.c.keyword_id) & is_among(keywords.c.category, categories)
    return exists().where(is_in).correlate(comment_keywords)
