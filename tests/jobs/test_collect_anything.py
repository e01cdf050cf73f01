"""Random walls that change during a collection with random faults: the database equals VK's history in the end."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.db.tables import metadata
from app.job_states import JobState, MoveReason
from app.jobs.runs import End
from app.resources import Resources, open_resources
from app.vk import comment_pager, pager, wall_pager, wire
from app.vk.wire import VkFault
from app.work.kinds import JobKind
from simulator import SimulatorOptions, create_simulator
from tests.conftest import MakeSettings, Simulator, serving
from tests.histories import CONTRADICTIONS, NO_COMMENT, TRANSIENT, History, Rows, differences, is_alive, visible_ids
from tests.jobs.conftest import claim_job, finish, run_handler, running_job

TOKENS = ("one", "two", "three", "four")
MAX_ATTEMPTS = 30
ABOUT_A_TOKEN = [{"code": 5}, {"code": 9}, {"code": 14}, {"code": 29}, {"code": 29, "inner": True}]


@dataclass(frozen=True)
class World:
    """The parameters of one example."""

    options: dict[str, Any]
    churn: dict[str, float]
    faults: list[tuple[dict[str, Any], float]]
    token_faults: list[dict[str, Any]]
    contradictions: list[tuple[str, str, float]]
    hides: bool
    overlaps: bool

    @property
    def group_ids(self) -> range:
        """The communities of this world."""
        return range(1, self.options["groups"] + 1)

    @property
    def owner_ids(self) -> list[int]:
        """The same as VK's owner ids."""
        return [-group_id for group_id in self.group_ids]


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
    faults=st.lists(st.tuples(st.sampled_from(TRANSIENT), st.sampled_from([0.02, 0.1])), max_size=3),
    token_faults=st.lists(st.sampled_from(ABOUT_A_TOKEN), max_size=len(TOKENS) - 1),
    contradictions=st.lists(
        st.tuples(
            st.sampled_from(CONTRADICTIONS),
            st.sampled_from(["wall.get", "wall.getComments"]),
            st.sampled_from([0.02, 0.2, 1.0]),
        ),
        max_size=3,
    ),
    hides=st.booleans(),
    overlaps=st.booleans(),
)


async def run(resources: Resources, **arguments: Any) -> dict[str, Any]:
    """Collect, with retries as by a worker, and return the result."""
    row = await start_collection(resources, **arguments)
    for _ in range(MAX_ATTEMPTS):
        taken = await claim_job(resources, row.id, "test")
        assert taken
        try:
            result = await run_handler(running_job(resources, taken), JobKind.COLLECT_COMMENTS)
        except VkFault as fault:
            if not fault.is_transient:
                raise
            await finish(resources, taken, End(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False))
        else:
            await finish(resources, taken, End(JobState.SUCCEEDED, MoveReason.DONE, result))
            return result
    raise AssertionError("VK's faults do not end")


async def rows_of(resources: Resources, table: str, group_id: int) -> list[asyncpg.Record]:
    """Return all stored rows of a community."""
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        return await connection.fetch(f"SELECT * FROM {table} WHERE owner_id = $1", -group_id)  # noqa: S608 - the names are constants
    finally:
        await connection.close()


async def stored(resources: Resources, group_id: int) -> Rows:
    """Return all stored comments of a community, by their ids."""
    return {row["id"]: row for row in await rows_of(resources, "comments", group_id)}


def check_nothing_alive_is_marked(history: History, rows: Rows, but: Collection[int] = ()) -> None:
    """Check that no comment is marked as deleted although VK shows it."""
    marked = {comment_id for comment_id, row in rows.items() if row["is_deleted"]} - set(but)
    assert {comment_id for comment_id in marked if is_alive(history[comment_id])} == set()


def check_everything(history: History, rows: Rows) -> None:
    """Compare all stored comments of a community with its history, in every field."""
    assert list(differences(history, rows)) == []


