"""Sums of the features of all selected comments: the result of an analysis job."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import column, insert, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments
from app.store.arrays import is_among
from app.store.comment_conditions import CommentConditions
from app.store.rows import (
    FeatureTotalsRow,
    HourOfWeekRow,
    KeywordUseRow,
    LanguageRow,
    MonthRow,
    SourceCountsRow,
    TermUseRow,
)

_SUMMED = (
    "owner_id", "comment_id", "published_at", "language", "term_ids", "links", "phones", "mention_ids", "mood",
    "wave_id",
)  # fmt: skip
_SCOPE = table("analyzed_scope", *(column(name) for name in _SUMMED))


@dataclass(frozen=True, slots=True)
class Summary:
    """Sums over the analysed comments of a scope.

    `totals`: `comments`, `positive`, `negative`, `with_links`, `with_phones`,
        `with_mentions`, `waves`, `in_waves`.
    `sources`: `authors`, `posts`, and `matched`, the comments that keywords match.
    `keywords`: those with the most matched comments: `id`, `phrase`, `comments`, `matches`.
    `languages`: `language`, `comments`.
    `months` (UTC): `month`, `comments`.
    `hours` of the week (UTC): `weekday` (1 is Monday), `hour`, `comments`.
    `terms`: the most frequent ones: `lemma`, `comments`, and `everywhere`, how many of
        all analysed comments contain the term; `comments_everywhere` is the number of
        all analysed comments.
    """

    totals: FeatureTotalsRow
    sources: SourceCountsRow
    keywords: Sequence[KeywordUseRow]
    languages: Sequence[LanguageRow]
    months: Sequence[MonthRow]
    hours: Sequence[HourOfWeekRow]
    terms: Sequence[TermUseRow]
    comments_everywhere: int


_TOTALS = text(f"""
    SELECT count(*) AS comments, count(*) FILTER (WHERE mood > 0) AS positive,
           count(*) FILTER (WHERE mood < 0) AS negative, count(*) FILTER (WHERE links <> '{{}}') AS with_links,
           count(*) FILTER (WHERE phones <> '{{}}') AS with_phones,
           count(*) FILTER (WHERE mention_ids <> '{{}}') AS with_mentions,
           count(DISTINCT wave_id) AS waves, count(wave_id) AS in_waves FROM {_SCOPE.name}
""")  # noqa: S608 - only constant SQL is interpolated
_SOURCES = text(f"""
    SELECT count(DISTINCT c.from_id) AS authors, count(DISTINCT (c.owner_id, c.post_id)) AS posts,
           (SELECT count(*) FROM {_SCOPE.name} s
             WHERE EXISTS (SELECT FROM comment_keywords m JOIN keywords k ON k.id = m.keyword_id
                            WHERE m.owner_id = s.owner_id AND m.comment_id = s.comment_id)) AS matched
      FROM {_SCOPE.name} s JOIN comments c ON c.owner_id = s.owner_id AND c.id = s.comment_id
""")  # noqa: S608 - only constant SQL is interpolated
_KEYWORDS = text(f"""
    SELECT k.id, k.phrase, count(*) AS comments, sum(cardinality(m.positions) / 2)::bigint AS matches
      FROM {_SCOPE.name} s
      JOIN comment_keywords m ON m.owner_id = s.owner_id AND m.comment_id = s.comment_id
      JOIN keywords k ON k.id = m.keyword_id
     GROUP BY k.id ORDER BY 3 DESC, 4 DESC, 1 LIMIT :limit
""")  # noqa: S608 - only constant SQL is interpolated
_LANGUAGES = text(f"""
    SELECT language, count(*) AS comments FROM {_SCOPE.name} GROUP BY language ORDER BY 2 DESC, 1
""")  # noqa: S608 - only constant SQL is interpolated
_MONTHS = text(f"""
    SELECT date_trunc('month', published_at, 'UTC') AS month, count(*) AS comments
      FROM {_SCOPE.name} GROUP BY 1 ORDER BY 1
""")  # noqa: S608 - only constant SQL is interpolated
_HOURS = text(f"""
    SELECT extract(isodow FROM published_at AT TIME ZONE 'UTC')::int AS weekday,
           extract(hour FROM published_at AT TIME ZONE 'UTC')::int AS hour, count(*) AS comments
      FROM {_SCOPE.name} GROUP BY 1, 2 ORDER BY 1, 2
""")  # noqa: S608 - only constant SQL is interpolated
_TERMS = text(f"""
    SELECT t.lemma, here.comments, everywhere.comments AS everywhere
      FROM (SELECT term_id, count(*) AS comments FROM {_SCOPE.name}, LATERAL unnest(term_ids) AS term_id
             GROUP BY term_id ORDER BY 2 DESC, 1 LIMIT :limit) AS here
      JOIN terms t ON t.id = term_id
      JOIN (SELECT term_id, sum(comments)::bigint AS comments FROM term_months GROUP BY term_id) AS everywhere
           USING (term_id)
     ORDER BY here.comments DESC, t.lemma
""")  # noqa: S608 - only constant SQL is interpolated
_EVERYWHERE = text("SELECT coalesce(sum(comments), 0)::bigint FROM language_months")


async def sum_up(
    connection: AsyncConnection, conditions: CommentConditions, most_terms: int, most_keywords: int
) -> Summary:
    """Summarize a scope from one snapshot, in a transaction of its own.

    May take seconds; the statements have no timeout.
    """
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    await connection.execute(text("SET LOCAL statement_timeout = 0"))  # the job has its own timeout
    await _copy_features(connection, conditions)
    return Summary(
        (await connection.execute(_TOTALS)).one(),
        (await connection.execute(_SOURCES)).one(),
        (await connection.execute(_KEYWORDS, {"limit": most_keywords})).all(),
        (await connection.execute(_LANGUAGES)).all(),
        (await connection.execute(_MONTHS)).all(),
        (await connection.execute(_HOURS)).all(),
        (await connection.execute(_TERMS, {"limit": most_terms})).all(),
        await connection.scalar(_EVERYWHERE) or 0,
    )


async def _copy_features(connection: AsyncConnection, conditions: CommentConditions) -> None:
    """Copy the features of the selected comments into a temporary table of the transaction."""
    f, c = comment_features.c, comments.c
    scope = select(*(f[name] for name in _SUMMED))
    if conditions == CommentConditions(owner_ids=conditions.owner_ids):
        scope = scope.where(*([] if conditions.owner_ids is None else [is_among(f.owner_id, conditions.owner_ids)]))
    else:
        same_comment = (c.owner_id == f.owner_id) & (c.id == f.comment_id)
        scope = scope.select_from(comments).join(comment_features, same_comment).where(*conditions.sql())
    await connection.execute(
        text(f"""
            CREATE TEMPORARY TABLE {_SCOPE.name} ON COMMIT DROP AS
            SELECT {", ".join(_SUMMED)} FROM comment_features WITH NO DATA
        """)  # noqa: S608 - only constant SQL is interpolated
    )
    await connection.execute(insert(_SCOPE).from_select(_SUMMED, scope))
    await connection.execute(text(f"ANALYZE {_SCOPE.name} (owner_id, comment_id)"))
