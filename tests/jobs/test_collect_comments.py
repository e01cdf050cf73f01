"""Collections from the simulated VK: complete, exact, incremental, and robust against VK's errors."""

from dataclasses import MISSING, fields
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.db.tables import authors, comments, groups, posts
from app.jobs.queue import cancel
from app.json_models import from_json, to_json
from app.resources import Resources
from app.vk.comment_pager import CommentPager, Gap
from app.vk.wall_pager import PostsById, WallPager
from app.work.collecting.collection import CollectionCounts, CollectionRequest, CollectionState, OpenPost, Refusal
from tests.conftest import Simulator, stored_comments, until
from tests.jobs.conftest import collect, counts, ended, events_of, read_job

pytestmark = pytest.mark.usefixtures("worker")


async def test_everything_is_collected_exactly_once(vk_resources: Resources, simulator: Simulator) -> None:
    row = await collect(vk_resources)
    assert counts(row) == {
        "groups": 1,
        "failed_groups": 0,
        "incomplete_groups": 0,
        "posts": 6,
        "failed_posts": 0,
        "incomplete_posts": 0,
        "broken_items": 0,
        "comments": 400,
        "new_comments": 400,
        "changed_comments": 0,
        "deleted_comments": 0,
        "requests": 4,
        "calls": simulator.control()["calls"] - 1,  # one request for the community
        "saved_calls": 0,
    }
    assert await stored_comments(vk_resources) == simulator.truth()
    async with vk_resources.database.connect() as connection:
        stored = {post.id: post for post in await connection.execute(select(posts))}
        known = set(await connection.scalars(select(authors.c.id)))
        wrote = set(await connection.scalars(select(comments.c.from_id).where(comments.c.from_id.is_not(None))))
        group = (await connection.execute(select(groups))).one()
    truth = simulator.truth()
    assert {post_id: post.comment_count for post_id, post in stored.items()} == {
        post_id: len(ids) for post_id, ids in truth.items()
    }
    assert all(post.collected_count == post.comment_count for post in stored.values() if post.comment_count)
    assert wrote <= known
    assert any(author < 0 for author in wrote)
    assert group.collected_at is not None


async def test_a_second_collection_reads_only_changes(vk_resources: Resources, simulator: Simulator) -> None:
    first = counts(await collect(vk_resources))
    before = simulator.control()["calls"]
    again = counts(await collect(vk_resources))
    assert {name for name, number in again.items() if number} == {"groups", "requests", "calls", "saved_calls"}
    assert (again["requests"], again["calls"], again["saved_calls"]) == (1, 1, first["calls"] - 1)
    assert simulator.control()["calls"] - before == 2  # the community, and the list of its posts

    post_id = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
    simulator.control(add_comments={"group_id": 1, "post_id": post_id, "count": 3})
    more = counts(await collect(vk_resources))
    assert (more["posts"], more["new_comments"]) == (1, 3)
    assert await stored_comments(vk_resources) == simulator.truth()


async def test_a_full_collection_reads_everything_again(vk_resources: Resources, simulator: Simulator) -> None:
    await collect(vk_resources)
    post_id, ids = next((key, value) for key, value in simulator.truth().items() if value)
    simulator.control(edit_comment={"group_id": 1, "comment_id": ids[0], "text": "другое"})
    again = counts(await collect(vk_resources, full=True))
    assert (again["posts"], again["comments"], again["new_comments"]) == (6, 400, 0)
    async with vk_resources.database.connect() as connection:
        row = (await connection.execute(select(comments).where(comments.c.id == ids[0]))).one()
    assert row.text == "другое"
    assert row.changed_at is not None
    assert row.post_id == post_id


async def test_only_the_newest_posts(vk_resources: Resources, simulator: Simulator) -> None:
    assert counts(await collect(vk_resources, max_posts=2))["posts"] <= 2
    newest = await stored_comments(vk_resources)
    assert set(newest) < set(simulator.truth())
    assert counts(await collect(vk_resources))["posts"] >= 1
    assert await stored_comments(vk_resources) == {key: ids for key, ids in simulator.truth().items() if ids}


