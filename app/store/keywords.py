"""Keywords, what they match of comments, and which of them a matcher has to know.

Two locks keep matches right while keywords change. Who stores comments, or their
matches, shares the keywords until the transaction ends and matches by what is
active then; who changes keywords waits for all of these, and asks for the job
that matches what is stored in the same transaction. So a comment was stored
either before, and the job sees it, or afterwards, and was matched by the change.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import keywords
from app.errors import KeywordAlreadyThere, KeywordNotFound
from app.store.arrays import is_among, key_columns
from app.store.keyset import Order, Page, Slice, count_rows, page_rows, rows_by_key

PHRASE = Order("PHRASE", ("folded_phrase", "id"))
NEWEST = Order("NEWEST", ("created_at", "id"), is_descending=True)
KEY = ("id",)
_LISTED = select(keywords, func.lower(keywords.c.phrase).label("folded_phrase")).subquery("listed")

_COMPARED = "(CASE {0}.matching WHEN 'CASE_SENSITIVE' THEN {0}.phrase ELSE lower({0}.phrase) END)"
"""What of a phrase tells two keywords apart that match alike, by which there are unique indexes."""

Positions = Mapping[int, Sequence[int]]
"""Keyword id -> start, end, start, end ... of its matches in one text."""


# which keywords there are


@dataclass(frozen=True, slots=True)
class KeywordConditions:
    """Which keywords are wanted; what is None does not restrict. `search` is part of the phrase, whatever the case."""

    search: str | None = None
    categories: tuple[str, ...] | None = None
    matching: tuple[str, ...] | None = None
    is_active: bool | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; all of them hold for a wanted keyword."""
        c = _LISTED.c
        wanted: list[ColumnElement[bool]] = []
        if self.search:
            wanted.append(c.phrase.icontains(self.search, autoescape=True))
        if self.categories is not None:
            wanted.append(is_among(c.category, self.categories))
        if self.matching is not None:
            wanted.append(c.matching.in_(self.matching))
        if self.is_active is not None:
            wanted.append(c.is_active.is_(self.is_active))
        return wanted


async def keywords_by_key(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read keywords: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, keywords, KEY, keys)


async def keywords_page(connection: AsyncConnection, conditions: KeywordConditions, page: Page) -> Slice:
    """Read a page of the keywords that are wanted."""
    return await page_rows(connection, _LISTED, conditions.sql(), page)


async def count_keywords(connection: AsyncConnection, conditions: KeywordConditions) -> int:
    """Count the keywords that are wanted."""
    return await count_rows(connection, _LISTED, conditions.sql())


async def match_counts(connection: AsyncConnection, keys: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Row[Any]]:
    """Count what keywords match: (id,) -> `comments` and `matches`; those that match nothing are absent."""
    statement = text("""
        SELECT keyword_id, sum(comments)::bigint AS comments, sum(matches)::bigint AS matches
          FROM keyword_months WHERE keyword_id = ANY(:ids) GROUP BY keyword_id
    """)
    rows = await connection.execute(statement, {"ids": [keyword_id for (keyword_id,) in keys]})
    return {(row.keyword_id,): row for row in rows}


async def categories(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Return the categories by name: `name`, `keywords`, `matches`."""
    statement = text("""
        SELECT k.category AS name, count(*) AS keywords, coalesce(sum(m.matches), 0)::bigint AS matches
          FROM keywords k
          LEFT JOIN (SELECT keyword_id, sum(matches) AS matches FROM keyword_months GROUP BY keyword_id) AS m
               ON m.keyword_id = k.id
         WHERE k.category IS NOT NULL GROUP BY k.category ORDER BY k.category
    """)
    return (await connection.execute(statement)).all()


# changing them


@dataclass(frozen=True, slots=True)
class NewKeyword:
    """A keyword that is to be there."""

    phrase: str
    matching: str
    category: str | None = None


async def lock_keywords(connection: AsyncConnection) -> None:
    """Wait until nobody stores comments or matches, or changes keywords, and let nobody begin until the end."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('keywords', 0))"))


