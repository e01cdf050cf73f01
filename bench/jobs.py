"""Measures jobs: how fast they run, start, resume after a crash, are cancelled and followed, each against a reference.

`python -m bench.jobs` takes some three minutes; `--quick` measures a little of each, only to show that it runs.
"""

import argparse
import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

import asyncpg
import structlog
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from app.feeds import EVENTS_KEPT
from app.jobs.running_job import TICKS_PER_SECOND, Progress, RunningJob
from app.jobs.watch import CANCEL_CHECK_SECONDS
from app.notifications import job_topic
from app.resources import Resources, open_resources
from app.settings import read_settings
from app.store import jobs
from bench.environment import empty_database, postgresql
from bench.failovers import pgqueuer_failovers, worker_failovers
from bench.following import Load, LoadResult, allow_sockets, follow_loads, running_job, web_process
from bench.queues import ComparedQueue, PgQueuerQueue, ProjectQueue, clear

POLL_SECONDS = 0.02
TIMEOUT_SECONDS = 60.0
"""The time limit of each measurement step."""
LEAST_RATE, MOST_DELAY, MOST_FAILOVER_SECONDS, MOST_CANCEL_SECONDS = 0.5, 2.0, 30.0, 1.0
"""The goals: jobs per second and delay as shares of PgQueuer's, and what README promises."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the measurements."""

    jobs: int
    rounds: int
    starts: int
    failovers: int
    heartbeat_seconds: float
    cancels: int
    ticks: int
    subscribers: int
    seconds: float


FULL = Sizes(
    jobs=2_000, rounds=3, starts=300, failovers=3, heartbeat_seconds=10, cancels=20, ticks=1_000, subscribers=1_000,
    seconds=4,
)  # fmt: skip
QUICK = Sizes(
    jobs=200, rounds=1, starts=20, failovers=1, heartbeat_seconds=1, cancels=5, ticks=100, subscribers=20, seconds=0.5
)


