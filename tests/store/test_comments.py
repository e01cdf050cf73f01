import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.db.tables import comments as table
from app.errors import PostNotFound
from app.resources import Resources
from app.store import comments
from app.store.comment_conditions import CommentConditions
from app.store.comments import ReadThread, Stored, upsert_comments
from app.store.groups import upsert_groups
from app.store.keyset import EMPTY, Order, Page, Slice
from app.store.posts import upsert_posts
from app.store.rows import CommentRow
from app.wall import VkComment, VkGroup
from tests.conftest import Wall, statements, write_wall
from tests.store.rows import BIG, age, begin, comment, post, read, stub


@pytest.fixture
async def stored(resources: Resources) -> Resources:
    """Write a community with one post and no comment."""
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(1, "one", "One"), VkGroup(BIG, "big", "Big")])
        await upsert_posts(connection, [post(1), post(BIG, owner_id=-BIG)])
    return resources


BEFORE_ALL = 0
"""The number of a collection that began before anything was stored: it has seen all rows."""


async def upsert(resources: Resources, found: Sequence[VkComment], collection: int = BEFORE_ALL) -> Stored:
    async with resources.database.transaction() as connection:
        return await upsert_comments(connection, found, collection)


def new(count: int) -> Stored:
    return Stored(new=count)


async def test_a_comment_is_stored_with_all_values(stored: Resources) -> None:
    photo = [{"type": "photo", "photo": {"id": BIG}}]
    found = comment(3, "Ёж — «да»", likes=7, attachments=photo, thread_id=2, reply_to_id=2)
    assert await upsert(stored, [comment(2), found]) == new(2)
    row = (await read(stored, table))[(-1, 3)]
    seen = row.pop("first_seen_at")
    assert row.pop("last_seen_at") == seen
    assert row == {
        "owner_id": -1,
        "id": 3,
        "post_id": 1,
        "from_id": 5,
        "text": "Ёж — «да»",
        "published_at": datetime(2026, 3, 1, tzinfo=UTC),
        "like_count": 7,
        "attachments": photo,
        "thread_id": 2,
        "reply_to_id": 2,
        "is_deleted": False,
        "changed_at": None,
        "viewed_at": None,
        "archived_at": None,
        "thread_read_count": None,
        "thread_read_to": None,
        "collection_number": 0,
    }


async def test_ids_of_more_than_32_bits(stored: Resources) -> None:
    big = comment(BIG, owner_id=-BIG, post_id=BIG, from_id=-BIG, thread_id=BIG, reply_to_id=BIG, date=BIG, likes=BIG)
    assert await upsert(stored, [big]) == new(1)
    row = (await read(stored, table))[(-BIG, BIG)]
    assert (row["post_id"], row["from_id"], row["thread_id"], row["reply_to_id"]) == (BIG, -BIG, BIG, BIG)
    assert row["published_at"] == datetime.fromtimestamp(BIG, UTC)


@pytest.mark.parametrize("count", [50, 5000])
async def test_thousands_take_as_many_statements_as_a_few(stored: Resources, count: int) -> None:
    found = [comment(number) for number in range(2, count + 2)]
    async with stored.database.transaction() as connection:
        with statements(stored) as first:
            assert await upsert_comments(connection, found, BEFORE_ALL) == new(count)
        with statements(stored) as again:
            assert await upsert_comments(connection, found, BEFORE_ALL) == Stored()
            assert await upsert_comments(connection, [], BEFORE_ALL) == Stored()
    assert (len(first), len(again)) == (5, 4)  # and COPY, which SQLAlchemy's events do not show


async def test_comments_of_many_walls_at_once(stored: Resources) -> None:
    """Ids are searched only on their own walls."""
    found = [comment(3), comment(2), comment(3, owner_id=-BIG, post_id=BIG)]
    assert await upsert(stored, found[::2]) == new(2)
    with statements(stored) as seen:
        assert await upsert(stored, [comment(4), comment(2), comment(5, owner_id=-BIG, post_id=BIG)]) == new(3)
    assert "SAVEPOINT" in "".join(seen.texts)
    assert await upsert(stored, [*found, comment(6)]) == new(1)
    assert len(await read(stored, table)) == 6


