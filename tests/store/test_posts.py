import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.db.tables import comments
from app.db.tables import posts as table
from app.resources import Resources
from app.store import posts
from app.store.comments import upsert_comments
from app.store.groups import upsert_groups
from app.store.keyset import Page
from app.store.posts import DeletedPosts, PostConditions, PostsToCollect, ReadPost, Workload
from app.wall import VkGroup, VkPost
from tests.conftest import statements, write_wall
from tests.store.rows import BIG, age, begin, comment, post, read


@pytest.fixture
async def group(resources: Resources) -> Resources:
    """Write two communities without posts."""
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(1, "one", "One"), VkGroup(BIG, "big", "Big")])
    return resources


async def upsert(resources: Resources, *found: VkPost) -> None:
    async with resources.database.transaction() as connection:
        await posts.upsert_posts(connection, found)


async def test_a_post_is_stored_with_all_values(group: Resources) -> None:
    photo = [{"type": "photo", "photo": {"id": BIG}}]
    await upsert(
        group,
        post(BIG, "Ёж", owner_id=-BIG, from_id=BIG, views=None, is_pinned=True, attachments=photo, date=BIG),
    )
    row = (await read(group, table))[(-BIG, BIG)]
    assert row.pop("first_seen_at") == row.pop("last_seen_at")
    assert row == {
        "owner_id": -BIG,
        "id": BIG,
        "from_id": BIG,
        "text": "Ёж",
        "published_at": datetime.fromtimestamp(BIG, UTC),
        "like_count": 1,
        "repost_count": 2,
        "view_count": None,
        "comment_count": 4,
        "is_pinned": True,
        "attachments": photo,
        "changed_at": None,
        "collected_count": None,
        "read_calls": None,
        "is_deleted": False,
        "collected_at": None,
        "collection_number": 0,
    }


async def test_one_statement_for_all_rows(group: Resources) -> None:
    found = [post(number) for number in range(1, 2001)]
    async with group.database.transaction() as connection:
        with statements(group) as seen:
            await posts.upsert_posts(connection, found)
            await posts.upsert_posts(connection, [])
    assert len(seen) == 1
    assert len(await read(group, table)) == 2000


async def test_a_refreshed_post(group: Resources) -> None:
    await upsert(group, post(1), post(1, "last"))
    await age(group, table, "1 second")
    before = (await read(group, table))[(-1, 1)]
    await upsert(group, post(1, "last", likes=8, reposts=9, views=10, comments=11, is_pinned=True))
    after = (await read(group, table))[(-1, 1)]
    assert (after["like_count"], after["repost_count"], after["view_count"], after["comment_count"]) == (8, 9, 10, 11)
    assert after["is_pinned"]
    assert after["changed_at"] is None
    assert after["first_seen_at"] == before["first_seen_at"]
    assert after["last_seen_at"] > before["last_seen_at"]


@pytest.mark.parametrize("facts", [{"text": "edited"}, {"attachments": [{"type": "photo"}]}])
async def test_an_edit_is_detected(group: Resources, facts: dict[str, object]) -> None:
    await upsert(group, post(1))
    await upsert(group, replace(post(1), **facts))  # type: ignore[arg-type] # the fields are those of the case
    edited = (await read(group, table))[(-1, 1)]
    assert edited["changed_at"] == edited["last_seen_at"]
    await upsert(group, replace(post(1), **facts))  # type: ignore[arg-type] # the fields are those of the case
    assert (await read(group, table))[(-1, 1)]["changed_at"] == edited["changed_at"]


async def test_two_writers_of_the_same_rows(group: Resources) -> None:
    found = [post(number) for number in range(1, 301)]
    for turn in range(5):
        mine = [replace(each, text=f"a{turn}") for each in found]
        yours = [replace(each, text=f"b{turn}") for each in found[::-1]]
        await asyncio.gather(upsert(group, *mine), upsert(group, *yours))
    assert len({row["text"] for row in (await read(group, table)).values()}) == 1


