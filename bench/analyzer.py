"""A process that analyses all comments of DATABASE_URL with a worker, as servers run it, and prints the measurements.

It analyses three times: all comments, all again, and again after an edit of every hundredth comment. Prints JSON with
the keys "first", "nothing new" and "1 % edited", each with "seconds", "analyzed", "waves", "peak_bytes" and
"stall_seconds". The time is the job's own, from its start to its end; the memory is the peak so far of this process and
of the one that analyses texts for it; the stall is the longest time for which the event loop was blocked.
"""

import asyncio
import gc
import json
import logging
import resource
import time
from contextlib import suppress

import asyncpg
import psutil
import structlog
from sqlalchemy import Row

from app.actions.start_analysis import start_analysis
from app.background import open_worker
from app.errors import ErrorCode
from app.jobs.follow import follow
from app.resources import Resources, open_resources
from app.settings import read_settings
from bench.collector import KIB

TICK_SECONDS, SAMPLE_SECONDS = 0.001, 0.2
EDIT = "UPDATE comments SET text = text || ' ещё' WHERE id % 100 = 1"


class ProcessMonitor:
    """Measures this process while it works: blocks of the event loop, and memory of its child processes."""

    def __init__(self) -> None:
        self.stall_seconds = 0.0
        self.children_bytes = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        sampled = 0.0
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self.stall_seconds = max(self.stall_seconds, time.perf_counter() - before - TICK_SECONDS)
            if before - sampled > SAMPLE_SECONDS:
                sampled = before
                await asyncio.to_thread(self._measure_children)

    def _measure_children(self) -> None:
        used = 0
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                used += child.memory_info().rss
        self.children_bytes = max(self.children_bytes, used)


async def runs() -> dict[str, dict[str, float]]:
    """Analyse three times and return the measurements of each."""
    async with open_resources(read_settings(workers=0)) as resources, open_worker(resources, 1):
        gc.collect()
        gc.freeze()  # as servers do
        measurements = {"first": await analyze(resources), "nothing new": await analyze(resources)}
        connection = await asyncpg.connect(resources.database.dsn)
        try:
            await connection.execute(EDIT)
        finally:
            await connection.close()
        return measurements | {"1 % edited": await analyze(resources)}


async def analyze(resources: Resources) -> dict[str, float]:
    """Analyse and return the measurements."""
    monitor = ProcessMonitor()
    watching = asyncio.create_task(monitor.run())
    row = await start_analysis(resources, timeout_seconds=7200)
    async for change in follow(resources, row.id, 0):
        job = change.job
    watching.cancel()
    assert isinstance(job, Row)  # noqa: S101 - SQLAlchemy's, whose columns may have any type
    if not job.result:
        raise SystemExit(f"The analysis has failed: {job.failure or ErrorCode.INTERNAL}")
    return {
        "seconds": (job.finished_at - job.started_at).total_seconds(),
        "analyzed": job.result["newly_analyzed"],
        "waves": job.result["waves"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB + monitor.children_bytes,
        "stall_seconds": monitor.stall_seconds,
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(runs())))  # noqa: T201 - the parent process reads it
