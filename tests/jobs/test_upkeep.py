"""The periodic tasks that maintain the queue."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, text
from structlog.testing import capture_logs

from app.background import periodic_tasks
from app.errors import QueryTimedOut, ServiceUnavailable
from app.job_states import JobPriority
from app.jobs import upkeep
from app.resources import Resources, open_resources
from app.store.workers import write_heartbeat
from tests.conftest import MakeSettings
from tests.jobs.conftest import queue_job
from tests.store.test_jobs import change, insert


async def run(resources: Resources, name: str) -> None:
    """Run the periodic task with this name."""
    _, action = periodic_tasks(resources)[name]
    await action()


async def rows(resources: Resources, sql: str) -> list[Any]:
    async with resources.database.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(sql))]


async def test_lost_entries_are_restored_and_orphans_removed(resources: Resources) -> None:
    lost, well = await queue_job(resources, -1), await queue_job(resources, -2)
    long_ago = func.now() - timedelta(minutes=1)
    queue_ids = await rows(resources, "SELECT queue_id FROM jobs ORDER BY id")
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE pgqueuer SET updated = now() - interval '1 minute'"))
        await connection.execute(text("UPDATE jobs SET queue_id = NULL WHERE id = :id"), {"id": lost})
    await change(resources, lost, queued_at=long_ago)
    before = REGISTRY.get_sample_value("vk_comments_jobs_restored_total") or 0
    with capture_logs() as logs:
        await run(resources, "tick")
        await run(resources, "tick")
    # the key of a queue entry is unique: the job has its former entry again, and no second one
    entries = await rows(
        resources, "SELECT queue_id FROM jobs JOIN pgqueuer ON pgqueuer.id = queue_id ORDER BY jobs.id"
    )
    assert entries == queue_ids
    assert await rows(resources, "SELECT count(*) FROM pgqueuer") == [(2,)]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["job_restored"]
    assert REGISTRY.get_sample_value("vk_comments_jobs_restored_total") == before + 1

    await change(resources, well, state="FAILED")
    with capture_logs() as logs:
        await run(resources, "tick")
    assert [(line["event"], line["count"]) for line in logs] == [("entries_dropped", 1)]
    assert await rows(resources, "SELECT count(*) FROM pgqueuer") == [(1,)]


async def test_waiting_jobs_gain_priority(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(job_ageing_seconds=60)) as resources:
        jobs = [await queue_job(resources, -number, priority) for number, priority in enumerate(JobPriority, 1)]
        for job_id in jobs:
            await change(resources, job_id, enqueued_at=func.now() - timedelta(minutes=10))
        await run(resources, "tick")
        found = await rows(resources, "SELECT priority FROM pgqueuer ORDER BY id")
        kept = await rows(resources, "SELECT priority FROM jobs ORDER BY id")
    assert found == [(20,), (20,), (20,), (30,)]
    assert kept == [(0,), (10,), (20,), (30,)]


async def test_one_failing_task_does_not_stop_the_others(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> list[int]:
        raise failures.pop()

    failures: list[Exception] = [RuntimeError("anything"), QueryTimedOut(), ServiceUnavailable("PostgreSQL")]
    monkeypatch.setattr(upkeep, "restore_lost", fail)
    job_id = await queue_job(resources, priority=JobPriority.LOW)
    await change(resources, job_id, enqueued_at=func.now() - timedelta(days=1))
    with capture_logs() as logs:
        for _ in range(3):
            await run(resources, "tick")
    assert [line["event"] for line in logs] == ["upkeep_delayed", "upkeep_delayed", "upkeep_failed"]
    assert await rows(resources, "SELECT priority FROM pgqueuer") == [(20,)]


@pytest.mark.parametrize(("days", "left"), [(2.0, 3), (0.0, 4)])
async def test_old_jobs_are_removed(make_settings: MakeSettings, days: float, left: int) -> None:
    async with open_resources(make_settings(job_retention_days=days)) as resources:
        for age in (1, 3):
            await insert(resources, state="CANCELLED", finished_at=func.now() - timedelta(days=age))
        await insert(resources, created_at=func.now() - timedelta(days=30))
        await insert(resources, state="RUNNING", created_at=func.now() - timedelta(days=30))
        async with resources.database.transaction() as connection:
            await write_heartbeat(connection, "gone", 1, [])
            await connection.execute(text("UPDATE workers SET seen_at = now() - interval '25 hours'"))
            await write_heartbeat(connection, "here", 1, [])
        await run(resources, "clear")
        assert await rows(resources, "SELECT count(*) FROM jobs") == [(left,)]
        assert await rows(resources, "SELECT name FROM workers") == [("here",)]


async def test_many_jobs_are_removed_in_batches(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "REMOVE_BATCH_SIZE", 3)
    for _ in range(7):
        await insert(resources, state="SUCCEEDED", finished_at=func.now())
    assert await upkeep.remove_finished(resources) == 7
