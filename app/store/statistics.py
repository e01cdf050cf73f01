# ruff: noqa: S608 - only constant SQL is interpolated
"""Statistics of stored data, over one wall or many, from rollups that triggers keep, so they are never stale.

Each function computes several scopes at once: index of a scope -> its rows. A
scope is the owner ids of its walls, or None for all walls. If a time range covers
only part of an hour or month of a rollup, the comments of that partial period are
counted one by one, so results are exact.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from typing import TypeAlias, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.keyset import AnyRow, Key
from app.store.rows import (
    ActivityRow,
    AuthorCountRow,
    HourOfWeekRow,
    LanguageRow,
    PostsSummaryRow,
    RankedAuthorRow,
    RankedKeywordRow,
    RankedPostRow,
    TermRow,
    TotalsRow,
)
from app.time_zones import EVER, offsets_of

Scope = tuple[int, ...] | None
R = TypeVar("R")
Rows: TypeAlias = Mapping[int, Sequence[R]]
"""The index of a scope -> its rows; scopes without rows are absent."""

FIRST_DAY, LAST_DAY = date(1, 1, 1), date(9999, 1, 1)
FIRST_TIME, LAST_TIME = (datetime.combine(day, time(), UTC) for day in (FIRST_DAY, LAST_DAY))


VK_BEGAN = datetime(2006, 1, 1, tzinfo=UTC)


class Bucket(Enum):
    """The bucket sizes of a series. The value is PostgreSQL's field name for date_trunc."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class PostRanking(Enum):
    """The criterion by which posts are ranked. The value is its SQL expression."""

    COMMENTS = "s.comments"
    LIKES = "p.like_count"
    VIEWS = "coalesce(p.view_count, 0)"


@dataclass(frozen=True, slots=True)
class Period:
    """A time range from `since` (inclusive) to `until` (exclusive), both aware; None: unbounded on that side."""

    since: datetime | None = None
    until: datetime | None = None

    def in_months(self) -> dict[str, object]:
        """Return the range of whole months in the period, and the partial periods around it, as parameters."""
        since, until = self._ends()
        first, last = _month_from(since), _month_of(until)
        return _parameters(since, until, _midnight(first), _midnight(last)) | {"first": first, "last": last}

    def in_hours(self) -> dict[str, object]:
        """Return the range of whole hours in the period, and the partial periods around it, as parameters."""
        since, until = self._ends()
        first = since.replace(minute=0, second=0, microsecond=0)
        first += timedelta(hours=1) if first < since else timedelta()
        last = until.replace(minute=0, second=0, microsecond=0)
        return _parameters(since, until, first, last) | {"first": first, "last": last}

    def bounds(self) -> dict[str, object]:
        """Return both ends as parameters."""
        since, until = self._ends()
        return {"since": since, "until": until}

    def touched_months(self) -> dict[str, object]:
        """Return the range of all months that the period overlaps, as parameters."""
        since, until = self._ends()
        return {"first": _month_of(since), "last": _month_from(until)}

    def _ends(self) -> tuple[datetime, datetime]:
        # No comment of VK is outside these bounds, and dates that are computed from them stay in Python's calendar.
        since = min(max(self.since.astimezone(UTC), FIRST_TIME), LAST_TIME) if self.since else FIRST_TIME
        until = min(max(self.until.astimezone(UTC), FIRST_TIME), LAST_TIME) if self.until else LAST_TIME
        return since, max(since, until)


def _month_of(moment: datetime) -> date:
    return moment.date().replace(day=1)


def _month_from(moment: datetime) -> date:
    """Return the first month that begins at this time or later."""
    month = _month_of(moment)
    return month if _midnight(month) == moment else _month_of(_midnight(month) + timedelta(days=32))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _parameters(since: datetime, until: datetime, first: datetime, last: datetime) -> dict[str, object]:
    # Without a whole month or hour, the whole range is one partial period.
    partial = [(since, until)] if first >= last else [(since, first), (last, until)]
    partial = [(start, end) for start, end in partial if start < end]
    return {"starts": [start for start, _ in partial], "ends": [end for _, end in partial]}


