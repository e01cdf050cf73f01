"""Keywords, their matches in comments, and the active keywords that a matcher needs.

A shared and an exclusive lock keep matches correct while keywords change. A
transaction that stores comments or matches shares the keywords until it ends and
matches with the keywords that are active then. A transaction that changes keywords
waits for all of these, and enqueues the job that matches stored comments. So a
comment was stored either before the change, and the job sees it, or after it, and
was matched with the changed keywords.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import keywords
from app.errors import KeywordAlreadyExists, KeywordNotFound
from app.store.arrays import is_among, key_columns
from app.store.keyset import Key, Order, Page, Slice, count_rows, page_rows, rows_by_key
from app.store.rows import ActiveKeywordRow, CategoryRow, KeywordRow, MatchCountsRow, MatchRow, TextRow

PHRASE = Order("PHRASE", ("folded_phrase", "id"))
NEWEST = Order("NEWEST", ("created_at", "id"), is_descending=True)
KEY = ("id",)
_LISTED = select(keywords, func.lower(keywords.c.phrase).label("folded_phrase")).subquery("listed")

_COMPARED = "(CASE {0}.matching WHEN 'CASE_SENSITIVE' THEN {0}.phrase ELSE lower({0}.phrase) END)"
"""The form of a phrase that is unique among keywords with the same matching; the unique indexes use it."""

Positions = Mapping[int, Sequence[int]]
"""Keyword id -> start, end, start, end ... of its matches in one text."""


# reading keywords


@dataclass(frozen=True, slots=True)
class KeywordConditions:
    """Conditions that select keywords; None does not restrict. `search` is a substring of the phrase, without case."""

    search: str | None = None
    categories: tuple[str, ...] | None = None
    matching: tuple[str, ...] | None = None
    is_active: bool | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; a selected keyword meets all of them."""
        c = _LISTED.c
        conditions: list[ColumnElement[bool]] = []
        if self.search:
            conditions.append(c.phrase.icontains(self.search, autoescape=True))
        if self.categories is not None:
            conditions.append(is_among(c.category, self.categories))
        if self.matching is not None:
            conditions.append(c.matching.in_(self.matching))
        if self.is_active is not None:
            conditions.append(c.is_active.is_(self.is_active))
        return conditions


