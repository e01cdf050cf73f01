"""Marks as deleted what a collection no longer finds; a large share of a wall only after a second read confirms it.

VK may hide content for a while, by a fault or in reply to too many requests, and
state matching numbers. One read that lacks a large share of a wall is not believed.
"""

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import comments, posts
from app.store.collections import count_present_comments
from app.work.collecting.collection import State


async def mark_absent_posts(
    connection: AsyncConnection, state: State, walls: Sequence[int], missing: Sequence[tuple[int, int]], share: float
) -> int:
    """Mark the posts of these walls, and those with the keys `missing`, that were not seen; with their comments.

    Walls of which more than `share` of the posts or comments would be marked are
    noted in the state as unconfirmed instead. Returns how many comments were marked.
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
    state: State,
    read: Sequence[tuple[int, int]],
    threads: Sequence[tuple[int, int]],
    share: float,
    *,
    whole: bool,
) -> tuple[int, set[int]]:
    """Mark the comments that were not seen of posts that were `read` to the end, and of `threads`.

    Returns how many were marked, and the walls (owner ids) of which more than
    `share` of the comments would be marked: nothing of these was marked now.
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
    state: State,
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