SCOPES = """
    asked AS (
        SELECT n, owner_id FROM unnest(CAST(:places AS int[]), CAST(:owner_ids AS bigint[])) AS a(n, owner_id)
         UNION ALL
        SELECT n, owner_id FROM unnest(CAST(:everywhere AS int[])) AS a(n), groups),
    pieces AS (
        SELECT * FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS p(start_at, end_at))
"""
"""The walls of each scope (`asked`), and the partial periods whose comments are counted one by one (`pieces`)."""
PARTIAL_PERIODS = "JOIN comments c ON c.published_at >= p.start_at AND c.published_at < p.end_at"


async def versions(connection: AsyncConnection, scopes: Sequence[Scope]) -> list[str]:
    """Return a version of each scope, a string that changes whenever any counted data changes.

    It changes with the versions of its walls and with the set of keywords: removed
    keywords no longer count even before their matches are deleted.
    """
    by_scope = await _by_scope(
        connection,
        """
        summed AS (
            SELECT n, concat(count(*), '-', bit_xor(hashtextextended(concat(owner_id, ' ', version), 0))) AS walls
              FROM asked JOIN wall_versions USING (owner_id) GROUP BY n),
        known AS (
            -- ids only increase, so no other set of keywords has the same size and the same last id
            SELECT concat(count(*), '-', max(id)) AS keywords FROM keywords)
        SELECT n, concat(walls, ' ', keywords) AS version FROM summed, known
        """,
        scopes,
        {},
    )
    return [by_scope[index][0].version if index in by_scope else "" for index in range(len(scopes))]


async def totals(connection: AsyncConnection, scopes: Sequence[Scope], period: Period) -> Rows[TotalsRow]:
    """Count comments, of these replies, deleted, viewed and archived ones, and their likes: one row per scope."""
    return await _by_scope(
        connection,
        f"""
        counted AS (
            SELECT owner_id, comments, replies, deleted, viewed, archived, likes FROM comment_hours
             WHERE hour >= :first AND hour < :last
             UNION ALL
            SELECT c.owner_id, 1, (c.thread_id IS NOT NULL)::int, c.is_deleted::int, (c.viewed_at IS NOT NULL)::int,
                   (c.archived_at IS NOT NULL)::int, c.like_count FROM pieces p {PARTIAL_PERIODS})
        SELECT n, coalesce(sum(comments), 0)::bigint AS comments, coalesce(sum(replies), 0)::bigint AS replies,
               coalesce(sum(deleted), 0)::bigint AS deleted, coalesce(sum(viewed), 0)::bigint AS viewed,
               coalesce(sum(archived), 0)::bigint AS archived, coalesce(sum(likes), 0)::bigint AS likes
          FROM asked JOIN counted USING (owner_id) GROUP BY n
        """,
        scopes,
        period.in_hours(),
    )


async def series(
    connection: AsyncConnection, scopes: Sequence[Scope], period: Period, bucket: Bucket, zone: str
) -> Rows[ActivityRow]:
    """Count comments by buckets in a time zone, in order; empty buckets are absent.

    A row is `start` (local, without a zone; for hours UTC), `comments`, `replies`, `deleted` and `likes`.
    A local hour ends when the offset of the zone changes, and a new one begins.
    """
    if bucket is Bucket.HOUR:
        key = f"greatest({{at}} - ({_LOCAL} - date_trunc('hour', {_LOCAL})), {_BEGUN}) AT TIME ZONE 'UTC'"
    else:
        key = f"date_trunc('{bucket.value}', {_LOCAL})"
    return await _by_scope(
        connection,
        f"""
        {_by_local_time(key, is_by_hour=bucket is Bucket.HOUR, zone=zone)}
        SELECT n, key AS start, sum(comments)::bigint AS comments, sum(replies)::bigint AS replies,
               sum(deleted)::bigint AS deleted, sum(likes)::bigint AS likes
          FROM keyed GROUP BY 1, 2 HAVING sum(comments) > 0 ORDER BY 1, 2
        """,
        scopes,
        period.in_hours() | _zone_parameters(zone),
    )


async def hours_of_week(
    connection: AsyncConnection, scopes: Sequence[Scope], period: Period, zone: str
) -> Rows[HourOfWeekRow]:
    """Count comments by the hour of the week in a time zone: `weekday` (1 is Monday), `hour` (0 to 23), `comments`."""
    key = f"(extract(isodow FROM {_LOCAL}) * 24 + extract(hour FROM {_LOCAL}))::int"
    return await _by_scope(
        connection,
        f"""
        {_by_local_time(key, is_by_hour=True, zone=zone)}
        SELECT n, key / 24 AS weekday, key % 24 AS hour, sum(comments)::bigint AS comments
          FROM keyed GROUP BY 1, 2, 3 HAVING sum(comments) > 0 ORDER BY 1, 2, 3
        """,
        scopes,
        period.in_hours() | _zone_parameters(zone),
    )


