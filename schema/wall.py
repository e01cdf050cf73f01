"""Communities, posts, comments and authors. They point at each other, so they share a file."""

from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.scalars import JSON

from app.store import comments
from app.store.highlights import spans_of_part
from app.store.keyset import StoredRow
from app.store.statistics import Bucket
from schema.context import Info
from schema.enums import described
from schema.filters import CommentFilter, CommentOrder, PostFilter, PostOrder
from schema.node import Key, Node, relation
from schema.paging import After, Before, ChildrenRequest, Connection, First, Last, PageArguments, children
from schema.scalars import BigInt, as_int

if TYPE_CHECKING:
    from schema.findings import CommentFeatures
    from schema.keywords import KeywordMatch
    from schema.monitoring import Monitoring
    from schema.statistics import Statistics

VK = "https://vk.com"

From = Annotated[datetime | None, strawberry.argument(name="from", description="Only comments published since then.")]
To = Annotated[datetime | None, strawberry.argument(name="to", description="Only comments published before then.")]
Steps = Annotated[Bucket, strawberry.argument(description="The steps of `activity`.")]
Zone = Annotated[str, strawberry.argument(description="The time zone of days and hours, such as `Europe/Moscow`.")]

_HERE = strawberry.lazy("schema.wall")
LazyPost = Annotated["Post", _HERE]
LazyComment = Annotated["Comment", _HERE]
LazyAuthor = Annotated["Author", _HERE]
LazyFeatures = Annotated["CommentFeatures", strawberry.lazy("schema.findings")]
LazyMatch = Annotated["KeywordMatch", strawberry.lazy("schema.keywords")]
LazyMonitoring = Annotated["Monitoring", strawberry.lazy("schema.monitoring")]
LazyStatistics = Annotated["Statistics", strawberry.lazy("schema.statistics")]


class AuthorKind(Enum):
    """Kinds of authors."""

    USER = "USER"
    GROUP = "GROUP"


described(
    AuthorKind,
    "What kind of author somebody is.",
    {
        AuthorKind.USER: "A person.",
        AuthorKind.GROUP: "A community.",
    },
)


@strawberry.type(description="A VK community that has been added here.")
class Group(Node):
    """A community."""

    vk_id: BigInt = strawberry.field(description="VK's id of the community: positive.")
    screen_name: str = strawberry.field(description="The last part of its address.")
    name: str = strawberry.field(description="Its name.")
    description: str | None = strawberry.field(description="What it says about itself.")
    members_count: int | None = strawberry.field(description="How many members it had when VK was last asked.")
    is_closed: bool = strawberry.field(description="Whether only members may read it.")
    photo_url: str | None = strawberry.field(description="Its picture.")
    added_at: datetime = strawberry.field(description="When it was added here.")
    collected_at: datetime | None = strawberry.field(description="When a collection of it last came to its end.")
    note: str | None = strawberry.field(description="A remark of those who work here.")
    labels: list[str] = strawberry.field(description="Labels of those who work here.")

    post_count: int = relation("post_counts_by_group", lambda group: group.key, int, "How many posts are stored.")
    comment_count: int = relation(
        "comment_counts_by_group", lambda group: group.key, int, "How many comments and replies are stored."
    )
    monitoring: "Monitoring" = relation(
        "monitorings",
        lambda group: group.key,
        LazyMonitoring,
        "How it is collected again and again, or how it would be if that were enabled.",
    )
    posts: "Connection[Post]" = children(
        "posts_by_group", Connection[LazyPost], "Its posts.", PostFilter, PostOrder, PostOrder.NEWEST
    )
    comments: "Connection[Comment]" = children(
        "comments_by_group",
        Connection[LazyComment],
        "The comments and replies under its posts.",
        CommentFilter,
        CommentOrder,
        CommentOrder.NEWEST,
    )

    @strawberry.field(description="Numbers about the comments under its posts.", graphql_type=LazyStatistics)
    def statistics(
        self, since: From = None, until: To = None, bucket: Steps = Bucket.DAY, time_zone: Zone = "UTC"
    ) -> Any:
        """Make its statistics."""
        from schema.statistics import statistics_of  # noqa: PLC0415 - that file points back at this one

        return statistics_of(self.key, since, until, bucket, time_zone)

    @strawberry.field(description="Its address at VK.")
    def vk_url(self) -> str:
        """Return the address."""
        return f"{VK}/{self.screen_name}"

    @classmethod
    def of(cls, row: StoredRow) -> "Group":
        """Make a community of its row."""
        return cls(
            key=(row.owner_id,),
            vk_id=BigInt(-row.owner_id),
            screen_name=row.screen_name,
            name=row.name,
            description=row.description,
            members_count=None if row.members_count is None else as_int(row.members_count),
            is_closed=row.is_closed,
            photo_url=row.photo_url,
            added_at=row.added_at,
            collected_at=row.collected_at,
            note=row.note,
            labels=row.labels,
        )


