"""No job is lost: processes are killed, frozen and replaced and PostgreSQL is restarted while 200 jobs run.

The environment variable `DISASTER_SEEDS=1,2,3` determines the faults and their times.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from app.cli.client import ADD_GROUPS, START_COLLECTION
from tests.acceptance.clients import Follower, RetryingClient, Watcher
from tests.acceptance.conftest import StartSimulator, Truth
from tests.acceptance.installation import (
    Installation,
    MakeEnvironment,
    Node,
    PostgresServer,
    RestartablePostgres,
    in_background,
)
from tests.acceptance.outcomes import Outcome
from tests.conftest import Simulator, until
from tests.timeouts import TEST_SECONDS, WAIT_SECONDS

SEEDS = [int(seed) for seed in os.environ.get("DISASTER_SEEDS", "1").split(",")]
JOBS = 200
FOLLOWED = 40
CANCELLED = 20
URGENT = 10
BACKLOG = 60
"""The number of unfinished jobs: new ones are requested during the whole test, whatever fails."""
CANCEL = "mutation ($id: ID!) { cancelJob(input: {jobId: $id}) { __typename ... on Error { code message } } }"


class Disasters:
    """The faults, drawn from one seed: each happens when a certain number of jobs has ended."""

    def __init__(self, installation: Installation, postgres: RestartablePostgres, seed: int) -> None:
        self.log: list[str] = []
        """What has happened, as text."""
        self._installation = installation
        self._postgres = postgres
        self._random = random.Random(f"disasters {seed}")  # noqa: S311 - reproducible, not a secret
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

    async def run(self) -> None:
        """Start the faults one after the other, whether or not the previous one is over."""
        async with asyncio.TaskGroup() as group:
            for moment, kind in zip(self._moments, self._kinds, strict=True):
                await self._installation.wait_for_ended(moment)
                group.create_task(kind())

    async def _kill_worker(self) -> None:
        worker = self._worker()
        self._log("worker killed")
        await worker.kill()

    async def _replace_worker(self) -> None:
        worker = self._worker()
        self._log("worker replaced")
        await worker.replace()

    async def _freeze_worker(self) -> None:
        worker = self._worker()
        self._log("worker frozen")
        async with worker.frozen():
            await until(lambda: self._installation.has_no_jobs(worker))
        self._log("worker thawed")

    async def _kill_web(self) -> None:
        web = self._random.choice(self._installation.webs)
        self._log("web process killed")
        await web.kill()

    async def _restart_database(self) -> None:
        number = self._random.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
        seconds = self._random.uniform(0, 2)
        self._log(f"database ended by {number.name} for {seconds:.1f} s")
        await self._postgres.restart(number, seconds)
        self._log("database started")

    def _worker(self) -> Node:
        """Choose a worker without another fault at the moment, if there is one."""
        workers = self._installation.workers
        return self._random.choice([worker for worker in workers if not worker.fault_lock.locked()] or workers)

    def _log(self, text: str) -> None:
        seconds = time.monotonic() - self._begun_at
        self.log.append(f"{seconds:.1f} s, {self._installation.ended} jobs ended: {text}")


class Clients:
    """Clients that start jobs, follow some of them, and cancel some."""

    def __init__(self, installation: Installation, http: httpx2.AsyncClient, seed: int) -> None:
        self.cancel_requested: set[str] = set()
        self.followers: list[Follower] = []
        self.job_ids: list[str] = []
        self._installation = installation
        self._client = RetryingClient(http, installation.urls)
        self._random = random.Random(f"people {seed}")  # noqa: S311 - reproducible, not a secret

    async def use(self, jobs: int, *, followed: int, cancelled: int = 0, urgent: int = 0) -> None:
        """Start one job for each of `jobs` communities, and follow the chosen ones to their ends."""
        groups = await self._client.execute(ADD_GROUPS, references=[str(number) for number in range(1, jobs + 1)])
        chosen = [set(self._random.sample(range(jobs), count)) for count in (followed, cancelled, urgent)]
        async with asyncio.TaskGroup() as group:
            for number, outcome in enumerate(groups["outcomes"]):
                is_followed, is_cancelled, is_urgent = (number in numbers for numbers in chosen)
                await self._installation.wait_for_ended(number - BACKLOG)
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
        # if the answer to the first try was lost, the answer to the second one is that the job exists
        answer = await self._client.execute(START_COLLECTION, input={"groupIds": [group_id], "priority": priority})
        return str(answer["job"]["id"])

    async def _cancel(self, job_id: str, moment: int) -> None:
        await self._installation.wait_for_ended(moment)
        self.cancel_requested.add(job_id)
        answer = await self._client.execute(CANCEL, id=job_id)
        # the job may have ended before
        assert answer["__typename"] in ("CancelJobSuccess", "JobStateConflictError"), answer


async def check_effects(outcome: Outcome, postgres: PostgresServer, simulator: Simulator) -> None:
    """Check that all comments are stored, that each was counted once, and that nothing remains of the jobs."""
    stored: dict[int, Truth] = {}
    for row in await postgres.fetch("SELECT owner_id, post_id, id FROM comments ORDER BY owner_id, id"):
        stored.setdefault(-row["owner_id"], {}).setdefault(row["post_id"], []).append(row["id"])
    results: dict[int, list[dict[str, Any] | None]] = {}
    for row in outcome.jobs.values():
        [owner_id] = orjson.loads(row["arguments"])["wall_ids"]
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
def reporting(*notes: Callable[[], str]) -> Iterator[None]:
    """Add these notes to any failure."""
    try:
        yield
    except BaseException as error:
        for note in notes:
            error.add_note(note())
        raise


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Provide the exit stack that stops everything that was started."""
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
    postgres = RestartablePostgres(stack, data_dir)
    await postgres.migrate()
    installation = Installation(stack, postgres, simulator)
    await installation.start(server_environment, tmp_path, webs=2, workers=3, heartbeat_seconds=2)
    disasters = Disasters(installation, postgres, seed)
    clients = Clients(installation, http, seed)
    watchers = [Watcher(url) for url in installation.urls]
    with reporting(lambda: f"seed {seed}", lambda: "\n".join(disasters.log)):
        async with asyncio.timeout(TEST_SECONDS / 2), AsyncExitStack() as background:
            for work in (installation.count_ended(), *(watcher.watch() for watcher in watchers)):
                await background.enter_async_context(in_background(work))
            async with asyncio.TaskGroup() as group:
                group.create_task(disasters.run())
                group.create_task(clients.use(JOBS, followed=FOLLOWED, cancelled=CANCELLED, urgent=URGENT))
            await until(postgres.all_have_ended)
            await until(lambda: all(watcher.has_seen_all_end() for watcher in watchers))
        outcome = await Outcome.of(postgres)
        assert set(clients.job_ids) <= outcome.jobs.keys()
        outcome.check(clients.cancel_requested)
        await check_effects(outcome, postgres, simulator)
        for follower in clients.followers:
            outcome.check_follower(follower)
        for watcher in watchers:
            outcome.check_watcher(watcher)
        assert len(clients.followers) == 2 * FOLLOWED
        assert [failure for node in (*installation.webs, *installation.workers) for failure in node.failures()] == []
        # faults did interrupt jobs and connections
        assert outcome.reasons()["RESCUED"]
        assert sum(follower.connections for follower in clients.followers) > len(clients.followers)


