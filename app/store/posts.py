"""Posts, keyed by (owner_id, id), and the selection of posts whose comments are still to be collected."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    cast,
    exists,
    func,
    not_,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comments, posts
from app.store.arrays import is_among, key_columns
from app.store.collections import NEWEST_COLLECTION
from app.store.keyset import Key, Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.store.rows import PostRow, PostToCollectRow
from app.wall import VkPost

NEWEST = Order("NEWEST", ("published_at", "owner_id", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("published_at", "owner_id", "id"))
KEY = ("owner_id", "id")
BY_GROUP = ("owner_id",)
LARGEST_SUM = 2**53
"""The upper bound of a returned sum of VK's counts: JSON clients read numbers exactly up to it."""


@dataclass(frozen=True, slots=True)
class PostConditions:
    """Conditions that select posts; None does not restrict."""

    owner_ids: tuple[int, ...] | None = None
    published_from: datetime | None = None
    published_to: datetime | None = None
    has_comments: bool | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; a selected post meets all of them."""
        conditions: list[tuple[object, Callable[[], ColumnElement[bool]]]] = [
            (self.owner_ids, lambda: is_among(posts.c.owner_id, self.owner_ids or ())),
            (self.published_from, lambda: posts.c.published_at >= self.published_from),
            (self.published_to, lambda: posts.c.published_at < self.published_to),
            (self.has_comments, lambda: (posts.c.comment_count > 0).is_(self.has_comments)),
        ]
        return [condition() for value, condition in conditions if value is not None]


async def posts_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, PostRow]:
    """Read posts: (owner_id, id) -> row; unknown ones are absent."""
    return await rows_by_key(connection, posts, KEY, keys)


async def posts_page(connection: AsyncConnection, conditions: PostConditions, page: Page) -> Slice[PostRow]:
    """Read a page of the selected posts."""
    return await page_rows(connection, posts, conditions.sql(), page)


async def count_posts(connection: AsyncConnection, conditions: PostConditions) -> int:
    """Count the selected posts."""
    return await count_rows(connection, posts, conditions.sql())


async def posts_by_group(
    connection: AsyncConnection, keys: Sequence[Key], conditions: PostConditions, page: Page
) -> Mapping[Key, Slice[PostRow]]:
    """Read the same page of each community's posts: (owner_id,) -> slice; those without posts are absent."""
    return await pages_by_key(connection, posts, BY_GROUP, keys, conditions.sql(), page)


async def count_posts_by_group(
    connection: AsyncConnection, keys: Sequence[Key], conditions: PostConditions
) -> Mapping[Key, int]:
    """Count each community's posts: (owner_id,) -> count; zeros are absent."""
    return await counts_by_key(connection, posts, BY_GROUP, keys, conditions.sql())


