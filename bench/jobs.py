"""Measures jobs: how fast they run, start, are rescued, cancelled and told of, each against something named.

`python -m bench.jobs` takes some three minutes; with `--quick` it measures a little of each, which shows that it runs.
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
from bench.following import Load, Told, allow_sockets, running_job, tell, web_process
from bench.queues import Alone, Ours, Side, clear
from bench.rescues import our_rescues, their_rescues
from bench.surroundings import empty_database, postgresql

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
"""How long anything may take before the measurement gives up."""
LEAST_RATE, MOST_DELAY, MOST_RESCUE_SECONDS, MOST_CANCEL_SECONDS = 0.5, 2.0, 30.0, 1.0
"""The goals: jobs a second and delay as shares of PgQueuer's, and what README promises."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    jobs: int
    rounds: int
    starts: int
    rescues: int
    heartbeat_seconds: float
    cancels: int
    ticks: int
    subscribers: int
    seconds: float


FULL = Sizes(
    jobs=2_000, rounds=3, starts=300, rescues=3, heartbeat_seconds=10, cancels=20, ticks=1_000, subscribers=1_000,
    seconds=4,
)  # fmt: skip
QUICK = Sizes(
    jobs=200, rounds=1, starts=20, rescues=1, heartbeat_seconds=1, cancels=5, ticks=100, subscribers=20, seconds=0.5
)