async def test_comments_of_a_post_that_is_not_stored(stored: Resources) -> None:
    with pytest.raises(PostNotFound, match="Post -1_7 is not stored"):
        await upsert(stored, [comment(2), comment(3, post_id=7)])
    assert await read(stored, table) == {}


async def test_storing_equal_values_again_changes_nothing(stored: Resources) -> None:
    found = [comment(2), comment(3, "first"), comment(3, "last"), stub(4)]
    assert await upsert(stored, found) == new(3)
    before = await read(stored, table)
    assert before[(-1, 3)]["text"] == "last"
    assert await upsert(stored, found[::2] + found[3:]) == Stored()
    assert await read(stored, table) == before


async def test_comments_that_a_later_collection_has_seen(stored: Resources) -> None:
    await upsert(stored, [comment(2), stub(3)])
    await age(stored, table, "2 minutes")
    before = await read(stored, table)
    assert await upsert(stored, [comment(2), stub(3)], await begin(stored)) == Stored()
    after = await read(stored, table)
    for key, row in after.items():
        assert row["last_seen_at"] > before[key]["last_seen_at"]
        assert row["changed_at"] is None


@pytest.mark.parametrize("facts", [{"text": "edited"}, {"attachments": [{"type": "photo"}]}])
async def test_an_edit_is_detected(stored: Resources, facts: dict[str, object]) -> None:
    await upsert(stored, [comment(2)])
    assert await upsert(stored, [replace(comment(2), **facts)]) == Stored(changed=1)  # type: ignore[arg-type] # the fields are those of the case
    edited = (await read(stored, table))[(-1, 2)]
    assert {name: edited[name] for name in facts} == facts
    assert edited["changed_at"] == edited["last_seen_at"] > edited["first_seen_at"]
    await age(stored, table, "2 minutes")
    await upsert(stored, [replace(comment(2), **facts)])  # type: ignore[arg-type] # the fields are those of the case
    assert (await read(stored, table))[(-1, 2)]["changed_at"] == edited["changed_at"]


async def test_a_like_is_not_an_edit(stored: Resources) -> None:
    await upsert(stored, [comment(2)])
    await upsert(stored, [comment(2, likes=9)])
    row = (await read(stored, table))[(-1, 2)]
    assert (row["like_count"], row["changed_at"]) == (9, None)
    assert row["last_seen_at"] > row["first_seen_at"]


async def test_a_deleted_comment_keeps_its_text(stored: Resources) -> None:
    photo = [{"type": "photo"}]
    await upsert(stored, [comment(2, "said", likes=4, attachments=photo)])
    assert await upsert(stored, [stub(2)]) == Stored(deleted=1)
    row = (await read(stored, table))[(-1, 2)]
    assert (row["text"], row["from_id"], row["like_count"], row["attachments"]) == ("said", 5, 4, photo)
    assert row["is_deleted"]
    assert row["changed_at"] == row["last_seen_at"] > row["first_seen_at"]
    await upsert(stored, [stub(2)])
    assert (await read(stored, table))[(-1, 2)] == row


async def test_a_restored_comment(stored: Resources) -> None:
    await upsert(stored, [stub(2)])
    await upsert(stored, [comment(2, "back", likes=1)])
    row = (await read(stored, table))[(-1, 2)]
    assert (row["text"], row["from_id"], row["like_count"], row["is_deleted"]) == ("back", 5, 1, False)
    assert row["changed_at"] is not None


async def test_two_writers_of_the_same_rows(stored: Resources) -> None:
    """In any order: both lock the rows in the order of their ids."""
    found = [comment(number) for number in range(2, 602)]

    async def write(mine: Sequence[VkComment], words: str) -> int:
        return (await upsert(stored, [replace(each, text=words) for each in mine])).new

    for turn in range(5):
        counts = await asyncio.gather(
            write(found, f"a{turn}"), write(found[::-1], f"b{turn}"), write(found, f"c{turn}")
        )
        assert sum(counts) == (len(found) if turn == 0 else 0)
    texts = {row["text"] for row in (await read(stored, table)).values()}
    assert len(texts) == 1
    assert texts <= {"a4", "b4", "c4"}


