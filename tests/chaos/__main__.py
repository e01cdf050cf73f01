"""Causes faults in real processes for some minutes, then compares all stored data with the truth.

`make chaos MINUTES=10 SEED=1` runs it. The seed determines the faults and the requests of clients; their exact times
depend on the machine. Exits with 1 if anything differs.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import asyncpg
import httpx2
import orjson
from rich.console import Console
from rich.table import Table
from starlette.requests import ClientDisconnect

from app.cli.client import ADD_GROUPS, START_ANALYSIS, START_COLLECTION, START_EXPORT
from app.db import programs
from simulator import SimulatorOptions, create_simulator
from tests import processes
from tests.acceptance.clients import Follower, RetryingClient
from tests.acceptance.installation import Installation, RestartablePostgres, in_background
from tests.acceptance.outcomes import Outcome
from tests.chaos.activity import CANCEL, RETRY, Activity
from tests.chaos.clocks import PROBE_SECONDS, Clocks, SteppedClock, open_clocks
from tests.chaos.faults import Faults
from tests.chaos.truth import (
    EXPORT_COLUMNS,
    WATCH_WRITERS,
    Comparison,
    compare_csv,
    compare_deletions,
    compare_files,
    compare_jobs,
    compare_json_lines,
    compare_keywords,
    compare_rollups,
    compare_walls,
    expected_rows,
)
from tests.conftest import TOKEN, Simulator, serving, until
from tests.graphql.conftest import gid
from tests.timeouts import WAIT_SECONDS
from tests.valkey import running_valkey

WORLD = SimulatorOptions(
    groups=12,
    posts=6,
    comments=250,
    rps=0,
    biggest_post_share=0.5,
    longest_thread=60,
    closed_posts_share=0.1,
    rich=0.2,
    nasty=0.3,
)
DELAY_MS = 100
"""The delay of VK's replies, so that jobs run long enough to be hit by faults."""
WEBS, WORKERS = 2, 3
HEARTBEAT_SECONDS = 2
EXAMPLES = 5
"""The maximum of differences printed per comparison."""
CHANGE_COUNTERS = (
    "posts",
    "new_comments",
    "changed_comments",
    "deleted_comments",
    "incomplete_posts",
    "broken_items",
)
"""Counters of a collection that must be 0 if nothing has changed since the previous one."""


