"""Communities, posts, comments and authors. They reference each other, so they share a file."""

from collections.abc import Awaitable
from datetime import datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry.scalars import JSON

from app.analysis.searches import forms_of_search
from app.resources import Resources
from app.store import authors, comments, features, groups, monitorings, posts
from app.store.comment_conditions import CommentConditions
from app.store.highlights import Span, spans_of_part, spans_of_search
from app.store.keyset import Key
from app.store.rows import AuthorRow, CommentRow, GroupRow, PostRow
from app.store.statistics import Bucket, counts_by_group
from schema.context import Info
from schema.enums import described
from schema.filters import CommentFilter, CommentOrder, PostFilter, PostOrder
from schema.keywords import MATCHES_BY_COMMENT, KeywordMatch
from schema.loaders import Loader, counts_loader, parents_by_request, rows_loader, rows_loader_or
from schema.node import Node, relation
from schema.paging import (
    After,
    Before,
    ChildrenLoader,
    ChildrenRequest,
    Connection,
    First,
    Last,
    PageArguments,
    children,
    children_loader,
)
from schema.scalars import BigInt, as_int

if TYPE_CHECKING:
    from schema.findings import CommentFeatures
    from schema.monitoring import Monitoring
    from schema.statistics import Statistics

VK = "https://vk.com"

From = Annotated[
    datetime | None,
    strawberry.argument(name="from", description="Only comments published at this time or later; null: no limit."),
]
To = Annotated[
    datetime | None,
    strawberry.argument(name="to", description="Only comments published before this time; null: no limit."),
]
Steps = Annotated[Bucket, strawberry.argument(description="The time step of `activity`.")]
Zone = Annotated[str, strawberry.argument(description="The time zone of days and hours, such as `Europe/Moscow`.")]

_THIS_FILE = strawberry.lazy("schema.wall")
LazyPost = Annotated["Post", _THIS_FILE]
LazyComment = Annotated["Comment", _THIS_FILE]
LazyAuthor = Annotated["Author", _THIS_FILE]
LazyFeatures = Annotated["CommentFeatures", strawberry.lazy("schema.findings")]
LazyMonitoring = Annotated["Monitoring", strawberry.lazy("schema.monitoring")]
LazyStatistics = Annotated["Statistics", strawberry.lazy("schema.statistics")]

# loaders


def _features() -> "type[CommentFeatures]":
    from schema.findings import CommentFeatures  # noqa: PLC0415 - that file imports this one

    return CommentFeatures


def _monitoring() -> "type[Monitoring]":
    from schema.monitoring import Monitoring  # noqa: PLC0415 - that file imports this one

    return Monitoring


GROUPS: Loader[Key, "Group | None"] = rows_loader(groups.groups_by_key, lambda: Group)
POSTS: Loader[Key, "Post | None"] = rows_loader(posts.posts_by_key, lambda: Post)
COMMENTS: Loader[Key, "Comment | None"] = rows_loader(comments.comments_by_key, lambda: Comment)
AUTHORS: Loader[Key, "Author | None"] = rows_loader(authors.authors_by_key, lambda: Author)
FEATURES_BY_COMMENT = rows_loader(features.features_by_comment, _features)
MONITORINGS = rows_loader_or(lambda key: _monitoring().unset(key), monitorings.monitorings_by_key, _monitoring)
POST_COUNTS_BY_GROUP = counts_loader(partial(posts.count_posts_by_group, conditions=PostFilter.everything()))
COMMENT_COUNTS_BY_GROUP = counts_loader(counts_by_group)
POSTS_BY_GROUP: ChildrenLoader[posts.PostConditions, "Post"] = children_loader(
    posts.posts_by_group, posts.count_posts_by_group, lambda: Post
)
COMMENTS_BY_GROUP: ChildrenLoader[CommentConditions, "Comment"] = children_loader(
    comments.comments_by_group, comments.count_comments_by_group, lambda: Comment
)
COMMENTS_BY_POST: ChildrenLoader[CommentConditions, "Comment"] = children_loader(
    comments.comments_by_post, comments.count_comments_by_post, lambda: Comment
)
COMMENTS_BY_AUTHOR: ChildrenLoader[CommentConditions, "Comment"] = children_loader(
    comments.comments_by_author, comments.count_comments_by_author, lambda: Comment
)
REPLIES_BY_COMMENT: ChildrenLoader[CommentConditions, "Comment"] = children_loader(
    comments.replies_by_comment, comments.count_replies_by_comment, lambda: Comment
)