async def insert_keywords(
    connection: AsyncConnection, new: Sequence[NewKeyword]
) -> tuple[Sequence[Row[Any]], set[int]]:
    """Insert the keywords that are not there; returns the row of each, in their order, and the ids of the new ones."""
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
        """),  # noqa: S608 - SQL of this function
        values,
    )
    new_ids = set(inserted.scalars())
    rows = await connection.execute(
        text(f"""
            SELECT k.* FROM {unnested} WITH ORDINALITY AS r(phrase, matching, category, n)
              JOIN keywords k ON {_COMPARED.format("k")} = {_COMPARED.format("r")} AND k.matching = r.matching
             ORDER BY r.n
        """),  # noqa: S608
        values,
    )
    return rows.all(), new_ids


async def require_keyword(connection: AsyncConnection, keyword_id: int) -> Row[Any]:
    """Return a keyword's row. It stays as it is where the caller holds `lock_keywords`.

    Raises:
        KeywordNotFound: there is none with this id.
    """
    row = (await connection.execute(select(keywords).where(keywords.c.id == keyword_id))).first()
    if row is None:
        raise KeywordNotFound(keyword_id)
    return row


async def update_keyword(connection: AsyncConnection, row: Row[Any], values: Mapping[str, Any]) -> Row[Any]:
    """Change a keyword, and return its new row. The caller holds `lock_keywords`.

    Raises:
        KeywordAlreadyThere: there is another one with this phrase and this matching.
    """
    wanted = {"phrase": row.phrase, "matching": row.matching, **values}
    same = text(f"""
        SELECT k.id FROM keywords k, (SELECT CAST(:phrase AS text) AS phrase, CAST(:matching AS text) AS matching) AS r
         WHERE {_COMPARED.format("k")} = {_COMPARED.format("r")} AND k.matching = r.matching AND k.id <> :id
    """)  # noqa: S608 - SQL of this file
    if other := await connection.scalar(
        same, {"id": row.id, **{name: wanted[name] for name in ("phrase", "matching")}}
    ):
        raise KeywordAlreadyThere(other, wanted["phrase"])
    changed = keywords.update().where(keywords.c.id == row.id).values(**values, changed_at=func.now())
    new: Row[Any] = (await connection.execute(changed.returning(keywords))).one()
    return new


async def delete_keywords(connection: AsyncConnection, keyword_ids: Sequence[int]) -> int:
    """Delete keywords, but not yet what they match; returns how many there were.

    Raises:
        KeywordNotFound: names the first one that is not there; none is deleted.
    """
    known = await keywords_by_key(connection, [(keyword_id,) for keyword_id in keyword_ids])
    for keyword_id in keyword_ids:
        if (keyword_id,) not in known:
            raise KeywordNotFound(keyword_id)
    statement = text("DELETE FROM keywords WHERE id = ANY(:ids)")
    return (await connection.execute(statement, {"ids": list(keyword_ids)})).rowcount


async def have_matches(connection: AsyncConnection, keyword_ids: Sequence[int]) -> bool:
    """Tell whether any of these keywords matches a comment."""
    statement = text("SELECT EXISTS (SELECT FROM keyword_months WHERE keyword_id = ANY(:ids) AND comments > 0)")
    return bool(await connection.scalar(statement, {"ids": list(keyword_ids)}))


async def is_any_comment_stored(connection: AsyncConnection) -> bool:
    """Tell whether there are comments that a new keyword may match."""
    return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM comments)")))


# what a matcher has to know


@dataclass(frozen=True, slots=True)
class ActiveKeywords:
    """The keywords that new comments are matched with, and a mark that changes with them."""

    version: tuple[int, int]
    rows: Sequence[Row[Any]]


async def share_keywords(connection: AsyncConnection) -> None:
    """Keep keywords as they are until the transaction ends; others may share them at the same time."""
    await connection.execute(text("SELECT pg_advisory_xact_lock_shared(hashtextextended('keywords', 0))"))


async def active_keywords(connection: AsyncConnection, known: ActiveKeywords | None) -> ActiveKeywords:
    """Return the active keywords, `known` if these still are. They have to be shared by an earlier statement."""
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
    """Tell whether a keyword is there and active."""
    return bool(await connection.scalar(select(keywords.c.is_active).where(keywords.c.id == keyword_id)))


# what they match


@dataclass(frozen=True, slots=True)
class MatchedComment:
    """What was found in the text of one comment."""

    owner_id: int
    id: int
    published_at: datetime
    positions: Positions


async def insert_matches(connection: AsyncConnection, found: Sequence[MatchedComment]) -> int:
    """Insert matches but for those that are there already; returns how many pairs of comment and keyword are new."""
    rows = [(each, keyword_id) for each in found for keyword_id in each.positions]
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


async def forget_matches(connection: AsyncConnection, keys: Collection[tuple[int, int]]) -> None:
    """Delete all matches of these comments, also those of keywords that are not active."""
    if not keys:
        return
    statement = text("""
        DELETE FROM comment_keywords k USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
                                             AS r(owner_id, id)
         WHERE k.owner_id = r.owner_id AND k.comment_id = r.id
    """)
    await connection.execute(statement, key_columns(keys))


def _columns(rows: Sequence[tuple[MatchedComment, int]]) -> dict[str, list[Any]]:
    # PostgreSQL's arrays of arrays have equal lengths, so lists of positions travel as text
    return {
        "owner_ids": [each.owner_id for each, _ in rows],
        "ids": [each.id for each, _ in rows],
        "keyword_ids": [keyword_id for _, keyword_id in rows],
        "published": [each.published_at for each, _ in rows],
        "positions": [f"{{{','.join(map(str, each.positions[keyword_id]))}}}" for each, keyword_id in rows],
    }


async def matches_by_comment(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], list[Row[Any]]]:
    """Read matches: (owner_id, id) of the comment -> the rows of keywords, with `positions` and the comment's `text`.

    Comments without any are absent, and so are matches of keywords that were removed.
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
    found: dict[tuple[int, ...], list[Row[Any]]] = {}
    for row in await connection.execute(statement, values):
        found.setdefault((row.owner_id, row.comment_id), []).append(row)
    return found


