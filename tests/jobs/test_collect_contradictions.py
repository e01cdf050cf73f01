"""Collections with replies that contradict themselves, and with content that is hidden for some time."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.background import open_worker
from app.resources import Resources, open_resources
from tests.conftest import MakeSettings, Simulator, stored_comments
from tests.jobs.conftest import collect, counts, events_of
from tests.jobs.test_collect_anything import check_everything, stored

ALWAYS = 100_000


def contradiction(
    change: str, method: str = "wall.getComments", times: int = ALWAYS, **facts: Any
) -> list[dict[str, Any]]:
    """Return the faults that change the answers to a method, inside and outside of execute."""
    fault = {"kind": "answer", "change": change, "method": method, "times": times, **facts}
    return [fault, {**fault, "inner": True}]


@pytest.fixture
async def resources(make_settings: MakeSettings, world: Simulator) -> AsyncIterator[Resources]:
    """Open the resources of a process with a worker."""
    async with open_resources(make_settings(vk_api_url=world.url)) as opened, open_worker(opened, 2):
        yield opened


@pytest.fixture
def world(simulate: Callable[..., Simulator]) -> Simulator:
    """Simulate a wall with pages of posts, of comments and of replies."""
    return simulate(posts=130, comments=1_500, biggest_post_share=0.6, longest_thread=140)


def visible_ids(simulator: Simulator) -> dict[int, list[int]]:
    return {post_id: ids for post_id, ids in simulator.truth().items() if ids}


async def marked(resources: Resources) -> set[int]:
    """Return the comments that are marked as deleted, except those that were stubs from the beginning."""
    rows = await stored(resources, 1)
    return {comment_id for comment_id, row in rows.items() if row["is_deleted"] and row["changed_at"]}


async def kinds_of(resources: Resources, job_id: int) -> list[str]:
    return [kind for kind, _ in await events_of(resources, job_id)]


OF_COMMENTS = [
    contradiction("no items"),
    contradiction("no items", from_offset=1),
    contradiction("half of the items"),
    contradiction("half of the items", from_offset=1),
    contradiction("no level"),
    contradiction("no level", from_offset=1),
    contradiction("level of zero"),
    contradiction("empty threads"),
    contradiction("everything zero"),
    contradiction("everything zero", from_offset=1),
]


def name_of(faults: list[dict[str, Any]]) -> str:
    return f"{faults[0]['change']} from {faults[0].get('from_offset', 0)}"


@pytest.mark.parametrize("faults", OF_COMMENTS, ids=name_of)
@pytest.mark.parametrize("full", [False, True])
async def test_fewer_comments_than_vk_states(
    resources: Resources, world: Simulator, faults: list[dict[str, Any]], *, full: bool
) -> None:
    """Nothing is marked as deleted, posts count as incomplete, and the next collection reads them again."""
    counts(await collect(resources))
    world.control(add_comments={"group_id": 1, "post_id": max(world.truth()), "count": 2}, faults=faults)
    for post_id in world.truth():
        world.control(add_comments={"group_id": 1, "post_id": post_id, "count": 1})
    row = await collect(resources, full=full)
    assert counts(row)["incomplete_posts"] > 0
    assert counts(row)["deleted_comments"] == 0
    assert await marked(resources) == set()
    incomplete = [facts for kind, facts in await events_of(resources, row.id) if kind == "POST_INCOMPLETE"]
    assert len(incomplete) == counts(row)["incomplete_posts"]
    assert all(facts["statedCount"] >= 0 and facts["receivedCount"] >= 0 for facts in incomplete)
    world.control(faults=[])
    again = counts(await collect(resources))
    assert (again["incomplete_posts"], again["posts"]) == (0, len(incomplete))
    assert await stored_comments(resources) == visible_ids(world)


@pytest.mark.parametrize("faults", OF_COMMENTS, ids=name_of)
async def test_a_first_collection_with_fewer_comments_than_stated(
    resources: Resources, world: Simulator, faults: list[dict[str, Any]]
) -> None:
    counts(await collect(resources, since=None, max_posts=1))  # adds the community
    world.control(faults=faults)
    assert counts(await collect(resources))["incomplete_posts"] > 0
    world.control(faults=[])
    assert counts(await collect(resources))["incomplete_posts"] == 0
    assert await stored_comments(resources) == visible_ids(world)


@pytest.mark.parametrize("change", ["no items", "half of the items", "no level", "level of zero", "null items"])
async def test_a_transient_contradiction_has_no_effect(resources: Resources, world: Simulator, change: str) -> None:
    """The page is requested again."""
    world.control(faults=contradiction(change, times=2) + contradiction(change, "wall.get", times=1))
    result = counts(await collect(resources))
    assert (result["incomplete_posts"], result["incomplete_groups"], result["failed_posts"]) == (0, 0, 0)
    assert await stored_comments(resources) == visible_ids(world)


async def test_threads_that_vk_omits(resources: Resources, world: Simulator) -> None:
    """Each thread is then requested separately."""
    world.control(faults=contradiction("no threads"))
    assert counts(await collect(resources))["incomplete_posts"] == 0
    assert await stored_comments(resources) == visible_ids(world)


@pytest.mark.parametrize(
    ("change", "from_offset"),
    [("no items", 0), ("no items", 1), ("half of the items", 0), ("half of the items", 1), ("everything zero", 1)],
)
async def test_fewer_posts_than_vk_states(
    resources: Resources, world: Simulator, change: str, from_offset: int
) -> None:
    counts(await collect(resources))
    world.control(faults=contradiction(change, "wall.get", from_offset=from_offset))
    row = await collect(resources, full=True)
    assert counts(row)["incomplete_groups"] == 1
    assert counts(row)["groups"] == 0
    assert "GROUP_INCOMPLETE" in await kinds_of(resources, row.id)
    assert await marked(resources) == set()
    world.control(faults=[])
    assert counts(await collect(resources))["incomplete_groups"] == 0
    assert await marked(resources) == set()


# deletions that must be confirmed


async def test_a_temporarily_empty_wall(resources: Resources, world: Simulator) -> None:
    """VK reports it without any contradiction: a second request detects it."""
    counts(await collect(resources))
    world.control(faults=contradiction("everything zero", "wall.get", times=1))
    result = counts(await collect(resources))
    assert (result["deleted_comments"], await marked(resources)) == (0, set())


async def test_a_wall_whose_posts_are_deleted(resources: Resources, world: Simulator) -> None:
    counts(await collect(resources))
    everything = {key: ids for key, ids in visible_ids(world).items() if key != max(visible_ids(world))}
    for post_id in everything:
        world.control(delete_post={"group_id": 1, "post_id": post_id})
    result = counts(await collect(resources))
    gone = {comment_id for ids in everything.values() for comment_id in ids}
    rows = await stored(resources, 1)
    assert {comment_id for comment_id in gone if not rows[comment_id]["is_deleted"]} == set()
    assert result["deleted_comments"] > 0
    assert counts(await collect(resources))["deleted_comments"] == 0


@pytest.mark.parametrize("full", [False, True])
async def test_most_comments_of_a_post_disappear_temporarily(
    resources: Resources, world: Simulator, *, full: bool
) -> None:
    counts(await collect(resources))
    biggest = max(visible_ids(world), key=lambda key: len(visible_ids(world)[key]))
    # a full collection reads many posts in one execute, the other collection only this post
    single, inner = contradiction("everything zero", times=1, where={"post_id": str(biggest)})
    world.control(faults=[inner if full else single])
    world.control(add_comments={"group_id": 1, "post_id": biggest, "count": 1})
    counts(await collect(resources, full=full))
    assert await marked(resources) == set()
    counts(await collect(resources))
    assert await stored_comments(resources) == visible_ids(world)


async def test_most_comments_of_a_post_are_deleted(resources: Resources, world: Simulator) -> None:
    counts(await collect(resources))
    biggest = max(visible_ids(world), key=lambda key: len(visible_ids(world)[key]))
    before = await stored(resources, 1)
    world.control(
        hide={
            "group_id": 1,
            "comment_ids": [each for each in visible_ids(world)[biggest] if not before[each]["thread_id"]],
        }
    )
    result = counts(await collect(resources))
    gone = {key for key, row in before.items() if row["post_id"] == biggest and not row["is_deleted"]}
    assert await marked(resources) == gone
    assert result["deleted_comments"] == len(gone)
    assert counts(await collect(resources))["deleted_comments"] == 0


# content that is hidden during one collection


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("what", ["replies of a long thread", "top comments", "posts"])
async def test_content_that_is_hidden_for_one_run(
    resources: Resources, world: Simulator, what: str, *, full: bool
) -> None:
    counts(await collect(resources))
    rows = await stored(resources, 1)
    in_threads: dict[int, list[int]] = {}
    for key, row in rows.items():
        if row["thread_id"]:
            in_threads.setdefault(row["thread_id"], []).append(key)
    _, longest = max((len(replies), sorted(replies)) for replies in in_threads.values())
    tops = [key for key, row in rows.items() if not row["thread_id"] and not row["is_deleted"]]
    hidden: dict[str, list[int]] = {
        "replies of a long thread": {"comment_ids": longest[20:50]},
        "top comments": {"comment_ids": [rows[longest[0]]["thread_id"], *tops[:5]]},
        "posts": {"post_ids": sorted(visible_ids(world))[:3]},
    }[what]
    world.control(hide={"group_id": 1, **hidden})
    assert counts(await collect(resources, full=full or what != "posts"))["deleted_comments"] > 0
    assert await marked(resources) != set()
    world.control(show_hidden={"group_id": 1})
    counts(await collect(resources))
    check_everything(world.history(), await stored(resources, 1))


# items that cannot be parsed


@pytest.mark.parametrize(
    "change",
    [
        "nulls among items",
        "nulls in threads",
        "nulls among authors",
        "dates of null",
        "dates of words",
        "dates too late",
        "ids of words",
        "likes beyond 63 bits",
    ],
)
async def test_items_that_cannot_be_parsed(resources: Resources, world: Simulator, change: str) -> None:
    """The rest of the page is stored, nothing is marked as deleted, and the next collection reads the post again."""
    counts(await collect(resources, max_posts=3))
    world.control(faults=contradiction(change))
    row = await collect(resources)
    assert counts(row)["broken_items"] > 0
    assert counts(row)["failed_posts"] == 0
    broken = [facts for kind, facts in await events_of(resources, row.id) if kind == "ITEMS_BROKEN"]
    assert sum(facts["count"] for facts in broken) == counts(row)["broken_items"]
    assert all(facts["items"][0]["path"] and facts["items"][0]["reason"] for facts in broken)
    assert await marked(resources) == set()
    world.control(faults=[])
    counts(await collect(resources))
    check_everything(world.history(), await stored(resources, 1))


@pytest.mark.parametrize("change", ["nulls among items", "dates too late", "ids of words"])
async def test_posts_that_cannot_be_parsed(resources: Resources, world: Simulator, change: str) -> None:
    counts(await collect(resources))
    world.control(faults=contradiction(change, "wall.get"))
    row = await collect(resources, full=True)
    assert counts(row)["broken_items"] > 0
    assert counts(row)["incomplete_groups"] == 1
    assert await marked(resources) == set()


@pytest.mark.parametrize(
    "change", ["numbers as texts", "texts as numbers", "likes beyond 32 bits", "threads without items"]
)
async def test_unusual_values_that_can_be_parsed(resources: Resources, world: Simulator, change: str) -> None:
    world.control(faults=contradiction(change) + contradiction(change, "wall.get"))
    row = await collect(resources)
    assert (counts(row)["broken_items"], counts(row)["incomplete_posts"]) == (0, 0)
    assert await stored_comments(resources) == visible_ids(world)
    if change == "likes beyond 32 bits":
        rows = await stored(resources, 1)
        assert {each["like_count"] for each in rows.values() if not each["is_deleted"]} == {2**31}


async def test_pages_of_posts_that_cannot_be_read(
    make_settings: MakeSettings, simulate: Callable[..., Simulator]
) -> None:
    """That community counts as not readable; others are collected."""
    simulator = simulate(groups=2, posts=5, comments=50)
    settings = make_settings(vk_api_url=simulator.url, job_max_attempts=1)
    async with open_resources(settings) as opened, open_worker(opened, 2):
        simulator.control(faults=contradiction("null items", "wall.get", where={"owner_id": "-1"}))
        assert counts(await collect(opened, group_ids=(1, 2)))["failed_groups"] == 1
        assert await stored_comments(opened, -2) == {key: ids for key, ids in simulator.truth(2).items() if ids}
        row = await collect(opened)
        assert (row.state, row.failure["code"]) == ("FAILED", "VK_UNAVAILABLE")


@pytest.mark.parametrize("full", [False, True])
async def test_a_wall_whose_posts_disappear_and_return(resources: Resources, world: Simulator, *, full: bool) -> None:
    """What VK reports twice is accepted; when VK reports posts again, all are read again, and then nothing more."""
    first = counts(await collect(resources))
    world.control(faults=contradiction("everything zero", "wall.get"))
    assert counts(await collect(resources))["deleted_comments"] == len(await marked(resources)) > 0
    world.control(faults=[])
    again = counts(await collect(resources, full=full))
    assert (again["posts"], again["comments"]) == (first["posts"], first["comments"])
    assert await marked(resources) == set()
    assert await stored_comments(resources) == visible_ids(world)
    assert counts(await collect(resources))["posts"] == 0


async def test_a_full_collection_reads_posts_with_a_requested_reread(resources: Resources) -> None:
    """Also posts that have no comments any more according to VK."""
    counts(await collect(resources))
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE posts SET collected_count = -1 WHERE comment_count = 0"))
    counts(await collect(resources, full=True))
    assert counts(await collect(resources))["posts"] == 0


# communities that are closed during a collection


async def test_a_community_that_is_closed_while_it_is_read(
    make_settings: MakeSettings, simulate: Callable[..., Simulator]
) -> None:
    simulator = simulate(groups=2, posts=130, comments=900)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened, open_worker(opened, 2):
        # the first pages of comments are correct, then the community becomes members-only
        simulator.control(
            fault_rates={
                "seed": 1,
                "rates": [
                    {"code": 15, "method": method, "where": {"owner_id": "-1"}, "inner": inner, "rate": 1.0}
                    for method in ("wall.getComments",)
                    for inner in (False, True)
                ]
                + [{"code": 15, "method": "wall.get", "where": {"owner_id": "-1", "count": "1"}, "rate": 1.0}],
            }
        )
        row = await collect(opened, group_ids=(1, 2))
        result = counts(row)
        assert (result["groups"], result["failed_groups"], result["failed_posts"]) == (1, 1, 0)
        failed = [facts for kind, facts in await events_of(opened, row.id) if kind == "GROUP_FAILED"]
        assert [(facts["vkOwnerId"], facts["vkCode"]) for facts in failed] == [(-1, 15)]
        assert await stored_comments(opened, -2) == {key: ids for key, ids in simulator.truth(2).items() if ids}
        # alone, it fails the job; the result contains the progress
        alone = await collect(opened, group_ids=(1,))
        assert (alone.state, alone.failure["code"]) == ("FAILED", "VK_ACCESS_DENIED")
        assert (alone.result["groups"], alone.result["failed_groups"]) == (0, 1)
        simulator.control(fault_rates=None)
        assert counts(await collect(opened, group_ids=(1, 2)))["failed_groups"] == 0
        assert await stored_comments(opened, -1) == {key: ids for key, ids in simulator.truth(1).items() if ids}