async def keywords_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, KeywordRow]:
    """Read keywords: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, keywords, KEY, keys)


async def keywords_page(connection: AsyncConnection, conditions: KeywordConditions, page: Page) -> Slice[KeywordRow]:
    """Read a page of the selected keywords."""
    return await page_rows(connection, _LISTED, conditions.sql(), page)


async def count_keywords(connection: AsyncConnection, conditions: KeywordConditions) -> int:
    """Count the selected keywords."""
    return await count_rows(connection, _LISTED, conditions.sql())


async def match_counts(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, MatchCountsRow]:
    """Count the matches of keywords: (id,) -> `comments` and `matches`; keywords without matches are absent."""
    statement = text("""
        SELECT keyword_id, sum(comments)::bigint AS comments, sum(matches)::bigint AS matches
          FROM keyword_months WHERE keyword_id = ANY(:ids) GROUP BY keyword_id
    """)
    rows = await connection.execute(statement, {"ids": [keyword_id for (keyword_id,) in keys]})
    return {(row.keyword_id,): row for row in rows}


async def categories(connection: AsyncConnection) -> Sequence[CategoryRow]:
    """Return the categories by name: `name`, `keywords`, `matches`."""
    statement = text("""
        SELECT k.category AS name, count(*) AS keywords, coalesce(sum(m.matches), 0)::bigint AS matches
          FROM keywords k
          LEFT JOIN (SELECT keyword_id, sum(matches) AS matches FROM keyword_months GROUP BY keyword_id) AS m
               ON m.keyword_id = k.id
         WHERE k.category IS NOT NULL GROUP BY k.category ORDER BY k.category
    """)
    return (await connection.execute(statement)).all()


# changing keywords


@dataclass(frozen=True, slots=True)
class NewKeyword:
    """A keyword to insert unless it exists."""

    phrase: str
    matching: str
    category: str | None = None


async def insert_keywords(
    connection: AsyncConnection, new: Sequence[NewKeyword]
) -> tuple[Sequence[KeywordRow], set[int]]:
    """Insert the keywords that do not exist; return the row of each one, in the given order, and the new ids."""
    values = {
        "phrases": [each.phrase for each in new],
        "matchings": [each.matching for each in new],
        "categories": [each.category for each in new],
    }
    unnested = "unnest(CAST(:phrases AS text[]), CAST(:matchings AS text[]), CAST(:categories AS text[]))"
    inserted = await connection.execute(
        text(f"""
            INSERT INTO keywords (phrase, matching, category, is_active)
            SELECT phrase, matching, category, true
              FROM {unnested} WITH ORDINALITY AS r(phrase, matching, category, n) ORDER BY n
            ON CONFLICT DO NOTHING RETURNING id
        """),  # noqa: S608 - only constant SQL is interpolated
        values,
    )
    new_ids = set(inserted.scalars())
    rows = await connection.execute(
        text(f"""
            SELECT k.* FROM {unnested} WITH ORDINALITY AS r(phrase, matching, category, n)
              JOIN keywords k ON {_COMPARED.format("k")} = {_COMPARED.format("r")} AND k.matching = r.matching
             ORDER BY r.n
        """),  # noqa: S608 - only constant SQL is interpolated
        values,
    )
    return rows.all(), new_ids


async def require_keyword(connection: AsyncConnection, keyword_id: int) -> KeywordRow:
    """Return a keyword's row. It cannot change while the caller holds `lock_keywords`.

    Raises:
        KeywordNotFound: no keyword has this id.
    """
    row = (await connection.execute(select(keywords).where(keywords.c.id == keyword_id))).first()
    if row is None:
        raise KeywordNotFound(keyword_id)
    return row


async def update_keyword(connection: AsyncConnection, row: KeywordRow, values: Mapping[str, object]) -> KeywordRow:
    """Change a keyword, and return its new row. The caller holds `lock_keywords`.

    Raises:
        KeywordAlreadyExists: another keyword has this phrase and matching.
    """
    changed_row = {"phrase": row.phrase, "matching": row.matching, **values}
    same = text(f"""
        SELECT k.id FROM keywords k, (SELECT CAST(:phrase AS text) AS phrase, CAST(:matching AS text) AS matching) AS r
         WHERE {_COMPARED.format("k")} = {_COMPARED.format("r")} AND k.matching = r.matching AND k.id <> :id
    """)  # noqa: S608 - only constant SQL is interpolated
    if other := await connection.scalar(
        same, {"id": row.id, **{name: changed_row[name] for name in ("phrase", "matching")}}
    ):
        raise KeywordAlreadyExists(other, str(changed_row["phrase"]))
    changed = keywords.update().where(keywords.c.id == row.id).values(**values, changed_at=func.now())
    new: KeywordRow = (await connection.execute(changed.returning(keywords))).one()
    return new


async def delete_keywords(connection: AsyncConnection, keyword_ids: Sequence[int]) -> int:
    """Delete keywords, but not yet their matches; return how many were deleted.

    Raises:
        KeywordNotFound: a keyword does not exist; contains the first such id. None is deleted.
    """
    known = await keywords_by_key(connection, [(keyword_id,) for keyword_id in keyword_ids])
    for keyword_id in keyword_ids:
        if (keyword_id,) not in known:
            raise KeywordNotFound(keyword_id)
    statement = text("DELETE FROM keywords WHERE id = ANY(:ids)")
    return (await connection.execute(statement, {"ids": list(keyword_ids)})).rowcount


async def have_matches(connection: AsyncConnection, keyword_ids: Sequence[int]) -> bool:
    """Return whether any of these keywords matches a comment."""
    statement = text("SELECT EXISTS (SELECT FROM keyword_months WHERE keyword_id = ANY(:ids) AND comments > 0)")
    return bool(await connection.scalar(statement, {"ids": list(keyword_ids)}))


async def is_any_comment_stored(connection: AsyncConnection) -> bool:
    """Return whether any comment is stored that a new keyword may match."""
    return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM comments)")))


# active keywords, for matchers


@dataclass(frozen=True, slots=True)
class ActiveKeywords:
    """The keywords with which new comments are matched, and a version that changes with them."""

    version: tuple[int, int]
    rows: Sequence[ActiveKeywordRow]


async def active_keywords(connection: AsyncConnection, known: ActiveKeywords | None) -> ActiveKeywords:
    """Return the active keywords; `known` itself if they have not changed.

    An earlier statement of the transaction must have called `share_keywords`.
    """
    statement = text("SELECT count(*), coalesce(sum(hashint8extended(id, revision)), 0) FROM keywords WHERE is_active")
    count, mark = (await connection.execute(statement)).one()
    version = int(count), int(mark)
    if known and known.version == version:
        return known
    if not count:
        return ActiveKeywords(version, ())
    rows = await connection.execute(text("SELECT id, phrase, matching FROM keywords WHERE is_active ORDER BY id"))
    return ActiveKeywords(version, rows.all())


async def is_active(connection: AsyncConnection, keyword_id: int) -> bool:
    """Return whether a keyword exists and is active."""
    return bool(await connection.scalar(select(keywords.c.is_active).where(keywords.c.id == keyword_id)))


# matches


@dataclass(frozen=True, slots=True)
class MatchedComment:
    """The matches in the text of one comment."""

    owner_id: int
    id: int
    published_at: datetime
    positions: Positions


async def insert_matches(connection: AsyncConnection, matched: Sequence[MatchedComment]) -> int:
    """Insert matches that do not exist yet; return how many pairs of comment and keyword are new."""
    rows = [(each, keyword_id) for each in matched for keyword_id in each.positions]
    if not rows:
        return 0
    statement = text("""
        INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
        SELECT r.owner_id, r.id, r.keyword_id, r.published_at, CAST(r.positions AS int[])
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:keyword_ids AS bigint[]),
                      CAST(:published AS timestamptz[]), CAST(:positions AS text[]))
            AS r(owner_id, id, keyword_id, published_at, positions)
         ORDER BY r.owner_id, r.id, r.keyword_id
        ON CONFLICT DO NOTHING
    """)
    return (await connection.execute(statement, _columns(rows))).rowcount


async def delete_all_matches(connection: AsyncConnection, keys: Collection[tuple[int, int]]) -> None:
    """Delete all matches of these comments, including those of inactive keywords."""
    if not keys:
        return
    statement = text("""
        DELETE FROM comment_keywords k USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
                                             AS r(owner_id, id)
         WHERE k.owner_id = r.owner_id AND k.comment_id = r.id
    """)
    await connection.execute(statement, key_columns(keys))


def _columns(rows: Sequence[tuple[MatchedComment, int]]) -> dict[str, object]:
    # PostgreSQL's nested arrays must have equal lengths, so lists of positions are passed as text.
    return {
        "owner_ids": [each.owner_id for each, _ in rows],
        "ids": [each.id for each, _ in rows],
        "keyword_ids": [keyword_id for _, keyword_id in rows],
        "published": [each.published_at for each, _ in rows],
        "positions": [f"{{{','.join(map(str, each.positions[keyword_id]))}}}" for each, keyword_id in rows],
    }


async def matches_by_comment(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, Sequence[MatchRow]]:
    """Read matches: (owner_id, id) of the comment -> the rows of keywords, with `positions` and the comment's `text`.

    Comments without matches and matches of removed keywords are absent.
    """
    statement = text("""
        SELECT m.owner_id, m.comment_id, m.positions, c.text, k.*
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
          JOIN comment_keywords m ON m.owner_id = r.owner_id AND m.comment_id = r.id
          JOIN comments c ON c.owner_id = r.owner_id AND c.id = r.id
          JOIN keywords k ON k.id = m.keyword_id
         ORDER BY m.keyword_id
    """)
    values = key_columns(keys)
    by_comment: dict[Key, list[MatchRow]] = {}
    for row in await connection.execute(statement, values):
        by_comment.setdefault((row.owner_id, row.comment_id), []).append(row)
    return by_comment


# matching all stored comments


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A key range: the comments of some walls with keys after `after`, up to and including `last`.

    Keys are (owner_id, id).
    """

    after: tuple[int, int]
    last: tuple[int, int]
    owner_ids: Collection[int]

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the range's condition."""
        return {
            "after_owner_id": self.after[0],
            "after_id": self.after[1],
            "last_owner_id": self.last[0],
            "last_id": self.last[1],
            "stretch_owner_ids": list(self.owner_ids),
        }