class Bench:
    """The measurements of one run, on one PostgreSQL. Each queue has a database of its own there."""

    def __init__(self, url: str, sizes: Sizes) -> None:
        self._url = url
        self._sizes = sizes
        self._numbers = count()

    async def database(self) -> str:
        """Return the address of a new database."""
        return await empty_database(self._url, f"bench_{next(self._numbers)}")

    @asynccontextmanager
    async def ours(self) -> AsyncIterator[Resources]:
        """Open the resources of a process of ours on a new database."""
        async with open_resources(read_settings(database_url=await self.database(), workers=0)) as resources:
            yield resources

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Ours, Alone]]:
        """Lend both queues, each on a database of its own."""
        url = await self.database()
        async with self.ours() as resources, asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
            yield Ours(resources), Alone(url, pool)

    async def speed(self) -> Table:
        """Compare how many jobs with empty bodies a worker runs in a second, ten at once, with PgQueuer alone.

        The queue is filled beforehand; the time is that from the first start of
        a body until the queue is empty. Both take turns, each is as fast as the
        median of its rounds. And compare how fast jobs are put into the queue
        one by one, each in its transaction.
        """
        async with self.both() as (ours, alone):
            claiming = Ours(ours.resources, claims=True)
            rates: dict[Side, list[float]] = {ours: [], claiming: [], alone: []}
            for side in (ours, claiming, alone) * self._sizes.rounds:
                rates[side].append(await _drained(side, self._sizes.jobs))
            enqueued = await _enqueued((ours, alone), self._sizes.starts)
        title = f"Jobs a second, {self._sizes.jobs:,} in the queue, medians of {self._sizes.rounds}"
        table = Table("", "ours", "PgQueuer alone", "ratio", "goal", title=title)
        theirs = median(rates[alone])
        for name, side in (("empty bodies", ours), ("with a community each", claiming)):
            table.add_row(name, *_compared(median(rates[side]), theirs, ",.0f"), _goal(
                f">= {LEAST_RATE}", is_met=median(rates[side]) >= LEAST_RATE * theirs
            ))  # fmt: skip
        table.add_row("enqueued, one by one", *_compared(enqueued[0], enqueued[1], ",.0f"), "")
        return table

    async def starts(self) -> Table:
        """Compare the time from the return of an enqueue to the first line of the body, on an idle worker."""
        async with self.both() as (ours, alone):
            delays = await _start_delays((ours, alone), self._sizes.starts)
        table = Table("ms", "ours", "PgQueuer alone", "ratio", "goal", title="Enqueue to start, one job at a time")
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            mine, theirs = (_percentile(found, share) * 1000 for found in delays)
            table.add_row(name, *_compared(mine, theirs, ".1f"), _goal(
                f"<= {MOST_DELAY:g}", is_met=mine <= MOST_DELAY * theirs
            ))  # fmt: skip
        return table

    async def rescue(self) -> Table:
        """Compare after how long another process has the job of one that was killed (kill -9) with PgQueuer alone."""
        heartbeat_seconds, rounds = self._sizes.heartbeat_seconds, self._sizes.rescues
        found = await asyncio.gather(
            our_rescues(await self.database(), heartbeat_seconds, rounds),
            their_rescues(await self.database(), heartbeat_seconds, rounds),
        )
        title = f"Rescue after kill -9, heartbeat time-out {heartbeat_seconds:g} s"
        table = Table("seconds", "ours", "PgQueuer alone", "ratio", "goal", title=title)
        mine, theirs = map(median, found)
        table.add_row(f"median of {rounds}", *_compared(mine, theirs, ".1f"), "")
        longest = list(map(max, found))
        goal = _goal(f"<= {MOST_RESCUE_SECONDS:g} s", is_met=longest[0] <= MOST_RESCUE_SECONDS)
        table.add_row("longest", *_compared(longest[0], longest[1], ".1f"), goal)
        return table

    async def cancelling(self) -> Table:
        """Compare the time from `cancel` to the row CANCELLED with that from PgQueuer's call to the end of its body.

        The bodies wait. Ours is asked through other resources than those of its
        worker, as another process would; and once more without a notification.
        """
        async with self.both() as (ours, alone), _elsewhere(ours) as asking:
            told = await _cancel_delays(ours, asking, self._sizes.cancels, is_told=True)
            untold = await _cancel_delays(ours, asking, self._sizes.cancels, is_told=False)
            theirs = await _their_cancel_delays(alone, self._sizes.cancels)
        title = f"Cancel to end, a body that waits, {self._sizes.cancels} times"
        table = Table("ms", "median", "longest", "against", "ratio", "goal", title=title)
        table.add_row("PgQueuer alone", f"{median(theirs) * 1000:.0f}", f"{max(theirs) * 1000:.0f}", "", "", "")
        for name, found, against, seconds in (
            ("ours", told, "PgQueuer", median(theirs)),
            ("ours, untold", untold, f"its looks, {CANCEL_CHECK_SECONDS * 1000:.0f}", CANCEL_CHECK_SECONDS),
        ):
            table.add_row(
                name, f"{median(found) * 1000:.0f}", f"{max(found) * 1000:.0f}", against,
                f"{median(found) / seconds:.2f}",
                _goal(f"<= {MOST_CANCEL_SECONDS * 1000:.0f}", is_met=max(found) <= MOST_CANCEL_SECONDS),
            )  # fmt: skip
        return table

    async def tick(self) -> Table:
        """Compare a report of progress, in a step of its own, with a bare UPDATE of such a row in a transaction.

        And count the notifications of as many reports as fast as they come.
        """
        async with self.ours() as resources:
            reports, updates = await _ticks(resources, self._sizes.ticks)
            seconds, told = await _notifications(resources, self._sizes.ticks)
        table = Table("", "ours", "bare UPDATE", "ratio", "goal", title="A tick of progress")
        mine, theirs = median(reports) * 1000, median(updates) * 1000
        table.add_row(f"ms, median of {self._sizes.ticks:,}", *_compared(mine, theirs, ".2f"), "")
        allowed = TICKS_PER_SECOND * seconds + 1
        table.add_row(
            f"told of {self._sizes.ticks:,} in {seconds:.1f} s", str(told), str(self._sizes.ticks),
            f"{told / self._sizes.ticks:.3f}", _goal(f"<= {TICKS_PER_SECOND} a second", is_met=told <= allowed),
        )  # fmt: skip
        return table

    async def following(self) -> Table:
        """Compare what one process tells many subscribers of a job with what it tells one, by the API and by the feed.

        Some events a second show when they arrive; more than it can deliver, how
        many it does. By the API each subscriber has a socket of its own and asks
        what `vk-comments collect` asks. Each load is shorter than what is kept.
        """
        subscribers, seconds = self._sizes.subscribers, self._sizes.seconds
        allow_sockets(2 * subscribers + 200)
        many = [Load(1, 2, seconds, after_seconds=0.5), Load(5, min(8, EVENTS_KEPT / 5 / seconds), seconds)]
        one = [Load(20, 60, seconds / 2)]
        title = "Events a second to subscribers; ms to their arrival; by the API a socket each"
        table = Table("", "written", "delivered", "share", "of one's", "p50", "p99", "memory", title=title)
        async with self.ours() as resources, web_process(resources.database.dsn) as server:
            for name, way in (("feed", None), ("API", server)):
                [alone] = await tell(resources, one, 1, way)
                table.add_row(f"{name}, 1", *_delivered(alone, 1, None))
                for told in await tell(resources, many, subscribers, way):
                    table.add_row(f"{name}, {subscribers:,}", *_delivered(told, subscribers, alone))
        return table


