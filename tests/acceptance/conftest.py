"""A simulated VK and a server in separate processes, and the requests of a client."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest

from app.cli.client import ADD_GROUPS, JOB_PROGRESS, START_COLLECTION, Client
from tests import processes
from tests.conftest import TOKEN, Simulator, until
from tests.processes import Command

Truth = dict[int, list[int]]


class StartSimulator(Protocol):
    """Starts a simulated VK; options are those of `simulate-vk`."""

    def __call__(self, **options: int) -> Simulator:
        """Start it and return it."""


@pytest.fixture
def start_simulator() -> Iterator[StartSimulator]:
    with ExitStack() as stack:

        def start(**options: int) -> Simulator:
            words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
            env = processes.unmeasured(processes.environment(LOG_FORMAT="json"))
            command = stack.enter_context(
                processes.started("simulate-vk", "--port", "0", "--rps", "0", *words, env=env)
            )
            return Simulator(command.event("simulating")["url"])

        yield start


@pytest.fixture
def server_environment(database_url: str, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return a function that builds the environment of a server on the test's database."""

    def make(simulator: Simulator, **variables: object) -> dict[str, str]:
        # Their lines are covered by other tests; measuring line coverage here would double the processor time.
        environment = processes.environment(
            **{
                "DATABASE_URL": database_url,
                "DATA_DIR": tmp_path,
                "PORT": 0,
                "LOG_FORMAT": "json",
                "VK_API_URL": simulator.url,
                "VK_TOKENS": TOKEN,
                "VK_REQUESTS_PER_SECOND": 10_000,
                "VK_TIMEOUT_SECONDS": 120,  # longer than the simulator ever holds requests
                "JOB_HEARTBEAT_TIMEOUT_SECONDS": 4,
                **variables,
            }
        )
        return processes.unmeasured(environment)

    return make


@dataclass
class ApiUser:
    """A user of a server: starts a collection and follows it."""

    client: Client
    seqs: list[int] = field(default_factory=list)
    """The events seen, in the order of arrival."""
    states: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, server: Command) -> "ApiUser":
        """Return a user of this server."""
        return cls(Client(server.url()))

    async def add_group(self) -> str:
        """Add the simulated community and return its id."""
        answer = await self.client.execute(ADD_GROUPS, {"references": ["1"]})
        return str(answer["addGroups"]["outcomes"][0]["group"]["id"])

    async def start(self, **arguments: Any) -> str:
        """Start a collection of the simulated community and return the job's id."""
        group_id = await self.add_group()
        answer = await self.client.execute(START_COLLECTION, {"input": {"groupIds": [group_id], **arguments}})
        return str(answer["startCollection"]["job"]["id"])

    async def follow(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the messages of a job from the last event seen on, over a new connection."""
        after = max(self.seqs, default=0)
        async for message in self.client.subscribe(JOB_PROGRESS, {"jobId": job_id, "afterSeq": after}):
            progress = message["jobProgress"]
            if progress["event"]:
                self.seqs.append(progress["seq"])
            self.states.append(progress["job"]["state"])
            yield progress

    async def follow_to_the_end(self, job_id: str) -> dict[str, Any]:
        """Follow a job to its end and return its last state."""
        job: dict[str, Any] = {}
        async for progress in self.follow(job_id):
            job = progress["job"]
        return job

    async def follow_until(self, job_id: str, done: int) -> None:
        """Follow a job until it has read this many comments."""
        async for progress in self.follow(job_id):
            if progress["job"]["progress"]["done"] >= done:
                return


async def stored(url: str) -> Truth:
    """Return the stored comments of the simulated community: post id -> ids of its comments, ascending."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT post_id, id FROM comments WHERE owner_id = -1 ORDER BY id")
    finally:
        await connection.close()
    found: Truth = {}
    for row in rows:
        found.setdefault(row["post_id"], []).append(row["id"])
    return found


async def hold_at(simulator: Simulator, user: ApiUser, job_id: str, done: int) -> None:
    """Let a collection read `done` comments, then hold it: it waits for VK, and nothing changes."""
    await user.follow_until(job_id, done)
    simulator.control(hold=True)
    await until(lambda: simulator.control()["waiting"])