class Chaos:
    """One run: an installation, its clients, and the faults."""

    def __init__(self, stack: ExitStack, directory: Path, seed: int) -> None:
        self._stack = stack
        self._directory = directory
        self._seed = seed
        self._clocks: Clocks | None = stack.enter_context(open_clocks())
        self._postgres_clock: SteppedClock | None = None
        self._worker_clocks: list[SteppedClock] = []
        self._nodes = 0
        self.played_by_vk: dict[str, int] = {}
        """The faults of VK's replies, by label."""
        self.skipped: list[str] = [] if self._clocks else ["clock steps: no compiler, or preloading has no effect"]

    async def play(self, seconds: float) -> tuple[Faults, Activity, list[Comparison]]:
        """Cause faults for this long, heal everything, and compare."""
        stack = self._stack
        self._simulator = self._start_simulator()
        self._valkey = stack.enter_context(running_valkey())
        self._postgres = await self._start_postgres()
        self._installation = Installation(stack, self._postgres, self._simulator)
        await self._installation.start(
            self._environment, self._directory, webs=WEBS, workers=WORKERS, heartbeat_seconds=HEARTBEAT_SECONDS
        )
        urls = self._installation.urls
        async with httpx2.AsyncClient(timeout=WAIT_SECONDS, trust_env=False) as self._http:
            client = RetryingClient(self._http, urls)
            answer = await client.execute(ADD_GROUPS, references=[str(number) for number in range(1, WORLD.groups + 1)])
            groups = [outcome["group"]["id"] for outcome in answer["outcomes"]]
            texts = " ".join(str(facts["text"]) for facts in self._simulator.history(1).values())
            activity = Activity(client, urls, self._postgres, groups, texts, self._seed)
            faults = Faults(
                self._installation, self._postgres, self._valkey, self._seed, self._postgres_clock, self._worker_clocks
            )
            async with in_background(faults.supervise()):
                async with in_background(activity.use()):
                    await faults.play(seconds)
                faults.heal()
                self.played_by_vk = self._simulator.control()["played"]
                await self._wait_for_jobs(activity)
                return faults, activity, await self._compare(activity, faults, groups)

    # the components

    def _start_simulator(self) -> Simulator:
        simulator = Simulator(self._stack.enter_context(serving(create_simulator(replace(WORLD, seed=self._seed)))))
        simulator.control(delay_ms=DELAY_MS)
        return simulator

    async def _start_postgres(self) -> RestartablePostgres:
        data_dir = self._stack.enter_context(processes.open_directory()) / "data"
        if self._clocks:
            clock = self._clocks.add("postgres")
            # The embedded server passes no environment on: the environment of its programs is built from this mapping.
            self._stack.enter_context(patch.dict(programs._ENVIRONMENT, clock.environment))  # noqa: SLF001 - no setting has it
            self._postgres_clock = clock
        postgres = RestartablePostgres(self._stack, data_dir)
        await postgres.migrate()
        if self._postgres_clock and not await self._is_stepped(postgres, self._postgres_clock):
            self._postgres_clock = None
            self.skipped.append("clock steps of PostgreSQL: it does not load the library")
        connection = await asyncpg.connect(postgres.url)
        try:
            await connection.execute(WATCH_WRITERS)
        finally:
            await connection.close()
        return postgres

    async def _is_stepped(self, postgres: RestartablePostgres, clock: SteppedClock) -> bool:
        clock.set(PROBE_SECONDS)
        [row] = await postgres.fetch("SELECT extract(epoch FROM clock_timestamp())::float8 AS shown")
        is_shown = clock.is_shown(row["shown"])
        clock.set(0)
        return is_shown

    def _environment(self, simulator: Simulator, **variables: Any) -> dict[str, str]:
        self._nodes += 1
        name = f"node-{self._nodes}"
        # asyncpg passes unknown options on as settings of the session, which is recorded with each write
        url = f"{self._postgres.url}&chaos.node={name}"
        own: dict[str, object] = {"DATABASE_URL": url, "DATA_DIR": self._directory / "data"}
        if self._clocks and self._nodes > WEBS:
            self._worker_clocks.append(self._clocks.add(name))
            own |= self._worker_clocks[-1].environment
        fixed = {
            "REDIS_URL": self._valkey.url,
            "LOG_FORMAT": "json",
            "VK_API_URL": simulator.url,
            "VK_TOKENS": TOKEN,
            "VK_REQUESTS_PER_SECOND": 10_000,
        }
        return processes.unmeasured(processes.environment(**{**fixed, **variables, **own}))

    # after the faults

    async def _wait_for_jobs(self, activity: Activity) -> None:
        """Wait until all jobs have ended; cancel those that wait for a retry, which may take minutes."""

        async def have_ended() -> bool:
            # running jobs may be queued again meanwhile
            for row in await self._postgres.fetch(
                "SELECT id FROM jobs WHERE state = 'QUEUED' AND kind <> 'match_keywords'"
            ):
                job_id = gid("Job", row["id"])
                activity.cancelled.add(job_id)
                await activity.request(CANCEL, id=job_id)
            return await self._postgres.all_have_ended()

        await until(have_ended)
        await activity.finish()
        # a cancelled matching job leaves keywords without their matches, as its client requested
        ended = "kind = 'match_keywords' AND state IN ('FAILED', 'CANCELLED')"
        for row in await self._postgres.fetch(f"SELECT id FROM jobs WHERE {ended} ORDER BY id"):  # noqa: S608 - a constant of this file
            await activity.request(RETRY, id=gid("Job", row["id"]))
        await until(self._postgres.all_have_ended)

    async def _compare(self, activity: Activity, faults: Faults, groups: Sequence[str]) -> list[Comparison]:
        failed: list[str] = []
        group_ids = range(1, WORLD.groups + 1)
        deletions = await compare_deletions(self._postgres, self._simulator, group_ids, faults.hidden)
        await self._run(activity, failed, START_COLLECTION, groupIds=groups, full=True)
        counts = await self._run(activity, failed, START_COLLECTION, groupIds=groups)
        changed = [
            f"{name} of a collection without changes: {counts[name]}" for name in CHANGE_COUNTERS if counts.get(name)
        ]
        await self._run(activity, failed, START_ANALYSIS)
        rows = await expected_rows(self._postgres)
        columns = list(EXPORT_COLUMNS)
        options = {"escapeFormulas": False, "byteOrderMark": False}
        as_csv = await self._export(activity, failed, format="CSV", columns=columns, csv=options)
        as_lines = await self._export(activity, failed, format="JSON_LINES", columns=columns)
        outcome = await Outcome.of(self._postgres)
        nodes = (*self._installation.webs, *self._installation.workers)
        errors = [str(failure) for node in nodes for failure in node.failures()]
        return [
            deletions,
            *await compare_walls(self._postgres, self._simulator, group_ids),
            Comparison("a collection without changes", len(CHANGE_COUNTERS), changed),
            *await compare_rollups(self._postgres),
            await compare_keywords(self._postgres),
            *await compare_jobs(self._postgres, outcome, activity.cancelled, activity.followers),
            compare_csv(as_csv, rows),
            compare_json_lines(as_lines, rows),
            await compare_files(self._postgres, self._directory / "data" / "exports"),
            Comparison("jobs after the faults", 5, failed),
            Comparison("answers to clients", activity.requested.total(), activity.problems),
            Comparison("processes ended in order", faults.played.total(), faults.problems),
            Comparison("errors in logs", sum(len(node.commands) for node in nodes), errors),
        ]

    async def _run(self, activity: Activity, failed: list[str], query: str, **arguments: Any) -> dict[str, Any]:
        """Run a job that must succeed; return its result with the job's number as `id`."""
        answer = await activity.request(query, input=arguments)
        if answer is None:
            failed.append(f"{query.split('(', maxsplit=1)[0].strip()} was refused")
            return {}
        follower = Follower(answer["job"]["id"], self._installation.urls)
        await follower.follow()
        [row] = [
            row for row in await self._postgres.fetch("SELECT * FROM jobs") if gid("Job", row["id"]) == follower.job_id
        ]
        if row["state"] != "SUCCEEDED":
            failed.append(f"{row['kind']} has ended as {row['state']}: {row['failure']}")
            return {}
        return {"id": row["id"], **orjson.loads(row["result"])}

    async def _export(self, activity: Activity, failed: list[str], **arguments: Any) -> bytes:
        result = await self._run(activity, failed, START_EXPORT, **arguments)
        if not result:
            return b""
        [row] = await self._postgres.fetch("SELECT name FROM exports WHERE job_id = $1", result["id"])
        reply = await self._http.get(f"{self._installation.urls[0]}/exports/{result['id']}/{row['name']}")
        return reply.raise_for_status().content


