"""Results of analyses: features of single comments, and waves of near-duplicates."""

from collections.abc import Awaitable
from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from app.analysis.moods import Mood
from app.errors import ValidationFailed
from app.store import waves
from app.store.keyset import Key
from app.store.rows import FeaturesRow, WaveRow
from schema.context import Info
from schema.enums import described
from schema.loaders import Loader, rows_loader
from schema.node import Id, Node, key_of, relation
from schema.paging import (
    After,
    Before,
    ChildrenRequest,
    Connection,
    First,
    Last,
    PageArguments,
    children_loader,
    page_of_all,
)
from schema.scalars import BigInt
from schema.wall import AUTHORS, COMMENTS, Author, Comment

MOST_GROUPS = 1_000

WAVES: Loader[Key, "Wave | None"] = rows_loader(waves.waves_by_key, lambda: Wave)
COMMENTS_BY_WAVE = children_loader(waves.comments_by_wave, waves.count_comments_by_wave, lambda: Comment)


class WaveOrder(Enum):
    """Orderings of waves."""

    LARGEST = waves.LARGEST
    LATEST = waves.LATEST


described(
    WaveOrder,
    "The orderings of waves.",
    {
        WaveOrder.LARGEST: "The one with the most comments first.",
        WaveOrder.LATEST: "The one with the newest last comment first.",
    },
)


@strawberry.type(
    description="A group of near-duplicate comments: at least three from two authors or on two posts, as "
    "in spam; or at least twenty, from anywhere. Short texts are never part of a wave. The "
    "numbers are from the last analysis."
)
class Wave(Node):
    """A wave."""

    first_key: strawberry.Private[Key]
    comment_count: int = strawberry.field(description="The number of comments in it.")
    author_count: int = strawberry.field(description="The number of their authors.")
    post_count: int = strawberry.field(description="The number of their posts.")
    first_at: datetime = strawberry.field(description="When the first comment was published.")
    last_at: datetime = strawberry.field(description="When the last comment was published.")

    first_comment: Comment | None = relation(
        COMMENTS,
        lambda wave: wave.first_key,
        Comment | None,
        "Its first comment; null if it was removed since the last analysis.",
    )

    @strawberry.field(description="Its current comments, oldest first.", graphql_type=Connection[Comment])
    def comments(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Awaitable[Connection[Comment]]:
        """Return a page of the comments."""
        page = PageArguments(first, after, last, before).page(waves.OLDEST_COMMENT)
        return info.context.loaders.load(COMMENTS_BY_WAVE, (self.key, ChildrenRequest(page, None)))

    @classmethod
    def of(cls, row: WaveRow) -> "Wave":
        """Convert a row."""
        return cls(
            key=(row.id,),
            first_key=(row.owner_id, row.comment_id),
            comment_count=row.comment_count,
            author_count=row.author_count,
            post_count=row.post_count,
            first_at=row.first_at,
            last_at=row.last_at,
        )


@strawberry.type(description="The results of an analysis of a comment's text.")
class CommentFeatures:
    """The features of one comment."""

    wave_key: strawberry.Private[Key | None]
    language: str = strawberry.field(description="The language as ISO 639-1, such as `ru`; `und`: not determined.")
    links: list[str] = strawberry.field(
        description="The links in it, without duplicates, including those without a scheme; host names in "
        "lower case, without www."
    )
    phones: list[str] = strawberry.field(
        description="The phone numbers in it, without duplicates: `+7` and ten digits."
    )
    mention_vk_ids: list[BigInt] = strawberry.field(
        description="VK's ids of mentioned people and communities, without duplicates; negative for communities."
    )
    mood: Mood = strawberry.field(
        description="The sentiment, a weak signal: derived only from emoji and brackets, not from words."
    )
    analyzed_at: datetime = strawberry.field(description="When it was analysed.")

    wave: Wave | None = relation(
        WAVES,
        lambda features: features.wave_key,
        Wave | None,
        "The wave of near-duplicates that contains it; null: none.",
    )

    @strawberry.field(description="The mentioned authors that are stored.")
    async def mentions(self, info: Info) -> list[Author]:
        """Return the authors."""
        found = await info.context.loaders.of(AUTHORS).load_many([(vk_id,) for vk_id in self.mention_vk_ids])
        return [author for author in found if author]

    @classmethod
    def of(cls, row: FeaturesRow) -> "CommentFeatures":
        """Convert a row."""
        return cls(
            wave_key=None if row.wave_id is None else (row.wave_id,),
            language=row.language,
            links=row.links,
            phones=row.phones,
            mention_vk_ids=[BigInt(vk_id) for vk_id in row.mention_ids],
            mood=Mood(row.mood),
            analyzed_at=row.analyzed_at,
        )


# queries


GroupIds = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(description="Only waves with comments on posts of these communities; null: all."),
]


@strawberry.type
class FindingsQuery:
    """The queries of this file."""

    @strawberry.field(description="A wave; null if it does not exist.", graphql_type=Wave | None)
    def wave(self, info: Info, id: Id) -> Awaitable[Wave | None]:
        """Return a wave."""
        return info.context.loaders.load(WAVES, key_of(id, "Wave"))

    @strawberry.field(description="The waves that analyses have found.")
    async def waves(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        group_ids: GroupIds = None,
        min_comments: Annotated[
            int | None, strawberry.argument(description="The minimum number of comments of a wave, on any wall.")
        ] = None,
        order_by: Annotated[WaveOrder, strawberry.argument(description="The ordering.")] = WaveOrder.LARGEST,
    ) -> Connection[Wave]:
        """Return a page of waves."""
        if group_ids is not None and len(group_ids) > MOST_GROUPS:
            raise ValidationFailed({"groupIds": f"must contain at most {MOST_GROUPS} ids"})
        owner_ids = None
        if group_ids is not None:
            owner_ids = tuple(key_of(value, "Group", f"groupIds.{place}")[0] for place, value in enumerate(group_ids))
        return await page_of_all(
            info,
            PageArguments(first, after, last, before).page(order_by.value),
            waves.WaveConditions(owner_ids, min_comments),
            waves.waves_page,
            waves.count_waves,
            Wave.of,
        )
