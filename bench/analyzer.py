"""A process that analyses all comments of DATABASE_URL, with a worker as servers run it, and says what it took.

It does so three times: of all, again, and again when one of a hundred has another text. Prints {"first", "nothing new",
"1 % edited"}, each with "seconds", "analyzed", "waves", "peak_bytes", "stall_seconds": the time is the job's own, from
its start to its end, the memory that of this process and of the one that reads texts for it, the highest so far, and
the stall is the longest time for which the event loop did nothing else.
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


class Watch:
    """What is seen of this process while it works."""

    def __init__(self) -> None:
        self.stall_seconds = 0.0
        self.children_bytes = 0

    async def look(self) -> None:
        """Look until cancelled."""
        sampled = 0.0
        while True:
            before = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self.stall_seconds = max(self.stall_seconds, time.perf_counter() - before - TICK_SECONDS)
            if before - sampled > SAMPLE_SECONDS:
                sampled = before
                await asyncio.to_thread(self._measure_children)

    def _measure_children(self) -> None:
        taken = 0
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                taken += child.memory_info().rss
        self.children_bytes = max(self.children_bytes, taken)


async def runs() -> dict[str, dict[str, float]]:
    """Analyse three times and return what each took."""
    async with open_resources(read_settings(workers=0)) as resources, open_worker(resources, 1):
        gc.collect()
        gc.freeze()  # as servers do
        told = {"first": await analyze(resources), "nothing new": await analyze(resources)}
        connection = await asyncpg.connect(resources.database.dsn)
        try:
            await connection.execute(EDIT)
        finally:
            await connection.close()
        return told | {"1 % edited": await analyze(resources)}


async def analyze(resources: Resources) -> dict[str, float]:
    """Analyse and return what it took."""
    watch = Watch()
    watching = asyncio.create_task(watch.look())
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
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB + watch.children_bytes,
        "stall_seconds": watch.stall_seconds,
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(runs())))  # noqa: T201 - the process that started this one reads it