_IN_STRETCH = """
    (owner_id, {id}) > (:after_owner_id, :after_id) AND (owner_id, {id}) <= (:last_owner_id, :last_id)
    AND owner_id = ANY(:stretch_owner_ids)"""


async def count_stored_comments(connection: AsyncConnection) -> int:
    """Count all comments, from the hourly rollup."""
    return int(await connection.scalar(text("SELECT coalesce(sum(comments), 0) FROM comment_hours")) or 0)


async def next_range(connection: AsyncConnection, after: tuple[int, int], limit: int) -> KeyRange | None:
    """Return the range of the next up to `limit` comments after a key, with their walls; None if no more exist."""
    statement = text("""
        SELECT owner_id, max(id) AS id
          FROM (SELECT owner_id, id FROM comments WHERE (owner_id, id) > (:owner_id, :id)
                 ORDER BY owner_id, id LIMIT :limit) AS next
         GROUP BY owner_id ORDER BY owner_id
    """)
    rows = (await connection.execute(statement, {"owner_id": after[0], "id": after[1], "limit": limit})).all()
    return KeyRange(after, (rows[-1].owner_id, rows[-1].id), {row.owner_id for row in rows}) if rows else None


async def texts_of(connection: AsyncConnection, stretch: KeyRange) -> Sequence[TextRow]:
    """Return the comments of a key range: `owner_id`, `id`, `published_at`, `text`."""
    condition = _IN_STRETCH.format(id="id")
    statement = text(f"SELECT owner_id, id, published_at, text FROM comments WHERE {condition} ORDER BY owner_id, id")  # noqa: S608 - only constant SQL is interpolated
    return (await connection.execute(statement, stretch.parameters())).all()