def _compared(ours: float, theirs: float, form: str) -> tuple[str, str, str]:
    return f"{ours:{form}}", f"{theirs:{form}}", f"{ours / theirs:.2f}"


def _goal(text: str, *, is_met: bool) -> str:
    return f"{text}, {'met' if is_met else 'MISSED'}"


def _percentile(values: Sequence[float], share: float) -> float:
    if not values:  # nothing arrived in time
        return math.nan
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _delivered(told: Told, subscribers: int, alone: Told | None) -> tuple[str, ...]:
    return (
        f"{told.written / told.seconds:,.0f}",
        f"{told.per_second:,.0f}",
        f"{told.arrived / told.written / subscribers:.0%}" + (f", {told.refusals} refused" if told.refusals else ""),
        f"{told.per_second / alone.per_second:.1f}" if alone else "",
        f"{_percentile(told.delays, 0.5) * 1000:,.0f}",
        f"{_percentile(told.delays, 0.99) * 1000:,.0f}",
        f"{told.peak_bytes / 2**20:.0f} MiB",
    )


async def _drained(side: Side, jobs_count: int) -> float:
    """Fill a queue, run all that is in it, and return how many jobs a second that were."""
    connection = await asyncpg.connect(side.url)
    try:
        await clear(connection)
        await side.fill(connection, jobs_count)
        await connection.execute("ANALYZE")
        has_begun = asyncio.Event()

        async def body() -> None:
            has_begun.set()

        async with side.working(body), asyncio.timeout(PATIENCE_SECONDS):
            await has_begun.wait()
            started = time.perf_counter()
            while await connection.fetchval("SELECT EXISTS (SELECT FROM pgqueuer)"):  # noqa: ASYNC110 - in PostgreSQL
                await asyncio.sleep(POLL_SECONDS)
            return jobs_count / (time.perf_counter() - started)
    finally:
        await connection.close()


async def _enqueued(sides: Sequence[Side], times: int) -> list[float]:
    """Return how many jobs a second each side puts into its queue, from the median of the times of one."""
    seconds: dict[Side, list[float]] = {side: [] for side in sides}
    for side in list(sides) * times:
        started = time.perf_counter()
        await side.enqueue()
        seconds[side].append(time.perf_counter() - started)
    return [1 / median(found) for found in seconds.values()]


