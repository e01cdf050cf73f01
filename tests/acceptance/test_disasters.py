"""No job is lost: processes are killed, frozen and replaced and PostgreSQL is restarted while 200 jobs run.

`DISASTER_SEEDS=1,2,3` in the environment chooses which disasters befall them, and when.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import orjson
import pytest

from app.cli.client import ADD_GROUPS, START_COLLECTION
from app.jobs.states import FORMER, JobState
from tests.acceptance.conftest import StartSimulator, Truth
from tests.acceptance.fleet import Node, Postgres, Running
from tests.acceptance.people import Caller, Follower, Watcher
from tests.conftest import Simulator, until
from tests.graphql.conftest import gid
from tests.ports import reserved_port
from tests.timeouts import TEST_SECONDS, WAIT_SECONDS

MakeEnvironment = Callable[..., dict[str, str]]

SEEDS = [int(seed) for seed in os.environ.get("DISASTER_SEEDS", "1").split(",")]
JOBS = 200
FOLLOWED = 40
CANCELLED = 20
URGENT = 10
BACKLOG = 60
"""How many jobs are unfinished at once: they are asked for during all of the test, through whatever happens."""
CANCEL = "mutation ($id: ID!) { cancelJob(input: {jobId: $id}) { __typename ... on Error { code message } } }"
LOOK_SECONDS = 0.05
ENDED = "state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"


class Installation:
    """A PostgreSQL, a simulated VK, web processes and workers."""

    def __init__(self, stack: ExitStack, postgres: Running, simulator: Simulator) -> None:
        self.stack = stack
        self.postgres = postgres
        self.simulator = simulator
        self.urls: list[str] = []
        self.webs: list[Node] = []
        self.workers: list[Node] = []
        self.ended = 0
        """How many jobs have ended: the clock by which everything happens."""

    async def start(
        self, make_environment: MakeEnvironment, directory: Path, *, webs: int, workers: int, heartbeat_seconds: int
    ) -> None:
        """Start all processes at once; with no workers of their own, the web processes run jobs."""
        variables = {
            "DATABASE_URL": self.postgres.url,
            "JOB_HEARTBEAT_TIMEOUT_SECONDS": heartbeat_seconds,
            # as many as it takes: on a slow machine a worker that lives may count as dead, too
            "JOB_MAX_ATTEMPTS": 100,
            "DRAIN_SECONDS": 0.5,
            "WORKERS": 0 if workers else 4,
        }
        for number in range(webs + workers):
            env = make_environment(self.simulator, **variables, DATA_DIR=directory / str(number))
            if number < webs:
                port = self.stack.enter_context(reserved_port())
                self.urls.append(f"http://127.0.0.1:{port}")
                self.webs.append(Node(self.stack, ("serve",), {**env, "PORT": str(port)}, "serving"))
            else:
                worker = Node(self.stack, ("worker", "--concurrency", "4"), env, "working")
                self.workers.append(worker)
        await asyncio.gather(*(node.start() for node in (*self.webs, *self.workers)))

    async def count_ended(self) -> None:
        """Keep `ended` up to date, for ever."""
        while True:
            [row] = await self.postgres.fetch(f"SELECT count(*) FROM jobs WHERE {ENDED}")  # noqa: S608 - ours
            self.ended = row["count"]
            await asyncio.sleep(LOOK_SECONDS)

    async def reached(self, ended: int) -> None:
        """Wait until so many jobs have ended."""
        await until(lambda: self.ended >= ended)

    async def has_all_groups(self) -> bool:
        """Tell whether the communities of all jobs are known."""
        [row] = await self.postgres.fetch("SELECT count(*) FROM groups")
        return bool(row["count"] == self.simulator.control()["options"]["groups"])

    async def has_some(self, node: Node) -> bool:
        """Tell whether jobs are this process' to run."""
        mine = "SELECT 1 FROM jobs WHERE state = 'RUNNING' AND split_part(worker, ':', 2) = $1 LIMIT 1"
        return bool(await self.postgres.fetch(mine, str(node.pid)))

    async def has_none(self, node: Node) -> bool:
        """Tell whether none is any more."""
        return not await self.has_some(node)