async def _spans(resources: Resources, keys: list[tuple[Key, str]]) -> list[list[Span]]:
    found: dict[tuple[Key, str], list[Span]] = {}
    async with resources.database.connect() as connection:
        for search, parents in parents_by_request(keys).items():
            spans = await spans_of_search(connection, parents, search, forms_of_search(search))
            found |= {(parent, search): of_one for parent, of_one in spans.items()}
    return [found.get(key, []) for key in keys]


SPANS_BY_SEARCH = Loader(_spans)
"""Loads the spans where comments match a search, which is part of the key."""


# types


class AuthorKind(Enum):
    """Kinds of authors."""

    USER = "USER"
    GROUP = "GROUP"


described(
    AuthorKind,
    "The kind of an author.",
    {
        AuthorKind.USER: "A person.",
        AuthorKind.GROUP: "A community.",
    },
)


@strawberry.type(description="A VK community that was added to this server.")
class Group(Node):
    """A community."""

    vk_id: BigInt = strawberry.field(description="VK's id of the community: positive.")
    screen_name: str = strawberry.field(description="The last part of its URL.")
    name: str = strawberry.field(description="Its name.")
    description: str | None = strawberry.field(description="Its description on VK.")
    members_count: int | None = strawberry.field(description="The number of members, as last read from VK.")
    is_closed: bool = strawberry.field(description="`true`: only members can read it; `false`: everybody can.")
    photo_url: str | None = strawberry.field(description="Its picture.")
    added_at: datetime = strawberry.field(description="When it was added to this server.")
    collected_at: datetime | None = strawberry.field(description="When it was last collected completely; null: never.")
    note: str | None = strawberry.field(description="A note of the users of this server; null: none.")
    labels: list[str] = strawberry.field(description="Labels given by the users of this server.")

    post_count: int = relation(POST_COUNTS_BY_GROUP, lambda group: group.key, int, "The number of stored posts.")
    comment_count: int = relation(
        COMMENT_COUNTS_BY_GROUP, lambda group: group.key, int, "The number of stored comments and replies."
    )
    monitoring: "Monitoring" = relation(
        MONITORINGS,
        lambda group: group.key,
        LazyMonitoring,
        "Its periodic collection, or the defaults if none was set.",
    )
    posts: "Connection[Post]" = children(
        POSTS_BY_GROUP, Connection[LazyPost], "Its posts.", PostFilter, PostOrder.NEWEST
    )
    comments: "Connection[Comment]" = children(
        COMMENTS_BY_GROUP,
        Connection[LazyComment],
        "The comments and replies on its posts.",
        CommentFilter,
        CommentOrder.NEWEST,
    )

    @strawberry.field(description="Statistics of the comments on its posts.", graphql_type=LazyStatistics)
    def statistics(
        self, since: From = None, until: To = None, bucket: Steps = Bucket.DAY, time_zone: Zone = "UTC"
    ) -> "Statistics":
        """Return its statistics."""
        from schema.statistics import statistics_of  # noqa: PLC0415 - that file imports this one

        return statistics_of(self.key, since, until, bucket, time_zone)

    @strawberry.field(description="Its URL on VK.")
    def vk_url(self) -> str:
        """Return the URL."""
        return f"{VK}/{self.screen_name}"

    @classmethod
    def of(cls, row: GroupRow) -> "Group":
        """Convert a row."""
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


@strawberry.type(description="An attachment of a post or a comment.")
class Attachment:
    """An attachment as VK sent it."""

    kind: str = strawberry.field(description="VK's type: photo, video, sticker, link, doc, audio ...")
    data: JSON = strawberry.field(description="VK's object of that type, unchanged.")


