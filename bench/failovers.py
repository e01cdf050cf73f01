"""Kills processes that run a job, and measures the time until another one runs it: workers, and PgQueuer alone."""

import asyncio
import random
import socket
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import asyncpg
import httpx2
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.queries import Queries

from app.actions.start_collection import start_collection
from app.cli.processes import free_port, running
from app.resources import open_resources
from app.settings import read_settings
from app.store import groups, jobs
from app.wall import VkGroup
from bench.environment import child_process, simulated_vk
from bench.queues import KIND

TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.02

Holder = Callable[[], Awaitable[str | None]]
"""Reads the name of the process that has the job."""


async def worker_failovers(url: str, heartbeat_seconds: float, rounds: int) -> list[float]:
    """Repeatedly kill the `vk-comments worker` that collects from a VK that does not answer.

    Returns for each time after how many seconds another worker had the job.
    """
    async with AsyncExitStack() as stack:
        vk = await stack.enter_async_context(simulated_vk(posts=1, comments=1, rps=0))
        await _hold(vk, is_held=True)
        stack.push_async_callback(_hold, vk, is_held=False)  # else a stopping worker would wait for its requests
        resources = await stack.enter_async_context(open_resources(read_settings(database_url=url, workers=0)))
        async with resources.database.transaction() as connection:
            await groups.upsert_groups(connection, [VkGroup(1, "g", "G")])
        row = await start_collection(resources, owner_ids=[-1])
        variables = {
            "DATABASE_URL": url,
            "VK_API_URL": vk,
            "VK_TOKENS": "a-token",
            "VK_TIMEOUT_SECONDS": "120",
            "JOB_HEARTBEAT_TIMEOUT_SECONDS": str(heartbeat_seconds),
        }
        started = await asyncio.gather(
            *(stack.enter_async_context(_worker_process(variables)) for _ in range(rounds + 1)),
        )
        processes = {f"{socket.gethostname()}:{process.pid}": process for process in started}

        async def holder() -> str | None:
            async with resources.database.connect() as connection:
                found = await jobs.job_by_id(connection, row.id)
            # a worker's name begins with host name and process id
            return found.worker.rpartition(":")[0] if found and found.worker else None

        return await _failovers(holder, processes, heartbeat_seconds, rounds)


async def _hold(vk: str, *, is_held: bool) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        (await http.post(f"{vk}/_control", json={"hold": is_held})).raise_for_status()


@asynccontextmanager
async def _worker_process(variables: Mapping[str, str]) -> AsyncIterator[Process]:
    """Run a worker process; it is ready as soon as its metrics are."""
    port = free_port()
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        environment = {**variables, "DATA_DIR": directory}
        arguments = ["worker", "--metrics-port", str(port)]
        log_file = Path(directory) / "worker.log"
        async with running(arguments, environment, log_file, f"http://127.0.0.1:{port}/metrics") as process:
            yield process


async def pgqueuer_failovers(url: str, heartbeat_seconds: float, rounds: int) -> list[float]:
    """Do the same with processes that run PgQueuer alone."""
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        processes: dict[str, Process] = {}
        for _ in range(rounds + 1):
            name = str(uuid4())
            process = child_process(
                "bench.pgqueuer_worker", database_url=url, manager_id=name, heartbeat_seconds=heartbeat_seconds
            )
            processes[name] = await stack.enter_async_context(process)
        await Queries(AsyncpgDriver(connection)).enqueue(KIND.value, b"1")

        async def holder() -> str | None:
            name: str | None = await connection.fetchval("SELECT queue_manager_id::text FROM pgqueuer")
            return name

        return await _failovers(holder, processes, heartbeat_seconds, rounds)


async def _failovers(
    holder: Holder, processes: Mapping[str, Process], heartbeat_seconds: float, rounds: int
) -> list[float]:
    seconds = []
    name = await _next_holder(holder, None)
    for _ in range(rounds):
        # at a random moment between two heartbeats, of which there are two in each timeout
        await asyncio.sleep(0.5 + random.uniform(0, heartbeat_seconds / 2))  # noqa: S311 - not a secret
        killed_at = time.perf_counter()
        processes[name].kill()
        await processes[name].wait()
        name = await _next_holder(holder, name)
        seconds.append(time.perf_counter() - killed_at)
    return seconds


async def _next_holder(holder: Holder, former: str | None) -> str:
    """Wait until another process than `former` has the job and return its name."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while (name := await holder()) in (former, None):  # noqa: ASYNC110 - the condition is in PostgreSQL
            await asyncio.sleep(POLL_SECONDS)
    assert name  # noqa: S101 - the loop waits for it
    return name
