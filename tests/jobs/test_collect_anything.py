"""Random walls that change while they are read, through random faults: the database ends up as VK's history has it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.communities import add_groups
from app.jobs.collect_comments import collect_comments
from app.jobs.progress import RunningJob
from app.jobs.runs import End, finish, take
from app.jobs.start_collection import start_collection
from app.jobs.states import JobState
from app.resources import Resources, open_resources
from app.simulator import SimulatorOptions, create_simulator
from app.vk import walk, wire
from app.vk.wire import VkFault
from tests.conftest import MakeSettings, Simulator, serving

TOKENS = ("one", "two", "three", "four")
MOST_TRIES = 30
PASSING: list[dict[str, Any]] = [
    *({"code": code} for code in (1, 6, 10)),
    *({"code": code, "inner": True} for code in (1, 6, 10)),
    *({"http": status} for status in (429, 500, 502)),
    *({"kind": kind} for kind in ("reset", "truncated", "not_json")),
    {"code": 13, "method": "execute"},
]
ABOUT_A_TOKEN = [{"code": 5}, {"code": 9}, {"code": 14}, {"code": 29}, {"code": 29, "inner": True}]


@dataclass(frozen=True)
class World:
    """What a run of the test begins with."""

    options: dict[str, Any]
    churn: dict[str, float]
    faults: list[tuple[dict[str, Any], float]]
    token_faults: list[dict[str, Any]]
    overlaps: bool


RATE = st.sampled_from([0.0, 0.3, 2.0])
WORLDS = st.builds(
    World,
    options=st.fixed_dictionaries(
        {
            "groups": st.integers(1, 2),
            "posts": st.integers(1, 12),
            "comments": st.sampled_from([0, 7, 150, 700, 1_500]),
            "seed": st.integers(0, 1_000),
            "biggest_post_share": st.sampled_from([0.0, 0.9]),
            "longest_thread": st.sampled_from([0, 12, 230]),
            "closed_posts_share": st.sampled_from([0.0, 0.2]),
            "nasty": st.sampled_from([0.0, 0.5]),
            "rich": st.sampled_from([0.0, 0.5]),
        }
    ),
    churn=st.fixed_dictionaries(
        {
            "seed": st.integers(0, 1_000),
            **dict.fromkeys(("comments", "replies", "likes", "edits", "deletions", "posts", "post_deletions"), RATE),
        }
    ),
    faults=st.lists(st.tuples(st.sampled_from(PASSING), st.sampled_from([0.02, 0.1])), max_size=3),
    token_faults=st.lists(st.sampled_from(ABOUT_A_TOKEN), max_size=len(TOKENS) - 1),
    overlaps=st.booleans(),
)


async def run(resources: Resources, **wishes: Any) -> dict[str, Any]:
    """Collect, one try after the other as a worker does, and return what it has brought."""
    row = await start_collection(resources, **wishes)
    for _ in range(MOST_TRIES):
        taken = await take(resources, row.id, "test")
        assert taken
        try:
            result = await collect_comments(RunningJob(resources, taken))
        except VkFault as fault:
            if not fault.passes:
                raise
            await finish(resources, taken, End(JobState.QUEUED, counts=False))
        else:
            await finish(resources, taken, End(JobState.SUCCEEDED, result))
            return result
    raise AssertionError("VK's faults do not end")


async def stored(resources: Resources, owner_id: int) -> dict[int, asyncpg.Record]:
    """Return all comments that are stored of a community, by their ids."""
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        rows = await connection.fetch("SELECT * FROM comments WHERE owner_id = $1", owner_id)
    finally:
        await connection.close()
    return {row["id"]: row for row in rows}


def there(history: dict[int, dict[str, Any]], closed: set[int]) -> set[int]:
    """Return the comments that VK shows: stubs are among them, what stands under a post that takes none is not."""
    return {
        comment_id
        for comment_id, facts in history.items()
        if facts["deleted"] != "gone" and not facts["post_deleted"] and facts["post_id"] not in closed
    }


def clean(text: str) -> str:
    """Return a text as PostgreSQL can hold it."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


