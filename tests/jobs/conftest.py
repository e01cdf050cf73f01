"""Shared by the tests of jobs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Any

from sqlalchemy import Row

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import DEFINITIONS, make_worker
from app.errors import ServiceUnavailable
from app.job_states import JobPriority, JobState
from app.jobs import runs
from app.jobs.definitions import AnyJobDefinition, JobDefinition
from app.jobs.queue import NewJob, enqueue
from app.jobs.running_job import RunningJob
from app.jobs.worker import Worker
from app.json_models import to_json
from app.notifications import job_topic
from app.resources import Resources
from app.store import groups, jobs
from app.store.rows import ClaimedJobRow, JobRow
from app.wall import VkGroup
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.collecting.collection import CollectionRequest
from app.work.kinds import JobKind
from tests.conftest import until
from tests.timeouts import TEST_SECONDS, WAIT_SECONDS


async def queue_job(
    resources: Resources,
    owner_id: int = -1,
    priority: JobPriority = JobPriority.NORMAL,
    timeout_seconds: float = TEST_SECONDS,
) -> int:
    """Queue a collection of a community that is stored for it, and return the job's id."""
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(-owner_id, f"g{-owner_id}", f"G {-owner_id}")])
        new = NewJob(COLLECT_COMMENTS, CollectionRequest((owner_id,)), priority, timeout_seconds)
        return int((await enqueue(connection, resources, new)).id)


def plain(handler: Any, kind: Enum = JobKind.COLLECT_COMMENTS) -> AnyJobDefinition:
    """Return the definition of a kind whose handler gets its arguments and its checkpoint as plain JSON."""
    return JobDefinition(kind, "", handler, dict, dict, dict)


PLAIN = plain(None)
"""A definition for jobs that no worker runs."""


def running_job(resources: Resources, row: Any) -> RunningJob[Any, Any]:
    """Return the run that starts with this row, as a worker does."""
    return DEFINITIONS[row.kind].running_job(resources, row)


async def run_handler(job: RunningJob[Any, Any], kind: JobKind) -> dict[str, Any]:
    """Run the handler of a kind for a job, and return its result as the job's row stores it."""
    result: Any = to_json(await DEFINITIONS[kind.value].handler(job))
    return dict(result)


async def claim_job(resources: Resources, job_id: int, worker: str) -> ClaimedJobRow | None:
    """Start a job's run as if a worker had claimed its entry; return its row, None if it is not to be run."""
    async with resources.notifications.publish_on_commit([job_topic(job_id)]) as connection:
        row = await jobs.job_by_id(connection, job_id)
        entry_id = (row and row.queue_id) or 0
        return (await runs.claim(connection, {entry_id: job_id}, worker)).get(entry_id)


async def finish(resources: Resources, row: JobRow, end: runs.End) -> bool:
    """Write how the run that was claimed as `row` ended; return False if its lease is lost."""
    [written] = await runs.finish(resources, [(row, end)])
    return written is not None


async def read_job(resources: Resources, job_id: int) -> Row[Any]:
    """Return a job's row."""
    async with resources.database.connect() as connection:
        row = await jobs.job_by_id(connection, job_id)
    assert isinstance(row, Row)
    return row


async def ended(resources: Resources, job_id: int) -> Row[Any]:
    """Wait until a job has ended and return its row."""

    async def look() -> Row[Any] | None:
        with suppress(ServiceUnavailable):  # a test may cut all connections
            row = await read_job(resources, job_id)
            return row if JobState(row.state).is_final else None
        return None

    found: Row[Any] = await until(look)
    return found


async def in_state(resources: Resources, job_id: int, state: JobState) -> Row[Any]:
    """Wait until a job is in this state and return its row."""

    async def look() -> Row[Any] | None:
        row = await read_job(resources, job_id)
        return row if row.state == state.value else None

    found: Row[Any] = await until(look)
    return found


async def events_of(resources: Resources, job_id: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the kinds and facts of a job's events, in order."""
    async with resources.database.connect() as connection:
        rows = await jobs.events_after(connection, job_id, 0, 1000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [(row.kind, row.facts) for row in rows]


@asynccontextmanager
async def working(resources: Resources, handler: Any, concurrency: int = 2) -> AsyncIterator[Worker]:
    """Run a worker whose jobs call this handler, which may also be a definition."""
    definition = handler if isinstance(handler, JobDefinition) else plain(handler)
    worker = make_worker(resources, concurrency, {JobKind.COLLECT_COMMENTS.value: definition})
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(WAIT_SECONDS):
            await task


async def collect(resources: Resources, *, group_ids: tuple[int, ...] = (1,), **arguments: Any) -> Row[Any]:
    """Add communities, collect them with a running worker and return the job's row when it has ended."""
    await add_groups(resources, [str(group_id) for group_id in group_ids])
    row = await start_collection(resources, **{"owner_ids": [-group_id for group_id in group_ids], **arguments})
    return await ended(resources, row.id)


def counts(row: Row[Any]) -> Mapping[str, int]:
    """Return the counters of a successful collection."""
    assert row.state == "SUCCEEDED", row.failure
    result: Mapping[str, int] = row.result
    return result
