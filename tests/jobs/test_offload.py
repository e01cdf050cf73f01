"""Bodies that compute: they run in processes of their own, and the event loop goes on."""

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.jobs.offload import in_process
from app.jobs.queue import NewJob, cancel, enqueue
from app.jobs.states import JobKind
from app.resources import Resources
from tests.conftest import until
from tests.jobs.computing import count_primes, end_process, fail, never_end
from tests.jobs.conftest import ended, events_of, queue_job, working


async def queue_with(resources: Resources, **arguments: Any) -> int:
    """Queue a job with these arguments and return its id."""
    async with resources.database.transaction() as connection:
        return int((await enqueue(connection, resources, NewJob(JobKind.COLLECT_COMMENTS, arguments))).id)


async def test_a_plain_body_runs_elsewhere_and_the_loop_goes_on(resources: Resources) -> None:
    job_id = await queue_with(resources, below=30_000)
    turns = 0
    async with working(resources, count_primes):
        ending = asyncio.create_task(ended(resources, job_id))
        while not ending.done():
            turns += 1
            await asyncio.sleep(0)
        row = await ending
    assert row.state == "SUCCEEDED"
    assert row.result["primes"] == 3245
    assert row.result["process"] != os.getpid()
    assert turns > 100


async def test_a_cancelled_one_is_killed(resources: Resources, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job_id = await queue_with(resources, pid_file=str(pid_file))
    async with working(resources, never_end):
        await until(lambda: pid_file.exists() and pid_file.read_text())
        process = psutil.Process(int(pid_file.read_text()))
        await cancel(resources, job_id)
        async with asyncio.timeout(1.0):
            row = await ended(resources, job_id)
        await until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert row.state == "CANCELLED"


async def test_one_that_ends_its_process_is_tried_again_and_then_given_up(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    job_id = await queue_job(resources)
    async with working(resources, end_process):
        row = await ended(resources, job_id)
    assert (row.state, row.attempts) == ("FAILED", 5)
    assert row.failure["code"] == "JOB_PROCESS_DIED"
    assert [kind for kind, _ in await events_of(resources, job_id)].count("ATTEMPT_FAILED") == 4


async def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        await in_process(fail, {})
