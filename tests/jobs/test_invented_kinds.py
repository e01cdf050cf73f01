"""The task manager is independent of job kinds: it runs any kinds that it is given."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from app.jobs.queue import NewJob, enqueue
from app.jobs.running_job import RunningJob
from app.jobs.worker import Worker, running
from app.resources import Resources
from tests.conftest import until
from tests.jobs.conftest import ended, plain, read_job


class Invented(Enum):
    """Kinds that do not exist in the application."""

    ADD = "add_numbers"
    FAIL = "fail_at_once"
    OTHER = "left_to_others"


async def add(job: RunningJob[Any, Any]) -> dict[str, Any]:
    return {"sum": sum(job.arguments["numbers"])}


def fail(arguments: Mapping[str, Any]) -> dict[str, Any]:
    raise ValueError(str(arguments))


async def test_jobs_of_invented_kinds(resources: Resources) -> None:
    ticks: list[str] = []

    async def tick() -> None:
        ticks.append("tick")

    async with resources.database.transaction() as connection:
        added, failed, left = [
            (await enqueue(connection, resources, NewJob(plain(None, kind), {"numbers": [1, 2, 39]}))).id
            for kind in Invented
        ]
    worker = Worker(
        resources, 2, {"add_numbers": plain(add), "fail_at_once": plain(fail)}, {}, {"invented": ("* * * * * *", tick)}
    )  # fmt: skip
    async with running(worker):
        row = await ended(resources, added)
        assert (row.state, row.result) == ("SUCCEEDED", {"sum": 42})
        assert (await ended(resources, failed)).state == "FAILED"
        await until(lambda: ticks)
    assert (await read_job(resources, left)).state == "QUEUED"