@strawberry.type(description="Something attached to a post or a comment.")
class Attachment:
    """An attachment as VK sent it."""

    kind: str = strawberry.field(description="VK's type: photo, video, sticker, link, doc, audio ...")
    data: JSON = strawberry.field(description="VK's object of that type, as it came.")


def attachments_of(row: StoredRow) -> list[Attachment]:
    """Make the attachments of a post's or comment's row."""
    return [
        Attachment(kind=str(item.get("type", "unknown")), data=JSON(item.get(item.get("type"), {})))
        for item in row.attachments
    ]


@strawberry.type(description="A post on the wall of a community.")
class Post(Node):
    """A post."""

    author_key: strawberry.Private[Key | None]
    vk_id: BigInt = strawberry.field(description="VK's id of the post, unique on its wall only.")
    vk_owner_id: BigInt = strawberry.field(description="VK's id of the wall: negative for a community.")
    text: str = strawberry.field(description="Its text.")
    published_at: datetime = strawberry.field(description="When it was published.")
    like_count: int = strawberry.field(description="How many likes it had when it was last seen.")
    repost_count: int = strawberry.field(description="How many times it was shared when it was last seen.")
    view_count: int | None = strawberry.field(description="How many views VK stated.")
    comment_count: int = strawberry.field(description="How many comments and replies VK stated when it was last seen.")
    is_pinned: bool = strawberry.field(description="Whether it is pinned to the top of the wall.")
    is_deleted: bool = strawberry.field(description="Whether its wall no longer shows it.")
    attachments: list[Attachment] = strawberry.field(description="What is attached to it.")
    collected_at: datetime | None = strawberry.field(description="When its comments were last read to the end.")

    group: "Group | None" = relation(
        "groups", lambda post: (post.vk_owner_id,), Group | None, "The community on whose wall it is."
    )
    author: "Author | None" = relation("authors", lambda post: post.author_key, LazyAuthor | None, "Who wrote it.")
    comments: "Connection[Comment]" = children(
        "comments_by_post",
        Connection[LazyComment],
        "The comments and replies under it.",
        CommentFilter,
        CommentOrder,
        CommentOrder.OLDEST,
    )

    @strawberry.field(description="Its address at VK.")
    def vk_url(self) -> str:
        """Return the address."""
        return f"{VK}/wall{self.vk_owner_id}_{self.vk_id}"

    @classmethod
    def of(cls, row: StoredRow) -> "Post":
        """Make a post of its row."""
        return cls(
            key=(row.owner_id, row.id),
            author_key=None if row.from_id is None else (row.from_id,),
            vk_id=row.id,
            vk_owner_id=row.owner_id,
            text=row.text,
            published_at=row.published_at,
            like_count=as_int(row.like_count),
            repost_count=as_int(row.repost_count),
            view_count=None if row.view_count is None else as_int(row.view_count),
            comment_count=as_int(row.comment_count),
            is_pinned=row.is_pinned,
            is_deleted=row.is_deleted,
            attachments=attachments_of(row),
            collected_at=row.collected_at,
        )


@strawberry.type(description="A part of a comment's text.")
class Highlight:
    """A span."""

    start: int = strawberry.field(description="Where it begins, in Unicode code points of the comment's text.")
    end: int = strawberry.field(description="Where it ends: the first code point behind it.")
    text: str = strawberry.field(description="What stands there.")


Search = Annotated[str | None, strawberry.argument(description="A search, as in `CommentFilter.search`.")]
Part = Annotated[str | None, strawberry.argument(description="A part, as in `CommentFilter.contains`.")]