async def test_a_rolling_restart(
    database_url: str,
    tmp_path: Path,
    stack: ExitStack,
    http: httpx2.AsyncClient,
    start_simulator: StartSimulator,
    server_environment: MakeEnvironment,
) -> None:
    """Replace all processes that serve and run jobs, one after the other: no client and no job is affected."""
    simulator = start_simulator(groups=20, posts=3, comments=150)
    simulator.control(delay_ms=400)
    installation = Installation(stack, PostgresServer(database_url), simulator)
    await installation.start(server_environment, tmp_path, webs=2, workers=0, heartbeat_seconds=600)
    clients = Clients(installation, http, seed=1)
    async with in_background(installation.count_ended()), asyncio.TaskGroup() as group:
        group.create_task(clients.use(20, followed=20))
        await until(installation.has_all_groups)
        # from now on no job ends, however long the restarts take
        simulator.control(hold=True)
        for web in installation.webs:
            await until(partial(installation.has_jobs, web))
            await web.replace()
        simulator.control(hold=False)
    outcome = await Outcome.of(installation.postgres)
    assert len(outcome.jobs) == 20
    outcome.check()
    await check_effects(outcome, installation.postgres, simulator)
    for follower in clients.followers:
        outcome.check_follower(follower)
    assert len(clients.followers) == 40
    assert {row["attempts"] for row in outcome.jobs.values()} == {1}
    assert {row["kind"] for rows in outcome.events.values() for row in rows} == {"STATE_CHANGED", "STAGE_CHANGED"}
    assert outcome.reasons().keys() == {"REQUESTED", "CLAIMED", "WORKER_STOPPED", "DONE"}
    assert [failure for web in installation.webs for failure in web.failures()] == []