@asynccontextmanager
async def beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Do something for as long as the block lasts; if it fails, so does the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Disasters:
    """What happens when, all of it drawn from one seed: after so many jobs have ended, this befalls that."""

    def __init__(self, installation: Installation, postgres: Postgres, seed: int) -> None:
        self.told: list[str] = []
        """What has happened, in words."""
        self._installation = installation
        self._postgres = postgres
        self._random = random.Random(f"disasters {seed}")  # noqa: S311 - the same each time
        self._begun_at = time.monotonic()
        self._kinds: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *[self._kill_worker] * 3,
            *[self._freeze_worker] * 3,
            *[self._replace_worker] * 2,
            *[self._kill_web] * 2,
            *[self._restart_database] * 2,
        ]
        self._random.shuffle(self._kinds)
        self._moments = sorted(self._random.sample(range(5, JOBS - 20), len(self._kinds)))

    async def befall(self) -> None:
        """Let one disaster after the other begin, whether or not the one before is over."""
        async with asyncio.TaskGroup() as group:
            for moment, kind in zip(self._moments, self._kinds, strict=True):
                await self._installation.reached(moment)
                group.create_task(kind())

    async def _kill_worker(self) -> None:
        worker = self._worker()
        self._tell("worker killed")
        await worker.kill()

    async def _replace_worker(self) -> None:
        worker = self._worker()
        self._tell("worker replaced")
        await worker.replace()

    async def _freeze_worker(self) -> None:
        worker = self._worker()
        self._tell("worker frozen")
        async with worker.frozen():
            await until(lambda: self._installation.has_none(worker))
        self._tell("worker thawed")

    async def _kill_web(self) -> None:
        web = self._random.choice(self._installation.webs)
        self._tell("web process killed")
        await web.kill()

    async def _restart_database(self) -> None:
        number = self._random.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
        seconds = self._random.uniform(0, 2)
        self._tell(f"database ended by {number.name} for {seconds:.1f} s")
        await self._postgres.restart(number, seconds)
        self._tell("database started")

    def _worker(self) -> Node:
        """Choose one to which nothing else happens at the moment, if there is one."""
        workers = self._installation.workers
        return self._random.choice([worker for worker in workers if not worker.calm.locked()] or workers)

    def _tell(self, text: str) -> None:
        seconds = time.monotonic() - self._begun_at
        self.told.append(f"{seconds:.1f} s, {self._installation.ended} jobs ended: {text}")


class People:
    """Those who ask for jobs, follow some of them, and cancel some."""

    def __init__(self, installation: Installation, http: httpx2.AsyncClient, seed: int) -> None:
        self.asked_to_cancel: set[str] = set()
        self.followers: list[Follower] = []
        self.job_ids: list[str] = []
        self._installation = installation
        self._caller = Caller(http, installation.urls)
        self._random = random.Random(f"people {seed}")  # noqa: S311 - the same each time

    async def use(self, jobs: int, *, followed: int, cancelled: int = 0, urgent: int = 0) -> None:
        """Ask for a job for each of so many communities, and see all that are followed to their ends."""
        groups = await self._caller.ask(ADD_GROUPS, references=[str(number) for number in range(1, jobs + 1)])
        chosen = [set(self._random.sample(range(jobs), count)) for count in (followed, cancelled, urgent)]
        async with asyncio.TaskGroup() as group:
            for number, outcome in enumerate(groups["outcomes"]):
                is_followed, is_cancelled, is_urgent = (number in numbers for numbers in chosen)
                await self._installation.reached(number - BACKLOG)
                job_id = await self._start(outcome["group"]["id"], "CRITICAL" if is_urgent else "NORMAL")
                self.job_ids.append(job_id)
                if is_followed:
                    for urls in (self._installation.urls, self._installation.urls[::-1]):
                        self.followers.append(Follower(job_id, urls))
                        group.create_task(self.followers[-1].follow())
                if is_cancelled:
                    moment = self._installation.ended + self._random.randrange(BACKLOG)
                    group.create_task(self._cancel(job_id, min(moment, jobs - cancelled)))

    async def _start(self, group_id: str, priority: str) -> str:
        # where the answer to a first try was lost, the second one says that the job is there
        answer = await self._caller.ask(START_COLLECTION, input={"groupIds": [group_id], "priority": priority})
        return str(answer["job"]["id"])

    async def _cancel(self, job_id: str, moment: int) -> None:
        await self._installation.reached(moment)
        self.asked_to_cancel.add(job_id)
        answer = await self._caller.ask(CANCEL, id=job_id)
        # it may have ended before
        assert answer["__typename"] in ("CancelJobSuccess", "JobStateConflictError"), answer