async def test_only_posts_since_a_date(vk_resources: Resources) -> None:
    await collect(vk_resources)
    async with vk_resources.database.connect() as connection:
        times = sorted(await connection.scalars(select(posts.c.published_at)))
    row = await collect(vk_resources, since=times[3], full=True)
    assert counts(row)["posts"] <= 3
    nothing = await collect(vk_resources, since=datetime(2100, 1, 1, tzinfo=UTC), full=True)
    assert counts(nothing)["posts"] == 0


async def test_single_posts_by_link(vk_resources: Resources, simulator: Simulator) -> None:
    first, second = sorted(simulator.truth(), key=lambda key: -len(simulator.truth()[key]))[:2]
    links = [f"https://vk.com/wall-1_{first}", f"wall-1_{second}", "wall-1_999999"]
    row = await collect(vk_resources, owner_ids=[], post_urls=links)
    assert counts(row)["posts"] == 2
    assert await stored_comments(vk_resources) == {key: simulator.truth()[key] for key in (first, second)}
    failed = [facts for kind, facts in await events_of(vk_resources, row.id) if kind == "POST_FAILED"]
    assert failed == [{"vkOwnerId": -1, "vkPostId": 999999, "code": "POST_NOT_FOUND"}]
    assert counts(row)["failed_posts"] == 1


async def test_a_post_that_cannot_be_read_is_an_event(vk_resources: Resources, simulator: Simulator) -> None:
    closed = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
    simulator.control(close_comments={"group_id": 1, "post_id": closed})
    row = await collect(vk_resources)
    assert counts(row)["failed_posts"] == 1
    failed = [facts for kind, facts in await events_of(vk_resources, row.id) if kind == "POST_FAILED"]
    assert failed == [
        {"vkOwnerId": -1, "vkPostId": closed, "code": "VK_ACCESS_DENIED", "vkCode": 212, "method": "wall.getComments"}
    ]
    assert await stored_comments(vk_resources) == {
        key: ids for key, ids in simulator.truth().items() if key != closed and ids
    }


async def test_a_closed_community_ends_a_collection_of_it_alone(vk_resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 15, "method": "wall.get", "times": 1}])
    row = await collect(vk_resources)
    assert row.state == "FAILED"
    assert row.failure["code"] == "VK_ACCESS_DENIED"
    assert row.failure["facts"]["vkCode"] == 15


async def test_transient_failures_leave_no_trace_in_the_data(vk_resources: Resources, simulator: Simulator) -> None:
    faults: list[dict[str, object]] = [
        {"code": 10},
        {"http": 502},
        {"code": 6},
        {"code": 1},
        {"code": 13, "method": "execute"},
    ]
    simulator.control(faults=[fault | {"times": 1} for fault in faults])
    row = await collect(vk_resources)
    assert counts(row)["comments"] == 400
    assert row.attempts == 1
    assert await stored_comments(vk_resources) == simulator.truth()


async def test_comments_that_arrive_and_vanish_meanwhile(vk_resources: Resources, simulator: Simulator) -> None:
    """All comments that existed at the start and still exist are stored; new ones are stored by the next collection."""
    post_id = max(simulator.truth(), key=lambda key: len(simulator.truth()[key]))
    at_start = set(simulator.truth()[post_id])
    await add_groups(vk_resources, ["1"])
    simulator.control(hold=True)
    row = await start_collection(vk_resources, owner_ids=[-1])
    await until(lambda: simulator.control()["waiting"])
    simulator.control(add_comments={"group_id": 1, "post_id": post_id, "count": 5})
    simulator.control(delete_comment={"group_id": 1, "comment_id": max(at_start)})
    simulator.control(hold=False)
    counts(await ended(vk_resources, row.id))
    stored = set((await stored_comments(vk_resources))[post_id])
    assert at_start & set(simulator.truth()[post_id]) <= stored
    counts(await collect(vk_resources, full=True))
    assert set(simulator.truth()[post_id]) <= set((await stored_comments(vk_resources))[post_id])