async def replace_matches(
    connection: AsyncConnection, stretch: KeyRange, keyword_ids: Sequence[int], matched: Sequence[MatchedComment]
) -> tuple[int, int]:
    """Replace the matches of these keywords in a key range; return how many are new and how many were deleted.

    Unchanged matches are not written again.
    """
    statement = text(f"""
        DELETE FROM comment_keywords WHERE {_IN_STRETCH.format(id="comment_id")} AND keyword_id = ANY(:all_keyword_ids)
           AND (owner_id, comment_id, keyword_id, positions) NOT IN (
               SELECT r.owner_id, r.id, r.keyword_id, CAST(r.positions AS int[])
                 FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:keyword_ids AS bigint[]),
                             CAST(:positions AS text[])) AS r(owner_id, id, keyword_id, positions))
    """)  # noqa: S608 - only constant SQL is interpolated
    values = _columns([(each, keyword_id) for each in matched for keyword_id in each.positions])
    del values["published"]
    values |= stretch.parameters() | {"all_keyword_ids": list(keyword_ids)}
    deleted = (await connection.execute(statement, values)).rowcount
    return await insert_matches(connection, matched), deleted


async def keywords_with_stale_matches(connection: AsyncConnection, changed_ids: Sequence[int]) -> dict[int, int]:
    """Return the keywords whose matches are to be deleted: keyword id -> number of comments.

    These are removed keywords, and the inactive ones among `changed_ids`: their
    matches are those of the former phrase.
    """
    statement = text("""
        SELECT m.keyword_id, sum(m.comments)::bigint AS comments
          FROM keyword_months m LEFT JOIN keywords k ON k.id = m.keyword_id
         WHERE k.id IS NULL OR (k.id = ANY(:changed_ids) AND NOT k.is_active)
         GROUP BY m.keyword_id HAVING sum(m.comments) > 0 ORDER BY m.keyword_id
    """)
    rows = await connection.execute(statement, {"changed_ids": list(changed_ids)})
    return {row.keyword_id: row.comments for row in rows}


async def some_matches(connection: AsyncConnection, keyword_id: int, limit: int) -> list[tuple[int, int]]:
    """Return up to `limit` keys of comments that a keyword matches, oldest first."""
    statement = text("""
        SELECT owner_id, comment_id FROM comment_keywords WHERE keyword_id = :id
         ORDER BY published_at, owner_id, comment_id LIMIT :limit
    """)
    rows = await connection.execute(statement, {"id": keyword_id, "limit": limit})
    return [(row.owner_id, row.comment_id) for row in rows]


async def delete_matches(connection: AsyncConnection, keyword_id: int, keys: Sequence[tuple[int, int]]) -> int:
    """Delete the matches of a keyword in these comments; return how many were deleted."""
    statement = text("""
        DELETE FROM comment_keywords k USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
                                             AS r(owner_id, id)
         WHERE k.owner_id = r.owner_id AND k.comment_id = r.id AND k.keyword_id = :keyword_id
    """)
    values = key_columns(keys) | {"keyword_id": keyword_id}
    return (await connection.execute(statement, values)).rowcount