async def upsert_posts(connection: AsyncConnection, vk_posts: Sequence[VkPost]) -> None:
    """Insert or refresh posts in one statement, as seen by the newest collection (see `app.store.collections`)."""
    rows = sorted(
        {(post.owner_id, post.id): post for post in vk_posts}.values(), key=lambda post: (post.owner_id, post.id)
    )
    if not rows:
        return
    statement = text(f"""
        INSERT INTO posts AS p (owner_id, id, from_id, text, published_at, like_count, repost_count, view_count,
                                comment_count, is_pinned, attachments, collection_number)
        SELECT r.owner_id, r.id, r.from_id, r.text, to_timestamp(r.published_at), r.like_count, r.repost_count,
               r.view_count, r.comment_count, r.is_pinned, r.attachments::jsonb, {NEWEST_COLLECTION}
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:from_ids AS bigint[]),
                      CAST(:texts AS text[]), CAST(:published AS bigint[]), CAST(:likes AS bigint[]),
                      CAST(:reposts AS bigint[]), CAST(:views AS bigint[]), CAST(:comment_counts AS bigint[]),
                      CAST(:pinned AS bool[]), CAST(:attachments AS text[]))
            AS r(owner_id, id, from_id, text, published_at, like_count, repost_count, view_count, comment_count,
                 is_pinned, attachments)
        ON CONFLICT (owner_id, id) DO UPDATE SET
               from_id = excluded.from_id, text = excluded.text, like_count = excluded.like_count,
               repost_count = excluded.repost_count, view_count = excluded.view_count,
               comment_count = excluded.comment_count, is_pinned = excluded.is_pinned,
               attachments = excluded.attachments, last_seen_at = now(), is_deleted = false,
               collection_number = excluded.collection_number,
               changed_at = CASE WHEN (p.text, p.attachments) IS DISTINCT FROM (excluded.text, excluded.attachments)
                                 THEN now() ELSE p.changed_at END
    """)  # noqa: S608 - only constant SQL is interpolated
    await connection.execute(
        statement,
        {
            "owner_ids": [post.owner_id for post in rows],
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
    """The posts that one collection reads: the listed ones whose comments are not known to be complete.

    `post_ids` restricts communities (owner id) to single posts. `collection` is
    the number of the collection. `full`: read all listed posts that have, or had,
    comments.
    """

    owner_ids: Sequence[int]
    post_ids: Mapping[int, Sequence[int]]
    collection: int
    full: bool

    def listed(self) -> ColumnElement[bool]:
        """Return the condition that a post was listed by this collection."""
        whole = [owner_id for owner_id in self.owner_ids if owner_id not in self.post_ids]
        walls = [is_among(posts.c.owner_id, whole)]
        single = [
            and_(posts.c.owner_id == owner_id, is_among(posts.c.id, ids)) for owner_id, ids in self.post_ids.items()
        ]
        return and_(or_(*walls, *single), posts.c.collection_number >= self.collection)

    def selected(self) -> ColumnElement[bool]:
        """Return the condition that the comments of a listed post are to be read."""
        if self.full:
            # If all comments disappeared while two collections read the post, both counts may be 0.
            has_stored = exists().where(
                comments.c.owner_id == posts.c.owner_id, comments.c.post_id == posts.c.id, not_(comments.c.is_deleted)
            )
            return (posts.c.comment_count > 0) | (posts.c.collected_count != 0) | has_stored
        return posts.c.comment_count != func.coalesce(posts.c.collected_count, 0)


@dataclass(frozen=True, slots=True)
class Workload:
    """How many posts a collection has to read, and how many comments they have according to VK.

    `saved_calls` is the number of VK calls that the posts it skips would need.
    """

    posts: int
    comments: int
    saved_calls: int


async def count_to_collect(connection: AsyncConnection, to_collect: PostsToCollect) -> Workload:
    """Count the posts, comments and saved calls of a collection, after all posts have been listed."""
    is_selected = to_collect.selected()
    counts = select(
        func.count().filter(is_selected),
        cast(
            func.least(func.coalesce(func.sum(posts.c.comment_count).filter(is_selected), 0), LARGEST_SUM), BigInteger
        ),
        func.coalesce(func.sum(posts.c.read_calls).filter(not_(is_selected)), 0),
    )
    return Workload(*(await connection.execute(counts.where(to_collect.listed()))).one())


async def posts_to_collect(
    connection: AsyncConnection, to_collect: PostsToCollect, after: tuple[int, int] | None, limit: int
) -> Sequence[PostToCollectRow]:
    """Return up to `limit` posts after the key `after`, by key, that a collection has to read.

    A row has owner_id, id, comment_count, and has_comments: whether any of its comments is stored.
    """
    key = tuple_(posts.c.owner_id, posts.c.id)
    stored = exists().where(comments.c.owner_id == posts.c.owner_id, comments.c.post_id == posts.c.id)
    statement = select(posts.c.owner_id, posts.c.id, posts.c.comment_count, stored.label("has_comments")).where(
        to_collect.listed(), to_collect.selected()
    )
    if after:
        statement = statement.where(key > after)
    return (await connection.execute(statement.order_by(posts.c.owner_id, posts.c.id).limit(limit))).all()


@dataclass(frozen=True, slots=True)
class ReadPost:
    """A post whose comments were read to the end.

    `comment_count` is the lowest count that VK stated since the listing, so that
    later comments are detected; `calls` is the number of VK calls that reading the
    whole post needs.
    """

    owner_id: int
    id: int
    comment_count: int
    calls: int


async def mark_posts_collected(connection: AsyncConnection, read: Sequence[ReadPost]) -> None:
    """Record that the comments of these posts were read to the end.

    Rows are locked in the order of their keys: concurrent collections may mark the same posts without a deadlock.
    """
    if not read:
        return
    statement = text("""
        WITH done AS (SELECT * FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]),
                                           CAST(:counts AS bigint[]), CAST(:calls AS int[]))
                             AS r(owner_id, id, comment_count, calls)),
             locked AS MATERIALIZED (
                      SELECT p.owner_id, p.id FROM posts p JOIN done USING (owner_id, id)
                       ORDER BY p.owner_id, p.id FOR NO KEY UPDATE OF p)
        UPDATE posts SET collected_count = done.comment_count, read_calls = done.calls, collected_at = now()
          FROM done JOIN locked USING (owner_id, id)
         WHERE posts.owner_id = done.owner_id AND posts.id = done.id
    """)
    await connection.execute(
        statement,
        {
            "owner_ids": [post.owner_id for post in read],
            "ids": [post.id for post in read],
            "counts": [post.comment_count for post in read],
            "calls": [post.calls for post in read],
        },
    )


async def forget_collected(connection: AsyncConnection, owner_id: int) -> None:
    """Clear the read state of a wall's posts: the next collection reads their comments again."""
    known = (posts.c.owner_id == owner_id) & posts.c.collected_count.is_not(None)
    await connection.execute(update(posts).where(known).values(collected_count=None, read_calls=None))


async def request_rereads(connection: AsyncConnection, keys: Sequence[tuple[int, int]]) -> None:
    """Record that the comments of these posts are to be read again, whatever count VK states then.

    Rows are locked in the order of their keys, as `mark_posts_collected` does.
    """
    if not keys:
        return
    statement = text("""
        WITH locked AS MATERIALIZED (
             SELECT p.owner_id, p.id FROM posts p
               JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
              ORDER BY p.owner_id, p.id FOR NO KEY UPDATE OF p)
        UPDATE posts SET collected_count = -1, read_calls = NULL
          FROM locked WHERE posts.owner_id = locked.owner_id AND posts.id = locked.id
    """)
    await connection.execute(statement, key_columns(keys))


@dataclass(frozen=True, slots=True)
class DeletedPosts:
    """How many posts of a wall were marked as deleted, of how many present ones, and how many comments with them."""

    posts: int
    present_posts: int
    comments: int


async def mark_posts_deleted(
    connection: AsyncConnection, owner_ids: Sequence[int], keys: Sequence[tuple[int, int]], collection: int
) -> dict[int, DeletedPosts]:
    """Mark as deleted the posts of these walls, and those with these keys, that this collection has not seen.

    Their comments are marked with them. Their read state is cleared, so that they
    are read again completely if VK returns them again. Return owner id -> counts
    of marked rows; walls without such posts are absent.
    """
    statement = text("""
        WITH present AS (
             SELECT owner_id, count(*) AS posts FROM posts
              WHERE NOT is_deleted AND owner_id = ANY(CAST(:walls AS bigint[]) || CAST(:owner_ids AS bigint[]))
              GROUP BY owner_id),
        gone AS (
             UPDATE posts SET is_deleted = true, changed_at = now(), collected_count =
                    -- if VK stated no comments and none was read, there is no read state to clear
                    CASE WHEN comment_count = 0 AND coalesce(collected_count, 0) = 0 THEN collected_count ELSE -1 END
              WHERE NOT is_deleted AND collection_number < :collection
                AND (owner_id = ANY(CAST(:walls AS bigint[])) OR (owner_id, id) IN (
                     SELECT * FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))))
             RETURNING owner_id, id),
        marked AS (
             UPDATE comments c SET is_deleted = true, changed_at = now(), thread_read_count = NULL,
                    thread_read_to = NULL
               FROM gone WHERE c.owner_id = gone.owner_id AND c.post_id = gone.id AND NOT c.is_deleted
             RETURNING c.owner_id)
        SELECT owner_id, posts.number AS posts, present.posts AS present_posts, coalesce(comments.number, 0) AS comments
          FROM (SELECT owner_id, count(*) AS number FROM gone GROUP BY owner_id) AS posts
          JOIN present USING (owner_id)
          LEFT JOIN (SELECT owner_id, count(*) AS number FROM marked GROUP BY owner_id) AS comments USING (owner_id)
    """)
    values = {"walls": list(owner_ids), "collection": collection, **key_columns(keys)}
    rows = await connection.execute(statement, values)
    return {row.owner_id: DeletedPosts(row.posts, row.present_posts, row.comments) for row in rows}
