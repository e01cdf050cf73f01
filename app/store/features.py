"""What an analysis finds in comments: which are still to be analysed, what was found, and sums of it over a scope.

The rows of comments whose texts have changed are deleted by a trigger, so a comment without a row is to be analysed.
Who writes rows here holds the locks of their walls.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, column, exists, func, insert, select, table, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments
from app.store.arrays import is_among
from app.store.comment_conditions import CommentConditions
from app.store.keyset import rows_by_key


async def features_by_comment(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read what was found: (owner_id, id) of the comment -> row; comments that were not analysed are absent."""
    return await rows_by_key(connection, comment_features, ("owner_id", "comment_id"), keys)


# what is to be analysed


async def next_comments(
    connection: AsyncConnection, conditions: CommentConditions, after: tuple[int, int], limit: int, *, full: bool
) -> Sequence[Row[Any]]:
    """Return the next comments to analyse, in the order of their keys; with `full` also those that were analysed.

    A row is `owner_id`, `id`, `text`, `text_hash`.
    """
    c = comments.c
    statement = (
        select(c.owner_id, c.id, c.text, func.md5(c.text).label("text_hash"))
        .where(*_to_analyze(conditions, after, full=full))
        .order_by(c.owner_id, c.id)
        .limit(limit)
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


# sums over a scope

_SUMMED = (
    "owner_id", "comment_id", "published_at", "language", "term_ids", "links", "phones", "mention_ids", "mood", "wave_id"
)  # fmt: skip
_SCOPE = table("analyzed_scope", *(column(name) for name in _SUMMED))


@dataclass(frozen=True, slots=True)
class Summary:
    """What was found in the analysed comments of a scope.

    `totals` has `comments`, `positive`, `negative`, `with_links`, `with_phones`,
    `with_mentions`, `waves`, `in_waves`; `sources` `authors`, `posts`, `matched`,
    the comments that keywords match; `keywords` those that match most: `id`,
    `phrase`, `comments`, `matches`; `languages` rows `language`, `comments`;
    `months` `month`, `comments`; `hours` of the week, in UTC: `weekday` (1 is
    Monday), `hour`, `comments`; `terms` the most frequent ones: `lemma`,
    `comments`, and `everywhere`, how many of all analysed comments have it, which are `comments_everywhere`.
    """

    totals: Row[Any]
    sources: Row[Any]
    keywords: Sequence[Row[Any]]
    languages: Sequence[Row[Any]]
    months: Sequence[Row[Any]]
    hours: Sequence[Row[Any]]
    terms: Sequence[Row[Any]]
    comments_everywhere: int


async def sum_up(
    connection: AsyncConnection, conditions: CommentConditions, most_terms: int, most_keywords: int
) -> Summary:
    """Sum up a scope, as it is in one moment. May take seconds, and has no limit of time; then the transaction ends."""
    f, c = comment_features.c, comments.c
    scope = select(*(f[name] for name in _SUMMED))
    if conditions == CommentConditions(owner_ids=conditions.owner_ids):
        scope = scope.where(*([] if conditions.owner_ids is None else [is_among(f.owner_id, conditions.owner_ids)]))
    else:
        is_its = (c.owner_id == f.owner_id) & (c.id == f.comment_id)
        scope = scope.select_from(comments).join(comment_features, is_its).where(*conditions.sql())
    await connection.execute(text("SET LOCAL statement_timeout = 0"))  # the job has a limit of its own
    await connection.execute(
        text(f"""
            CREATE TEMPORARY TABLE {_SCOPE.name} ON COMMIT DROP AS
            SELECT {", ".join(_SUMMED)} FROM comment_features WITH NO DATA
        """)  # noqa: S608 - SQL of this file
    )
    await connection.execute(insert(_SCOPE).from_select(_SUMMED, scope))
    await connection.execute(text(f"ANALYZE {_SCOPE.name} (owner_id, comment_id)"))
    totals = text(f"""
        SELECT count(*) AS comments, count(*) FILTER (WHERE mood > 0) AS positive,
               count(*) FILTER (WHERE mood < 0) AS negative, count(*) FILTER (WHERE links <> '{{}}') AS with_links,
               count(*) FILTER (WHERE phones <> '{{}}') AS with_phones,
               count(*) FILTER (WHERE mention_ids <> '{{}}') AS with_mentions,
               count(DISTINCT wave_id) AS waves, count(wave_id) AS in_waves FROM {_SCOPE.name}
    """)  # noqa: S608
    sources = text(f"""
        SELECT count(DISTINCT c.from_id) AS authors, count(DISTINCT (c.owner_id, c.post_id)) AS posts,
               count(*) FILTER (WHERE m.comment_id IS NOT NULL) AS matched
          FROM {_SCOPE.name} s JOIN comments c ON c.owner_id = s.owner_id AND c.id = s.comment_id
          LEFT JOIN (SELECT DISTINCT owner_id, comment_id
                       FROM comment_keywords WHERE keyword_id IN (SELECT id FROM keywords)) m
               ON m.owner_id = s.owner_id AND m.comment_id = s.comment_id
    """)  # noqa: S608
    keywords = text(f"""
        SELECT k.id, k.phrase, count(*) AS comments, sum(cardinality(m.positions) / 2)::bigint AS matches
          FROM {_SCOPE.name} s
          JOIN comment_keywords m ON m.owner_id = s.owner_id AND m.comment_id = s.comment_id
          JOIN keywords k ON k.id = m.keyword_id
         GROUP BY k.id ORDER BY 3 DESC, 4 DESC, 1 LIMIT :limit
    """)  # noqa: S608
    languages = text(f"""
        SELECT language, count(*) AS comments FROM {_SCOPE.name} GROUP BY language ORDER BY 2 DESC, 1
    """)  # noqa: S608
    months = text(f"""
        SELECT date_trunc('month', published_at, 'UTC') AS month, count(*) AS comments
          FROM {_SCOPE.name} GROUP BY 1 ORDER BY 1
    """)  # noqa: S608
    hours = text(f"""
        SELECT extract(isodow FROM published_at AT TIME ZONE 'UTC')::int AS weekday,
               extract(hour FROM published_at AT TIME ZONE 'UTC')::int AS hour, count(*) AS comments
          FROM {_SCOPE.name} GROUP BY 1, 2 ORDER BY 1, 2
    """)  # noqa: S608
    terms = text(f"""
        SELECT t.lemma, here.comments, everywhere.comments AS everywhere
          FROM (SELECT term_id, count(*) AS comments FROM {_SCOPE.name}, LATERAL unnest(term_ids) AS term_id
                 GROUP BY term_id ORDER BY 2 DESC, 1 LIMIT :limit) AS here
          JOIN terms t ON t.id = term_id
          JOIN (SELECT term_id, sum(comments)::bigint AS comments FROM term_months GROUP BY term_id) AS everywhere
               USING (term_id)
         ORDER BY here.comments DESC, t.lemma
    """)  # noqa: S608
    everywhere = text("SELECT coalesce(sum(comments), 0)::bigint FROM language_months")
    return Summary(
        (await connection.execute(totals)).one(),
        (await connection.execute(sources)).one(),
        (await connection.execute(keywords, {"limit": most_keywords})).all(),
        (await connection.execute(languages)).all(),
        (await connection.execute(months)).all(),
        (await connection.execute(hours)).all(),
        (await connection.execute(terms, {"limit": most_terms})).all(),
        await connection.scalar(everywhere) or 0,
    )
