"""A worker process whose jobs misbehave: `python -m tests.jobs.misbehaving blocks|dies FILE`.

Settings come from the environment. It prints a line of JSON for each event.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from app.background import make_worker
from app.jobs.running_job import LeaseLost, Progress, RunningJob
from app.log import configure_logging
from app.resources import open_resources
from app.settings import read_settings
from app.watchdog import watching_loop
from app.work.kinds import JobKind
from tests.jobs.conftest import plain


def report(event: str) -> None:
    """Report an event to the parent process."""
    print(json.dumps({"event": event}), flush=True)  # noqa: T201 - its only channel


def block_until(file: Path) -> None:
    """Block the event loop until a file exists."""
    while not file.exists():
        time.sleep(0.01)


async def main(way: str, go_on: Path) -> None:
    """Run until killed, or until a job has noticed that it lost its lease."""

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        async with job.step() as connection:
            await job.report(connection, Progress("half", 1, 2), {"half": job.epoch})
        report("half_done")
        if way == "dies":
            os._exit(9)
        block_until(go_on)
        try:
            async with job.step() as connection:
                await job.report(connection, Progress("late", 2, 2), {"late": True})
        except LeaseLost:
            report("noticed")
            raise
        return {}

    settings = read_settings()
    configure_logging(settings)
    async with open_resources(settings) as resources:
        with watching_loop(0.1):
            await make_worker(resources, 1, {JobKind.COLLECT_COMMENTS.value: plain(handler)}).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
