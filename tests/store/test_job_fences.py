"""Which process may write a job's row, and which waits for which: each fence and lock of `app.store.jobs` alone."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import jobs as table
from app.errors import JobAlreadyRunning
from app.job_states import JobState
from app.jobs import runs
from app.jobs.queue import cancel
from app.resources import Resources
from app.store import entries, groups, jobs
from app.store.clock_steps import correct_future_times
from app.wall import VkGroup
from tests.jobs.conftest import queue_job, read_job
from tests.locks import held, until_it_waits
from tests.store.rows import read
from tests.store.test_entries import add_entry
from tests.store.test_jobs import change, claim_job, insert

EVENTS = {state: {"message": state.value, "reason": state.value} for state in (JobState.QUEUED, JobState.RUNNING)}


async def never_wait(connection: AsyncConnection) -> None:
    """Make statements fail that wait for a lock."""
    await connection.execute(text("SET LOCAL lock_timeout = '1ms'"))


@pytest.mark.parametrize(
    "values",
    [{"queue_id": 7}, {"cancel_requested_at": func.now()}, {"attempts": 5}, {"state": "SUCCEEDED"}],
    ids=["another entry", "to be cancelled", "tried too often", "ended"],
)
async def test_jobs_that_are_not_claimed(resources: Resources, values: dict[str, Any]) -> None:
    job_id = (await insert(resources)).id
    await change(resources, job_id, **values)
    assert await claim_job(resources, job_id) is None


async def test_another_entry_of_a_job_does_not_end_it(resources: Resources) -> None:
    job_id = (await insert(resources, state="RUNNING")).id
    await change(resources, job_id, cancel_requested_at=func.now())
    async with resources.database.transaction() as connection:
        assert await runs.claim(connection, {7: job_id}, "me") == {}
    assert (await read_job(resources, job_id)).state == "RUNNING"


async def test_a_claim_does_not_wait_for_a_job_row(resources: Resources) -> None:
    """The other transaction may wait for the queue entry that this one holds."""
    job_id = (await insert(resources)).id
    await change(resources, job_id, cancel_requested_at=func.now())
    async with held(resources, "SELECT FROM jobs FOR UPDATE"), resources.database.transaction() as connection:
        await never_wait(connection)
        assert await runs.claim(connection, {1_000 + job_id: job_id}, "me") == {}
    assert (await read_job(resources, job_id)).state == "QUEUED"


def end(job_id: int, **values: Any) -> jobs.RunEnd:
    """Return the end of the first run of a job."""
    facts: dict[str, Any] = {
        "epoch": 1,
        "former": ("RUNNING",),
        "state": "SUCCEEDED",
        "is_final": True,
        "result": {},
        "failure": None,
        "retry_after_seconds": 0.0,
        "is_attempt": True,
        "events": [],
    }
    return jobs.RunEnd(job_id, **{**facts, **values})


@pytest.mark.parametrize(
    ("values", "ending", "is_written"),
    [
        ({"epoch": 1}, {}, True),
        ({"epoch": 2}, {}, False),
        ({"state": "QUEUED"}, {}, False),
        ({"cancel_requested_at": func.now()}, {}, True),
        ({"cancel_requested_at": func.now()}, {"state": "QUEUED", "is_final": False}, False),
        ({"epoch": 1}, {"state": "QUEUED", "is_final": False}, True),
    ],
)
async def test_the_end_of_a_run_is_written_by_that_run_only(
    resources: Resources, values: dict[str, Any], ending: dict[str, Any], *, is_written: bool
) -> None:
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    await change(resources, job_id, **values)
    before = await read(resources, table)
    async with resources.database.transaction() as connection:
        assert await jobs.end_jobs(connection, [end(job_id, **ending)]) == ({job_id} if is_written else set())
    assert (await read(resources, table) != before) is is_written


@pytest.mark.parametrize("values", [{"epoch": 2}, {"state": "QUEUED"}])
async def test_heartbeats_and_steps_require_the_lease(resources: Resources, values: dict[str, Any]) -> None:
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    await add_entry(resources, 1_000 + job_id, status="picked")
    await change(resources, job_id, **values)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE pgqueuer SET heartbeat = '2000-01-01'"))
    before = await read(resources, table)
    async with resources.database.transaction() as connection:
        assert await jobs.lock_job(connection, job_id, 1) is None
        assert await jobs.write_heartbeats(connection, [(job_id, 1)]) == {(job_id, 1)}
        assert await connection.scalar(text("SELECT extract(year FROM heartbeat) FROM pgqueuer")) == 2000
    assert await read(resources, table) == before


async def test_a_queued_entry_gets_no_heartbeat(resources: Resources) -> None:
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    await add_entry(resources, 1_000 + job_id)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE pgqueuer SET heartbeat = '2000-01-01'"))
        assert await jobs.write_heartbeats(connection, [(job_id, 1)]) == set()
        assert await connection.scalar(text("SELECT extract(year FROM heartbeat) FROM pgqueuer")) == 2000


async def test_a_job_is_not_claimed_during_a_step(resources: Resources) -> None:
    """Nor changed otherwise: another transaction waits for the end of the step."""
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    async with resources.database.transaction() as step:
        assert await jobs.lock_job(step, job_id, 1)
        cancelling = asyncio.create_task(cancel(resources, job_id))
        await until_it_waits(resources, step, cancelling)
    assert (await cancelling).cancel_requested_at


async def test_a_job_that_is_claimed_while_it_is_cancelled_gets_a_cancel_request(resources: Resources) -> None:
    job_id = await queue_job(resources)
    queue_id = (await read_job(resources, job_id)).queue_id
    async with resources.database.transaction() as connection:
        assert await jobs.claim_jobs(connection, {queue_id: job_id}, "me", EVENTS)
        cancelling = asyncio.create_task(cancel(resources, job_id))
        await until_it_waits(resources, connection, cancelling)
    row = await cancelling
    assert (row.state, row.cancel_requested_at is not None) == ("RUNNING", True)


async def test_jobs_that_change_state_during_their_removal(resources: Resources) -> None:
    await insert(resources, state="FAILED", finished_at=func.now())
    async with held(resources, "SELECT FROM jobs FOR UPDATE"), resources.database.transaction() as connection:
        await never_wait(connection)
        assert await jobs.remove_finished(connection, None, 10) == 0


async def test_restoring_and_raising_do_not_wait_for_locks(resources: Resources) -> None:
    job_id = (await insert(resources, state="RUNNING", queue_id=1)).id
    await add_entry(resources, 1, status="picked")
    long_ago = "now() - interval '1 hour'"
    async with resources.database.transaction() as connection:
        await connection.execute(text(f"UPDATE pgqueuer SET heartbeat = {long_ago}"))  # noqa: S608 - SQL of this test
        await connection.execute(text(f"UPDATE jobs SET queued_at = {long_ago}"))  # noqa: S608 - SQL of this test
    await change(resources, job_id, heartbeat_at=None, started_at=None)
    async with held(resources, "SELECT FROM pgqueuer FOR UPDATE"), resources.database.transaction() as connection:
        await never_wait(connection)
        assert await entries.raise_abandoned(connection, 10, 40) == 0
    await change(resources, job_id, queue_id=9)
    async with held(resources, "SELECT FROM jobs FOR UPDATE"), resources.database.transaction() as connection:
        await never_wait(connection)
        assert await entries.lost_jobs(connection, 30) == []
    async with resources.database.transaction() as connection:
        assert [row.id for row in await entries.lost_jobs(connection, 30)] == [job_id]


@pytest.mark.parametrize("name", ["jobs", "pgqueuer", "pgqueuer_schedules", "monitorings", "workers", "tokens"])
async def test_times_in_the_future_are_corrected_without_waiting(communities: Resources, name: str) -> None:
    """Another transaction that holds such a row might wait for one of the corrected rows."""
    await insert(communities, heartbeat_at=func.now() + timedelta(hours=1))
    await add_entry(communities, 1, age=-3_600)
    await add_entry(communities, 2, age=-3_600, status="picked", wait=3_600)
    async with communities.database.transaction() as connection:
        for statement in (
            """INSERT INTO pgqueuer_schedules (expression, entrypoint, updated, next_run)
               VALUES ('* * * * *', 'any', now() + interval '1 hour', now())""",
            """INSERT INTO monitorings (owner_id, is_enabled, interval_seconds, priority, next_run_at)
               VALUES (-1, true, 60, 0, now() + interval '1 hour')""",
            """INSERT INTO workers (name, seen_at, concurrency, kinds)
               VALUES ('any', now() + interval '1 hour', 1, '[]')""",
            "INSERT INTO tokens (fingerprint, blocked_until) VALUES ('any', now() + interval '1 hour')",
        ):
            await connection.execute(text(statement))
    skipped = 2 if name == "pgqueuer" else 1
    locking = f"SELECT FROM {name} FOR UPDATE"
    async with held(communities, locking), communities.database.transaction() as connection:
        await never_wait(connection)
        assert await correct_future_times(connection, 60, 60) == 7 - skipped
    async with communities.database.transaction() as connection:
        assert await correct_future_times(connection, 60, 60) == skipped


# communities


@pytest.fixture
async def communities(resources: Resources) -> Resources:
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(number, f"club{number}", "") for number in (1, 2)])
    return resources


async def test_a_community_that_is_removed_while_it_is_claimed(communities: Resources) -> None:
    job_id = (await insert(communities)).id

    async def claim() -> set[int]:
        async with communities.database.transaction() as connection:
            return await jobs.claim_groups(connection, job_id, [-1, -2])

    async with communities.database.transaction() as removing:
        await groups.delete_group(removing, -1)
        claiming = asyncio.create_task(claim())
        await until_it_waits(communities, removing, claiming)
    assert await claiming == {-2}


async def test_a_claimed_community_is_rejected_without_waiting_for_its_removal(communities: Resources) -> None:
    first, second = (await insert(communities)).id, (await insert(communities)).id
    async with communities.database.transaction() as connection:
        await jobs.claim_groups(connection, first, [-1])
    async with held(communities, "SELECT FROM groups FOR UPDATE"), communities.database.transaction() as connection:
        await never_wait(connection)
        with pytest.raises(JobAlreadyRunning):
            await jobs.claim_groups(connection, second, [-1, -2])