async def until_a_statement_waits(resources: Resources) -> None:
    """Return when a statement waits for another transaction."""
    statement = text("""
        SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """)
    while True:
        async with resources.database.connect() as connection:
            if await connection.scalar(statement):
                return
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("commits", "what_became"), [(True, Stored(new=1, changed=1)), (False, new(2))])
async def test_rows_that_another_writer_has_not_committed_yet(
    stored: Resources, what_became: Stored, *, commits: bool
) -> None:
    async with stored.database.engine.connect() as other:
        await upsert_comments(other, [comment(2), comment(3)], BEFORE_ALL)
        task = asyncio.create_task(upsert(stored, [comment(4), comment(3, "edited")]))
        await until_a_statement_waits(stored)
        await (other.commit() if commits else other.rollback())
    assert await task == what_became
    texts = {key[1]: row["text"] for key, row in (await read(stored, table)).items()}
    assert texts == {3: "edited", 4: "text"} | ({2: "text"} if commits else {})


async def test_comments_are_deleted_with_their_community(stored: Resources) -> None:
    """Also those that are being stored while it is deleted."""
    await upsert(stored, [comment(2), comment(2, owner_id=-BIG, post_id=BIG)])

    async def delete() -> None:
        async with stored.database.transaction() as connection:
            await connection.execute(text("DELETE FROM groups WHERE owner_id = -1"))

    async with stored.database.transaction() as connection:
        await upsert_comments(connection, [comment(3)], BEFORE_ALL)
        task = asyncio.create_task(delete())
        await until_a_statement_waits(stored)
    await task
    assert set(await read(stored, table)) == {(-BIG, 2)}


# threads, and comments that VK no longer shows


async def test_threads_that_were_read_to_the_end(stored: Resources) -> None:
    await upsert(stored, [comment(2), comment(3), comment(4)])
    read_to_the_end = [ReadThread(-1, 2, 40, 99), ReadThread(-1, 4, 12, 77), ReadThread(-1, 1234, 1, 1)]
    async with stored.database.transaction() as connection:
        await comments.mark_threads_read(connection, read_to_the_end)
        await comments.mark_threads_read(connection, [])
    await upsert(stored, [comment(2, "edited")])  # does not count as a reading of the thread
    async with stored.database.connect() as connection:
        known = await comments.read_threads(connection, [(-1, 2), (-1, 3), (-1, 4), (-2, 4)])
    assert known == {(-1, 2): ReadThread(-1, 2, 40, 99), (-1, 4): ReadThread(-1, 4, 12, 77)}


async def write_thread(stored: Resources) -> int:
    """Write a post with two top comments of two replies each, and return the number of a later collection."""
    replies = [comment(number, thread_id=2 if number < 6 else 3) for number in (4, 5, 6, 7)]
    await upsert(stored, [comment(2), comment(3), *replies])
    return await begin(stored)


async def deleted(stored: Resources) -> set[int]:
    rows = await read(stored, table)
    assert all((row["changed_at"] is not None) is row["is_deleted"] for row in rows.values())
    assert {row["text"] for row in rows.values()} == {"text"}
    return {key[1] for key, row in rows.items() if row["is_deleted"]}


async def test_replies_that_a_complete_thread_did_not_contain(stored: Resources) -> None:
    collection = await write_thread(stored)
    await upsert(stored, [comment(2), comment(4, thread_id=2)], collection)
    async with stored.database.transaction() as connection:
        assert await comments.mark_deleted_replies(connection, [(-1, 2), (-2, 3)], collection) == {-1: 1}
        assert await comments.mark_deleted_replies(connection, [], collection) == {}
    assert await deleted(stored) == {5}


async def test_threads_with_replies_that_a_collection_has_not_seen(stored: Resources) -> None:
    collection = await write_thread(stored)
    threads = [(-1, 2), (-1, 3), (-2, 3)]

    async def shrunken() -> set[tuple[int, int]]:
        async with stored.database.transaction() as connection:
            assert await comments.shrunken_threads(connection, [], collection) == set()
            return await comments.shrunken_threads(connection, threads, collection)

    assert (-1, 2) in await shrunken()
    await upsert(stored, [comment(2), comment(4, thread_id=2), comment(5, thread_id=2)], collection)
    assert (-1, 2) not in await shrunken()