async def check_everything(resources: Resources, simulator: Simulator, group_id: int) -> None:
    """Compare all that is stored of a community with its history, to the letter."""
    history = simulator.history(group_id)
    rows = await stored(resources, -group_id)
    visible = there(history, set())
    assert visible <= rows.keys() <= history.keys()
    for comment_id, row in rows.items():
        facts = history[comment_id]
        assert (row["post_id"], row["thread_id"]) == (facts["post_id"], facts["thread_id"])
        assert row["from_id"] in (facts["from_id"], None)
        if facts["deleted"] is None and not facts["post_deleted"]:
            assert not row["is_deleted"]
            assert (row["text"], row["like_count"]) == (clean(facts["text"]), facts["likes"])
        elif not facts["post_deleted"]:
            assert row["is_deleted"]
            assert row["text"] in {clean(text) for text in facts["texts"]} | {""}


async def check(world: World, resources: Resources, simulator: Simulator) -> None:
    """Collect three times: while the walls change, what came since, and everything."""
    groups = range(1, world.options["groups"] + 1)
    owner_ids = [-group_id for group_id in groups]
    await add_groups(resources, [str(group_id) for group_id in groups])
    at_start = {group_id: there(simulator.history(group_id), set()) for group_id in groups}
    simulator.control(
        churn={**world.churn, "limit": 300},
        fault_rates={
            "seed": world.churn["seed"],
            "rates": [{**fault, "rate": rate} for fault, rate in world.faults],
            "limit": 25,
        },
        faults=world.token_faults,
    )
    collections: list[Awaitable[Any]] = [run(resources, owner_ids=owner_ids)]
    if world.overlaps:
        single = [f"wall-1_{post_id}" for post_id in list(simulator.truth())[:3]]
        collections.append(run(resources, owner_ids=[], post_urls=single))
    brought = await asyncio.gather(*collections)

    still_there = {group_id: at_start[group_id] & there(simulator.history(group_id), set()) for group_id in groups}
    counted = 0
    for group_id in groups:
        rows = await stored(resources, -group_id)
        assert still_there[group_id] <= rows.keys()
        counted += len(rows)
    assert sum(result["new_comments"] for result in brought) == counted

    simulator.control(churn=None)
    await run(resources, owner_ids=owner_ids)
    if not world.churn["deletions"]:
        # with deletions VK's counts may be what they were, and only a full collection can know
        for group_id in groups:
            assert there(simulator.history(group_id), set()) <= (await stored(resources, -group_id)).keys()

    await run(resources, owner_ids=owner_ids, full=True)
    for group_id in groups:
        await check_everything(resources, simulator, group_id)
    quiet = await run(resources, owner_ids=owner_ids)
    assert (quiet["posts"], quiet["new_comments"], quiet["changed_comments"]) == (0, 0, 0)


async def emptied(resources: Resources) -> None:
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        await connection.execute("TRUNCATE groups, posts, comments, authors, jobs CASCADE")
        await connection.execute("UPDATE tokens SET blocked_until = NULL, kind = NULL")
    finally:
        await connection.close()


def test_the_database_equals_the_history(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    # small pages have many borders, at which comments could get lost
    for module in (walk, wire):
        monkeypatch.setattr(module, "PAGE_SIZE", 10)

    async def example(world: World, url: str) -> None:
        async with open_resources(make_settings(vk_api_url=url, vk_tokens=TOKENS)) as resources:
            await emptied(resources)
            await check(world, resources, Simulator(url))

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(world=WORLDS)
    def run_examples(world: World) -> None:
        with serving(create_simulator(SimulatorOptions(rps=0, **world.options))) as url:
            asyncio.run(example(world, url))

    examples: Callable[[], None] = run_examples
    examples()