class Bench:
    """The measurements of one run, on one PostgreSQL. Each queue has its own database."""

    def __init__(self, url: str, sizes: Sizes) -> None:
        self._url = url
        self._sizes = sizes
        self._numbers = count()

    async def database(self) -> str:
        """Return the URL of a new database."""
        return await empty_database(self._url, f"bench_{next(self._numbers)}")

    @asynccontextmanager
    async def project_resources(self) -> AsyncIterator[Resources]:
        """Open this project's resources on a new database."""
        async with open_resources(read_settings(database_url=await self.database(), workers=0)) as resources:
            yield resources

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[ProjectQueue, PgQueuerQueue]]:
        """Open both queues, each on its own database."""
        url = await self.database()
        async with self.project_resources() as resources, asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
            yield ProjectQueue(resources), PgQueuerQueue(url, pool)

    async def speed(self) -> Table:
        """Compare the jobs with empty handlers that a worker runs per second, ten at once, with PgQueuer alone.

        The queue is filled in advance; the time is measured from the start of the first
        handler until the queue is empty. Both alternate, and the result of each is the
        median of its rounds. Also compare how fast jobs are enqueued one by one, each in
        its own transaction.
        """
        async with self.both() as (project, pgqueuer):
            claiming = ProjectQueue(project.resources, claims=True)
            rates: dict[ComparedQueue, list[float]] = {project: [], claiming: [], pgqueuer: []}
            for side in (project, claiming, pgqueuer) * self._sizes.rounds:
                rates[side].append(await _drained(side, self._sizes.jobs))
            enqueued = await _enqueued((project, pgqueuer), self._sizes.starts)
        title = f"Jobs per second, {self._sizes.jobs:,} in the queue, medians of {self._sizes.rounds}"
        table = Table("", "this project", "PgQueuer alone", "ratio", "goal", title=title)
        pgqueuer_rate = median(rates[pgqueuer])
        for name, side in (("empty handlers", project), ("with a community each", claiming)):
            table.add_row(name, *_compared(median(rates[side]), pgqueuer_rate, ",.0f"), _goal(
                f">= {LEAST_RATE}", is_met=median(rates[side]) >= LEAST_RATE * pgqueuer_rate
            ))  # fmt: skip
        table.add_row("enqueued, one by one", *_compared(enqueued[0], enqueued[1], ",.0f"), "")
        return table

    async def starts(self) -> Table:
        """Compare the time from the return of `enqueue` to the start of the handler, on an idle worker."""
        async with self.both() as (project, pgqueuer):
            delays = await _start_delays((project, pgqueuer), self._sizes.starts)
        table = Table("ms", "this project", "PgQueuer alone", "ratio", "goal", title="Enqueue to start, one by one")
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            measured, reference = (_percentile(found, share) * 1000 for found in delays)
            table.add_row(name, *_compared(measured, reference, ".1f"), _goal(
                f"<= {MOST_DELAY:g}", is_met=measured <= MOST_DELAY * reference
            ))  # fmt: skip
        return table

    async def failover(self) -> Table:
        """Compare the time until another process has the job of a killed one (kill -9) with PgQueuer alone."""
        heartbeat_seconds, rounds = self._sizes.heartbeat_seconds, self._sizes.failovers
        found = await asyncio.gather(
            worker_failovers(await self.database(), heartbeat_seconds, rounds),
            pgqueuer_failovers(await self.database(), heartbeat_seconds, rounds),
        )
        title = f"Resumed after kill -9, heartbeat timeout {heartbeat_seconds:g} s"
        table = Table("seconds", "this project", "PgQueuer alone", "ratio", "goal", title=title)
        measured, reference = map(median, found)
        table.add_row(f"median of {rounds}", *_compared(measured, reference, ".1f"), "")
        longest = list(map(max, found))
        goal = _goal(f"<= {MOST_FAILOVER_SECONDS:g} s", is_met=longest[0] <= MOST_FAILOVER_SECONDS)
        table.add_row("longest", *_compared(longest[0], longest[1], ".1f"), goal)
        return table

    async def cancelling(self) -> Table:
        """Compare the time from `cancel` to the state CANCELLED with that from PgQueuer's call to its handler's end.

        The handlers wait. The request comes through other resources than the worker's, as
        from another process; it is measured with and without a notification.
        """
        async with self.both() as (project, pgqueuer), _other_process(project) as requester:
            notified = await _cancel_delays(project, requester, self._sizes.cancels, notifies=True)
            unnotified = await _cancel_delays(project, requester, self._sizes.cancels, notifies=False)
            pgqueuer_delays = await _pgqueuer_cancel_delays(pgqueuer, self._sizes.cancels)
        title = f"Cancel to end, a waiting handler, {self._sizes.cancels} times"
        table = Table("ms", "median", "longest", "against", "ratio", "goal", title=title)
        middle, longest = median(pgqueuer_delays) * 1000, max(pgqueuer_delays) * 1000
        table.add_row("PgQueuer alone", f"{middle:.0f}", f"{longest:.0f}", "", "", "")
        for name, found, against, seconds in (
            ("this project", notified, "PgQueuer", median(pgqueuer_delays)),
            (
                "this project, notification lost",
                unnotified,
                f"its checks, {CANCEL_CHECK_SECONDS * 1000:.0f}",
                CANCEL_CHECK_SECONDS,
            ),
        ):
            table.add_row(
                name, f"{median(found) * 1000:.0f}", f"{max(found) * 1000:.0f}", against,
                f"{median(found) / seconds:.2f}",
                _goal(f"<= {MOST_CANCEL_SECONDS * 1000:.0f}", is_met=max(found) <= MOST_CANCEL_SECONDS),
            )  # fmt: skip
        return table

    async def tick(self) -> Table:
        """Compare a report of progress, in its own step, with a bare UPDATE of such a row in a transaction.

        Also count the notifications of as many reports, made without pause.
        """
        async with self.project_resources() as resources:
            reports, updates = await _ticks(resources, self._sizes.ticks)
            seconds, notifications = await _notifications(resources, self._sizes.ticks)
        table = Table("", "this project", "bare UPDATE", "ratio", "goal", title="A tick of progress")
        measured, reference = median(reports) * 1000, median(updates) * 1000
        table.add_row(f"ms, median of {self._sizes.ticks:,}", *_compared(measured, reference, ".2f"), "")
        within = notifications <= TICKS_PER_SECOND * seconds + 1
        table.add_row(
            f"notifications of {self._sizes.ticks:,} in {seconds:.1f} s", str(notifications), str(self._sizes.ticks),
            f"{notifications / self._sizes.ticks:.3f}", _goal(f"<= {TICKS_PER_SECOND} per second", is_met=within),
        )  # fmt: skip
        return table

    async def following(self) -> Table:
        """Compare a process with many subscribers of a job with one that has a single one, by the API and by the feed.

        A few events per second show the delay; more events than it can deliver show its
        maximum. By the API each subscriber has its own socket and sends the subscription
        of `vk-comments collect`. Each load is shorter than the feed's buffer.
        """
        subscribers, seconds = self._sizes.subscribers, self._sizes.seconds
        allow_sockets(2 * subscribers + 200)
        many = [Load(1, 2, seconds, after_seconds=0.5), Load(5, min(8, EVENTS_KEPT / 5 / seconds), seconds)]
        one = [Load(20, 60, seconds / 2)]
        title = "Events per second to subscribers; ms to their arrival; by the API a socket each"
        table = Table("", "written", "delivered", "share", "of one's", "p50", "p99", "memory", title=title)
        async with self.project_resources() as resources, web_process(resources.database.dsn) as server:
            for name, way in (("feed", None), ("API", server)):
                [single] = await follow_loads(resources, one, 1, way)
                table.add_row(f"{name}, 1", *_delivered(single, 1, None))
                for result in await follow_loads(resources, many, subscribers, way):
                    table.add_row(f"{name}, {subscribers:,}", *_delivered(result, subscribers, single))
        return table