# reading


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (PostConditions(), lambda _: True),
        (PostConditions(owner_ids=(-2,)), lambda key: key[0] == -2),
        (PostConditions(published_from=datetime(2026, 3, 1, 0, 6, tzinfo=UTC)), lambda key: key[1] >= 6),
        (PostConditions(published_to=datetime(2026, 3, 1, 0, 6, tzinfo=UTC)), lambda key: key[1] < 6),
        (PostConditions(has_comments=True), lambda key: key[1] != 6),
        (PostConditions(has_comments=False), lambda key: key[1] == 6),
    ],
)
async def test_conditions(
    resources: Resources, conditions: PostConditions, expected: Callable[[tuple[int, int]], bool]
) -> None:
    keys = []
    for owner_id in (-1, -2):
        keys += [(owner_id, post_id) for post_id in (await write_wall(resources, owner_id)).post_ids]
        await upsert(resources, post(6, owner_id=owner_id, comments=0, date=1_772_323_200 + 360))
    async with resources.database.connect() as connection:
        page = await posts.posts_page(connection, conditions, Page(posts.NEWEST, 100))
        count = await posts.count_posts(connection, conditions)
    found = {(row.owner_id, row.id) for row in page.rows}
    assert found == {key for key in keys if expected(key)}
    assert count == len(found)


async def test_posts_of_each_community(resources: Resources) -> None:
    await write_wall(resources, -1)
    await write_wall(resources, -2)
    parents = [(-1,), (-2,), (-3,)]
    async with resources.database.connect() as connection:
        pages = await posts.posts_by_group(connection, parents, PostConditions(), Page(posts.OLDEST, 2))
        counts = await posts.count_posts_by_group(connection, parents, PostConditions())
        known = await posts.posts_by_key(connection, [(-1, 1), (-3, 1)])
    assert {key: [row.id for row in page.rows] for key, page in pages.items()} == {(-1,): [1, 6], (-2,): [1, 6]}
    assert counts == {(-1,): 3, (-2,): 3}
    assert set(known) == {(-1, 1)}


# posts to collect


def expected(collection: int, *, full: bool = False, **single: list[int]) -> PostsToCollect:
    return PostsToCollect([-2, -1], {-int(name[1:]): ids for name, ids in single.items()}, collection, full)


async def to_collect(resources: Resources, collection: PostsToCollect) -> tuple[list[tuple[int, int]], Workload]:
    async with resources.database.connect() as connection:
        rows = await posts.posts_to_collect(connection, collection, None, 100)
        return [(row.owner_id, row.id) for row in rows], await posts.count_to_collect(connection, collection)


async def test_posts_to_collect(group: Resources) -> None:
    await upsert(group, post(9))  # listed only by an earlier collection
    number = await begin(group)
    await upsert(group, post(1, comments=4), post(2, comments=0), post(3, comments=7), post(4, owner_id=-BIG))
    assert await to_collect(group, expected(number)) == ([(-1, 1), (-1, 3)], Workload(2, 11, 0))
    async with group.database.connect() as connection:
        [row] = await posts.posts_to_collect(connection, expected(number), (-1, 1), 100)
        assert (row.id, row.comment_count, row.has_comments) == (3, 7, False)
        assert len(await posts.posts_to_collect(connection, expected(number), None, 1)) == 1

    async with group.database.transaction() as connection:
        await posts.mark_posts_collected(connection, [ReadPost(-1, 3, 7, 2), ReadPost(-1, 1, 4, 30)])
        await posts.mark_posts_collected(connection, [])
    assert await to_collect(group, expected(number)) == ([], Workload(0, 0, 32))
    assert await to_collect(group, expected(number, full=True)) == ([(-1, 1), (-1, 3)], Workload(2, 11, 0))

    await upsert(group, post(1, comments=5), post(3, comments=0))
    # also posts whose comments were deleted
    assert await to_collect(group, expected(number)) == ([(-1, 1), (-1, 3)], Workload(2, 5, 0))
    assert (await to_collect(group, expected(number, _1=[2, 3])))[0] == [(-1, 3)]
    assert (await to_collect(group, expected(number, _2=[2, 3])))[0] == [(-1, 1), (-1, 3)]
    rows = await read(group, table)
    assert [rows[-1, number]["collected_count"] for number in (1, 2, 3)] == [4, None, 7]
    assert [rows[-1, number]["collected_at"] is not None for number in (1, 2, 3)] == [True, False, True]


