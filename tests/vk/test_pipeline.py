"""Requested packs: full if possible, processed in order, and none left running."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from app.vk import pipeline
from app.vk.batch import Batch
from app.vk.client import VkClient
from app.vk.comment_pager import CommentPager
from app.vk.pager import PageRequest
from app.vk.pipeline import next_requests, ordered_answers
from app.vk.replies import read_comment_page
from app.vk.wall_pager import PostsById, WallPager
from app.vk.wire import VkFault, VkUnavailable
from tests.conftest import Simulator, until
from tests.vk.conftest import TOKENS, MakeClient


@pytest.fixture
def client(make_client: MakeClient, simulator: Simulator) -> VkClient:
    """Return a client of the simulated VK with one token."""
    return make_client(simulator.url, TOKENS[0])


async def read_all(client: VkClient, pagers: list[Any], read: Any) -> list[int]:
    """Run the pagers to their ends and return the number of pages of each pack."""

    async def plan(most: int) -> list[PageRequest]:
        return next_requests(pagers, most)

    sizes = []
    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        async for pack in packs:
            sizes.append(len(pack))
            for ask, answer in pack:
                if ask.is_wanted:
                    ask.pager.take(ask, read(ask, answer))
    assert all(pager.is_closed for pager in pagers)
    return sizes


async def test_a_pack_is_full_unless_its_rest_depends_on_requested_pages(
    client: VkClient, simulator: Simulator
) -> None:
    post_id = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
    calls = [CommentPager(-1, post_id) for _ in range(60)]
    sizes = await read_all(client, calls, lambda _, answer: read_comment_page(answer, -1, post_id))
    # 60 first pages, of which the last ten wait for the second ones of those before
    assert sizes[:2] == [25, 25]
    assert sum(sizes) == 60 + 60 * (len(simulator.truth()[post_id]) > 154)
    assert all(size == 25 for size in sizes[:-1])
    assert simulator.control()["requests"] == len(sizes)


async def test_answers_come_in_the_order_of_requests(client: VkClient, simulator: Simulator) -> None:
    """Also if the answers of later packs arrive first."""
    named = PostsById(-1, tuple(range(1, 15_000)))
    offsets: list[int] = []

    async def plan(most: int) -> list[PageRequest]:
        return next_requests([named], most)

    simulator.control(faults=[{"code": 10, "method": "execute", "times": 2}])
    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        async for pack in packs:
            offsets += [ask.offset for ask, _ in pack]
    assert offsets == list(range(0, 15_000, 100))


async def test_a_waiting_page_is_dropped_when_it_is_no_longer_needed(client: VkClient, simulator: Simulator) -> None:
    """A full pack is requested; the page that waits behind it belongs to a pager that its answers close."""
    named = PostsById(-1, tuple(range(1, 2_501)))
    wall = WallPager(-1)

    async def plan(most: int) -> list[PageRequest]:
        return next_requests([named, wall], most)

    seen: list[PageRequest] = []
    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        async for pack in packs:
            seen += [ask for ask, _ in pack]
            wall.is_closed = True
    assert len(seen) == 25
    assert simulator.control()["requests"] == 1


async def test_a_failure_cancels_requested_packs(client: VkClient, simulator: Simulator) -> None:
    named = PostsById(-1, tuple(range(1, 15_000)))

    async def plan(most: int) -> list[PageRequest]:
        return next_requests([named], most)

    simulator.control(faults=[{"code": 10, "times": 1000}])
    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        with pytest.raises(VkUnavailable):
            await anext(packs)
    assert len(asyncio.all_tasks()) == 1


async def test_leaving_cancels_requested_packs(client: VkClient, simulator: Simulator) -> None:
    named = PostsById(-1, tuple(range(1, 15_000)))

    async def plan(most: int) -> list[PageRequest]:
        return next_requests([named], most)

    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        await anext(packs)
        simulator.control(hold=True)
        await until(lambda: simulator.control()["waiting"] or simulator.control()["requests"] > pipeline.EXTRA_PACKS)
    assert len(asyncio.all_tasks()) == 1
    simulator.control(hold=False)


async def test_a_rejected_call_is_an_answer(client: VkClient, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 212, "inner": True}])
    pagers = [CommentPager(-1, post_id) for post_id in list(simulator.truth())[:3]]

    async def plan(most: int) -> list[PageRequest]:
        return next_requests(pagers, most)

    found: list[Any] = []
    async with aclosing(ordered_answers(Batch(client), plan)) as packs:
        async for pack in packs:
            found += [answer for _, answer in pack]
            for pager in pagers:
                pager.close()
    assert [isinstance(answer, VkFault) for answer in found] == [True, False, False]