async def _start_delays(sides: Sequence[Side], times: int) -> list[list[float]]:
    """Return how long after the enqueue each side begins a job, while the workers of all are idle."""
    delays: list[list[float]] = []
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[float] = loop.create_future()

    async def body() -> None:
        begun.set_result(time.perf_counter())

    first, second = sides
    async with first.working(body), second.working(body):
        delays = [[] for _ in sides]
        for number in range(times + 1):
            for side, found in zip(sides, delays, strict=True):
                begun = loop.create_future()
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await side.enqueue()
                    enqueued = time.perf_counter()
                    delay = await begun - enqueued
                if number:  # the first one waits until the worker is there
                    found.append(delay)
                await asyncio.sleep(random.uniform(0.01, 0.04))  # noqa: S311 - no secret
    return delays


@asynccontextmanager
async def _elsewhere(ours: Ours) -> AsyncIterator[Ours]:
    """Lend our queue as another process sees it."""
    async with open_resources(ours.resources.settings) as resources:
        yield Ours(resources)


async def _cancel_delays(ours: Ours, asking: Ours, times: int, *, is_told: bool) -> list[float]:
    """Return how long after the request jobs of a worker were CANCELLED."""
    delays = []
    has_begun = asyncio.Event()

    async def body() -> None:
        has_begun.set()
        await asyncio.Event().wait()

    async with ours.working(body):
        for _ in range(times):
            has_begun.clear()
            job_id = await asking.enqueue()
            await has_begun.wait()
            # at any moment between two looks
            await asyncio.sleep(random.uniform(0, 0.05 if is_told else CANCEL_CHECK_SECONDS))  # noqa: S311 - no secret
            with asking.resources.notifications.subscribe(job_topic(job_id)) as wake:
                started = time.perf_counter()
                await (asking.cancel(job_id) if is_told else _cancel_in_silence(asking.resources, job_id))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await _state(asking.resources, job_id) != "CANCELLED":
                        await wake.wait(1)
            delays.append(time.perf_counter() - started)
    return delays


async def _cancel_in_silence(resources: Resources, job_id: int) -> None:
    """Do what `cancel` does to a running job, as if its notification were lost."""
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET cancel_requested_at = now() WHERE id = :id"), {"id": job_id})


async def _state(resources: Resources, job_id: int) -> str | None:
    async with resources.database.connect() as connection:
        row = await jobs.job_by_id(connection, job_id)
    return row.state if row else None


async def _their_cancel_delays(alone: Alone, times: int) -> list[float]:
    """Return how long after the request bodies of PgQueuer ended."""
    delays = []
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    async def body() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    async with alone.working(body):
        for _ in range(times):
            has_begun.clear()
            has_ended.clear()
            entry_id = await alone.enqueue()
            await has_begun.wait()
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - no secret
            started = time.perf_counter()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await alone.cancel(entry_id)
                await has_ended.wait()
            delays.append(time.perf_counter() - started)
    return delays


async def _ticks(resources: Resources, times: int) -> tuple[list[float], list[float]]:
    """Return how long reports took, and in turn with them bare UPDATEs of another job."""
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
    """Return how long so many reports took, one after the other, and how many notifications they caused."""
    job = await running_job(resources)
    told = 0

    def note(*message: object) -> None:
        nonlocal told
        told += message[-1] == job_topic(job.id)

    connection = await asyncpg.connect(resources.database.dsn)
    try:
        await connection.add_listener(resources.notifications.channel, note)
        started = time.perf_counter()
        for number in range(times):
            await _report(job, number, times)
        seconds = time.perf_counter() - started
        await connection.execute("SELECT 1")  # what was notified before arrives before the answer
    finally:
        await connection.close()
    return seconds, told


async def _report(job: RunningJob[Any, Any], done: int, total: int) -> None:
    async with job.step() as connection:
        await job.report(connection, Progress("", done, total), {"done": done})


async def run(sizes: Sizes) -> None:
    """Measure and print."""
    console = Console()
    with postgresql() as url:
        bench = Bench(url, sizes)
        for measure in (
            bench.speed, bench.starts, bench.rescue, bench.cancelling, bench.tick, bench.following
        ):  # fmt: skip
            console.print(await measure())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of each")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(QUICK if parser.parse_args().quick else FULL))
