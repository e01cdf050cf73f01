"""Following jobs: many events, a removed job, and a restart of PostgreSQL."""

import asyncio
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from app.db.embedded import embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.db.tables import jobs as table
from app.errors import JobNotFound
from app.feeds import base
from app.job_states import JobState
from app.jobs.follow import follow, follow_all
from app.jobs.queue import cancel
from app.notifications import job_topic
from app.resources import Resources, open_resources
from app.settings import read_settings
from app.store import jobs
from app.store.jobs import JobConditions
from tests.jobs.conftest import queue_job
from tests.timeouts import WAIT_SECONDS

EVERYTHING = JobConditions()


async def test_more_events_than_one_read_returns(resources: Resources) -> None:
    job_id = await queue_job(resources)
    async with resources.database.transaction() as connection:
        for number in range(249):
            await jobs.add_event(connection, job_id, "POST_FAILED", f"event {number}", {})
    await cancel(resources, job_id)
    seen = [change.seq async for change in follow(resources, job_id, 0)]
    assert seen == list(range(1, 252))


async def test_a_job_that_does_not_exist(resources: Resources) -> None:
    with pytest.raises(JobNotFound):
        await anext(follow(resources, 99, 0))


async def test_a_job_that_is_removed_meanwhile(resources: Resources) -> None:
    job_id = await queue_job(resources)
    async with (
        aclosing(follow(resources, job_id, 0)) as changes,
        aclosing(follow_all(resources, EVERYTHING)) as all_jobs,
    ):
        assert (await anext(changes)).seq == 1
        assert (await anext(all_jobs)).job.id == job_id
        async with resources.notifications.publish_on_commit([job_topic(job_id)]) as connection:
            await connection.execute(table.delete())
        with pytest.raises(JobNotFound):
            await anext(changes)
        other_id = await queue_job(resources, -2)
        await resources.notifications.publish(job_topic(other_id))
        assert (await anext(all_jobs)).job.id == other_id


async def test_all_jobs_that_meet_conditions(resources: Resources) -> None:
    job_id, other_id = await queue_job(resources, -1), await queue_job(resources, -2)
    async with aclosing(follow_all(resources, JobConditions(states=(JobState.QUEUED,)))) as changes:
        assert [(await anext(changes)).job.id for _ in range(2)] == [job_id, other_id]
        await cancel(resources, other_id)
        change = await anext(changes)
        assert (change.job.id, change.job.state, change.is_matching) == (other_id, "CANCELLED", False)


async def test_postgresql_restarts_meanwhile(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(base, "LOOK_SECONDS", 0.05)
    with ExitStack() as first, ExitStack() as second:
        server = await asyncio.to_thread(first.enter_context, embedded_postgres(data_dir))
        async with open_database(read_settings(), server.url) as database:
            await migrate(database)
        async with open_resources(read_settings(database_url=server.url)) as resources:
            job_id = await queue_job(resources)
            async with (
                aclosing(follow(resources, job_id, 0)) as changes,
                aclosing(follow_all(resources, EVERYTHING)) as all_jobs,
                asyncio.timeout(WAIT_SECONDS),
            ):
                assert (await anext(changes)).seq == 1
                assert (await anext(all_jobs)).job.state == "QUEUED"
                await asyncio.to_thread(first.close)
                waiting = asyncio.ensure_future(anext(changes))
                done, _ = await asyncio.wait({waiting}, timeout=0.3)
                assert not done
                await asyncio.to_thread(second.enter_context, embedded_postgres(data_dir))
                # nothing has changed: the next message is a tick, which shows that the feed reads again
                change = await waiting
                assert (change.seq, change.event) == (1, None)
                await cancel(resources, job_id)
                rest = [change async for change in changes]
                assert rest[-1].job.state == "CANCELLED"
                assert [change.seq for change in rest if change.event] == [2]
                assert (await anext(all_jobs)).job.state == "CANCELLED"