@dataclass(frozen=True)
class Outcome:
    """What there is when all is over: the rows of all jobs by their global ids, and their events."""

    jobs: dict[str, asyncpg.Record]
    events: dict[str, list[asyncpg.Record]]

    @classmethod
    async def of(cls, postgres: Running) -> "Outcome":
        """Read it."""
        jobs = {gid("Job", row["id"]): row for row in await postgres.fetch("SELECT * FROM jobs ORDER BY id")}
        events: dict[str, list[asyncpg.Record]] = {job_id: [] for job_id in jobs}
        for row in await postgres.fetch("SELECT * FROM job_events ORDER BY job_id, seq"):
            events[gid("Job", row["job_id"])].append(row)
        return cls(jobs, events)

    def moves(self, job_id: str) -> list[dict[str, Any]]:
        """Return the facts of a job's moves, in order."""
        return [orjson.loads(row["facts"]) for row in self.events[job_id] if row["kind"] == "STATE_CHANGED"]

    def reasons(self) -> Counter[str]:
        """Count why jobs have moved."""
        return Counter(move["reason"] for job_id in self.jobs for move in self.moves(job_id))

    def check(self, asked_to_cancel: Collection[str] = ()) -> None:
        """Look whether every job has ended once, as it should, by legal moves, and whether its events have no gap."""
        for job_id, row in self.jobs.items():
            allowed = {"SUCCEEDED", "CANCELLED"} if job_id in asked_to_cancel else {"SUCCEEDED"}
            assert row["state"] in allowed, dict(row)
            states = [JobState(move["state"]) for move in self.moves(job_id)]
            assert states[0] is JobState.QUEUED
            assert all(former.value in FORMER[state] for former, state in pairwise(states)), states
            assert [state.value for state in states if state.is_final] == [states[-1].value] == [row["state"]]
            assert [event["seq"] for event in self.events[job_id]] == list(range(1, row["last_seq"] + 1))

    def check_follower(self, follower: Follower) -> None:
        """Look whether somebody has seen every event of a job once and in order."""
        events = [(row["seq"], row["kind"], row["message"]) for row in self.events[follower.job_id]]
        assert follower.seen == events
        assert follower.state == self.jobs[follower.job_id]["state"]

    def check_watcher(self, watcher: Watcher) -> None:
        """Look whether somebody knows how each job has ended that he was told of."""
        told = {job_id: states[-1] for job_id, states in watcher.states.items()}
        assert told == {job_id: self.jobs[job_id]["state"] for job_id in told}


async def check_effects(outcome: Outcome, postgres: Running, simulator: Simulator) -> None:
    """Look whether all is stored that was to be collected, each comment counted once, and whether nothing is left."""
    stored: dict[int, Truth] = {}
    for row in await postgres.fetch("SELECT owner_id, post_id, id FROM comments ORDER BY owner_id, id"):
        stored.setdefault(-row["owner_id"], {}).setdefault(row["post_id"], []).append(row["id"])
    results: dict[int, list[dict[str, Any] | None]] = {}
    for row in outcome.jobs.values():
        [owner_id] = orjson.loads(row["arguments"])["claims"]
        results.setdefault(-owner_id, []).append(orjson.loads(row["result"] or "null"))
    for group_id, found in results.items():
        if any(found):
            truth = {post_id: ids for post_id, ids in simulator.truth(group_id).items() if ids}
            assert stored[group_id] == truth
            counted = sum(result["new_comments"] for result in found if result)
            assert not all(found) or counted == sum(map(len, truth.values()))
    [left] = await postgres.fetch(
        "SELECT (SELECT count(*) FROM job_groups) AS claims, (SELECT count(*) FROM pgqueuer) AS entries"
    )
    assert dict(left) == {"claims": 0, "entries": 0}


