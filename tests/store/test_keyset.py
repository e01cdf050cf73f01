from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.db.tables import comments
from app.resources import Resources
from app.store.comments import IN_THREAD, MOST_LIKED, NEWEST, OLDEST
from app.store.keyset import (
    EMPTY,
    Order,
    Page,
    Slice,
    count_rows,
    counts_by_key,
    page_rows,
    pages_by_key,
    rows_by_key,
)
from tests.conftest import statements, write_wall

ORDERS = [NEWEST, OLDEST, MOST_LIKED]
EXAMPLES = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def walls(resources: Resources) -> Resources:
    """Write two walls whose comments have equal times and likes, so that only ids distinguish them."""
    await write_wall(resources, -1, posts_count=3, comments_per_post=5)
    await write_wall(resources, -4_294_967_297, posts_count=2, comments_per_post=4)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE comments SET published_at = date_trunc('hour', published_at)"))
        await connection.execute(text("UPDATE comments SET like_count = like_count % 2"))
    return resources


def sorted_ids(rows: Sequence[Any], order: Order) -> list[tuple[int, int]]:
    def key(row: Any) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in order.columns)

    return [(row.owner_id, row.id) for row in sorted(rows, key=key, reverse=order.is_descending)]


def ids(found: Slice[Any]) -> list[tuple[int, int]]:
    return [(row.owner_id, row.id) for row in found.rows]


def cursor(row: Any, order: Order) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in order.columns)


@EXAMPLES
@given(order=st.sampled_from(ORDERS), limit=st.integers(1, 25))
async def test_paging_forwards_yields_the_sorted_list(walls: Resources, order: Order, limit: int) -> None:
    async with walls.database.connect() as connection:
        everything = sorted_ids((await connection.execute(comments.select())).all(), order)
        found: list[tuple[int, int]] = []
        after = None
        while True:
            page = await page_rows(connection, comments, (), Page(order, limit, after=after))
            assert page.has_previous == (after is not None)
            found += ids(page)
            assert page.has_next == (len(found) < len(everything))
            if not page.has_next:
                break
            assert len(page.rows) == limit
            after = cursor(page.rows[-1], order)
    assert found == everything


@EXAMPLES
@given(order=st.sampled_from(ORDERS), limit=st.integers(1, 25))
async def test_paging_backwards_yields_the_sorted_list(walls: Resources, order: Order, limit: int) -> None:
    async with walls.database.connect() as connection:
        everything = sorted_ids((await connection.execute(comments.select())).all(), order)
        found: list[tuple[int, int]] = []
        before = None
        while True:
            page = await page_rows(connection, comments, (), Page(order, limit, before=before, backwards=True))
            assert page.has_next == (before is not None)
            found = ids(page) + found
            assert page.has_previous == (len(found) < len(everything))
            if not page.has_previous:
                break
            before = cursor(page.rows[0], order)
    assert found == everything


@EXAMPLES
@given(
    order=st.sampled_from(ORDERS),
    limit=st.integers(1, 25),
    first=st.integers(0, 22),
    last=st.integers(0, 22),
    backwards=st.booleans(),
)
async def test_a_page_between_two_rows(
    walls: Resources, order: Order, limit: int, first: int, last: int, *, backwards: bool
) -> None:
    async with walls.database.connect() as connection:
        rows = {(row.owner_id, row.id): row for row in await connection.execute(comments.select())}
        everything = sorted_ids(list(rows.values()), order)
        bounds = {"after": cursor(rows[everything[first]], order), "before": cursor(rows[everything[last]], order)}
        page = await page_rows(connection, comments, (), Page(order, limit, backwards=backwards, **bounds))
    between = everything[first + 1 : last]
    assert ids(page) == (between[-limit:] if backwards else between[:limit])
    assert (page.has_previous if backwards else page.has_next) == (len(between) > limit)


@EXAMPLES
@given(order=st.sampled_from([*ORDERS, IN_THREAD]), limit=st.integers(1, 7), backwards=st.booleans())
async def test_pages_of_many_parents_equal_those_of_each(
    walls: Resources, order: Order, limit: int, *, backwards: bool
) -> None:
    parents = [(-1, 1), (-1, 7), (-4_294_967_297, 1), (-1, 99)]
    page = Page(order, limit, backwards=backwards)
    likes = [comments.c.like_count == 0]
    async with walls.database.connect() as connection:
        together = await pages_by_key(connection, comments, ("owner_id", "post_id"), parents, likes, page)
        for parent in parents:
            mine = [comments.c.owner_id == parent[0], comments.c.post_id == parent[1], *likes]
            alone = await page_rows(connection, comments, mine, page)
            among = together.get(parent, EMPTY)
            assert (list(among.rows), among.has_next, among.has_previous) == (
                list(alone.rows),
                alone.has_next,
                alone.has_previous,
            )
    assert set(together) == set(parents[:3])


async def test_a_cursor_after_the_end(walls: Resources) -> None:
    async with walls.database.connect() as connection:
        page = await page_rows(connection, comments, (), Page(MOST_LIKED, 5, after=(-1, -(2**40), 0)))
    assert (ids(page), page.has_next, page.has_previous) == ([], False, True)


async def test_many_parents_are_read_in_one_statement(walls: Resources) -> None:
    for parents in ([(-1, 1)], [(-1, number) for number in range(50)]):
        async with walls.database.connect() as connection:
            with statements(walls) as seen:
                await pages_by_key(connection, comments, ("owner_id", "post_id"), parents, (), Page(NEWEST, 3))
                await counts_by_key(connection, comments, ("owner_id", "post_id"), parents)
                await rows_by_key(connection, comments, ("owner_id", "id"), parents)
        assert len(seen) == 3


async def test_counts(walls: Resources) -> None:
    parents = [(-1,), (-4_294_967_297,), (-5,)]
    async with walls.database.connect() as connection:
        assert await count_rows(connection, comments, ()) == 23
        assert await count_rows(connection, comments, [comments.c.id < 0]) == 0
        assert await counts_by_key(connection, comments, ("owner_id",), parents) == {(-1,): 15, (-4_294_967_297,): 8}
        liked = [comments.c.like_count > 0]
        assert await counts_by_key(connection, comments, ("owner_id",), parents, liked) == {
            (-1,): 6,
            (-4_294_967_297,): 4,
        }


async def test_rows_by_key(walls: Resources) -> None:
    keys = [(-1, 2), (-4_294_967_297, 2), (-1, 1), (-9, 2)]
    async with walls.database.connect() as connection:
        found = await rows_by_key(connection, comments, ("owner_id", "id"), keys)
    assert {key: row.text for key, row in found.items()} == {
        (-1, 2): "Comment 0 of post 0",
        (-4_294_967_297, 2): "Comment 0 of post 0",
    }