@pytest.mark.parametrize(("whole", "gone"), [(True, {3, 5, 6, 7}), (False, {3, 6, 7})])
async def test_comments_that_a_complete_post_did_not_contain(stored: Resources, gone: set[int], *, whole: bool) -> None:
    """If threads were skipped, the replies of an existing top comment may exist, too."""
    collection = await write_thread(stored)
    await upsert(stored, [comment(2), comment(4, thread_id=2)], collection)
    async with stored.database.transaction() as connection:
        assert await comments.mark_deleted(connection, [(-1, 1), (-2, 1)], collection, whole=whole) == {-1: len(gone)}
        assert await comments.mark_deleted(connection, [], collection, whole=whole) == {}
    assert await deleted(stored) == gone


# reading


NEWEST = Page(comments.NEWEST, 100)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (CommentConditions(), lambda _: True),
        (CommentConditions(owner_ids=(-2,)), lambda key: key[0] == -2),
        (CommentConditions(owner_ids=()), lambda _: False),
        (
            CommentConditions(posts=((-1, 1), (-2, 6))),
            lambda key: key in {(-1, n) for n in (2, 3, 4, 5)} | {(-2, n) for n in (7, 8, 9, 10)},
        ),
        (
            CommentConditions(author_ids=(100, -2)),
            lambda key: key[1] in {2, 7, 12} or (key[0] == -2 and key[1] % 5 == 0),
        ),
        (
            CommentConditions(published_from=datetime(2026, 3, 1, 0, 7, tzinfo=UTC)),
            lambda key: key[1] >= 7,
        ),
        (CommentConditions(published_to=datetime(2026, 3, 1, 0, 7, tzinfo=UTC)), lambda key: key[1] < 7),
        (CommentConditions(is_deleted=True), lambda _: False),
        (CommentConditions(is_deleted=False), lambda _: True),
        (CommentConditions(min_likes=3), lambda key: key[1] % 5 == 0),
        (CommentConditions(owner_ids=(-1,), min_likes=3), lambda key: key[0] == -1 and key[1] % 5 == 0),
    ],
)
async def test_conditions(
    resources: Resources, conditions: CommentConditions, expected: Callable[[tuple[int, int]], bool]
) -> None:
    keys = [
        (owner_id, comment_id)
        for owner_id in (-1, -2)
        for comment_id in (await write_wall(resources, owner_id)).comment_ids
    ]
    async with resources.database.connect() as connection:
        page = await comments.comments_page(connection, conditions, NEWEST)
        count = await comments.count_comments(connection, conditions)
    found = {(row.owner_id, row.id) for row in page.rows}
    assert found == {key for key in keys if expected(key)}
    assert count == len(found)


@pytest.mark.usefixtures("wall")
async def test_conditions_with_more_ids_than_a_statement_has_parameters(resources: Resources) -> None:
    ids = tuple(range(40_000))
    async with resources.database.connect() as connection:
        for conditions, count in (
            (CommentConditions(owner_ids=(-1, *ids)), 12),
            (CommentConditions(posts=((-1, 1), *((-9, number) for number in ids))), 4),
            (CommentConditions(author_ids=ids), 9),
            (CommentConditions(keyword_ids=ids), 0),
            (CommentConditions(keyword_categories=tuple(map(str, ids))), 0),
            (CommentConditions(wave_ids=ids), 0),
            (CommentConditions(posts=()), 0),
            (CommentConditions(author_ids=()), 0),
        ):
            assert await comments.count_comments(connection, conditions) == count