@contextmanager
def telling(*notes: Callable[[], str]) -> Iterator[None]:
    """Say with any failure what was going on."""
    try:
        yield
    except BaseException as error:
        for note in notes:
            error.add_note(note())
        raise


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Lend what everything that runs is ended by."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("seed", SEEDS)
async def test_disasters(
    seed: int,
    data_dir: Path,
    tmp_path: Path,
    stack: ExitStack,
    http: httpx2.AsyncClient,
    start_simulator: StartSimulator,
    server_environment: MakeEnvironment,
) -> None:
    simulator = start_simulator(groups=JOBS, posts=3, comments=150)
    simulator.control(delay_ms=400)
    postgres = Postgres(stack, data_dir)
    await postgres.migrate()
    installation = Installation(stack, postgres, simulator)
    await installation.start(server_environment, tmp_path, webs=2, workers=3, heartbeat_seconds=2)
    disasters = Disasters(installation, postgres, seed)
    people = People(installation, http, seed)
    watchers = [Watcher(url) for url in installation.urls]
    with telling(lambda: f"seed {seed}", lambda: "\n".join(disasters.told)):
        async with asyncio.timeout(TEST_SECONDS / 2), AsyncExitStack() as beside_it:
            for work in (installation.count_ended(), *(watcher.watch() for watcher in watchers)):
                await beside_it.enter_async_context(beside(work))
            async with asyncio.TaskGroup() as group:
                group.create_task(disasters.befall())
                group.create_task(people.use(JOBS, followed=FOLLOWED, cancelled=CANCELLED, urgent=URGENT))
            await until(postgres.all_have_ended)
            await until(lambda: all(watcher.has_seen_all_end() for watcher in watchers))
        outcome = await Outcome.of(postgres)
        assert set(people.job_ids) <= outcome.jobs.keys()
        outcome.check(people.asked_to_cancel)
        await check_effects(outcome, postgres, simulator)
        for follower in people.followers:
            outcome.check_follower(follower)
        for watcher in watchers:
            outcome.check_watcher(watcher)
        assert len(people.followers) == 2 * FOLLOWED
        assert [failure for node in (*installation.webs, *installation.workers) for failure in node.failures()] == []
        # it was no quiet day
        assert outcome.reasons()["RESCUED"]
        assert sum(follower.connections for follower in people.followers) > len(people.followers)


async def test_a_rolling_restart(
    database_url: str,
    tmp_path: Path,
    stack: ExitStack,
    http: httpx2.AsyncClient,
    start_simulator: StartSimulator,
    server_environment: MakeEnvironment,
) -> None:
    """One process after the other is replaced that serves and runs jobs: nobody and nothing notices."""
    simulator = start_simulator(groups=20, posts=3, comments=150)
    simulator.control(delay_ms=400)
    installation = Installation(stack, Running(database_url), simulator)
    await installation.start(server_environment, tmp_path, webs=2, workers=0, heartbeat_seconds=600)
    people = People(installation, http, seed=1)
    async with beside(installation.count_ended()), asyncio.TaskGroup() as group:
        group.create_task(people.use(20, followed=20))
        await until(installation.has_all_groups)
        # from now on no job comes to its end, however long the processes take that are started anew
        simulator.control(hold=True)
        for web in installation.webs:
            await until(partial(installation.has_some, web))
            await web.replace()
        simulator.control(hold=False)
    outcome = await Outcome.of(installation.postgres)
    assert len(outcome.jobs) == 20
    outcome.check()
    await check_effects(outcome, installation.postgres, simulator)
    for follower in people.followers:
        outcome.check_follower(follower)
    assert len(people.followers) == 40
    assert {row["attempts"] for row in outcome.jobs.values()} == {1}
    assert {row["kind"] for rows in outcome.events.values() for row in rows} == {"STATE_CHANGED", "STAGE_CHANGED"}
    assert outcome.reasons().keys() == {"REQUESTED", "TAKEN", "WORKER_STOPPED", "DONE"}
    assert [failure for web in installation.webs for failure in web.failures()] == []