async def test_comments_that_came_during_the_reading_of_a_post_are_not_marked_as_read(group: Resources) -> None:
    """Another collection has listed it meanwhile, with more comments than this one can have read."""
    number = await begin(group)
    await upsert(group, post(1, comments=4))
    await upsert(group, post(1, comments=6))
    async with group.database.transaction() as connection:
        await posts.mark_posts_collected(connection, [ReadPost(-1, 1, 4, 1)])
    assert (await to_collect(group, expected(number)))[0] == [(-1, 1)]


async def test_two_writers_mark_the_same_posts(group: Resources) -> None:
    """In any order: both lock them in the order of their keys."""
    await upsert(group, *(post(number) for number in range(1, 301)))
    read_posts = [ReadPost(-1, number, 4, 1) for number in range(1, 301)]

    async def mark(mine: list[ReadPost]) -> None:
        async with group.database.transaction() as connection:
            await posts.mark_posts_collected(connection, mine)

    await asyncio.gather(*(mark(each) for each in [read_posts, read_posts[::-1]] * 5))
    assert {row["collected_count"] for row in (await read(group, table)).values()} == {4}


async def test_posts_that_vk_no_longer_shows(group: Resources) -> None:
    await upsert(group, *(post(number) for number in (1, 2, 3)), post(4, owner_id=-BIG))
    found = [comment(number, post_id=1 + number % 3) for number in (10, 11, 12)]
    async with group.database.transaction() as connection:
        await upsert_comments(connection, found, 0)
        await posts.mark_posts_collected(connection, [ReadPost(-1, 1, 4, 1), ReadPost(-1, 2, 4, 1)])
    number = await begin(group)
    await upsert(group, post(1))
    async with group.database.transaction() as connection:
        assert await posts.mark_posts_deleted(connection, [], [(-1, 1), (-1, 3), (-1, 99)], number) == {
            -1: DeletedPosts(1, 3, 1)
        }
        assert await posts.mark_posts_deleted(connection, [-1], [], number) == {-1: DeletedPosts(1, 2, 1)}
        assert await posts.mark_posts_deleted(connection, [-1], [], number) == {}
    rows = await read(group, table)
    assert {key for key, row in rows.items() if row["is_deleted"]} == {(-1, 2), (-1, 3)}
    stored = await read(group, comments)
    assert {row["post_id"] for row in stored.values() if row["is_deleted"]} == {2, 3}
    assert all((row["changed_at"] is not None) is row["is_deleted"] for row in stored.values())
    # a post that VK shows again is read again
    await upsert(group, post(2))
    assert not (await read(group, table))[-1, 2]["is_deleted"]
    assert (-1, 2) in (await to_collect(group, expected(number)))[0]


async def test_a_full_collection_reads_posts_with_stored_comments_though_vk_counts_none(group: Resources) -> None:
    """All may have been deleted while two collections read the post, the later of which stored an older page."""
    number = await begin(group)
    await upsert(group, post(1, comments=0), post(2, comments=0))
    async with group.database.transaction() as connection:
        await upsert_comments(connection, [comment(5)], number)
        await posts.mark_posts_collected(connection, [ReadPost(-1, 1, 0, 1), ReadPost(-1, 2, 0, 1)])
    assert (await to_collect(group, expected(number)))[0] == []
    assert (await to_collect(group, expected(number, full=True)))[0] == [(-1, 1)]
