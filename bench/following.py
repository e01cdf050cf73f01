"""Has many subscribers follow one job that writes events, and measures the number and the delay of received events."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from app.cli.processes import free_port, running
from app.errors import ErrorCode
from app.job_states import JobEventKind
from app.jobs.queue import NewJob, enqueue
from app.jobs.running_job import RunningJob
from app.jobs.runs import claim
from app.json_types import JsonObject
from app.notifications import job_topic
from app.resources import Resources
from app.store.jobs import job_by_id
from bench.environment import child_process
from bench.queues import definition_of

READY_SECONDS = 60.0
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """How a job writes events: `batch` per transaction, `per_second` transactions, for `seconds`.

    Events may arrive up to `after_seconds` later; later arrivals do not count.
    """

    batch: int
    per_second: float
    seconds: float
    after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load. `delays` are seconds from the commit of an event to its arrival, sorted."""

    written: int
    arrived: int
    seconds: float
    delays: Sequence[float]
    refusals: int
    peak_bytes: int

    @property
    def per_second(self) -> float:
        """The number of events that arrived per second, at all subscribers together."""
        return self.arrived / self.seconds


@dataclass(frozen=True, slots=True)
class Server:
    """A web process of this project; `url` is the address of its subscriptions."""

    url: str
    pid: int


@asynccontextmanager
async def web_process(database_url: str) -> AsyncIterator[Server]:
    """Run `vk-comments serve` without a worker."""
    port = free_port()
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        variables = {"DATABASE_URL": database_url, "PORT": str(port), "WORKERS": "0", "DATA_DIR": directory}
        url = f"http://127.0.0.1:{port}"
        async with running(["serve"], variables, Path(directory) / "server.log", f"{url}/health/live") as process:
            yield Server(f"ws://127.0.0.1:{port}/graphql", process.pid)


def allow_sockets(needed: int) -> None:
    """Raise the limit of open sockets of this process and its children, as far as the machine allows.

    Raises:
        SystemExit: the machine does not allow as many as needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (-1, resource.RLIM_INFINITY) and hard < needed:
        raise SystemExit(f"{needed:,} open files are needed, and {hard:,} are allowed. See `ulimit -Hn`.")
    if soft not in (-1, resource.RLIM_INFINITY) and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def running_job(resources: Resources) -> RunningJob[Any, Any]:
    """Return a running job whose handler is the caller."""
    async with resources.database.transaction() as connection:
        job_id = (await enqueue(connection, resources, NewJob(definition_of(None), {}))).id
    async with resources.notifications.publish_on_commit([job_topic(job_id)]) as connection:
        queued = await job_by_id(connection, job_id)
        assert queued  # noqa: S101 - it was just made
        assert queued.queue_id  # noqa: S101 - with its queue entry
        [row] = (await claim(connection, {queued.queue_id: job_id}, "bench")).values()
    return definition_of(None).running_job(resources, row)


async def follow_loads(
    resources: Resources, loads: Sequence[Load], subscribers: int, server: Server | None
) -> list[LoadResult]:
    """Have a new job followed while it writes loads of events, over one socket per subscriber, or by the feed alone.

    The subscribers are in a separate process, which with the feed runs the feed, too. Returns
    the result of each load.
    """
    job = await running_job(resources)
    variables: dict[str, object] = {"job_id": job.id, "after_seq": FIRST_EVENTS, "subscribers": subscribers}
    if server:
        variables["server"] = server.url
    async with child_process("bench.subscribers", database_url=resources.database.dsn, **variables) as process:
        assert process.stdout  # noqa: S101 - it is a pipe
        async with asyncio.timeout(READY_SECONDS):
            if not await process.stdout.readline():
                raise RuntimeError("The subscribers could not follow the job.")
        sampled = asyncio.create_task(_peak_bytes(server.pid)) if server else None
        seqs = count(FIRST_EVENTS + 1)
        written = [await _write(job, load, seqs) for load in loads]
        answer, _ = await process.communicate(b"")  # closes its standard input
        received = json.loads(answer)
        peak_bytes = await _ended(sampled) if sampled else received["peak_bytes"]
    return [
        summarized(received["arrivals"], commits, load, received["refusals"], peak_bytes)
        for load, commits in zip(loads, written, strict=True)
    ]


FIRST_EVENTS = 2
"""The number of events of a job that has just been claimed: queued, and running."""


async def _write(job: RunningJob[Any, Any], load: Load, seqs: "count[int]") -> dict[int, float]:
    """Write a load of events, like a collection that cannot read posts; return seq -> time of its commit."""
    commits: dict[int, float] = {}
    begun = time.monotonic()
    for number in count():
        due = begun + number / load.per_second
        if due - begun >= load.seconds or time.monotonic() - begun >= load.seconds:
            break
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        batch = [next(seqs) for _ in range(load.batch)]
        async with job.step() as connection:
            for seq in batch:
                facts: JsonObject = {"vkOwnerId": -1, "vkPostId": seq, "code": ErrorCode.POST_NOT_FOUND.value}
                message = f"Post -1_{seq} does not exist, or VK does not show it."
                await job.event(connection, JobEventKind.POST_FAILED, message, facts)
        commits |= dict.fromkeys(batch, time.monotonic())
    await asyncio.sleep(max(0.0, begun + load.seconds - time.monotonic()) + load.after_seconds)
    return commits


def summarized(
    arrivals: dict[str, list[float]], commits: dict[int, float], load: Load, refusals: int, peak_bytes: int
) -> LoadResult:
    """Return the result of a load from seq -> its arrivals, and seq -> time of its commit."""
    first = min(commits.values())
    latest = first + load.seconds + load.after_seconds
    delays = [at - committed for seq, committed in commits.items() for at in arrivals.get(str(seq), ()) if at <= latest]
    return LoadResult(len(commits), len(delays), load.seconds, sorted(delays), refusals, peak_bytes)


async def _peak_bytes(pid: int) -> int:
    """Measure the peak memory of a process until cancelled, then return it."""
    process, peak = psutil.Process(pid), 0
    try:
        while True:
            peak = max(peak, process.memory_info().rss)
            await asyncio.sleep(SAMPLE_SECONDS)
    except asyncio.CancelledError:
        return peak


async def _ended(sampled: "asyncio.Task[int]") -> int:
    sampled.cancel()
    return await sampled