def _compared(measured: float, reference: float, form: str) -> tuple[str, str, str]:
    return f"{measured:{form}}", f"{reference:{form}}", f"{measured / reference:.2f}"


def _goal(text: str, *, is_met: bool) -> str:
    return f"{text}, {'met' if is_met else 'MISSED'}"


def _percentile(values: Sequence[float], share: float) -> float:
    if not values:  # nothing arrived in time
        return math.nan
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _delivered(result: LoadResult, subscribers: int, single: LoadResult | None) -> tuple[str, ...]:
    return (
        f"{result.written / result.seconds:,.0f}",
        f"{result.per_second:,.0f}",
        f"{result.arrived / result.written / subscribers:.0%}"
        + (f", {result.refusals} refused" if result.refusals else ""),
        f"{result.per_second / single.per_second:.1f}" if single and single.arrived else "",
        f"{_percentile(result.delays, 0.5) * 1000:,.0f}",
        f"{_percentile(result.delays, 0.99) * 1000:,.0f}",
        f"{result.peak_bytes / 2**20:.0f} MiB",
    )


async def _drained(side: ComparedQueue, jobs_count: int) -> float:
    """Fill a queue, run all its jobs, and return the number of jobs per second."""
    connection = await asyncpg.connect(side.url)
    try:
        await clear(connection)
        await side.fill(connection, jobs_count)
        await connection.execute("ANALYZE")
        has_begun = asyncio.Event()

        async def handler() -> None:
            has_begun.set()

        async with side.working(handler), asyncio.timeout(TIMEOUT_SECONDS):
            await has_begun.wait()
            started = time.perf_counter()
            while await connection.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)"):  # noqa: ASYNC110 - the condition is in PostgreSQL
                await asyncio.sleep(POLL_SECONDS)
            return jobs_count / (time.perf_counter() - started)
    finally:
        await connection.close()


async def _enqueued(sides: Sequence[ComparedQueue], times: int) -> list[float]:
    """Return how many jobs per second each side enqueues, from the median of the times of one."""
    seconds: dict[ComparedQueue, list[float]] = {side: [] for side in sides}
    for side in list(sides) * times:
        started = time.perf_counter()
        await side.enqueue()
        seconds[side].append(time.perf_counter() - started)
    return [1 / median(found) for found in seconds.values()]


async def _start_delays(sides: Sequence[ComparedQueue], times: int) -> list[list[float]]:
    """Return the delays from enqueueing to the start of a job on each side, while all workers are idle."""
    delays: list[list[float]] = []
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[float] = loop.create_future()

    async def handler() -> None:
        begun.set_result(time.perf_counter())

    first, second = sides
    async with first.working(handler), second.working(handler):
        delays = [[] for _ in sides]
        for number in range(times + 1):
            for side, found in zip(sides, delays, strict=True):
                begun = loop.create_future()
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await side.enqueue()
                    enqueued = time.perf_counter()
                    delay = await begun - enqueued
                if number:  # the first one waits until the worker is ready
                    found.append(delay)
                await asyncio.sleep(random.uniform(0.01, 0.04))  # noqa: S311 - not a secret
    return delays