class Check:
    """Collections of one world, and the expected database after each."""

    def __init__(self, world: World, resources: Resources, simulator: Simulator) -> None:
        self._world = world
        self._resources = resources
        self._simulator = simulator
        self._new_comments = 0
        self._were_hidden: set[int] = set()

    async def run(self) -> None:
        """Collect twice while the walls change, then the changes since, then everything, then nothing."""
        world = self._world
        may_be_hidden = bool(world.churn["deletions"]) or world.hides
        is_shown_all = not world.contradictions
        await add_groups(self._resources, [str(group_id) for group_id in world.group_ids])
        self._simulator.control(faults=world.token_faults)
        at_start = self._visible_ids()
        await self._collect_amid_churn(seed=0)
        await self._check_stored(at_start if is_shown_all else {})
        if world.hides:
            self._hide_some()

        # Posts were read before: from now on, gone comments are marked as deleted. If other comments have replaced
        # them, VK's counts may be unchanged.
        at_start = self._visible_ids()
        await self._collect_amid_churn(seed=1)
        await self._check_stored({} if may_be_hidden or not is_shown_all else at_start)

        self._simulator.control(churn=None, fault_rates=None)
        for group_id in world.group_ids if world.hides else ():
            self._simulator.control(show_hidden={"group_id": group_id})
        expected = self._visible_ids()
        if may_be_hidden:
            expected = {group_id: ids - await self._hidden(group_id) for group_id, ids in expected.items()}
        await self._collect(owner_ids=world.owner_ids)
        await self._check_stored(expected)

        await self._collect(owner_ids=world.owner_ids, full=True)
        for group_id in world.group_ids:
            check_everything(self._simulator.history(group_id), await stored(self._resources, group_id))
        unchanged = await self._collect(owner_ids=world.owner_ids)
        names = ("posts", "new_comments", "changed_comments", "deleted_comments", "incomplete_posts", "broken_items")
        assert [unchanged[name] for name in names] == [0] * len(names)

    def _hide_some(self) -> None:
        """Hide every third reply to comments that are not stubs, and the oldest post."""
        for group_id in self._world.group_ids:
            history = self._simulator.history(group_id)
            alive = [comment_id for comment_id, facts in history.items() if is_alive(facts)]
            replies = [each for each in alive if is_alive(history.get(history[each]["thread_id"], NO_COMMENT))]
            post_ids = sorted({history[each]["post_id"] for each in alive})
            hidden = [each for each in replies[::3] if history[each]["post_id"] not in post_ids[:1]]
            self._simulator.control(hide={"group_id": group_id, "comment_ids": hidden, "post_ids": post_ids[:1]})
            now = self._simulator.history(group_id)
            self._were_hidden |= {each for each, facts in now.items() if facts["hidden"]}

    async def _collect_amid_churn(self, seed: int) -> None:
        world, simulator = self._world, self._simulator
        rates = [{**fault, "rate": rate} for fault, rate in world.faults] + [
            {"kind": "answer", "change": change, "method": method, "inner": inner, "rate": rate}
            for change, method, rate in world.contradictions
            for inner in (False, True)
        ]
        simulator.control(
            churn={**world.churn, "seed": world.churn["seed"] + seed, "limit": 300},
            fault_rates={"seed": world.churn["seed"] + seed, "rates": rates, "limit": 25},
        )
        collections: list[Awaitable[Any]] = [self._collect(owner_ids=world.owner_ids)]
        single = [f"wall-1_{post_id}" for post_id in list(simulator.truth())[:3]]
        if world.overlaps and single:
            collections.append(self._collect(owner_ids=[], post_urls=single))
        await asyncio.gather(*collections)

    async def _collect(self, **arguments: Any) -> dict[str, Any]:
        result = await run(self._resources, **arguments)
        self._new_comments += result["new_comments"]
        return result

    def _visible_ids(self) -> dict[int, set[int]]:
        return {group_id: visible_ids(self._simulator.history(group_id)) for group_id in self._world.group_ids}

    async def _hidden(self, group_id: int) -> set[int]:
        """Return the comments where VK's counts are unchanged: only a full collection reads these again."""
        history = self._simulator.history(group_id)
        in_posts = Counter(history[comment_id]["post_id"] for comment_id in visible_ids(history))
        in_threads = Counter(history[comment_id]["thread_id"] for comment_id in visible_ids(history))
        read_posts = {row["id"]: row["collected_count"] for row in await rows_of(self._resources, "posts", group_id)}
        read_threads = {
            row["id"]: row["thread_read_count"] for row in await rows_of(self._resources, "comments", group_id)
        }
        found = set()
        for comment_id in visible_ids(history):
            post_id, thread_id = history[comment_id]["post_id"], history[comment_id]["thread_id"]
            if read_posts.get(post_id) == in_posts[post_id] or read_threads.get(thread_id) == in_threads[thread_id]:
                found.add(comment_id)
        return found

    async def _check_stored(self, expected: Mapping[int, set[int]]) -> None:
        """Check that expected comments that still exist are stored, and that none is marked wrongly."""
        counted = 0
        for group_id in self._world.group_ids:
            history = self._simulator.history(group_id)
            rows = await stored(self._resources, group_id)
            assert expected.get(group_id, set()) & visible_ids(history) <= rows.keys() <= history.keys()
            check_nothing_alive_is_marked(history, rows, self._were_hidden)
            counted += len(rows)
        assert self._new_comments == counted


async def emptied(resources: Resources) -> None:
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        of_walls = [name for name, table in metadata.tables.items() if "owner_id" in table.columns]
        await connection.execute(f"TRUNCATE {', '.join([*of_walls, 'authors', 'jobs'])} CASCADE")
        await connection.execute("UPDATE tokens SET blocked_until = NULL, kind = NULL")
    finally:
        await connection.close()


def test_the_database_equals_the_history(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    # small pages have many borders, where comments could get lost
    for module in (comment_pager, wall_pager, pager, wire):
        monkeypatch.setattr(module, "PAGE_SIZE", 10)

    async def example(world: World, url: str) -> None:
        async with open_resources(make_settings(vk_api_url=url, vk_tokens=TOKENS)) as resources:
            await emptied(resources)
            await Check(world, resources, Simulator(url)).run()

    # no shrinking of a failing world: it would exceed the test's time limit
    phases = [Phase.reuse, Phase.generate]

    @settings(max_examples=15, phases=phases)
    @given(world=WORLDS)
    def run_examples(world: World) -> None:
        with serving(create_simulator(SimulatorOptions(rps=0, **world.options))) as url:
            asyncio.run(example(world, url))

    examples: Callable[[], None] = run_examples
    examples()