# going through all that is stored


@dataclass(frozen=True, slots=True)
class Stretch:
    """The comments of some walls whose keys follow `after`, up to `last`; keys are (owner_id, id)."""

    after: tuple[int, int]
    last: tuple[int, int]
    owner_ids: Collection[int]

    def parameters(self) -> dict[str, Any]:
        """Return what the condition of a stretch takes."""
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
    """Count all comments, by what is kept of each hour."""
    return int(await connection.scalar(text("SELECT coalesce(sum(comments), 0) FROM comment_hours")) or 0)


async def next_stretch(connection: AsyncConnection, after: tuple[int, int], limit: int) -> Stretch | None:
    """Return where the next comments are that follow a key, and the walls they are on; None if there are no more."""
    statement = text("""
        SELECT owner_id, max(id) AS id
          FROM (SELECT owner_id, id FROM comments WHERE (owner_id, id) > (:owner_id, :id)
                 ORDER BY owner_id, id LIMIT :limit) AS next
         GROUP BY owner_id ORDER BY owner_id
    """)
    rows = (await connection.execute(statement, {"owner_id": after[0], "id": after[1], "limit": limit})).all()
    return Stretch(after, (rows[-1].owner_id, rows[-1].id), {row.owner_id for row in rows}) if rows else None


async def texts_of(connection: AsyncConnection, stretch: Stretch) -> Sequence[Row[Any]]:
    """Return the comments of a stretch: `owner_id`, `id`, `published_at`, `text`."""
    condition = _IN_STRETCH.format(id="id")
    statement = text(f"SELECT owner_id, id, published_at, text FROM comments WHERE {condition} ORDER BY owner_id, id")  # noqa: S608
    return (await connection.execute(statement, stretch.parameters())).all()


async def replace_matches(
    connection: AsyncConnection, stretch: Stretch, keyword_ids: Sequence[int], found: Sequence[MatchedComment]
) -> tuple[int, int]:
    """Make these the matches of these keywords in a stretch; returns how many are new and how many are gone.

    What stays the same is not written again.
    """
    statement = text(f"""
        DELETE FROM comment_keywords WHERE {_IN_STRETCH.format(id="comment_id")} AND keyword_id = ANY(:all_keyword_ids)
           AND (owner_id, comment_id, keyword_id, positions) NOT IN (
               SELECT r.owner_id, r.id, r.keyword_id, CAST(r.positions AS int[])
                 FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:keyword_ids AS bigint[]),
                             CAST(:positions AS text[])) AS r(owner_id, id, keyword_id, positions))
    """)  # noqa: S608 - SQL of this file
    values = _columns([(each, keyword_id) for each in found for keyword_id in each.positions])
    del values["published"]
    values |= stretch.parameters() | {"all_keyword_ids": list(keyword_ids)}
    gone = (await connection.execute(statement, values)).rowcount
    return await insert_matches(connection, found), gone


async def forgotten_keywords(connection: AsyncConnection, changed_ids: Sequence[int]) -> dict[int, int]:
    """Return whose matches stand for nothing: keyword id -> comments.

    They are those of keywords that were removed, and of those of `changed_ids` that
    are not active: what they match is no longer what they say.
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
    """Return keys of comments that a keyword matches, the oldest first."""
    statement = text("""
        SELECT owner_id, comment_id FROM comment_keywords WHERE keyword_id = :id
         ORDER BY published_at, owner_id, comment_id LIMIT :limit
    """)
    rows = await connection.execute(statement, {"id": keyword_id, "limit": limit})
    return [(row.owner_id, row.comment_id) for row in rows]


async def delete_matches(connection: AsyncConnection, keyword_id: int, keys: Sequence[tuple[int, int]]) -> int:
    """Delete the matches of a keyword in these comments; returns how many there were."""
    statement = text("""
        DELETE FROM comment_keywords k USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
                                             AS r(owner_id, id)
         WHERE k.owner_id = r.owner_id AND k.comment_id = r.id AND k.keyword_id = :keyword_id
    """)
    values = key_columns(keys) | {"keyword_id": keyword_id}
    return (await connection.execute(statement, values)).rowcount
