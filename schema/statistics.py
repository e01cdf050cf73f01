"""Statistics of comments of one, some, or all communities: each field is a query of its own, run only if selected."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar, cast
from zoneinfo import ZoneInfo

import strawberry

from app.analysis.series import count_steps, filled
from app.errors import ValidationFailed
from app.resources import Resources
from app.statistics import AnyQuestion, Question, Statistic
from app.store import statistics
from app.store.rows import (
    ActivityRow,
    HourOfWeekRow,
    LanguageRow,
    PostsSummaryRow,
    RankedAuthorRow,
    RankedKeywordRow,
    RankedPostRow,
    TermRow,
    TotalsRow,
)
from app.store.statistics import DELAYS, Bucket, Period, PostRanking, Scope
from app.time_zones import zone_names
from schema.context import Info
from schema.keywords import KEYWORDS, Keyword
from schema.loaders import Loader
from schema.node import key_of, relation
from schema.scalars import BigInt, as_int
from schema.wall import AUTHORS, POSTS, Author, From, Post, Steps, To, Zone

R = TypeVar("R")


async def _answers(resources: Resources, questions: list[AnyQuestion]) -> list[Sequence[object]]:
    return await resources.statistics.answers(questions)


STATISTICS = Loader(_answers)

LARGEST_RANKING = 100
MOST_POINTS = 10_000
MOST_GROUPS = 10_000


@strawberry.type(description="Total numbers of comments.")
class StatisticsTotals:
    """Totals."""

    comment_count: int = strawberry.field(description="Stored comments and replies.")
    reply_count: int = strawberry.field(description="How many of them are replies.")
    reply_share: float | None = strawberry.field(description="The share of replies, 0 to 1; null without comments.")
    deleted_count: int = strawberry.field(description="How many were deleted at VK.")
    viewed_count: int = strawberry.field(description="How many are marked as viewed.")
    archived_count: int = strawberry.field(description="How many are archived.")
    like_count: BigInt = strawberry.field(description="The sum of their likes.")

    @classmethod
    def of(cls, rows: Sequence[TotalsRow]) -> "StatisticsTotals":
        """Convert the row; no row means no comments."""
        if not rows:
            return cls(
                comment_count=0,
                reply_count=0,
                reply_share=None,
                deleted_count=0,
                viewed_count=0,
                archived_count=0,
                like_count=BigInt(0),
            )
        [row] = rows
        return cls(
            comment_count=row.comments,
            reply_count=row.replies,
            reply_share=round(row.replies / row.comments, 4) if row.comments else None,
            deleted_count=row.deleted,
            viewed_count=row.viewed,
            archived_count=row.archived,
            like_count=BigInt(row.likes),
        )


@strawberry.type(description="A time step and the number of comments published in it.")
class ActivityPoint:
    """A point of a series."""

    start: datetime = strawberry.field(description="The start of the step.")
    comment_count: int = strawberry.field(description="Comments and replies.")
    reply_count: int = strawberry.field(description="How many of them are replies.")
    deleted_count: int = strawberry.field(description="How many of them were deleted at VK.")
    like_count: int = strawberry.field(description="The sum of their likes so far.")

    @classmethod
    def of(cls, start: datetime, row: ActivityRow | None) -> "ActivityPoint":
        """Convert the row; no row means no comments."""
        if row is None:
            return cls(start=start, comment_count=0, reply_count=0, deleted_count=0, like_count=0)
        return cls(
            start=start,
            comment_count=row.comments,
            reply_count=row.replies,
            deleted_count=row.deleted,
            like_count=as_int(row.likes),
        )


@strawberry.type(description="An hour of the week and the number of comments published in it over all weeks.")
class HourOfWeek:
    """A cell of the heat map."""

    weekday: int = strawberry.field(description="1 is Monday, 7 is Sunday.")
    hour: int = strawberry.field(description="0 to 23.")
    comment_count: int = strawberry.field(description="Comments and replies.")

    @classmethod
    def week_of(cls, rows: Sequence[HourOfWeekRow]) -> list["HourOfWeek"]:
        """Return all 168 hours of a week."""
        counts = {(row.weekday, row.hour): row.comments for row in rows}
        return [
            cls(weekday=weekday, hour=hour, comment_count=counts.get((weekday, hour), 0))
            for weekday in range(1, 8)
            for hour in range(24)
        ]


@strawberry.type(description="An author in a ranking.")
class TopAuthor:
    """An author in a ranking."""

    author_id: strawberry.Private[int]
    comment_count: int = strawberry.field(description="Their comments and replies.")
    reply_count: int = strawberry.field(description="How many of them are replies.")
    like_count: int = strawberry.field(description="The sum of the comments' likes.")
    author: Author | None = relation(
        AUTHORS, lambda top: (top.author_id,), Author | None, "The author; null if not stored."
    )

    @classmethod
    def of(cls, row: RankedAuthorRow) -> "TopAuthor":
        """Convert a row."""
        return cls(
            author_id=row.author_id, comment_count=row.comments, reply_count=row.replies, like_count=as_int(row.likes)
        )


@strawberry.type(description="A post in a ranking.")
class TopPost:
    """A post in a ranking."""

    post_key: strawberry.Private[tuple[int, int]]
    comment_count: int = strawberry.field(description="The stored comments and replies on it.")
    reply_count: int = strawberry.field(description="How many of them are replies.")
    comment_like_count: int = strawberry.field(description="The sum of the comments' likes.")
    engagement: float | None = strawberry.field(
        description="VK's likes, reposts and comments of the post per view; null if VK states no views."
    )
    post: Post | None = relation(POSTS, lambda top: top.post_key, Post | None, "The post; null if not stored.")

    @classmethod
    def of(cls, row: RankedPostRow) -> "TopPost":
        """Convert a row."""
        return cls(
            post_key=(row.owner_id, row.post_id),
            comment_count=row.comments,
            reply_count=row.replies,
            comment_like_count=as_int(row.likes),
            engagement=None if row.engagement is None else round(row.engagement, 6),
        )


@strawberry.type(description="The number of comments within a range of time after their post.")
class CommentDelay:
    """A range of time after a post."""

    within_seconds: int | None = strawberry.field(
        description="The upper bound of the range, in seconds; its lower bound is that of the previous one. "
        "null: all later comments."
    )
    comment_count: int = strawberry.field(description="Comments and replies.")
    share: float | None = strawberry.field(description="Their share of all comments; null without comments.")


@strawberry.type(description="A summary of the posts published in the period.")
class PostsSummary:
    """A summary of posts."""

    post_count: int = strawberry.field(description="The number of posts.")
    like_count: BigInt = strawberry.field(description="The sum of VK's likes.")
    repost_count: BigInt = strawberry.field(description="The sum of reposts.")
    view_count: BigInt = strawberry.field(description="The sum of VK's views, over the posts whose views VK states.")
    comment_count: BigInt = strawberry.field(description="The sum of comments that VK states.")
    comments_per_post: float | None = strawberry.field(
        description="The mean number of comments per post; null without posts."
    )
    engagement: float | None = strawberry.field(
        description="Likes, reposts and comments per view, over the posts whose views VK states; null without "
        "such posts."
    )
    comment_delays: list[CommentDelay] = strawberry.field(
        description="How soon after their post the stored comments were published."
    )

    @classmethod
    def of(cls, rows: Sequence[PostsSummaryRow]) -> "PostsSummary":
        """Convert the row; no row means no posts."""
        row = rows[0] if rows else None
        stored = sum(getattr(row, name) for name in DELAYS) if row else 0
        delays = [
            CommentDelay(
                within_seconds=seconds,
                comment_count=getattr(row, name) if row else 0,
                share=round(getattr(row, name) / stored, 4) if stored else None,
            )
            for name, seconds in DELAYS.items()
        ]
        return cls(
            post_count=row.posts if row else 0,
            like_count=BigInt(row.likes if row else 0),
            repost_count=BigInt(row.reposts if row else 0),
            view_count=BigInt((row.views or 0) if row else 0),
            comment_count=BigInt(row.comments if row else 0),
            comments_per_post=round(row.comments / row.posts, 2) if row else None,
            engagement=round(row.engagement, 6) if row and row.engagement is not None else None,
            comment_delays=delays,
        )


@strawberry.type(description="A keyword in a ranking.")
class TopKeyword:
    """A keyword in a ranking."""

    keyword_id: strawberry.Private[int]
    comment_count: int = strawberry.field(description="The number of comments that it matches.")
    match_count: int = strawberry.field(description="The number of its matches in them.")
    keyword: Keyword | None = relation(KEYWORDS, lambda top: (top.keyword_id,), Keyword | None, "The keyword.")

    @classmethod
    def of(cls, row: RankedKeywordRow) -> "TopKeyword":
        """Convert a row."""
        return cls(keyword_id=row.keyword_id, comment_count=row.comments, match_count=row.matches)


@strawberry.type(description="A language and the number of comments in it.")
class LanguageCount:
    """A language."""

    language: str = strawberry.field(description="ISO 639-1, such as `ru`; `und`: not determined.")
    comment_count: int = strawberry.field(description="The number of comments for which an analysis has detected it.")

    @classmethod
    def of(cls, row: LanguageRow) -> "LanguageCount":
        """Convert a row."""
        return cls(language=row.language, comment_count=row.comments)


@strawberry.type(description="A term and the number of comments that contain it.")
class TermCount:
    """A term."""

    term: str = strawberry.field(description="The word, in its dictionary form.")
    comment_count: int = strawberry.field(description="The number of analysed comments that contain it.")

    @classmethod
    def of(cls, row: TermRow) -> "TermCount":
        """Convert a row."""
        return cls(term=row.lemma, comment_count=row.comments)


RankingSize = Annotated[int, strawberry.argument(description="The maximum number of items, at most 100.")]


def _limit(first: int) -> int:
    if not 1 <= first <= LARGEST_RANKING:
        raise ValidationFailed({"first": f"must be between 1 and {LARGEST_RANKING}"})
    return first


@strawberry.type(
    description="Statistics of the comments of some communities that were published in a period. Results "
    "are always current, and cached until data change: so use full hours or days for `from` "
    "and `to` rather than the current time."
)
class Statistics:
    """Statistics of a scope and a period."""

    scope: strawberry.Private[Scope]
    period: strawberry.Private[Period]
    since: datetime | None = strawberry.field(
        name="from", description="Comments published at this time or later; null: no limit."
    )
    until: datetime | None = strawberry.field(
        name="to", description="Comments published before this time; null: no limit."
    )
    bucket: Bucket = strawberry.field(description="The time step of `activity`.")
    time_zone: str = strawberry.field(description="The time zone of days and hours.")

    async def _load(self, info: Info, statistic: Statistic[R], *arguments: object) -> Sequence[R]:
        question = Question(statistic, self.scope, self.period, arguments)
        # the rows of a question are those of its statistic
        return cast("Sequence[R]", await info.context.loaders.load(STATISTICS, question))

    @strawberry.field(description="Totals.")
    async def totals(self, info: Info) -> StatisticsTotals:
        """Return the totals."""
        return StatisticsTotals.of(await self._load(info, statistics.totals))

    @strawberry.field(description="The number of people and communities who wrote comments.")
    async def author_count(self, info: Info) -> int:
        """Count authors."""
        return sum(row.authors for row in await self._load(info, statistics.author_counts))

    @strawberry.field(
        description="Comments over time, from the first time step with comments to the last one, without gaps."
    )
    async def activity(self, info: Info) -> list[ActivityPoint]:
        """Return the series."""
        rows = await self._load(info, statistics.series, self.bucket, self.time_zone)
        points = {row.start: row for row in rows}
        if count_steps(points, self.bucket.value) > MOST_POINTS:
            raise ValidationFailed(
                {"bucket": f"yields more than {MOST_POINTS} points; use a larger bucket or a shorter period"}
            )
        return [
            ActivityPoint.of(start, row) for start, row in filled(points, self.bucket.value, ZoneInfo(self.time_zone))
        ]

    @strawberry.field(description="Comments by hour of the week: 168 hours, Monday first.")
    async def by_hour_of_week(self, info: Info) -> list[HourOfWeek]:
        """Return the heat map."""
        return HourOfWeek.week_of(await self._load(info, statistics.hours_of_week, self.time_zone))

    @strawberry.field(description="The authors with the most comments.")
    async def top_authors(self, info: Info, first: RankingSize = 10) -> list[TopAuthor]:
        """Rank authors."""
        return [TopAuthor.of(row) for row in await self._load(info, statistics.authors, _limit(first))]

    @strawberry.field(description="The highest ranked posts published in the period.")
    async def top_posts(
        self,
        info: Info,
        first: RankingSize = 10,
        by: Annotated[PostRanking, strawberry.argument(description="The ranking.")] = PostRanking.COMMENTS,
    ) -> list[TopPost]:
        """Rank posts."""
        return [TopPost.of(row) for row in await self._load(info, statistics.posts, by, _limit(first))]

    @strawberry.field(description="A summary of all posts published in the period.")
    async def posts(self, info: Info) -> PostsSummary:
        """Sum up posts."""
        return PostsSummary.of(await self._load(info, statistics.posts_summary))

    @strawberry.field(description="The keywords that match the most comments.")
    async def top_keywords(self, info: Info, first: RankingSize = 10) -> list[TopKeyword]:
        """Rank keywords."""
        return [TopKeyword.of(row) for row in await self._load(info, statistics.keywords, _limit(first))]

    @strawberry.field(description="The languages of the analysed comments, most frequent first.")
    async def languages(self, info: Info) -> list[LanguageCount]:
        """Count languages."""
        return [LanguageCount.of(row) for row in await self._load(info, statistics.languages)]

    @strawberry.field(
        description="The most frequent terms of the analysed comments, without common words. They are counted "
        "by month (UTC): every month that overlaps the period counts completely."
    )
    async def terms(self, info: Info, first: RankingSize = 10) -> list[TermCount]:
        """Rank terms."""
        return [TermCount.of(row) for row in await self._load(info, statistics.terms, _limit(first))]


def statistics_of(
    scope: Scope, since: datetime | None, until: datetime | None, bucket: Bucket, time_zone: str
) -> Statistics:
    """Return the statistics of a scope; each part is computed only when it is selected.

    Raises:
        ValidationFailed: `since` is later than `until`, or the time zone does not exist.
    """
    problems = {}
    if since and until and since > until:
        problems["from"] = "must not be later than to"
    if time_zone not in zone_names():
        problems["timeZone"] = f"{time_zone!r} is not a time zone"
    if problems:
        raise ValidationFailed(problems)
    return Statistics(
        scope=scope, period=Period(since, until), since=since, until=until, bucket=bucket, time_zone=time_zone
    )


@strawberry.type
class StatisticsQuery:
    """The queries of this file."""

    @strawberry.field(description="Statistics of the comments of some communities, or of all.")
    def statistics(
        self,
        group_ids: Annotated[
            list[strawberry.ID] | None, strawberry.argument(description="These communities; null: all.")
        ] = None,
        since: From = None,
        until: To = None,
        bucket: Steps = Bucket.DAY,
        time_zone: Zone = "UTC",
    ) -> Statistics:
        """Return the statistics."""
        if group_ids is not None and len(group_ids) > MOST_GROUPS:
            raise ValidationFailed({"groupIds": f"must contain at most {MOST_GROUPS} ids"})
        scope = None
        if group_ids is not None:
            keys = [key_of(value, "Group", f"groupIds.{number}") for number, value in enumerate(group_ids)]
            scope = tuple(sorted({key[0] for key in keys}))
        return statistics_of(scope, since, until, bucket, time_zone)
