"""Posts, keyed by (owner_id, id), and which of them still have comments to collect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Row, and_, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import posts
from app.store.keyset import Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.wall import VkPost

NEWEST = Order("NEWEST", ("published_at", "owner_id", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("published_at", "owner_id", "id"))
KEY = ("owner_id", "id")
BY_GROUP = ("owner_id",)


@dataclass(frozen=True, slots=True)
class PostConditions:
    """Which posts are wanted; what is None does not restrict."""

    owner_ids: tuple[int, ...] | None = None
    published_from: datetime | None = None
    published_to: datetime | None = None
    has_comments: bool | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; all of them hold for a wanted post."""
        wanted: list[tuple[object, Callable[[], ColumnElement[bool]]]] = [
            (self.owner_ids, lambda: posts.c.owner_id.in_(self.owner_ids or ())),
            (self.published_from, lambda: posts.c.published_at >= self.published_from),
            (self.published_to, lambda: posts.c.published_at < self.published_to),
            (self.has_comments, lambda: (posts.c.comment_count > 0).is_(self.has_comments)),
        ]
        return [condition() for value, condition in wanted if value is not None]


async def posts_by_key(connection: AsyncConnection, keys: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Row[Any]]:
    """Read posts: (owner_id, id) -> row; unknown ones are absent."""
    return await rows_by_key(connection, posts, KEY, keys)


async def posts_page(connection: AsyncConnection, conditions: PostConditions, page: Page) -> Slice:
    """Read a page of all posts that are wanted."""
    return await page_rows(connection, posts, conditions.sql(), page)


async def count_posts(connection: AsyncConnection, conditions: PostConditions) -> int:
    """Count the posts that are wanted."""
    return await count_rows(connection, posts, conditions.sql())


async def posts_by_group(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], conditions: PostConditions, page: Page
) -> dict[tuple[int, ...], Slice]:
    """Read the same page of each community's posts: (owner_id,) -> slice; those without posts are absent."""
    return await pages_by_key(connection, posts, BY_GROUP, keys, conditions.sql(), page)


async def count_posts_by_group(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], conditions: PostConditions
) -> dict[tuple[int, ...], int]:
    """Count each community's posts: (owner_id,) -> count; zeros are absent."""
    return await counts_by_key(connection, posts, BY_GROUP, keys, conditions.sql())


async def upsert_posts(connection: AsyncConnection, owner_id: int, found: Sequence[VkPost]) -> None:
    """Insert or refresh posts of one wall in one statement. `last_seen_at` becomes now for all of them."""
    rows = sorted({post.id: post for post in found}.values(), key=lambda post: post.id)
    if not rows:
        return
    statement = text("""
        INSERT INTO posts AS p (owner_id, id, from_id, text, published_at, like_count, repost_count, view_count,
                                comment_count, is_pinned, attachments)
        SELECT :owner_id, r.id, r.from_id, r.text, to_timestamp(r.published_at), r.like_count, r.repost_count,
               r.view_count, r.comment_count, r.is_pinned, r.attachments::jsonb
          FROM unnest(CAST(:ids AS bigint[]), CAST(:from_ids AS bigint[]), CAST(:texts AS text[]),
                      CAST(:published AS bigint[]), CAST(:likes AS int[]), CAST(:reposts AS int[]),
                      CAST(:views AS int[]), CAST(:comment_counts AS int[]), CAST(:pinned AS bool[]),
                      CAST(:attachments AS text[]))
            AS r(id, from_id, text, published_at, like_count, repost_count, view_count, comment_count, is_pinned,
                 attachments)
        ON CONFLICT (owner_id, id) DO UPDATE SET
               from_id = excluded.from_id, text = excluded.text, like_count = excluded.like_count,
               repost_count = excluded.repost_count, view_count = excluded.view_count,
               comment_count = excluded.comment_count, is_pinned = excluded.is_pinned,
               attachments = excluded.attachments, last_seen_at = now(),
               changed_at = CASE WHEN (p.text, p.attachments) IS DISTINCT FROM (excluded.text, excluded.attachments)
                                 THEN now() ELSE p.changed_at END
    """)
    await connection.execute(
        statement,
        {
            "owner_id": owner_id,
            "ids": [post.id for post in rows],
            "from_ids": [post.from_id for post in rows],
            "texts": [post.text for post in rows],
            "published": [post.date for post in rows],
            "likes": [post.likes for post in rows],
            "reposts": [post.reposts for post in rows],
            "views": [post.views for post in rows],
            "comment_counts": [post.comments for post in rows],
            "pinned": [post.is_pinned for post in rows],
            "attachments": [orjson.dumps(post.attachments).decode() for post in rows],
        },
    )


@dataclass(frozen=True, slots=True)
class PostsToCollect:
    """Which posts of a wall one collection reads: those it listed whose comments are not known to be complete.

    `listed_since` is when the collection was asked for; `full` takes all that
    were listed; `ids` restricts to single posts.
    """

    owner_id: int
    listed_since: datetime
    full: bool
    ids: Sequence[int] | None = None

    def sql(self) -> ColumnElement[bool]:
        """Return the condition."""
        listed = and_(posts.c.owner_id == self.owner_id, posts.c.last_seen_at >= self.listed_since)
        if self.ids is not None:
            listed = and_(listed, posts.c.id.in_(self.ids))
        if self.full:
            return and_(listed, (posts.c.comment_count > 0) | (posts.c.collected_count > 0))
        return and_(listed, posts.c.comment_count != func.coalesce(posts.c.collected_count, 0))


async def count_to_collect(connection: AsyncConnection, wanted: PostsToCollect) -> tuple[int, int]:
    """Return how many posts a collection still has to read, and how many comments VK says they have."""
    row = (
        await connection.execute(
            select(func.count(), func.coalesce(func.sum(posts.c.comment_count), 0)).where(wanted.sql())
        )
    ).one()
    return row[0], row[1]


async def posts_to_collect(connection: AsyncConnection, wanted: PostsToCollect, after_id: int, limit: int) -> list[int]:
    """Return the next ids above `after_id`, ascending, of posts that a collection has to read."""
    rows = await connection.scalars(
        select(posts.c.id).where(wanted.sql(), posts.c.id > after_id).order_by(posts.c.id).limit(limit)
    )
    return list(rows)


async def mark_posts_collected(connection: AsyncConnection, owner_id: int, ids: Sequence[int]) -> None:
    """Note that the comments of these posts were read to the end, as many as VK said when it listed them."""
    await connection.execute(
        update(posts)
        .where(posts.c.owner_id == owner_id, posts.c.id.in_(ids))
        .values(collected_count=posts.c.comment_count, collected_at=func.now())
    )