def attachments_of(row: PostRow | CommentRow) -> list[Attachment]:
    """Return the attachments of a post's or comment's row."""
    return [
        Attachment(kind=(kind := str(item.get("type", "unknown"))), data=JSON(item.get(kind, {})))
        for item in row.attachments
    ]


@strawberry.type(description="A post on the wall of a community.")
class Post(Node):
    """A post."""

    author_key: strawberry.Private[Key | None]
    vk_id: BigInt = strawberry.field(description="VK's id of the post, unique only on its wall.")
    vk_owner_id: BigInt = strawberry.field(description="VK's id of the wall: negative for a community.")
    text: str = strawberry.field(description="Its text.")
    published_at: datetime = strawberry.field(description="When it was published.")
    like_count: int = strawberry.field(description="The number of likes, as last read from VK.")
    repost_count: int = strawberry.field(description="The number of reposts, as last read from VK.")
    view_count: int | None = strawberry.field(description="The number of views that VK stated; null: none stated.")
    comment_count: int = strawberry.field(description="The number of comments and replies, as VK last stated it.")
    is_pinned: bool = strawberry.field(description="`true`: pinned to the top of the wall.")
    is_deleted: bool = strawberry.field(description="`true`: VK no longer shows it.")
    attachments: list[Attachment] = strawberry.field(description="Its attachments.")
    collected_at: datetime | None = strawberry.field(
        description="When its comments were last read completely; null: never."
    )

    group: "Group | None" = relation(
        GROUPS, lambda post: (post.vk_owner_id,), Group | None, "The community of the wall; null if it was not added."
    )
    author: "Author | None" = relation(
        AUTHORS, lambda post: post.author_key, LazyAuthor | None, "Its author; null if VK states none."
    )
    comments: "Connection[Comment]" = children(
        COMMENTS_BY_POST,
        Connection[LazyComment],
        "The comments and replies on it.",
        CommentFilter,
        CommentOrder.OLDEST,
    )

    @strawberry.field(description="Its URL on VK.")
    def vk_url(self) -> str:
        """Return the URL."""
        return f"{VK}/wall{self.vk_owner_id}_{self.vk_id}"

    @classmethod
    def of(cls, row: PostRow) -> "Post":
        """Convert a row."""
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


@strawberry.type(description="A span of a comment's text.")
class Highlight:
    """A span."""

    start: int = strawberry.field(description="The start, in Unicode code points of the comment's text.")
    end: int = strawberry.field(description="The end, exclusive.")
    text: str = strawberry.field(description="The text between start and end.")


Search = Annotated[str | None, strawberry.argument(description="A search, as in `CommentFilter.search`.")]
Part = Annotated[str | None, strawberry.argument(description="A part of a text, as in `CommentFilter.contains`.")]


