"""Which communities, posts and comments are wanted, and in which order: the inputs of their lists."""

from datetime import datetime
from enum import Enum

import strawberry

from app.store import comments, groups, posts
from schema.enums import described
from schema.node import Key, key_of


class GroupOrder(Enum):
    """Orderings of `groups`."""

    ADDED = groups.ADDED
    NAME = groups.NAME


described(
    GroupOrder,
    "The orderings of communities.",
    {
        GroupOrder.ADDED: "The newest addition first.",
        GroupOrder.NAME: "By name, from A to Z.",
    },
)


class PostOrder(Enum):
    """Orderings of posts."""

    NEWEST = posts.NEWEST
    OLDEST = posts.OLDEST


described(
    PostOrder,
    "The orderings of posts, by time.",
    {
        PostOrder.NEWEST: "The newest first.",
        PostOrder.OLDEST: "The oldest first.",
    },
)


class CommentOrder(Enum):
    """Orderings of comments."""

    NEWEST = comments.NEWEST
    OLDEST = comments.OLDEST
    MOST_LIKED = comments.MOST_LIKED


described(
    CommentOrder,
    "The orderings of comments.",
    {
        CommentOrder.NEWEST: "The newest first.",
        CommentOrder.OLDEST: "The oldest first.",
        CommentOrder.MOST_LIKED: "The one with the most likes first.",
    },
)


@strawberry.input(description="Which communities are wanted. What is left out does not restrict.")
class GroupFilter:
    """Restricts communities."""

    search: str | None = strawberry.field(default=None, description="Part of the name or the screen name.")


@strawberry.input(description="Which posts are wanted; all conditions hold. What is left out does not restrict.")
class PostFilter:
    """Restricts posts."""

    group_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Posts of these communities.")
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    has_comments: bool | None = strawberry.field(default=None, description="With comments, or without.")

    def conditions(self) -> posts.PostConditions:
        """Return the filter as the store takes it."""
        return posts.PostConditions(
            owner_ids=_owner_ids(self.group_ids),
            published_from=self.published_from,
            published_to=self.published_to,
            has_comments=self.has_comments,
        )

    @staticmethod
    def everything() -> posts.PostConditions:
        """Return the conditions of no filter."""
        return posts.PostConditions()


@strawberry.input(description="Which comments are wanted; all conditions hold. What is left out does not restrict.")
class CommentFilter:
    """Restricts comments."""

    group_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Under posts of these groups.")
    post_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Under these posts.")
    author_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Written by these authors.")
    published_from: datetime | None = strawberry.field(default=None, description="Published at this time or later.")
    published_to: datetime | None = strawberry.field(default=None, description="Published before this time.")
    is_reply: bool | None = strawberry.field(default=None, description="In the thread of another comment, or not.")
    is_deleted: bool | None = strawberry.field(default=None, description="Deleted at VK, or not.")
    is_viewed: bool | None = strawberry.field(default=None, description="Marked as viewed here, or not.")
    is_archived: bool | None = strawberry.field(default=None, description="Archived here, or not.")
    min_likes: int | None = strawberry.field(default=None, description="With at least so many likes.")

    def conditions(self) -> comments.CommentConditions:
        """Return the filter as the store takes it."""
        post_keys = _keys(self.post_ids, "Post", "filter.postIds")
        author_keys = _keys(self.author_ids, "Author", "filter.authorIds")
        return comments.CommentConditions(
            owner_ids=_owner_ids(self.group_ids),
            posts=None if post_keys is None else tuple((key[0], key[1]) for key in post_keys),
            author_ids=None if author_keys is None else tuple(key[0] for key in author_keys),
            published_from=self.published_from,
            published_to=self.published_to,
            is_reply=self.is_reply,
            is_deleted=self.is_deleted,
            is_viewed=self.is_viewed,
            is_archived=self.is_archived,
            min_likes=self.min_likes,
        )

    @staticmethod
    def everything() -> comments.CommentConditions:
        """Return the conditions of no filter."""
        return comments.CommentConditions()


def _keys(ids: list[strawberry.ID] | None, type_name: str, path: str) -> list[Key] | None:
    return None if ids is None else [key_of(value, type_name, f"{path}.{number}") for number, value in enumerate(ids)]


def _owner_ids(ids: list[strawberry.ID] | None) -> tuple[int, ...] | None:
    keys = _keys(ids, "Group", "filter.groupIds")
    return None if keys is None else tuple(key[0] for key in keys)
