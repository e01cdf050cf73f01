"""Several rows are locked in the order of their keys, so that concurrent transactions do not deadlock."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import JobAlreadyRunning
from app.job_states import JobState
from app.resources import Resources
from app.store import authors, comments, features, groups, jobs, locks, posts, tokens
from app.store.posts import ReadPost
from app.wall import VkAuthor, VkGroup
from tests.locks import assert_one_order
from tests.store.rows import comment, post
from tests.store.test_jobs import insert

NUMBERS = [1, 2, 3, 4, 5]


def _groups(numbers: Sequence[int]) -> list[VkGroup]:
    return [VkGroup(number, f"g{number}", "G") for number in numbers]


async def upsert_groups(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await groups.upsert_groups(connection, _groups(numbers))


async def refresh_groups(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await groups.refresh_groups(connection, [VkGroup(each.id, each.screen_name, "Other") for each in _groups(numbers)])


async def lock_walls(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await locks.lock_walls(connection, numbers)


async def upsert_posts(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await posts.upsert_posts(connection, [post(number) for number in numbers])


async def mark_posts_collected(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await posts.mark_posts_collected(connection, [ReadPost(-1, number, 4, 1) for number in numbers])


async def request_rereads(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await posts.request_rereads(connection, [(-1, number) for number in numbers])


async def upsert_comments(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await comments.upsert_comments(connection, [comment(10 + number, "edited") for number in numbers], 0)


async def copy_comments(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await comments.upsert_comments(connection, [comment(20 + number) for number in numbers], 0)


async def upsert_authors(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await authors.upsert_authors(connection, [VkAuthor(number, f"Other {number}", None) for number in numbers])


async def term_ids(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await features.term_ids(connection, [f"term{number}" for number in numbers])


async def add_tokens(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await tokens.add_tokens(connection, [f"t{number}" for number in numbers])


async def reserve_slot(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await tokens.reserve_slot(connection, [f"t{number}" for number in numbers], 1.0, 1, executes=False)


async def lock_jobs(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    await jobs.lock_jobs(connection, numbers)


async def end_jobs(connection: AsyncConnection, numbers: Sequence[int]) -> None:
    ends = [
        jobs.RunEnd(number, 0, (JobState.QUEUED,), JobState.SUCCEEDED, True, {}, None, 0, True, [])  # noqa: FBT003 - the fields are those of a run's end
        for number in numbers
    ]
    await jobs.end_jobs(connection, ends)


@pytest.fixture
async def stored(resources: Resources) -> Resources:
    """Write rows one by one, the last key first: a scan of a table without an order meets them in this order."""
    async with resources.database.transaction() as connection:
        for number in NUMBERS[::-1]:
            await upsert_groups(connection, [number])
        for number in NUMBERS[::-1]:
            await upsert_posts(connection, [number])
            await authors.upsert_authors(connection, [VkAuthor(number, f"Author {number}", None)])
            await add_tokens(connection, [number])
        for number in NUMBERS[::-1]:
            await comments.upsert_comments(connection, [comment(10 + number)], 0)
    for _ in NUMBERS:
        await insert(resources)
    return resources


@pytest.mark.parametrize(
    "lock",
    [
        upsert_groups,
        refresh_groups,
        lock_walls,
        upsert_posts,
        mark_posts_collected,
        request_rereads,
        upsert_comments,
        copy_comments,
        upsert_authors,
        term_ids,
        add_tokens,
        reserve_slot,
        lock_jobs,
        end_jobs,
    ],
)
async def test_rows_are_locked_in_the_order_of_their_keys(
    stored: Resources, lock: Callable[[AsyncConnection, Sequence[int]], Awaitable[Any]]
) -> None:
    await assert_one_order(stored, lock, NUMBERS)


async def test_refreshing_and_adding_lock_in_one_order(stored: Resources) -> None:
    async def lock(connection: AsyncConnection, numbers: Sequence[int]) -> None:
        # the one with all keys refreshes, the other one adds
        await (refresh_groups if len(numbers) == len(NUMBERS) else upsert_groups)(connection, numbers)

    async def other_way(connection: AsyncConnection, numbers: Sequence[int]) -> None:
        await (upsert_groups if len(numbers) == len(NUMBERS) else refresh_groups)(connection, numbers)

    await assert_one_order(stored, lock, NUMBERS)
    async with stored.database.transaction() as connection:
        await connection.execute(text("UPDATE groups SET name = 'Old'"))
    await assert_one_order(stored, other_way, NUMBERS)


async def test_posts_are_share_locked_in_the_order_of_their_keys(stored: Resources) -> None:
    """A transaction that stores comments locks their posts against deletion, and waits for a writer of single posts."""

    async def lock(connection: AsyncConnection, numbers: Sequence[int]) -> None:
        if len(numbers) == len(NUMBERS):
            found = [comment(30 + number, post_id=number) for number in numbers]
            await comments.upsert_comments(connection, found, 0)
            return
        for number in numbers:
            await connection.execute(text("SELECT FROM posts WHERE id = :id FOR UPDATE"), {"id": number})

    await assert_one_order(stored, lock, NUMBERS)


async def test_communities_are_claimed_in_the_order_of_their_keys(stored: Resources) -> None:
    async def lock(connection: AsyncConnection, owner_ids: Sequence[int]) -> None:
        job_id = 1 if len(owner_ids) == len(NUMBERS) else 2
        await jobs.claim_groups(connection, job_id, owner_ids)

    async with stored.database.transaction() as connection:
        for number in NUMBERS:  # a row that is written again is behind the others in the table
            await connection.execute(text("UPDATE groups SET note = 'n' WHERE owner_id = :id"), {"id": -number})
    with pytest.raises(ExceptionGroup) as caught:
        await assert_one_order(stored, lock, sorted(-number for number in NUMBERS))
    # the second one waits for the first one; then all communities are claimed
    assert [type(fault) for fault in caught.value.exceptions] == [JobAlreadyRunning]