# The offsets of a zone come from Python: `at` is a time, `place` the index of the offset that applies at that time.
_PLACE = "width_bucket({at}, CAST(:zone_starts AS timestamptz[]))"
_BEGUN = "(CAST(:zone_starts AS timestamptz[]))[{place}]"
_LOCAL = "({at} AT TIME ZONE 'UTC' + (CAST(:zone_offsets AS int[]))[{place}] * interval '1 second')"
_LAST = "(hour + interval '1 hour' - interval '1 microsecond')"
_COUNTS = """
    sum({comments}) AS comments, sum({replies}) AS replies, sum({deleted}) AS deleted, sum({likes}) AS likes
"""
_OF_HOURS = _COUNTS.format(comments="comments", replies="replies", deleted="deleted", likes="likes")
_OF_COMMENTS = _COUNTS.format(
    comments="1", replies="(c.thread_id IS NOT NULL)::int", deleted="c.is_deleted::int", likes="c.like_count"
)
_MINUTE = "date_bin('1 minute', c.published_at, timestamptz 'epoch')"
"""Comments are first counted by minute: offsets change only at whole minutes."""


def _zone_parameters(zone: str) -> dict[str, object]:
    offsets = offsets_of(zone)
    return {"zone_starts": list(offsets.starts), "zone_offsets": list(offsets.seconds)}


def _by_local_time(key: str, *, is_by_hour: bool, zone: str) -> str:
    """Return the SQL of `keyed`: counts by scope (`n`) and by a `key` of the local time of the comments.

    An hour of the rollup (UTC) with the same key throughout is used as a whole. In
    the other hours the key or the offset changes, so their comments are counted one
    by one. With `is_by_hour`, in a zone whose offset is not a whole number of hours,
    that applies to all hours.
    """
    offsets = offsets_of(zone)
    if is_by_hour and not offsets.are_whole_hours(VK_BEGAN):
        hourly = (
            "SELECT NULL::int AS n, NULL::timestamptz AS hour, 0 AS comments, 0 AS replies, 0 AS deleted, 0 AS likes"
        )
        hourly += " WHERE false"
        ranges = """
            SELECT start_at, end_at FROM pieces
             UNION ALL SELECT CAST(:first AS timestamptz), CAST(:last AS timestamptz) WHERE :first < :last"""
    else:
        hourly = f"""
            SELECT n, hour, {_OF_HOURS} FROM asked JOIN comment_hours USING (owner_id)
             WHERE hour >= :first AND hour < :last GROUP BY n, hour"""
        ranges = """
            SELECT start_at, end_at FROM pieces
             UNION ALL SELECT hour, hour + interval '1 hour' FROM hours WHERE NOT is_whole"""
    start, last = key.format(at="hour", place="place"), key.format(at=_LAST, place="last_place")
    is_whole = "true" if offsets.are_whole_hours(EVER) else f"place = last_place AND {start} = {last}"
    return f"""
        hourly AS MATERIALIZED ({hourly}),
        hours AS MATERIALIZED (
            SELECT hour, {start} AS key, {is_whole} AS is_whole
              FROM (SELECT DISTINCT hour, {_PLACE.format(at="hour")} AS place, {_PLACE.format(at=_LAST)} AS last_place
                      FROM hourly) AS placed),
        ranges AS MATERIALIZED ({ranges}),
        minutely AS (
            SELECT n, {_MINUTE} AS minute, {_OF_COMMENTS}
              FROM ranges r JOIN comments c ON c.published_at >= r.start_at AND c.published_at < r.end_at
              JOIN asked USING (owner_id) GROUP BY 1, 2),
        keyed AS (
            SELECT n, key, comments, replies, deleted, likes FROM hourly JOIN hours USING (hour) WHERE is_whole
             UNION ALL
            SELECT n, {key.format(at="minute", place="place")}, comments, replies, deleted, likes
              FROM (SELECT *, {_PLACE.format(at="minute")} AS place FROM minutely) AS placed)
    """


# rankings: the first `limit` of each scope, largest first