@asynccontextmanager
async def _other_process(project: ProjectQueue) -> AsyncIterator[ProjectQueue]:
    """Open this project's queue as another process does."""
    async with open_resources(project.resources.settings) as resources:
        yield ProjectQueue(resources)


async def _cancel_delays(project: ProjectQueue, requester: ProjectQueue, times: int, *, notifies: bool) -> list[float]:
    """Return the delays from a cancel request to the state CANCELLED."""
    delays = []
    has_begun = asyncio.Event()

    async def handler() -> None:
        has_begun.set()
        await asyncio.Event().wait()

    async with project.working(handler):
        for _ in range(times):
            has_begun.clear()
            job_id = await requester.enqueue()
            await has_begun.wait()
            # at a random moment between two checks for cancel requests
            await asyncio.sleep(random.uniform(0, 0.05 if notifies else CANCEL_CHECK_SECONDS))  # noqa: S311 - not a secret
            with requester.resources.notifications.subscribe(job_topic(job_id)) as wake:
                started = time.perf_counter()
                await (requester.cancel(job_id) if notifies else _cancel_unnotified(requester.resources, job_id))
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    while await _state(requester.resources, job_id) != "CANCELLED":
                        await wake.wait(1)
            delays.append(time.perf_counter() - started)
    return delays


async def _cancel_unnotified(resources: Resources, job_id: int) -> None:
    """Do what `cancel` does to a running job, as if its notification had been lost."""
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET cancel_requested_at = now() WHERE id = :id"), {"id": job_id})


async def _state(resources: Resources, job_id: int) -> str | None:
    async with resources.database.connect() as connection:
        row = await jobs.job_by_id(connection, job_id)
    return row.state if row else None


async def _pgqueuer_cancel_delays(pgqueuer: PgQueuerQueue, times: int) -> list[float]:
    """Return the delays from a cancel request to the end of PgQueuer's handlers."""
    delays = []
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def handler() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    async with pgqueuer.working(handler):
        for _ in range(times):
            has_begun.clear()
            has_ended.clear()
            entry_id = await pgqueuer.enqueue()
            await has_begun.wait()
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - not a secret
            started = time.perf_counter()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await pgqueuer.cancel(entry_id)
                await has_ended.wait()
            delays.append(time.perf_counter() - started)
    return delays


async def _ticks(resources: Resources, times: int) -> tuple[list[float], list[float]]:
    """Return the times of reports, and of bare UPDATEs of another job that alternate with them."""
    job, other = await running_job(resources), await running_job(resources)
    reports: list[float] = []
    updates: list[float] = []
    for number in range(times):
        started = time.perf_counter()
        await _report(job, number, times)
        reports.append(time.perf_counter() - started)
        started = time.perf_counter()
        async with resources.database.transaction() as connection:
            values = {"done": number, "id": other.id}
            await connection.execute(text("UPDATE jobs SET done = :done WHERE id = :id"), values)
        updates.append(time.perf_counter() - started)
    return reports, updates


async def _notifications(resources: Resources, times: int) -> tuple[float, int]:
    """Return the time of consecutive reports, and the number of their notifications."""
    job = await running_job(resources)
    notifications = 0

    def note(*message: object) -> None:
        nonlocal notifications
        notifications += message[-1] == job_topic(job.id)

    connection = await asyncpg.connect(resources.database.dsn)
    try:
        await connection.add_listener(resources.notifications.channel, note)
        started = time.perf_counter()
        for number in range(times):
            await _report(job, number, times)
        seconds = time.perf_counter() - started
        await connection.execute("SELECT 1")  # notifications that were sent before arrive before its answer
    finally:
        await connection.close()
    return seconds, notifications


async def _report(job: RunningJob[Any, Any], done: int, total: int) -> None:
    async with job.step() as connection:
        await job.report(connection, Progress("", done, total), {"done": done})


async def run(sizes: Sizes) -> None:
    """Measure, and print the tables."""
    console = Console()
    with postgresql() as url:
        bench = Bench(url, sizes)
        for measure in (
            bench.speed, bench.starts, bench.failover, bench.cancelling, bench.tick, bench.following
        ):  # fmt: skip
            console.print(await measure())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of each")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(QUICK if parser.parse_args().quick else FULL))
