"""Features that the analysis finds in comments, and which comments are still to be analysed.

A trigger deletes the row of a comment whose text has changed, so a comment without a row is to be analysed.
Callers that write rows hold the locks of their walls.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, exists, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments
from app.store.comment_conditions import CommentConditions
from app.store.keyset import Key, rows_by_key
from app.store.rows import FeaturesRow, TextToAnalyzeRow


async def features_by_comment(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, FeaturesRow]:
    """Read features: (owner_id, id) of the comment -> row; comments that were not analysed are absent."""
    return await rows_by_key(connection, comment_features, ("owner_id", "comment_id"), keys)


# comments to analyse


@dataclass(frozen=True, slots=True)
class Most:
    """The size limit of a batch: a number of comments, and an approximate number of characters of their texts."""

    comments: int
    characters: int


async def next_comments(
    connection: AsyncConnection, conditions: CommentConditions, after: tuple[int, int], most: Most, *, full: bool
) -> Sequence[TextToAnalyzeRow]:
    """Return the next comments to analyse after a key, in the order of keys; with `full` also analysed ones.

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
    return (await connection.execute(statement)).all()


async def count_comments_to_analyze(connection: AsyncConnection, conditions: CommentConditions, *, full: bool) -> int:
    """Count the comments to analyse."""
    statement = select(func.count()).select_from(comments).where(*_to_analyze(conditions, None, full=full))
    return await connection.scalar(statement) or 0


def _to_analyze(
    conditions: CommentConditions, after: tuple[int, int] | None, *, full: bool
) -> list[ColumnElement[bool]]:
    f, c = comment_features.c, comments.c
    selected, same_comment = conditions.sql(), [f.owner_id == c.owner_id, f.comment_id == c.id]
    if after is not None:
        selected.append(tuple_(c.owner_id, c.id) > tuple_(*after))
        # Repeat the bound on the features: otherwise PostgreSQL reads all rows that were analysed before it.
        same_comment.append(tuple_(f.owner_id, f.comment_id) > tuple_(*after))
    return selected if full else [*selected, ~exists().where(*same_comment).correlate(comments)]


# results of the analysis


@dataclass(frozen=True, slots=True)
class AnalyzedComment:
    """The features of one comment; `text_hash` is the hash that `next_comments` returned with its text."""

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
    """Return the ids of terms, and insert missing terms: lemma -> id.

    Call it in a transaction of its own: other transactions that insert the same terms wait for its end. Terms are
    never deleted.
    """
    known = text("SELECT lemma, id FROM terms WHERE lemma = ANY(CAST(:lemmas AS text[]))")
    rows = await connection.execute(known, {"lemmas": list(lemmas)})
    ids: dict[str, int] = {row.lemma: row.id for row in rows}
    if new := sorted(set(lemmas) - ids.keys()):
        # Insert in sorted order: two transactions that insert the same terms cannot deadlock.
        insert = text("""
            INSERT INTO terms (lemma) SELECT lemma FROM unnest(CAST(:lemmas AS text[])) AS r(lemma) ORDER BY 1
            ON CONFLICT DO NOTHING
        """)
        await connection.execute(insert, {"lemmas": new})
        rows = await connection.execute(known, {"lemmas": new})
        ids |= {row.lemma: row.id for row in rows}
    return ids


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were written, and how many were skipped because their comment was edited or deleted meanwhile."""

    comments: int
    changed_meanwhile: int


async def write_features(connection: AsyncConnection, analyzed: Sequence[AnalyzedComment], *, full: bool) -> Written:
    """Write the features of comments whose text has not changed since; with `full` also overwrite existing rows.

    A comment stays in its wave (near-duplicate cluster) unless its bands have changed.
    """
    rows = orjson.dumps(analyzed).decode()
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
        """)  # noqa: S608 - only constant SQL is interpolated
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
    """)  # noqa: S608 - only constant SQL is interpolated
    counts = (await connection.execute(statement, {"rows": rows})).one()
    return Written(counts.written, len(analyzed) - counts.given)