def print_tables(
    console: Console, faults: Faults, activity: Activity, chaos: Chaos, comparisons: Sequence[Comparison]
) -> None:
    """Print how often what happened, and what was compared."""
    table = Table("event", "count", title="Faults and requests")
    for name, times in sorted(faults.played.items()):
        table.add_row(name, str(times))
    table.add_section()
    for name, times in sorted(chaos.played_by_vk.items()):
        table.add_row(f"VK: {name}", str(times))
    table.add_section()
    for name, times in sorted(activity.requested.items()):
        table.add_row(f"clients: {name}", str(times))
    console.print(table)
    for reason in chaos.skipped:
        console.print(f"Skipped: {reason}.")
    table = Table("subject", "compared", "differences", title="Compared with the truth")
    for each in comparisons:
        table.add_row(each.subject, f"{each.compared:,}", str(len(each.differences)))
    console.print(table)
    for each in comparisons:
        for text in each.differences[:EXAMPLES]:
            console.print(f"{each.subject}: {text}", markup=False, highlight=False, soft_wrap=True)


def _is_worth_printing(record: logging.LogRecord) -> bool:
    """Return whether to print a record of the simulator: a worker that is killed during a request is not its fault."""
    return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))


async def main(minutes: float, seed: int) -> int:
    """Run, print the tables, and return the exit code."""
    console = Console()
    console.print(f"Causing faults for {minutes:g} minutes with seed {seed} ...")
    logging.getLogger("uvicorn.error").addFilter(_is_worth_printing)
    begun_at = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="vkc-chaos-")))
        chaos = Chaos(stack, directory, seed)
        faults, activity, comparisons = await chaos.play(60 * minutes)
    print_tables(console, faults, activity, chaos, comparisons)
    differences = sum(len(each.differences) for each in comparisons)
    seconds = time.monotonic() - begun_at
    console.print(f"Seed {seed}, {minutes:g} minutes of faults, {seconds:.0f} s in all: {differences} differences.")
    return 1 if differences else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cause faults, then compare all stored data with the truth.")
    parser.add_argument("--minutes", type=float, default=10, help="duration of the faults")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random faults and requests")
    arguments = parser.parse_args()
    # end all started processes as after Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(asyncio.run(main(arguments.minutes, arguments.seed)))
