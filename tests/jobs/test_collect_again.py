"""Second and further collections: they read only changes, count the saved calls, and mark deleted comments."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import pytest

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.resources import Resources, open_resources
from tests.conftest import MakeSettings, Simulator, stored_comments
from tests.jobs.conftest import collect, counts, ended


@pytest.fixture
async def long_thread(simulate: Callable[..., Simulator]) -> Simulator:
    """Return a VK with one post of 900 comments, 400 of them in one thread."""
    return simulate(posts=1, comments=900, longest_thread=400)


async def rows(resources: Resources) -> Mapping[int, asyncpg.Record]:
    """Return the stored comments of community 1 by their ids."""
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        return {row["id"]: row for row in await connection.fetch("SELECT * FROM comments WHERE owner_id = -1")}
    finally:
        await connection.close()


def longest_thread(stored: Mapping[int, asyncpg.Record]) -> tuple[int, list[int]]:
    """Return the top comment with the most replies, and these in order."""
    replies: dict[int, list[int]] = {}
    for comment_id, row in sorted(stored.items()):
        if row["thread_id"]:
            replies.setdefault(row["thread_id"], []).append(comment_id)
    top = max(replies, key=lambda key: len(replies[key]))
    return top, replies[top]


def calls_of(simulator: Simulator) -> int:
    """Return the number of calls since the last reset of the counters, and reset them."""
    state: dict[str, Any] = simulator.control()
    simulator.control(reset=True)
    return int(state["calls"])


async def test_a_thread_that_has_grown_is_read_from_its_end(
    long_thread: Simulator, make_settings: MakeSettings
) -> None:
    async with open_resources(make_settings(vk_api_url=long_thread.url)) as opened, open_worker(opened, 2):
        first = counts(await collect(opened))
        top, _ = longest_thread(await rows(opened))
        long_thread.control(add_comments={"group_id": 1, "post_id": 1, "count": 2, "reply_to": top}, reset=True)
        again = counts(await collect(opened))
        assert (again["posts"], again["new_comments"], again["changed_comments"], again["deleted_comments"]) == (
            1,
            2,
            0,
            0,
        )
        assert again["calls"] == calls_of(long_thread) - 1  # one for the community itself
        # four pages of 100 were needed for this thread; the last one was enough
        assert again["saved_calls"] == first["calls"] - again["calls"] >= 3
        assert await stored_comments(opened) == long_thread.truth()

        # the number of calls of a full reading is still known
        unchanged = counts(await collect(opened))
        assert (unchanged["calls"], unchanged["saved_calls"]) == (1, first["calls"] - 1)


async def test_threads_that_have_not_grown_are_not_read(long_thread: Simulator, make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(vk_api_url=long_thread.url)) as opened, open_worker(opened, 2):
        first = counts(await collect(opened))
        long_thread.control(add_comments={"group_id": 1, "post_id": 1, "count": 3})
        again = counts(await collect(opened))
        assert again["new_comments"] == 3
        assert again["calls"] + again["saved_calls"] == first["calls"]
        assert again["saved_calls"] >= 4
        assert await stored_comments(opened) == long_thread.truth()


async def test_a_thread_that_has_shrunk_and_grown_again(long_thread: Simulator, make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(vk_api_url=long_thread.url)) as opened, open_worker(opened, 2):
        await collect(opened)
        top, replies = longest_thread(await rows(opened))
        for reply in replies[:-5]:
            long_thread.control(delete_comment={"group_id": 1, "comment_id": reply})
        again = counts(await collect(opened))
        assert again["deleted_comments"] == len(replies) - 5
        long_thread.control(add_comments={"group_id": 1, "post_id": 1, "count": len(replies) - 5, "reply_to": top})
        assert counts(await collect(opened))["new_comments"] == len(replies) - 5
        stored = await rows(opened)
        assert set(long_thread.truth()[1]) <= stored.keys()
        assert {key for key, row in stored.items() if row["thread_id"] == top and not row["is_deleted"]} == (
            {key for key in long_thread.truth()[1] if stored[key]["thread_id"] == top}
        )
        assert {key for key, row in stored.items() if row["is_deleted"]} >= set(replies[:-5])


@pytest.mark.parametrize("full", [False, True])
async def test_comments_that_are_gone_are_marked(
    long_thread: Simulator, make_settings: MakeSettings, *, full: bool
) -> None:
    async with open_resources(make_settings(vk_api_url=long_thread.url)) as opened, open_worker(opened, 2):
        await collect(opened)
        before = await rows(opened)
        threads = {row["thread_id"] for row in before.values()}
        leaf = min(key for key, row in before.items() if not row["thread_id"] and key not in threads)
        long_thread.control(delete_comment={"group_id": 1, "comment_id": leaf})
        again = counts(await collect(opened, full=full))
        after = (await rows(opened))[leaf]
        assert (again["deleted_comments"], again["new_comments"], again["changed_comments"]) == (1, 0, 0)
        assert (after["is_deleted"], after["text"], after["from_id"]) == (
            True,
            before[leaf]["text"],
            before[leaf]["from_id"],
        )
        assert after["changed_at"] > before[leaf]["last_seen_at"]
        assert counts(await collect(opened, full=full))["deleted_comments"] == 0


async def test_a_reply_that_is_gone_in_a_short_thread(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        await collect(opened)
        before = await rows(opened)
        reply = next(key for key, row in before.items() if row["thread_id"] and row["from_id"])
        simulator.control(delete_comment={"group_id": 1, "comment_id": reply})
        again = counts(await collect(opened))
        assert again["deleted_comments"] >= 1
        assert (await rows(opened))[reply]["is_deleted"]


@pytest.mark.parametrize("is_named", [False, True])
async def test_comments_of_a_post_that_is_gone_are_marked(
    make_settings: MakeSettings, simulator: Simulator, *, is_named: bool
) -> None:
    """A list of the whole wall shows that a post is gone, and so does a request for the post itself."""
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        await collect(opened)
        before = await rows(opened)
        gone = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
        simulator.control(delete_post={"group_id": 1, "post_id": gone})
        partly = counts(await collect(opened, max_posts=6))
        assert partly["deleted_comments"] == 0
        arguments: dict[str, Any] = {"owner_ids": [], "post_urls": [f"wall-1_{gone}"]} if is_named else {}
        again = counts(await collect(opened, **arguments))
        after = await rows(opened)
        marked = {key for key, row in after.items() if row["is_deleted"] and not before[key]["is_deleted"]}
        assert marked == {key for key, row in before.items() if row["post_id"] == gone and not row["is_deleted"]}
        assert again["deleted_comments"] == len(marked) > 0
        assert {key: row["text"] for key, row in after.items()} == {key: row["text"] for key, row in before.items()}
        assert counts(await collect(opened))["deleted_comments"] == 0


async def test_a_community_and_single_posts_of_it_at_once(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 4):
        await add_groups(opened, ["1"])
        simulator.control(churn={"comments": 1, "replies": 1, "limit": 60})
        at_start = simulator.truth()
        links = [f"wall-1_{post_id}" for post_id in simulator.truth()]
        started = [
            await start_collection(opened, owner_ids=[-1]),
            await start_collection(opened, owner_ids=[], post_urls=links),
            await start_collection(opened, owner_ids=[], post_urls=links[:2]),
        ]
        both = [counts(row) for row in await asyncio.gather(*(ended(opened, row.id) for row in started))]
        stored = await stored_comments(opened)
        assert all(set(ids) <= set(stored.get(post_id, ())) for post_id, ids in at_start.items())
        assert sum(each["new_comments"] for each in both) == sum(map(len, stored.values()))
        simulator.control(churn=None)
        counts(await collect(opened))
        assert await stored_comments(opened) == {key: ids for key, ids in simulator.truth().items() if ids}


async def test_two_processes_with_two_tokens_each(
    simulate: Callable[..., Simulator], make_settings: MakeSettings
) -> None:
    """Each keeps the rate limit of each token: VK rejects nothing."""
    simulator = simulate(groups=2, posts=30, comments=600, rps=10)
    settings = make_settings(vk_api_url=simulator.url, vk_tokens=("one", "two"), vk_requests_per_second=10)
    async with open_resources(settings) as first, open_resources(settings) as second:
        async with open_worker(first, 1), open_worker(second, 1):
            await add_groups(first, ["1", "2"])
            jobs = [await start_collection(first, owner_ids=[-group_id]) for group_id in (1, 2)]
            for row in jobs:
                counts(await ended(first, row.id))
        for group_id in (1, 2):
            truth = {key: ids for key, ids in simulator.truth(group_id).items() if ids}
            assert await stored_comments(first, -group_id) == truth
    assert "6" not in simulator.control()["errors"]