AUTHORS = f"""
    counted AS (
        SELECT owner_id, author_id, comments, replies, likes FROM author_months
         WHERE month >= :first AND month < :last
         UNION ALL
        SELECT c.owner_id, c.from_id, 1, (c.thread_id IS NOT NULL)::int, c.like_count
          FROM pieces p {PARTIAL_PERIODS} AND c.from_id IS NOT NULL),
    summed AS (
        SELECT n, author_id, sum(comments)::bigint AS comments, sum(replies)::bigint AS replies,
               sum(likes)::bigint AS likes
          FROM asked JOIN counted USING (owner_id) GROUP BY n, author_id HAVING sum(comments) > 0)
"""
FIRST = """
    SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY n ORDER BY {order}) AS rank FROM summed) AS ranked
     WHERE rank <= :limit ORDER BY n, rank
"""


async def authors(
    connection: AsyncConnection, scopes: Sequence[Scope], period: Period, limit: int
) -> Rows[RankedAuthorRow]:
    """Rank authors by their comments: `author_id`, `comments`, `replies`, `likes`."""
    statement = AUTHORS + FIRST.format(order="comments DESC, author_id")
    return await _by_scope(connection, statement, scopes, period.in_months() | {"limit": limit})


async def author_counts(connection: AsyncConnection, scopes: Sequence[Scope], period: Period) -> Rows[AuthorCountRow]:
    """Count the authors of comments: `authors`, one row per scope."""
    statement = f"{AUTHORS} SELECT n, count(*) AS authors FROM summed GROUP BY n"
    return await _by_scope(connection, statement, scopes, period.in_months())


async def posts(
    connection: AsyncConnection, scopes: Sequence[Scope], period: Period, ranking: PostRanking, limit: int
) -> Rows[RankedPostRow]:
    """Rank the posts that were published in the period.

    A row is `owner_id`, `post_id`; `comments`, `replies` and `likes` of the stored
    comments; and `engagement`: VK's likes, reposts and comments per view, None if
    VK states no views.
    """
    return await _by_scope(
        connection,
        f"""
        summed AS (
            SELECT n, p.owner_id, p.id AS post_id, coalesce(s.comments, 0) AS comments,
                   coalesce(s.replies, 0) AS replies, coalesce(s.likes, 0) AS likes, {ranking.value} AS value,
                   (p.like_count + p.repost_count + p.comment_count)::float / nullif(p.view_count, 0) AS engagement
              FROM asked JOIN posts p USING (owner_id)
              LEFT JOIN post_stats s ON s.owner_id = p.owner_id AND s.post_id = p.id
             WHERE p.published_at >= :since AND p.published_at < :until)
        {FIRST.format(order="value DESC NULLS LAST, owner_id DESC, post_id DESC")}
        """,
        scopes,
        period.bounds() | {"limit": limit},
    )


async def posts_summary(connection: AsyncConnection, scopes: Sequence[Scope], period: Period) -> Rows[PostsSummaryRow]:
    """Summarize the posts that were published in the period: one row per scope.

    It has the number of `posts`, the sums of VK's `likes`, `reposts`, `views` and
    `comments`, and `engagement`: likes, reposts and comments per view of the posts
    whose views VK states. `within_10_minutes` to `later` count the stored comments
    by their delay after the post; each comment counts in the shortest one only.
    """
    delays = ", ".join(f"coalesce(sum(s.{name}), 0)::bigint AS {name}" for name in DELAYS)
    return await _by_scope(
        connection,
        f"""
        engaged AS (
            SELECT *, CASE WHEN view_count > 0 THEN like_count + repost_count + comment_count END AS engaged FROM posts
             WHERE published_at >= :since AND published_at < :until)
        SELECT n, count(*) AS posts, sum(p.like_count)::bigint AS likes, sum(p.repost_count)::bigint AS reposts,
               sum(p.view_count)::bigint AS views, sum(p.comment_count)::bigint AS comments,
               sum(engaged)::float / nullif(sum(p.view_count), 0) AS engagement, {delays}
          FROM asked JOIN engaged p USING (owner_id)
          LEFT JOIN post_stats s ON s.owner_id = p.owner_id AND s.post_id = p.id
         GROUP BY n
        """,
        scopes,
        period.bounds(),
    )