async def test_comments_of_each_parent(resources: Resources, wall: Wall) -> None:
    everything = CommentConditions()
    async with resources.database.connect() as connection:
        by_key = await comments.comments_by_key(connection, [(-1, 2), (-1, 1)])
        by_group = await comments.comments_by_group(connection, [(-1,), (-2,)], everything, Page(comments.OLDEST, 5))
        by_post = await comments.comments_by_post(connection, [(-1, 1), (-1, 6)], everything, NEWEST)
        by_author = await comments.comments_by_author(connection, [(100,), (-1,)], everything, NEWEST)
        replies = await comments.replies_by_comment(connection, [(-1, 2), (-1, 3)], everything, NEWEST)
        counts = [
            await comments.count_comments_by_group(connection, [(-1,)], everything),
            await comments.count_comments_by_post(connection, [(-1, 1)], everything),
            await comments.count_comments_by_author(connection, [(100,)], everything),
            await comments.count_replies_by_comment(connection, [(-1, 2)], everything),
        ]
    assert {key: row.id for key, row in by_key.items()} == {(-1, 2): 2}
    assert {key: [row.id for row in page.rows] for key, page in by_group.items()} == {(-1,): wall.comment_ids[:5]}
    assert {key: [row.id for row in page.rows] for key, page in by_post.items()} == {
        (-1, 1): [5, 4, 3, 2],
        (-1, 6): [10, 9, 8, 7],
    }
    assert {key: [row.id for row in page.rows] for key, page in by_author.items()} == {
        (100,): [12, 7, 2],
        (-1,): [15, 10, 5],
    }
    assert {key: [row.id for row in page.rows] for key, page in replies.items()} == {(-1, 2): [3]}
    assert counts == [{(-1,): 12}, {(-1, 1): 4}, {(100,): 3}, {(-1, 2): 1}]


@pytest.mark.parametrize("order", [comments.NEWEST, comments.OLDEST, comments.MOST_LIKED])
@pytest.mark.parametrize(
    "conditions",
    [
        CommentConditions(owner_ids=(-1,)),
        CommentConditions(posts=((-1, 1), (-1, 6))),
        CommentConditions(owner_ids=(-1,), published_from=datetime(2026, 3, 1, 0, 3, tzinfo=UTC)),
        CommentConditions(published_to=datetime(2026, 3, 1, 0, 14, tzinfo=UTC)),
    ],
)
async def test_pages_of_one_wall(resources: Resources, wall: Wall, order: Order, conditions: CommentConditions) -> None:
    """With any index, they have one order, and its cursors lead from each page to the next and back."""
    assert wall.owner_id == -1
    async with resources.database.connect() as connection:

        async def all_of(page: Page) -> Slice[CommentRow]:
            return await comments.comments_page(connection, conditions, page)

        async def of_group(page: Page) -> Slice[CommentRow]:
            return (await comments.comments_by_group(connection, [(-1,)], conditions, page)).get((-1,), EMPTY)

        rows = (await all_of(Page(order, 100))).rows
        keys = [tuple(getattr(row, name) for name in order.columns) for row in rows]
        assert len(keys) >= 8
        assert keys == sorted(keys, reverse=order.is_descending)
        for read_page in (all_of, of_group):
            for number, key in enumerate(keys):
                after = await read_page(Page(order, 2, after=key))
                assert ([row.id for row in after.rows], after.has_next) == (
                    [row.id for row in rows[number + 1 : number + 3]],
                    number + 3 < len(rows),
                )
                before = await read_page(Page(order, 2, before=key, backwards=True))
                assert [row.id for row in before.rows] == [row.id for row in rows[max(0, number - 2) : number]]


async def test_comments_of_deleted_posts_are_marked_whenever_they_are_stored(stored: Resources) -> None:
    """Another collection may have marked the post between their reading and their storing."""
    await write_thread(stored)
    async with stored.database.transaction() as connection:
        assert await comments.mark_of_deleted_posts(connection, [(-1, 1), (-1, 99)]) == {}
        await connection.execute(text("UPDATE posts SET is_deleted = true"))
        assert await comments.mark_of_deleted_posts(connection, [(-1, 1), (-1, 99)]) == {-1: 6}
        assert await comments.mark_of_deleted_posts(connection, [(-1, 1)]) == {}
        assert await comments.mark_of_deleted_posts(connection, []) == {}
    assert await deleted(stored) == {2, 3, 4, 5, 6, 7}
