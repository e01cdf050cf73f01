"""Statistics of comments, over one community, some, or all: each field is one question, answered only where asked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import strawberry

from app.analysis.series import count_steps, filled
from app.errors import ValidationFailed
from app.statistics import Question
from app.store.keyset import StoredRow
from app.store.statistics import DELAYS, Bucket, Period, PostRanking, Scope
from app.time_zones import zone_names
from schema.context import Info
from schema.keywords import Keyword
from schema.node import key_of, relation
from schema.scalars import BigInt, as_int
from schema.wall import Author, From, Post, Steps, To, Zone

LARGEST_RANKING = 100
MOST_POINTS = 10_000
MOST_GROUPS = 10_000


@strawberry.type(description="How many comments there are, in all.")
class StatisticsTotals:
    """Totals."""

    comment_count: int = strawberry.field(description="Comments and replies that are stored.")
    reply_count: int = strawberry.field(description="Those of them that are replies.")
    reply_share: float | None = strawberry.field(description="Their share, 0 to 1; null without comments.")
    deleted_count: int = strawberry.field(description="Those that were deleted at VK.")
    viewed_count: int = strawberry.field(description="Those that somebody here marked as viewed.")
    archived_count: int = strawberry.field(description="Those that somebody here archived.")
    like_count: BigInt = strawberry.field(description="The likes of all of them.")

    @classmethod
    def of(cls, rows: Sequence[StoredRow]) -> "StatisticsTotals":
        """Make the totals of their row; without one there are no comments."""
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


@strawberry.type(description="A step of time and how many comments were published in it.")
class ActivityPoint:
    """A point of a series."""

    start: datetime = strawberry.field(description="When the step begins.")
    comment_count: int = strawberry.field(description="Comments and replies.")
    reply_count: int = strawberry.field(description="Those of them that are replies.")
    deleted_count: int = strawberry.field(description="Those of them that were deleted at VK.")
    like_count: int = strawberry.field(description="The likes they have by now.")

    @classmethod
    def of(cls, start: datetime, row: StoredRow | None) -> "ActivityPoint":
        """Make a point of its row; without one there are no comments."""
        if row is None:
            return cls(start=start, comment_count=0, reply_count=0, deleted_count=0, like_count=0)
        return cls(
            start=start,
            comment_count=row.comments,
            reply_count=row.replies,
            deleted_count=row.deleted,
            like_count=as_int(row.likes),
        )


@strawberry.type(description="An hour of the week, and how many comments were published in it over all weeks.")
class HourOfWeek:
    """A cell of the heat map."""

    weekday: int = strawberry.field(description="1 is Monday, 7 is Sunday.")
    hour: int = strawberry.field(description="0 to 23.")
    comment_count: int = strawberry.field(description="Comments and replies.")

    @classmethod
    def week_of(cls, rows: Sequence[StoredRow]) -> list["HourOfWeek"]:
        """Make all 168 hours of a week."""
        counts = {(row.weekday, row.hour): row.comments for row in rows}
        return [
            cls(weekday=weekday, hour=hour, comment_count=counts.get((weekday, hour), 0))
            for weekday in range(1, 8)
            for hour in range(24)
        ]


@strawberry.type(description="An author and how much of what is counted is theirs.")
class TopAuthor:
    """An author in a ranking."""

    author_id: strawberry.Private[int]
    comment_count: int = strawberry.field(description="Their comments and replies.")
    reply_count: int = strawberry.field(description="Those of them that are replies.")
    like_count: int = strawberry.field(description="The likes of these.")
    author: Author | None = relation("authors", lambda top: (top.author_id,), Author | None, "Who it is.")

    @classmethod
    def of(cls, row: StoredRow) -> "TopAuthor":
        """Make an author of a row."""
        return cls(
            author_id=row.author_id, comment_count=row.comments, reply_count=row.replies, like_count=as_int(row.likes)
        )


@strawberry.type(description="A post in a ranking.")
class TopPost:
    """A post in a ranking."""

    post_key: strawberry.Private[tuple[int, int]]
    comment_count: int = strawberry.field(description="The comments and replies that are stored under it.")
    reply_count: int = strawberry.field(description="Those of them that are replies.")
    comment_like_count: int = strawberry.field(description="The likes of these.")
    engagement: float | None = strawberry.field(
        description="VK's likes, shares and comments of it per view; null where VK states no views."
    )
    post: Post | None = relation("posts", lambda top: top.post_key, Post | None, "The post.")

    @classmethod
    def of(cls, row: StoredRow) -> "TopPost":
        """Make a post of a row."""
        return cls(
            post_key=(row.owner_id, row.post_id),
            comment_count=row.comments,
            reply_count=row.replies,
            comment_like_count=as_int(row.likes),
            engagement=None if row.engagement is None else round(row.engagement, 6),
        )


@strawberry.type(description="How many comments came how soon after their post.")
class CommentDelay:
    """A step of time after a post."""

    within_seconds: int | None = strawberry.field(
        description="They came within so many seconds, and later than the step before; null for all later ones."
    )
    comment_count: int = strawberry.field(description="Comments and replies.")
    share: float | None = strawberry.field(description="Their share of all; null without comments.")


@strawberry.type(description="The posts that were published in the period, summed up.")
class PostsSummary:
    """A summary of posts."""

    post_count: int = strawberry.field(description="How many there are.")
    like_count: BigInt = strawberry.field(description="VK's likes of them.")
    repost_count: BigInt = strawberry.field(description="How often they were shared.")
    view_count: BigInt = strawberry.field(description="VK's views of those that it states views of.")
    comment_count: BigInt = strawberry.field(description="The comments that VK states.")
    comments_per_post: float | None = strawberry.field(description="Of them, for each post; null without posts.")
    engagement: float | None = strawberry.field(
        description="Likes, shares and comments per view, over the posts whose views VK states."
    )
    comment_delays: list[CommentDelay] = strawberry.field(
        description="How soon after their post the stored comments came."
    )

    @classmethod
    def of(cls, rows: Sequence[StoredRow]) -> "PostsSummary":
        """Make a summary of its row; without one there are no posts."""
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


@strawberry.type(description="A keyword and how much it matches of what is counted.")
class TopKeyword:
    """A keyword in a ranking."""

    keyword_id: strawberry.Private[int]
    comment_count: int = strawberry.field(description="Comments that it matches.")
    match_count: int = strawberry.field(description="How often it matches in them.")
    keyword: Keyword | None = relation("keywords", lambda top: (top.keyword_id,), Keyword | None, "The keyword.")

    @classmethod
    def of(cls, row: StoredRow) -> "TopKeyword":
        """Make a keyword of a row."""
        return cls(keyword_id=row.keyword_id, comment_count=row.comments, match_count=row.matches)


@strawberry.type(description="A language and how many comments are in it.")
class LanguageCount:
    """A language."""

    language: str = strawberry.field(description="ISO 639-1, such as `ru`; `und` where the text does not tell.")
    comment_count: int = strawberry.field(description="Comments that an analysis has found to be in it.")

    @classmethod
    def of(cls, row: StoredRow) -> "LanguageCount":
        """Make a language of a row."""
        return cls(language=row.language, comment_count=row.comments)


@strawberry.type(description="A term and how many comments have it.")
class TermCount:
    """A term."""

    term: str = strawberry.field(description="The word, in its dictionary form.")
    comment_count: int = strawberry.field(description="Comments in which an analysis has found it.")

    @classmethod
    def of(cls, row: StoredRow) -> "TermCount":
        """Make a term of a row."""
        return cls(term=row.lemma, comment_count=row.comments)


RankingSize = Annotated[int, strawberry.argument(description="How many, up to 100.")]


def _limit(first: int) -> int:
    if not 1 <= first <= LARGEST_RANKING:
        raise ValidationFailed({"first": f"must be between 1 and {LARGEST_RANKING}"})
    return first


@strawberry.type(
    description="Numbers about comments of some communities that were published within a time. They are never out of "
    "date, and a question that was asked before, since when nothing has changed, is answered at once: so take full "
    "hours or days for `from` and `to` rather than the current moment."
)
class Statistics:
    """Statistics of a scope and a period."""

    scope: strawberry.Private[Scope]
    period: strawberry.Private[Period]
    since: datetime | None = strawberry.field(
        name="from", description="Since when comments count; null from the first."
    )
    until: datetime | None = strawberry.field(name="to", description="Before when they count; null to the last.")
    bucket: Bucket = strawberry.field(description="The steps of `activity`.")
    time_zone: str = strawberry.field(description="The time zone of days and hours.")

    async def _ask(self, info: Info, function: str, *arguments: Any) -> Sequence[StoredRow]:
        question = Question(function, self.scope, self.period, arguments)
        rows: Sequence[StoredRow] = await info.context.loaders.statistics.load(question)
        return rows

    @strawberry.field(description="Totals.")
    async def totals(self, info: Info) -> StatisticsTotals:
        """Count all."""
        return StatisticsTotals.of(await self._ask(info, "totals"))

    @strawberry.field(description="How many people and communities wrote something.")
    async def author_count(self, info: Info) -> int:
        """Count authors."""
        return sum(row.authors for row in await self._ask(info, "author_counts"))

    @strawberry.field(description="Comments over time, from the first step that has any to the last, without gaps.")
    async def activity(self, info: Info) -> list[ActivityPoint]:
        """Return the series."""
        rows = await self._ask(info, "series", self.bucket, self.time_zone)
        points = {row.start: row for row in rows}
        if count_steps(points, self.bucket.value) > MOST_POINTS:
            raise ValidationFailed({"bucket": f"makes more than {MOST_POINTS} points; take larger steps, or less time"})
        return [
            ActivityPoint.of(start, row) for start, row in filled(points, self.bucket.value, ZoneInfo(self.time_zone))
        ]

    @strawberry.field(description="Comments by the hour of the week: 168 of them, Monday first.")
    async def by_hour_of_week(self, info: Info) -> list[HourOfWeek]:
        """Return the heat map."""
        return HourOfWeek.week_of(await self._ask(info, "hours_of_week", self.time_zone))

    @strawberry.field(description="Who wrote most.")
    async def top_authors(self, info: Info, first: RankingSize = 10) -> list[TopAuthor]:
        """Rank authors."""
        return [TopAuthor.of(row) for row in await self._ask(info, "authors", _limit(first))]

    @strawberry.field(description="The posts that were published in the period and stand out.")
    async def top_posts(
        self,
        info: Info,
        first: RankingSize = 10,
        by: Annotated[PostRanking, strawberry.argument(description="What they are ranked by.")] = PostRanking.COMMENTS,
    ) -> list[TopPost]:
        """Rank posts."""
        return [TopPost.of(row) for row in await self._ask(info, "posts", by, _limit(first))]

    @strawberry.field(description="All posts that were published in the period, summed up.")
    async def posts(self, info: Info) -> PostsSummary:
        """Sum up posts."""
        return PostsSummary.of(await self._ask(info, "posts_summary"))

    @strawberry.field(description="The keywords that match most comments.")
    async def top_keywords(self, info: Info, first: RankingSize = 10) -> list[TopKeyword]:
        """Rank keywords."""
        return [TopKeyword.of(row) for row in await self._ask(info, "keywords", _limit(first))]

    @strawberry.field(description="The languages of the comments that were analysed, the most frequent first.")
    async def languages(self, info: Info) -> list[LanguageCount]:
        """Count languages."""
        return [LanguageCount.of(row) for row in await self._ask(info, "languages")]

    @strawberry.field(
        description="The most frequent terms of the comments that were analysed, common words left out. They are "
        "counted by months (UTC): all months that the period touches count as a whole."
    )
    async def terms(self, info: Info, first: RankingSize = 10) -> list[TermCount]:
        """Rank terms."""
        return [TermCount.of(row) for row in await self._ask(info, "terms", _limit(first))]


def statistics_of(
    scope: Scope, since: datetime | None, until: datetime | None, bucket: Bucket, time_zone: str
) -> Statistics:
    """Make the statistics of a scope, of which nothing is counted before it is asked for.

    Raises:
        ValidationFailed: `since` is later than `until`, or there is no such time zone.
    """
    wrong = {}
    if since and until and since > until:
        wrong["from"] = "is later than to"
    if time_zone not in zone_names():
        wrong["timeZone"] = f"there is no time zone {time_zone!r}"
    if wrong:
        raise ValidationFailed(wrong)
    return Statistics(
        scope=scope, period=Period(since, until), since=since, until=until, bucket=bucket, time_zone=time_zone
    )


@strawberry.type
class StatisticsQuery:
    """The queries of this file."""

    @strawberry.field(description="Numbers about the comments of some communities, or of all.")
    def statistics(
        self,
        group_ids: Annotated[
            list[strawberry.ID] | None, strawberry.argument(description="These communities; all if it is left out.")
        ] = None,
        since: From = None,
        until: To = None,
        bucket: Steps = Bucket.DAY,
        time_zone: Zone = "UTC",
    ) -> Statistics:
        """Make the statistics."""
        if group_ids is not None and len(group_ids) > MOST_GROUPS:
            raise ValidationFailed({"groupIds": f"give {MOST_GROUPS} of them at most"})
        scope = None
        if group_ids is not None:
            keys = [key_of(value, "Group", f"groupIds.{number}") for number, value in enumerate(group_ids)]
            scope = tuple(sorted({key[0] for key in keys}))
        return statistics_of(scope, since, until, bucket, time_zone)
