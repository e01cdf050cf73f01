"""What analyses find: in single comments, and which of them are waves."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import strawberry

from app.analysis.moods import Mood
from app.errors import ValidationFailed
from app.store import waves
from app.store.keyset import StoredRow
from schema.context import Info
from schema.enums import described
from schema.node import Id, Key, Node, key_of, relation
from schema.paging import After, Before, ChildrenRequest, Connection, First, Last, PageArguments, page_of_all
from schema.scalars import BigInt
from schema.wall import Author, Comment

MOST_GROUPS = 1_000


class WaveOrder(Enum):
    """Orderings of waves."""

    LARGEST = waves.LARGEST
    LATEST = waves.LATEST


described(
    WaveOrder,
    "The orderings of waves.",
    {
        WaveOrder.LARGEST: "The one with the most comments first.",
        WaveOrder.LATEST: "The one whose last comment is the newest first.",
    },
)


@strawberry.type(
    description="Three or more comments that say nearly the same, from two authors or under two posts at the least, as "
    "spam does; or twenty, wherever they come from. Short texts are in none. Its numbers are of the last analysis."
)
class Wave(Node):
    """A wave."""

    first_key: strawberry.Private[Key]
    comment_count: int = strawberry.field(description="How many comments are in it.")
    author_count: int = strawberry.field(description="How many authors they come from.")
    post_count: int = strawberry.field(description="Under how many posts they stand.")
    first_at: datetime = strawberry.field(description="When the first one was published.")
    last_at: datetime = strawberry.field(description="When the last one was published.")

    first_comment: Comment | None = relation(
        "comments",
        lambda wave: wave.first_key,
        Comment | None,
        "The first of its comments; null where it was removed since the last analysis.",
    )

    @strawberry.field(description="Its comments as they are now, oldest first.", graphql_type=Connection[Comment])
    def comments(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Any:
        """Return a page of the comments."""
        page = PageArguments(first, after, last, before).page(waves.OLDEST_COMMENT)
        return info.context.loaders.comments_by_wave.load((self.key, ChildrenRequest(page, None)))

    @classmethod
    def of(cls, row: StoredRow) -> "Wave":
        """Make a wave of its row."""
        return cls(
            key=(row.id,),
            first_key=(row.owner_id, row.comment_id),
            comment_count=row.comment_count,
            author_count=row.author_count,
            post_count=row.post_count,
            first_at=row.first_at,
            last_at=row.last_at,
        )


@strawberry.type(description="What an analysis has found in the text of a comment.")
class CommentFeatures:
    """The features of one comment."""

    wave_key: strawberry.Private[Key | None]
    language: str = strawberry.field(
        description="The language as ISO 639-1, such as `ru`; `und` where the text does not tell."
    )
    links: list[str] = strawberry.field(
        description="The links in it, also those without a scheme, each once: host in lower case, without www."
    )
    phones: list[str] = strawberry.field(description="The phone numbers in it, each once: `+7` and ten digits.")
    mention_vk_ids: list[BigInt] = strawberry.field(
        description="VK's ids of those it mentions, each once; negative for communities."
    )
    mood: Mood = strawberry.field(description="A weak signal: it is read off emoji and brackets only, not off words.")
    analyzed_at: datetime = strawberry.field(description="When that was found.")

    wave: Wave | None = relation(
        "waves", lambda features: features.wave_key, Wave | None, "The wave of near-duplicates that it is in."
    )

    @strawberry.field(description="Those whom it mentions and who are known here.", graphql_type=list[Author])
    async def mentions(self, info: Info) -> Any:
        """Return the authors."""
        found = await info.context.loaders.authors.load_many([(vk_id,) for vk_id in self.mention_vk_ids])
        return [author for author in found if author]

    @classmethod
    def of(cls, row: StoredRow) -> "CommentFeatures":
        """Make the features of their row."""
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
    list[strawberry.ID] | None, strawberry.argument(description="With comments under posts of these communities.")
]


@strawberry.type
class FindingsQuery:
    """The queries of this file."""

    @strawberry.field(description="One wave; null if there is none with this id.", graphql_type=Wave | None)
    def wave(self, info: Info, id: Id) -> Any:
        """Find a wave."""
        return info.context.loaders.waves.load(key_of(id, "Wave"))

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
            int | None, strawberry.argument(description="With at least so many comments, wherever they are.")
        ] = None,
        order_by: Annotated[WaveOrder, strawberry.argument(description="The order.")] = WaveOrder.LARGEST,
    ) -> Connection[Wave]:
        """Read a page of waves."""
        if group_ids is not None and len(group_ids) > MOST_GROUPS:
            raise ValidationFailed({"groupIds": f"give {MOST_GROUPS} of them at most"})
        owner_ids = None
        if group_ids is not None:
            owner_ids = tuple(key_of(value, "Group", f"groupIds.{place}")[0] for place, value in enumerate(group_ids))
        return await page_of_all(
            info,
            PageArguments(first, after, last, before),
            order_by.value,
            waves.WaveConditions(owner_ids, min_comments),
            waves.waves_page,
            waves.count_waves,
            Wave.of,
        )
