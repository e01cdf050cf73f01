"""The queries of communities, posts, comments and authors."""

from collections.abc import Awaitable
from typing import Annotated

import strawberry

from app.errors import ValidationFailed
from app.store import comments, groups, posts
from schema.context import Info
from schema.filters import CommentFilter, CommentOrder, GroupFilter, GroupOrder, PostFilter, PostOrder
from schema.node import Id, key_of
from schema.paging import Connection, all_of
from schema.scalars import BigInt
from schema.wall import AUTHORS, COMMENTS, GROUPS, POSTS, Author, Comment, Group, Post

GroupId = Annotated[strawberry.ID | None, strawberry.argument(description="The global id.")]
VkId = Annotated[BigInt | None, strawberry.argument(description="VK's id of the community, positive or negative.")]
ScreenName = Annotated[str | None, strawberry.argument(description="The last part of its URL.")]


@strawberry.type
class WallQuery:
    """The queries of this file."""

    @strawberry.field(description="A community by one of its three identifiers; null if it has not been added.")
    async def group(
        self,
        info: Info,
        id: GroupId = None,
        vk_id: VkId = None,
        screen_name: ScreenName = None,
    ) -> Group | None:
        """Return a community."""
        if [id, vk_id, screen_name].count(None) != 2:  # noqa: PLR2004 - exactly one of three
            raise ValidationFailed({"id": "exactly one of id, vkId and screenName must be given"})
        if screen_name is not None:
            async with info.context.resources.database.connect() as connection:
                row = await groups.group_by_screen_name(connection, screen_name)
            return Group.of(row) if row else None
        key = key_of(id, "Group") if id is not None else (-abs(vk_id or 0),)
        return await info.context.loaders.load(GROUPS, key)

    groups: Connection[Group] = all_of(
        Connection[Group],
        Group.of,
        "The communities that have been added.",
        GroupFilter,
        GroupOrder.ADDED,
        groups.groups_page,
        groups.count_groups,
    )

    @strawberry.field(description="A post; null if it is not stored.", graphql_type=Post | None)
    def post(self, info: Info, id: Id) -> Awaitable[Post | None]:
        """Return a post."""
        return info.context.loaders.load(POSTS, key_of(id, "Post"))

    posts: Connection[Post] = all_of(
        Connection[Post],
        Post.of,
        "The posts of all communities.",
        PostFilter,
        PostOrder.NEWEST,
        posts.posts_page,
        posts.count_posts,
    )

    @strawberry.field(description="A comment or reply; null if it is not stored.", graphql_type=Comment | None)
    def comment(self, info: Info, id: Id) -> Awaitable[Comment | None]:
        """Return a comment."""
        return info.context.loaders.load(COMMENTS, key_of(id, "Comment"))

    comments: Connection[Comment] = all_of(
        Connection[Comment],
        Comment.of,
        "The comments and replies of all communities.",
        CommentFilter,
        CommentOrder.NEWEST,
        comments.comments_page,
        comments.count_comments,
    )

    @strawberry.field(description="An author; null if the author is not stored.", graphql_type=Author | None)
    def author(self, info: Info, id: Id) -> Awaitable[Author | None]:
        """Return an author."""
        return info.context.loaders.load(AUTHORS, key_of(id, "Author"))