def unset(value: Any) -> set[str]:
    """Return the names of a dataclass's fields that have their default values."""
    found = set()
    for each in fields(value):
        default = each.default if each.default_factory is MISSING else each.default_factory()
        if default is not MISSING and getattr(value, each.name) == default:
            found.add(each.name)
    return found


def test_state_round_trip() -> None:
    request = CollectionRequest((-1, -2), {-3: (5, 6)}, datetime(2026, 1, 2, tzinfo=UTC), 7)
    state = CollectionState.new(request, 8)
    assert from_json(CollectionState, orjson.loads(orjson.dumps(to_json(state)))) == state
    gap = Gap(1, 2, 3, 4, looks=5)
    pager = CommentPager(
        -1,
        8,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        is_contradicted=True,
        has_broken=True,
        is_from_start=False,
        is_at_end=True,
        is_incomplete=True,
        gaps=[gap, Gap(6, 7, 8, 9)],
    )
    wall = WallPager(
        -1, since=9, most=3, position=98, last_id=7, count=120, selected_count=2, received=9, newest_id=99,
        lowest_count=110, has_pinned=True, is_recounting=True, is_contradicted=True, has_broken=True, is_closed=True,
        empties=2, is_end_seen=True, looks=4,
    )  # fmt: skip
    post = OpenPost(
        -1, 8, 30, was_read=True, highest_count=31, received=29, calls=2, saved_calls=1, has_failed=True,
        has_broken=True, is_contradicted=True, is_unconfirmed=True, is_second_read=True, shrunken=[5],
    )  # fmt: skip
    state = CollectionState(
        collection=8,
        walls=[wall],
        named=[PostsById(-3, (5, 6), position=1)],
        unfinished=[-3, -1],
        missing=[(-3, 4), (-3, 5)],
        is_listed=True,
        after=(-1, 8),
        are_all_open=True,
        posts={(-1, 8): post},
        pagers=[CommentPager(-1, 8), pager],
        refusals=[Refusal(-2, "closed", 15, "wall.get")],
        incomplete=[-1],
        present={-1: 100},
        marked={-1: 3},
        unconfirmed_walls=[-3],
        unconfirmed_posts=[(-1, 9)],
        is_confirming=True,
        listed=3,
        total_posts=4,
        total_comments=5,
        counts=CollectionCounts(*range(1, len(fields(CollectionCounts)) + 1)),
    )
    assert from_json(CollectionState, orjson.loads(orjson.dumps(to_json(state)))) == state
    # A field with its default value would be restored even if a checkpoint omitted it, as it does for requested pages.
    assert [unset(each) for each in (state, state.counts, post)] == [{"format"}, set(), set()]
    assert unset(wall) == {"requested_to", "generation", "rereads"}
    assert unset(pager) == {"requested_to", "generation", "rereads", "empties", "is_end_seen"}
    assert unset(gap) == {"is_requested"}


def test_request_round_trip() -> None:
    request = CollectionRequest((-1, -2), {-2: (3, 4)}, datetime(2026, 1, 2, tzinfo=UTC), 5, full=True)
    assert from_json(CollectionRequest, to_json(request)) == request
    short = to_json(CollectionRequest((-1,)), omit_defaults=True)
    assert short == {"wall_ids": [-1]}
    assert from_json(CollectionRequest, short) == CollectionRequest((-1,))


async def test_cancel_keeps_stored_comments(vk_resources: Resources, simulator: Simulator) -> None:
    await add_groups(vk_resources, ["1"])
    simulator.control(hold=True)
    row = await start_collection(vk_resources, owner_ids=[-1])
    await until(lambda: simulator.control()["waiting"])
    await cancel(vk_resources, row.id)
    # the end does not wait for VK, which does not answer
    assert (await ended(vk_resources, row.id)).state == "CANCELLED"
    simulator.control(hold=False)
    assert counts(await collect(vk_resources))["comments"] == 400
    assert await stored_comments(vk_resources) == simulator.truth()
    assert (await read_job(vk_resources, row.id)).finished_at
