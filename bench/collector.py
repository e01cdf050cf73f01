"""A process that collects community 1 of VK_API_URL with a worker, as servers run it, and prints the measurements.

Prints {"seconds", "requests", "calls", "comments", "peak_bytes"}; the time is the job's own, from its start to its end.
"""

import asyncio
import json
import logging
import resource
import sys

import structlog
from sqlalchemy import Row

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.errors import ErrorCode
from app.jobs.follow import follow
from app.resources import open_resources
from app.settings import read_settings

KIB = 1024 if sys.platform != "darwin" else 1
"""The unit of `ru_maxrss` in bytes: Linux reports the memory of a process in KiB, macOS in bytes."""


async def collect() -> dict[str, float]:
    """Collect and return the counts."""
    async with open_resources(read_settings(workers=0)) as resources, open_worker(resources, 1):
        await add_groups(resources, ["1"])
        row = await start_collection(resources, owner_ids=[-1], timeout_seconds=3600)
        async for change in follow(resources, row.id, 0):
            job = change.job
    assert isinstance(job, Row)  # noqa: S101 - SQLAlchemy's, whose columns may have any type
    if not job.result:
        raise SystemExit(f"The collection has failed: {job.failure or ErrorCode.INTERNAL}")
    return {
        "seconds": (job.finished_at - job.started_at).total_seconds(),
        "requests": job.result["requests"],
        "calls": job.result["calls"],
        "comments": job.result["new_comments"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB,
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(collect())))  # noqa: T201 - the parent process reads it