DELAYS: Mapping[str, int | None] = {
    "within_10_minutes": 600,
    "within_hour": 3_600,
    "within_6_hours": 6 * 3_600,
    "within_day": 86_400,
    "within_3_days": 3 * 86_400,
    "within_week": 7 * 86_400,
    "later": None,
}
"""Column of post_stats -> maximum delay of its comments after their post, in seconds; None: unbounded."""


async def keywords(
    connection: AsyncConnection, scopes: Sequence[Scope], period: Period, limit: int
) -> Rows[RankedKeywordRow]:
    """Rank keywords by the comments they match: `keyword_id`, `comments`, `matches`.

    Matches of removed keywords, which stay until a job has deleted them, do not count.
    """
    return await _by_scope(
        connection,
        f"""
        counted AS (
            SELECT owner_id, keyword_id, comments, matches FROM keyword_months WHERE month >= :first AND month < :last
             UNION ALL
            SELECT c.owner_id, c.keyword_id, 1, cardinality(c.positions) / 2
              FROM pieces p {PARTIAL_PERIODS.replace("comments", "comment_keywords")}),
        summed AS (
            SELECT n, keyword_id, sum(comments)::bigint AS comments, sum(matches)::bigint AS matches
              FROM asked JOIN counted USING (owner_id) JOIN keywords k ON k.id = keyword_id
             GROUP BY n, keyword_id HAVING sum(comments) > 0)
        {FIRST.format(order="comments DESC, matches DESC, keyword_id")}
        """,
        scopes,
        period.in_months() | {"limit": limit},
    )


async def languages(connection: AsyncConnection, scopes: Sequence[Scope], period: Period) -> Rows[LanguageRow]:
    """Count the analysed comments by language: `language`, `comments`, most frequent first."""
    return await _by_scope(
        connection,
        f"""
        counted AS (
            SELECT owner_id, language, comments FROM language_months WHERE month >= :first AND month < :last
             UNION ALL
            SELECT c.owner_id, c.language, 1 FROM pieces p {PARTIAL_PERIODS.replace("comments", "comment_features")})
        SELECT n, language, sum(comments)::bigint AS comments FROM asked JOIN counted USING (owner_id)
         GROUP BY n, language HAVING sum(comments) > 0 ORDER BY n, 3 DESC, language
        """,
        scopes,
        period.in_months(),
    )


async def terms(connection: AsyncConnection, scopes: Sequence[Scope], period: Period, limit: int) -> Rows[TermRow]:
    """Rank terms by the comments that contain them: `lemma`, `comments`. Overlapped months (UTC) count as a whole."""
    return await _by_scope(
        connection,
        f"""
        summed AS (
            SELECT n, term_id, sum(comments)::bigint AS comments FROM asked JOIN term_months USING (owner_id)
             WHERE month >= :first AND month < :last GROUP BY n, term_id HAVING sum(comments) > 0),
        firsts AS ({FIRST.format(order="comments DESC, term_id")})
        SELECT n, rank, lemma, comments FROM firsts JOIN terms t ON t.id = term_id ORDER BY n, rank
        """,
        scopes,
        period.touched_months() | {"limit": limit},
    )


async def counts_by_group(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, int]:
    """Count the comments of walls: (owner_id,) -> count; zeros are absent."""
    statement = text("""
        SELECT owner_id, sum(comments)::bigint FROM comment_hours WHERE owner_id = ANY(CAST(:owner_ids AS bigint[]))
         GROUP BY owner_id HAVING sum(comments) > 0
    """)
    rows = await connection.execute(statement, {"owner_ids": [key[0] for key in keys]})
    return {(owner_id,): count for owner_id, count in rows}


async def _by_scope(
    connection: AsyncConnection, statement: str, scopes: Sequence[Scope], parameters: Mapping[str, object]
) -> Rows[AnyRow]:
    pairs = [(index, owner_id) for index, scope in enumerate(scopes) for owner_id in scope or ()]
    by_scope: dict[int, list[AnyRow]] = defaultdict(list)
    rows = await connection.execute(
        text(f"WITH {SCOPES}, {statement}"),
        {
            "starts": [],
            "ends": [],
            **parameters,
            "places": [index for index, _ in pairs],
            "owner_ids": [owner_id for _, owner_id in pairs],
            "everywhere": [index for index, scope in enumerate(scopes) if scope is None],
        },
    )
    for row in rows:
        by_scope[row.n].append(row)
    return by_scope