@strawberry.type(description="A comment under a post, or a reply in the thread of one.")
class Comment(Node):
    """A comment."""

    post_key: strawberry.Private[Key]
    author_key: strawberry.Private[Key | None]
    thread_key: strawberry.Private[Key | None]
    reply_to_key: strawberry.Private[Key | None]
    vk_id: BigInt = strawberry.field(description="VK's id of the comment, unique on its wall only.")
    vk_owner_id: BigInt = strawberry.field(description="VK's id of the wall: negative for a community.")
    text: str = strawberry.field(description="Its text, with VK's mentions as they came: [id1|Name].")
    published_at: datetime = strawberry.field(description="When it was published.")
    changed_at: datetime | None = strawberry.field(
        description="When a change of text, attachments or deletion was last noticed. VK does not say when it happened."
    )
    like_count: int = strawberry.field(description="How many likes it had when it was last seen.")
    is_deleted: bool = strawberry.field(description="Whether it was deleted at VK. What was known of it stays.")
    attachments: list[Attachment] = strawberry.field(description="What is attached to it.")
    viewed_at: datetime | None = strawberry.field(description="When somebody here marked it as viewed.")
    archived_at: datetime | None = strawberry.field(description="When somebody here archived it.")

    post: "Post" = relation("posts", lambda comment: comment.post_key, Post, "The post it is under.")
    author: "Author | None" = relation(
        "authors",
        lambda comment: comment.author_key,
        LazyAuthor | None,
        "Who wrote it; null on a comment that was deleted before it was first seen.",
    )
    thread: "Comment | None" = relation(
        "comments",
        lambda comment: comment.thread_key,
        LazyComment | None,
        "The top comment in whose thread it is; null on a top comment.",
    )
    keyword_matches: "list[KeywordMatch]" = relation(
        "matches_by_comment", lambda comment: comment.key, list[LazyMatch], "Where keywords match, in order."
    )
    features: "CommentFeatures | None" = relation(
        "features_by_comment",
        lambda comment: comment.key,
        LazyFeatures | None,
        "What an analysis has found in its text; null where none has seen it yet, or it has changed since.",
    )
    in_reply_to: "Comment | None" = relation(
        "comments", lambda comment: comment.reply_to_key, LazyComment | None, "The comment it answers."
    )

    @strawberry.field(description="Where it meets a search, or has a part of a text, for a client to highlight.")
    async def highlights(self, info: Info, search: Search = None, contains: Part = None) -> list[Highlight]:
        """Find what to highlight."""
        found = await info.context.loaders.spans_by_search.load((self.key, search)) if search else []
        found = found + (spans_of_part(self.text, contains) if contains else [])
        return [Highlight(start=start, end=end, text=self.text[start:end]) for start, end in sorted(set(found))]

    @strawberry.field(
        description="Its language as `features.language`: ISO 639-1, or `und`; null where it was not analysed."
    )
    async def language(self, info: Info) -> str | None:
        """Return the language."""
        features = await info.context.loaders.features_by_comment.load(self.key)
        return features.language if features else None

    @strawberry.field(description="The replies in its thread, oldest first.", graphql_type=Connection[LazyComment])
    def replies(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Any:
        """Return a page of the replies."""
        page = PageArguments(first, after, last, before).page(comments.IN_THREAD)
        request = ChildrenRequest(page, CommentFilter.everything())
        return info.context.loaders.replies_by_comment.load((self.key, request))

    @strawberry.field(description="Its address at VK.")
    def vk_url(self) -> str:
        """Return the address."""
        thread = f"&thread={self.thread_key[1]}" if self.thread_key else ""
        return f"{VK}/wall{self.vk_owner_id}_{self.post_key[1]}?reply={self.vk_id}{thread}"

    @classmethod
    def of(cls, row: StoredRow) -> "Comment":
        """Make a comment of its row."""
        owner_id = row.owner_id
        return cls(
            key=(owner_id, row.id),
            post_key=(owner_id, row.post_id),
            author_key=None if row.from_id is None else (row.from_id,),
            thread_key=None if row.thread_id is None else (owner_id, row.thread_id),
            reply_to_key=None if row.reply_to_id is None else (owner_id, row.reply_to_id),
            vk_id=row.id,
            vk_owner_id=owner_id,
            text=row.text,
            published_at=row.published_at,
            changed_at=row.changed_at,
            like_count=as_int(row.like_count),
            is_deleted=row.is_deleted,
            attachments=attachments_of(row),
            viewed_at=row.viewed_at,
            archived_at=row.archived_at,
        )


@strawberry.type(description="A person or a community that wrote something.")
class Author(Node):
    """An author."""

    vk_id: BigInt = strawberry.field(description="VK's id: negative for a community.")
    kind: AuthorKind = strawberry.field(description="A person or a community.")
    name: str = strawberry.field(description="The name, for people first and last.")
    screen_name: str | None = strawberry.field(description="The last part of the address.")
    photo_url: str | None = strawberry.field(description="The picture.")
    is_deactivated: bool = strawberry.field(description="Whether VK has deleted or banned the account.")

    comments: "Connection[Comment]" = children(
        "comments_by_author",
        Connection[LazyComment],
        "What they wrote under all posts that are stored.",
        CommentFilter,
        CommentOrder,
        CommentOrder.NEWEST,
    )

    @strawberry.field(description="The address at VK.")
    def vk_url(self) -> str:
        """Return the address."""
        return f"{VK}/{'club' if self.vk_id < 0 else 'id'}{abs(self.vk_id)}"

    @classmethod
    def of(cls, row: StoredRow) -> "Author":
        """Make an author of their row."""
        return cls(
            key=(row.id,),
            vk_id=row.id,
            kind=AuthorKind.GROUP if row.id < 0 else AuthorKind.USER,
            name=row.name,
            screen_name=row.screen_name,
            photo_url=row.photo_url,
            is_deactivated=row.deactivated is not None,
        )