@strawberry.type(description="A comment on a post, or a reply in the thread of a comment.")
class Comment(Node):
    """A comment."""

    post_key: strawberry.Private[Key]
    author_key: strawberry.Private[Key | None]
    thread_key: strawberry.Private[Key | None]
    reply_to_key: strawberry.Private[Key | None]
    vk_id: BigInt = strawberry.field(description="VK's id of the comment, unique only on its wall.")
    vk_owner_id: BigInt = strawberry.field(description="VK's id of the wall: negative for a community.")
    text: str = strawberry.field(description="Its text, with VK's mentions unchanged: [id1|Name].")
    published_at: datetime = strawberry.field(description="When it was published.")
    changed_at: datetime | None = strawberry.field(
        description="When a change of text or attachments, or a deletion, was last detected; null: never. VK "
        "does not state when it happened."
    )
    like_count: int = strawberry.field(description="The number of likes, as last read from VK.")
    is_deleted: bool = strawberry.field(description="`true`: deleted at VK. Its last known data stay.")
    attachments: list[Attachment] = strawberry.field(description="Its attachments.")
    viewed_at: datetime | None = strawberry.field(
        description="When a user of this server marked it as viewed; null: not marked."
    )
    archived_at: datetime | None = strawberry.field(
        description="When a user of this server archived it; null: not archived."
    )

    post: "Post" = relation(POSTS, lambda comment: comment.post_key, Post, "Its post.")
    author: "Author | None" = relation(
        AUTHORS,
        lambda comment: comment.author_key,
        LazyAuthor | None,
        "Its author; null for a comment that was deleted before it was first read.",
    )
    thread: "Comment | None" = relation(
        COMMENTS,
        lambda comment: comment.thread_key,
        LazyComment | None,
        "The top comment of its thread; null for a top comment.",
    )
    keyword_matches: list[KeywordMatch] = relation(
        MATCHES_BY_COMMENT,
        lambda comment: comment.key,
        list[KeywordMatch],
        "The keyword matches in its text, in order.",
    )
    features: "CommentFeatures | None" = relation(
        FEATURES_BY_COMMENT,
        lambda comment: comment.key,
        LazyFeatures | None,
        "The results of an analysis of its text; null if it was not analysed, or has changed since.",
    )
    in_reply_to: "Comment | None" = relation(
        COMMENTS,
        lambda comment: comment.reply_to_key,
        LazyComment | None,
        "The comment that it replies to; null: it replies to none, or that comment is not stored.",
    )

    @strawberry.field(
        description="The spans that match a search or contain a part of a text, for a client to highlight."
    )
    async def highlights(self, info: Info, search: Search = None, contains: Part = None) -> list[Highlight]:
        """Return the spans to highlight."""
        found = await info.context.loaders.load(SPANS_BY_SEARCH, (self.key, search)) if search else []
        found = found + (spans_of_part(self.text, contains) if contains else [])
        return [Highlight(start=start, end=end, text=self.text[start:end]) for start, end in sorted(set(found))]

    @strawberry.field(
        description="Its language, as in `features.language`: ISO 639-1, or `und`; null if it was not analysed."
    )
    async def language(self, info: Info) -> str | None:
        """Return the language."""
        features = await info.context.loaders.load(FEATURES_BY_COMMENT, self.key)
        return features.language if features else None

    @strawberry.field(description="The replies in its thread, oldest first.", graphql_type=Connection[LazyComment])
    def replies(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> "Awaitable[Connection[Comment]]":
        """Return a page of the replies."""
        page = PageArguments(first, after, last, before).page(comments.IN_THREAD)
        request = ChildrenRequest(page, CommentFilter.everything())
        return info.context.loaders.load(REPLIES_BY_COMMENT, (self.key, request))

    @strawberry.field(description="Its URL on VK.")
    def vk_url(self) -> str:
        """Return the URL."""
        thread = f"&thread={self.thread_key[1]}" if self.thread_key else ""
        return f"{VK}/wall{self.vk_owner_id}_{self.post_key[1]}?reply={self.vk_id}{thread}"

    @classmethod
    def of(cls, row: CommentRow) -> "Comment":
        """Convert a row."""
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


@strawberry.type(description="A person or a community that wrote a post or comment.")
class Author(Node):
    """An author."""

    vk_id: BigInt = strawberry.field(description="VK's id: negative for a community.")
    kind: AuthorKind = strawberry.field(description="A person or a community.")
    name: str = strawberry.field(description="The name; for people first and last name.")
    screen_name: str | None = strawberry.field(description="The last part of the URL; null if unknown.")
    photo_url: str | None = strawberry.field(description="The picture.")
    is_deactivated: bool = strawberry.field(description="`true`: VK has deleted or banned the account.")

    comments: "Connection[Comment]" = children(
        COMMENTS_BY_AUTHOR,
        Connection[LazyComment],
        "Their comments on all stored posts.",
        CommentFilter,
        CommentOrder.NEWEST,
    )

    @strawberry.field(description="The URL on VK.")
    def vk_url(self) -> str:
        """Return the URL."""
        return f"{VK}/{'club' if self.vk_id < 0 else 'id'}{abs(self.vk_id)}"

    @classmethod
    def of(cls, row: AuthorRow) -> "Author":
        """Convert a row."""
        return cls(
            key=(row.id,),
            vk_id=row.id,
            kind=AuthorKind.GROUP if row.id < 0 else AuthorKind.USER,
            name=row.name,
            screen_name=row.screen_name,
            photo_url=row.photo_url,
            is_deactivated=row.deactivated is not None,
        )
