"""What an analysis finds in comments: which are still to be analysed, and what was found.

The rows of comments whose texts have changed are deleted by a trigger, so a comment without a row is to be analysed.
Who writes rows here holds the locks of their walls.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, exists, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments
from app.store.comment_conditions import CommentConditions
from app.store.keyset import rows_by_key


async def features_by_comment(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read what was found: (owner_id, id) of the comment -> row; comments that were not analysed are absent."""
    return await rows_by_key(connection, comment_features, ("owner_id", "comment_id"), keys)


# what is to be analysed


@dataclass(frozen=True, slots=True)
class Most:
    """How much is read at once: comments, and about so many characters of their texts."""

    comments: int
    characters: int


async def next_comments(
    connection: AsyncConnection, conditions: CommentConditions, after: tuple[int, int], most: Most, *, full: bool
) -> Sequence[Row[Any]]:
    """Return the next comments to analyse, in the order of their keys; with `full` also those that were analysed.

    A row is `owner_id`, `id`, `text`, `text_hash`.
    """
    c = comments.c
    coming = (
        select(c.owner_id, c.id, c.text)
        .where(*_to_analyze(conditions, after, full=full))
        .order_by(c.owner_id, c.id)
        .limit(most.comments)
        .subquery("coming")
    )
    n = coming.c
    before = func.sum(func.length(n.text)).over(order_by=(n.owner_id, n.id)) - func.length(n.text)
    counted = select(coming, before.label("before")).subquery("counted")
    statement = (
        select(counted.c.owner_id, counted.c.id, counted.c.text, func.md5(counted.c.text).label("text_hash"))
        .where(counted.c.before < most.characters)
        .order_by(counted.c.owner_id, counted.c.id)
    )
    rows: Sequence[Row[Any]] = (await connection.execute(statement)).all()  # type: ignore[assignment]  # untyped here
    return rows


async def count_comments_to_analyze(connection: AsyncConnection, conditions: CommentConditions, *, full: bool) -> int:
    """Count the comments to analyse."""
    statement = select(func.count()).select_from(comments).where(*_to_analyze(conditions, None, full=full))
    return await connection.scalar(statement) or 0


def _to_analyze(
    conditions: CommentConditions, after: tuple[int, int] | None, *, full: bool
) -> list[ColumnElement[bool]]:
    f, c = comment_features.c, comments.c
    wanted, its = conditions.sql(), [f.owner_id == c.owner_id, f.comment_id == c.id]
    if after is not None:
        wanted.append(tuple_(c.owner_id, c.id) > tuple_(*after))
        # the same once more, so that PostgreSQL need not look at all that was analysed up to there
        its.append(tuple_(f.owner_id, f.comment_id) > tuple_(*after))
    return wanted if full else [*wanted, ~exists().where(*its).correlate(comments)]


# what was found


@dataclass(frozen=True, slots=True)
class AnalyzedComment:
    """What was found in the text of a comment that `next_comments` has given this hash."""

    owner_id: int
    comment_id: int
    text_hash: str
    language: str
    term_ids: Sequence[int]
    links: Sequence[str]
    phones: Sequence[str]
    mention_ids: Sequence[int]
    mood: int
    bands: Sequence[int]


async def term_ids(connection: AsyncConnection, lemmas: Collection[str]) -> dict[str, int]:
    """Return the ids of terms, of new ones too: lemma -> id.

    In a transaction of its own, as others wait for those of new terms. Terms are never deleted.
    """
    known = text("SELECT lemma, id FROM terms WHERE lemma = ANY(CAST(:lemmas AS text[]))")
    rows = await connection.execute(known, {"lemmas": list(lemmas)})
    found: dict[str, int] = {row.lemma: row.id for row in rows}
    if new := sorted(set(lemmas) - found.keys()):
        # in one order, so that two that add the same ones cannot deadlock
        insert = text("""
            INSERT INTO terms (lemma) SELECT lemma FROM unnest(CAST(:lemmas AS text[])) AS r(lemma) ORDER BY 1
            ON CONFLICT DO NOTHING
        """)
        await connection.execute(insert, {"lemmas": new})
        rows = await connection.execute(known, {"lemmas": new})
        found |= {row.lemma: row.id for row in rows}
    return found


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were written, and how many were not, as their comments have other texts by now or are gone."""

    comments: int
    changed_meanwhile: int


async def write_features(connection: AsyncConnection, found: Sequence[AnalyzedComment], *, full: bool) -> Written:
    """Write what was found in comments whose texts are still the same; with `full` over what is there already.

    A comment stays in its wave unless it is compared by other bands now.
    """
    rows = orjson.dumps(found).decode()
    given = """
        given AS (
            SELECT r.*, c.published_at
              FROM json_to_recordset(CAST(:rows AS json))
                AS r(owner_id bigint, comment_id bigint, text_hash text, language text, term_ids int[],
                     links text[], phones text[], mention_ids bigint[], mood smallint, bands bigint[])
              JOIN comments c ON c.owner_id = r.owner_id AND c.id = r.comment_id AND md5(c.text) = r.text_hash)"""
    if full:
        forget = text(f"""
            WITH {given}
            DELETE FROM comment_features f USING given g
              LEFT JOIN comment_bands b ON b.owner_id = g.owner_id AND b.comment_id = g.comment_id
             WHERE f.owner_id = g.owner_id AND f.comment_id = g.comment_id AND coalesce(b.bands, '{{}}') <> g.bands
        """)  # noqa: S608 - SQL of this function
        await connection.execute(forget, {"rows": rows})
    columns = ("language", "term_ids", "links", "phones", "mention_ids", "mood")
    conflict = "NOTHING"
    if full:
        conflict = f"UPDATE SET analyzed_at = now(), {', '.join(f'{name} = excluded.{name}' for name in columns)}"
    statement = text(f"""
        WITH {given},
        written AS (
            INSERT INTO comment_features (owner_id, comment_id, published_at, {", ".join(columns)})
            SELECT owner_id, comment_id, published_at, {", ".join(columns)} FROM given ORDER BY 1, 2
            ON CONFLICT (owner_id, comment_id) DO {conflict} RETURNING owner_id, comment_id),
        compared_by AS (
            INSERT INTO comment_bands (owner_id, comment_id, bands)
            SELECT owner_id, comment_id, bands FROM given JOIN written USING (owner_id, comment_id)
             WHERE bands <> '{{}}' ORDER BY 1, 2
            ON CONFLICT DO NOTHING)
        SELECT (SELECT count(*) FROM written) AS written, (SELECT count(*) FROM given) AS given
    """)  # noqa: S608
    counts = (await connection.execute(statement, {"rows": rows})).one()
    return Written(counts.written, len(found) - counts.given)
