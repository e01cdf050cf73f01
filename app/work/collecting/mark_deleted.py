"""Marks what a collection no longer finds as deleted; a large share of a wall only after a second read confirms it.

VK may hide content for a while, because of a fault or too many requests, and even state
matching numbers. So one read that lacks a large share of a wall is not trusted.
"""

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import comments, posts
from app.store.collections import count_present_comments
from app.work.collecting.collection import CollectionState


async def mark_absent_posts(
    connection: AsyncConnection,
    state: CollectionState,
    walls: Sequence[int],
    missing: Sequence[tuple[int, int]],
    share: float,
) -> int:
    """Mark unseen posts of these walls, and the posts `missing` (keys), as deleted, with their comments.

    If more than `share` of a wall's posts or comments would be marked, mark none and add
    the wall to the state's unconfirmed walls. Return how many comments were marked.
    """
    count = 0
    for owner_id in sorted({*walls, *(key[0] for key in missing)}):
        keys = [key for key in missing if key[0] == owner_id]
        async with connection.begin_nested() as savepoint:
            marked = await posts.mark_posts_deleted(
                connection, [owner_id] if owner_id in walls else [], keys, state.collection
            )
            of_wall = marked.get(owner_id)
            if of_wall is None:
                continue
            present = (await count_present_comments(connection, [owner_id])).get(owner_id, 0)
            are_too_many = of_wall.posts > share * of_wall.present_posts
            if are_too_many or state.marks_too_many(owner_id, of_wall.comments, present, share):
                await savepoint.rollback()
                state.unconfirmed_walls.append(owner_id)
                continue
        count += of_wall.comments
    return count


async def mark_absent_comments(
    connection: AsyncConnection,
    state: CollectionState,
    read: Sequence[tuple[int, int]],
    threads: Sequence[tuple[int, int]],
    share: float,
    *,
    whole: bool,
) -> tuple[int, set[int]]:
    """Mark unseen comments as deleted: those of posts that were `read` completely, and of `threads`.

    Return how many were marked, and the walls (owner ids) where more than `share` of the
    comments would be marked: no comment of these walls was marked.
    """
    count = 0
    too_many: set[int] = set()
    for owner_id in sorted({key[0] for key in (*read, *threads)}):
        async with connection.begin_nested() as savepoint:
            marked = await _mark(connection, state, owner_id, read, threads, whole=whole)
            if not marked:
                continue
            present = (await count_present_comments(connection, [owner_id])).get(owner_id, 0)
            if state.marks_too_many(owner_id, marked, present, share):
                await savepoint.rollback()
                too_many.add(owner_id)
                continue
        count += marked
    return count, too_many


async def _mark(
    connection: AsyncConnection,
    state: CollectionState,
    owner_id: int,
    read: Collection[tuple[int, int]],
    threads: Collection[tuple[int, int]],
    *,
    whole: bool,
) -> int:
    of_threads = [key for key in threads if key[0] == owner_id]
    of_posts = [key for key in read if key[0] == owner_id]
    replies = await comments.mark_deleted_replies(connection, of_threads, state.collection)
    others = await comments.mark_deleted(connection, of_posts, state.collection, whole=whole)
    return replies.get(owner_id, 0) + others.get(owner_id, 0)
