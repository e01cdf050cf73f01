"""Monitoring: its settings, the runs that the periodic task starts, and the recorded results."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Row, func, text
from structlog.testing import capture_logs

from app.actions.add_groups import add_groups
from app.actions.set_monitoring import run_monitoring, set_monitoring, start_due
from app.actions.start_collection import start_collection
from app.db.tables import jobs as jobs_table
from app.db.tables import monitorings as table
from app.errors import GroupNotFound, JobAlreadyRunning, QueueFull, ValidationFailed
from app.job_states import JobPriority, JobState
from app.jobs.queue import NewJob, cancel, enqueue, retry
from app.jobs.running_job import RunningJob
from app.notifications import job_topic
from app.resources import Resources, open_resources
from app.store import jobs, monitorings
from app.store.groups import upsert_groups
from app.vk.wire import VkTokenRejected
from app.wall import VkGroup
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.collecting.collection import CollectionRequest
from tests.conftest import MakeSettings, Simulator, has_lock_waiter, until
from tests.jobs.conftest import ended, events_of, in_state, queue_job, read_job, working
from tests.locks import until_it_waits
from tests.store.rows import read
from tests.timeouts import WAIT_SECONDS


async def add(resources: Resources, *owner_ids: int) -> None:
    """Store communities."""
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(-owner_id, f"g{-owner_id}", "") for owner_id in owner_ids])


async def monitor(resources: Resources, *owner_ids: int, due: str = "-1 second") -> None:
    """Store communities that are monitored every hour and whose next run is at `due` from now."""
    await add(resources, *owner_ids)
    for owner_id in owner_ids:
        await set_monitoring(resources, owner_id, enabled=True)
    await change(resources, *owner_ids, due=due)


async def change(resources: Resources, *owner_ids: int, due: str = "-1 second") -> None:
    """Make communities due at this time from now."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            table.update()
            .where(table.c.owner_id.in_(owner_ids))
            .values(next_run_at=func.now() + text(f"interval '{due}'"))
        )


async def monitoring_of(resources: Resources, owner_id: int = -1) -> dict[str, Any]:
    """Return the monitoring of a community."""
    return (await read(resources, table))[(owner_id,)]


async def job_rows(resources: Resources) -> list[dict[str, Any]]:
    """Return all jobs in the order of their creation."""
    return [row for _, row in sorted((await read(resources, jobs_table)).items())]


async def now(resources: Resources) -> datetime:
    """Return PostgreSQL's time."""
    async with resources.database.connect() as connection:
        return await jobs.current_time(connection)


async def seconds_until(resources: Resources, moment: datetime | None) -> float:
    """Return the seconds until a time, by PostgreSQL's clock."""
    assert moment
    return (moment - await now(resources)).total_seconds()


# settings


async def test_the_first_setting_has_defaults(resources: Resources) -> None:
    await add(resources, -1)
    row = await set_monitoring(resources, -1)
    assert (row.is_enabled, row.interval_seconds, row.priority, row.next_run_at) == (False, 3600, 0, None)


async def test_omitted_settings_stay(resources: Resources) -> None:
    await add(resources, -1)
    await set_monitoring(resources, -1, enabled=True, interval_minutes=5, priority=JobPriority.CRITICAL)
    for arguments in ({}, {"enabled": True}, {"interval_minutes": 5}, {"priority": JobPriority.HIGH}):
        before = await monitoring_of(resources)
        row = await set_monitoring(resources, -1, **arguments)
        assert row.next_run_at == before["next_run_at"] is not None
        assert (row.is_enabled, row.interval_seconds) == (True, 300)
    assert row.priority == JobPriority.HIGH.value


@pytest.mark.parametrize(("minutes", "most_seconds"), [(1, 6.0), (5, 30.0), (60, 60.0), (43_200, 60.0)])
async def test_many_that_are_enabled_at_once_begin_soon_and_apart(
    resources: Resources, minutes: int, most_seconds: float
) -> None:
    owner_ids = [-number for number in range(1, 31)]
    await add(resources, *owner_ids)
    begun = await now(resources)
    rows = [await set_monitoring(resources, each, enabled=True, interval_minutes=minutes) for each in owner_ids]
    times = [row.next_run_at for row in rows if row.next_run_at]
    assert begun <= min(times) <= max(times) <= await now(resources) + timedelta(seconds=most_seconds)
    assert max(times) - min(times) > timedelta(seconds=most_seconds / 3)


async def test_a_shorter_interval_brings_the_next_run_nearer(resources: Resources) -> None:
    await monitor(resources, -1, due="50 minutes")
    row = await set_monitoring(resources, -1, interval_minutes=10)
    assert 590 < await seconds_until(resources, row.next_run_at) <= 600
    longer = await set_monitoring(resources, -1, interval_minutes=600)
    assert longer.next_run_at == row.next_run_at


async def test_disabled_monitoring_has_no_next_run(resources: Resources) -> None:
    await monitor(resources, -1)
    row = await set_monitoring(resources, -1, enabled=False)
    assert (row.is_enabled, row.next_run_at) == (False, None)
    assert (await set_monitoring(resources, -1, interval_minutes=10)).next_run_at is None
    assert await start_due(resources) == 0


@pytest.mark.parametrize("minutes", [0, -1, 43_201, 2**40])
async def test_an_interval_that_is_too_short_or_too_long(resources: Resources, minutes: int) -> None:
    await add(resources, -1)
    with pytest.raises(ValidationFailed) as caught:
        await set_monitoring(resources, -1, interval_minutes=minutes)
    assert caught.value.fields == {"intervalMinutes": "must be between 1 and 43200"}
    assert await read(resources, table) == {}


async def test_a_community_that_was_not_added(resources: Resources) -> None:
    with pytest.raises(GroupNotFound):
        await set_monitoring(resources, -1, enabled=True)
    with pytest.raises(GroupNotFound):
        await run_monitoring(resources, -1)


# running now


async def test_run_now(resources: Resources) -> None:
    await monitor(resources, -1, due="10 minutes")
    await set_monitoring(resources, -1, priority=JobPriority.HIGH)
    job, row = await run_monitoring(resources, -1)
    assert (job.state, job.priority, job.arguments) == (
        "QUEUED",
        JobPriority.HIGH.value,
        {"wall_ids": [-1]},
    )
    assert (await events_of(resources, job.id))[0][1] == {"state": "QUEUED", "reason": "REQUESTED"}
    assert row.job_id == job.id
    assert 3590 < await seconds_until(resources, row.next_run_at) <= 3600


async def test_run_now_without_monitoring(resources: Resources) -> None:
    await add(resources, -1)
    job, row = await run_monitoring(resources, -1)
    assert (row.job_id, row.is_enabled, row.next_run_at) == (job.id, False, None)
    assert job.priority == JobPriority.LOW.value


async def test_run_now_while_the_community_is_busy(resources: Resources) -> None:
    await monitor(resources, -1, due="10 minutes")
    busy = await queue_job(resources, -1)
    before = await monitoring_of(resources)
    with pytest.raises(JobAlreadyRunning) as caught:
        await run_monitoring(resources, -1)
    assert caught.value.job_id == busy
    assert await monitoring_of(resources) == before


async def test_run_now_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as resources:
        await monitor(resources, -1, due="10 minutes")
        await queue_job(resources, -2)
        before = await monitoring_of(resources)
        with pytest.raises(QueueFull):
            await run_monitoring(resources, -1)
        assert await monitoring_of(resources) == before


async def test_of_many_concurrent_run_requests_one_succeeds(resources: Resources) -> None:
    await monitor(resources, -1)
    runs = [run_monitoring(resources, -1) for _ in range(4)]
    results = await asyncio.gather(*runs, start_due(resources), return_exceptions=True)
    assert [result for result in results if not isinstance(result, JobAlreadyRunning | tuple | int)] == []
    [job] = await job_rows(resources)
    assert (await monitoring_of(resources))["job_id"] == job["id"]


# due communities


async def test_due_communities_are_queued(resources: Resources) -> None:
    await monitor(resources, -1, -2)
    await monitor(resources, -3, due="1 minute")
    await set_monitoring(resources, -2, priority=JobPriority.HIGH)
    with capture_logs() as logs:
        assert await start_due(resources) == 2
    two, one = await job_rows(resources)
    assert (one["arguments"], one["priority"]) == ({"wall_ids": [-1]}, JobPriority.LOW.value)
    assert (two["arguments"], two["priority"]) == ({"wall_ids": [-2]}, JobPriority.HIGH.value)
    assert (await events_of(resources, one["id"]))[0][1] == {"state": "QUEUED", "reason": "SCHEDULED"}
    assert ((await monitoring_of(resources, -1))["job_id"], (await monitoring_of(resources, -2))["job_id"]) == (
        one["id"],
        two["id"],
    )
    assert logs == [
        {"event": "monitoring_started", "log_level": "info", "owner_id": owner_id, "job_id": job_id}
        for owner_id, job_id in ((-2, two["id"]), (-1, one["id"]))
    ]


async def test_nothing_is_due(resources: Resources) -> None:
    await monitor(resources, -1, due="1 minute")
    with capture_logs() as logs:
        assert await start_due(resources) == 0
    assert logs == []


async def test_of_many_schedulers_one_queues_each(make_settings: MakeSettings) -> None:
    owner_ids = [-number for number in range(1, 41)]
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(open_resources(make_settings())) for _ in range(5)]
        await monitor(processes[0], *owner_ids, due="-3 days")
        counts = await asyncio.gather(*(start_due(process) for process in processes))
        assert sum(counts) == len(owner_ids)
        assert sorted(row["arguments"]["wall_ids"][0] for row in await job_rows(processes[0])) == sorted(owner_ids)
        # three days of missed runs were one run
        assert await asyncio.gather(*(start_due(process) for process in processes)) == [0] * 5
        noted = {row["owner_id"]: row["job_id"] for row in (await read(processes[0], table)).values()}
        assert noted == {row["arguments"]["wall_ids"][0]: row["id"] for row in await job_rows(processes[0])}


async def test_one_tick_starts_at_most_a_hundred(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.actions.set_monitoring.BATCH", 2)
    await monitor(resources, -1, -2, -3)
    assert [await start_due(resources) for _ in range(3)] == [2, 1, 0]


async def test_missed_runs_after_a_pause_are_one_run(resources: Resources) -> None:
    await monitor(resources, -1, due="-30 days")
    assert [await start_due(resources) for _ in range(2)] == [1, 0]
    await cancel(resources, 1)
    assert await start_due(resources) == 0
    assert 0.89 * 3600 < await seconds_until(resources, (await monitoring_of(resources))["next_run_at"]) < 1.11 * 3600


async def test_jitter_spreads_communities_that_are_due_at_the_same_time(resources: Resources) -> None:
    owner_ids = [-number for number in range(1, 61)]
    await monitor(resources, *owner_ids)
    assert await start_due(resources) == 60
    times = sorted([row["next_run_at"] for row in (await read(resources, table)).values()])
    assert timedelta(minutes=6) < times[-1] - times[0] <= timedelta(minutes=12)
    assert len(set(times)) == 60


async def test_a_busy_community_is_skipped_until_its_next_run(resources: Resources) -> None:
    busy = await queue_job(resources, -2)
    await monitor(resources, -1, -2, -3)
    with capture_logs() as logs:
        assert await start_due(resources) == 2
    assert [row["arguments"]["wall_ids"] for row in await job_rows(resources)] == [[-2], [-3], [-1]]
    assert (await monitoring_of(resources, -2))["job_id"] is None
    skipped = [entry for entry in logs if entry["event"] == "monitoring_skipped"]
    assert skipped == [{"event": "monitoring_skipped", "log_level": "info", "owner_id": -2, "job_id": busy}]
    await cancel(resources, busy)
    assert await start_due(resources) == 0
    assert await seconds_until(resources, (await monitoring_of(resources, -2))["next_run_at"]) > 3000


async def test_a_full_queue_loses_nothing(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=2)) as resources:
        await monitor(resources, -1, -2, -3, -4, -5)
        before = await read(resources, table)
        with capture_logs() as logs:
            assert await start_due(resources) == 2
        assert [entry for entry in logs if entry["log_level"] == "warning"] == [
            {
                "event": "monitoring_delayed",
                "log_level": "warning",
                "reason": "the queue is full",
                "communities": 3,
            }
        ]
        after = await read(resources, table)
        assert [row["arguments"]["wall_ids"] for row in await job_rows(resources)] == [[-5], [-4]]
        assert {key for key in after if after[key] == before[key]} == {(-1,), (-2,), (-3,)}
        assert await start_due(resources) == 0
        for job_id, expected in ((1, 1), (2, 1), (3, 1)):
            await cancel(resources, job_id)
            assert await start_due(resources) == expected
        started = [row["arguments"]["wall_ids"][0] for row in await job_rows(resources)]
        assert sorted(started) == [-5, -4, -3, -2, -1]


async def test_the_schedule_of_the_workers_starts_due_communities(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of workers: each has the schedule, and one of them runs the task."""
    monkeypatch.setattr("app.background.EVERY_FIVE_SECONDS", "* * * * * *")

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {}

    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(open_resources(make_settings())) for _ in range(3)]
        await monitor(processes[0], -1, -2)
        for process in processes:
            await stack.enter_async_context(working(process, handler))

        async def all_ended() -> bool:
            return all([(await monitoring_of(processes[0], owner_id))["last_state"] for owner_id in (-1, -2)])

        await until(all_ended)
        jobs_there = await read(processes[0], jobs_table)
    assert [job["state"] for job in jobs_there.values()] == ["SUCCEEDED", "SUCCEEDED"]


async def test_a_failure_rolls_everything_back(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    await monitor(resources, -1, -2)
    before = await read(resources, table)

    async def fail(*_: object) -> None:
        raise RuntimeError("on the way")

    monkeypatch.setattr("app.actions.set_monitoring.monitorings.note_jobs", fail)
    with pytest.raises(RuntimeError, match="on the way"):
        await start_due(resources)
    assert await read(resources, table) == before
    assert await job_rows(resources) == []


async def test_concurrent_collections_of_many_communities(resources: Resources) -> None:
    """Both claim communities in the same order, so there is no deadlock."""
    owner_ids = [-number for number in range(1, 21)]
    for turn in range(3):
        await monitor(resources, *owner_ids)
        mixed = sorted(owner_ids, key=lambda owner_id: (owner_id * 7) % 20)
        one, other = await asyncio.gather(
            start_due(resources), start_collection(resources, owner_ids=mixed), return_exceptions=True
        )
        assert (one, isinstance(other, JobAlreadyRunning)) in ((20, True), (0, False)), turn
        for row in await job_rows(resources):
            if row["state"] == "QUEUED":
                await cancel(resources, row["id"])


async def test_due_communities_are_claimed_in_the_order_of_collections(resources: Resources) -> None:
    """Not in the order of their due times: otherwise two transactions could each wait for a community of the other."""
    await monitor(resources, -1, -2, -3)
    async with resources.database.transaction() as connection:
        # -1 is due first
        await connection.execute(
            text("UPDATE monitorings SET next_run_at = now() - make_interval(secs => 10 + owner_id)")
        )
    async with resources.database.transaction() as connection:
        row = await enqueue(connection, resources, NewJob(COLLECT_COMMENTS, CollectionRequest((-3,))))
        starting = asyncio.create_task(start_due(resources))
        await until_it_waits(resources, connection, starting)
        assert await jobs.claim_groups(connection, row.id, [-2, -1]) == {-2, -1}
    assert await starting == 0


async def test_a_job_that_ends_while_its_community_is_due(resources: Resources) -> None:
    """Both lock the monitoring first and the claim second, so there is no deadlock."""
    await monitor(resources, -1)
    await start_due(resources)
    await change(resources, -1)
    async with resources.database.transaction() as connection:
        assert len(await monitorings.claim_due(connection, 1)) == 1
        ending = asyncio.create_task(cancel(resources, 1))
        await until(lambda: has_lock_waiter(resources.database.dsn))
        with pytest.raises(JobAlreadyRunning):
            await enqueue(connection, resources, NewJob(COLLECT_COMMENTS, CollectionRequest((-1,))))
    assert (await ending).state == "CANCELLED"


async def test_subscribers_are_notified(resources: Resources) -> None:
    await monitor(resources, -1, -2)
    await until(lambda: resources.notifications.is_listening)
    with resources.notifications.subscribe(job_topic(1)) as one, resources.notifications.subscribe(job_topic(2)) as two:
        await start_due(resources)
        assert await one.wait(WAIT_SECONDS)
        assert await two.wait(WAIT_SECONDS)
    await cancel(resources, 1)
    with resources.notifications.subscribe(job_topic(3)) as three:
        await run_monitoring(resources, -2)
        assert await three.wait(WAIT_SECONDS)


# results


async def test_a_collection_is_recorded(vk_resources: Resources, simulator: Simulator, worker: None) -> None:
    assert worker is None
    await add_groups(vk_resources, ["1"])
    await set_monitoring(vk_resources, -1, enabled=True)
    await change(vk_resources, -1)
    await start_due(vk_resources)
    await until(lambda: job_rows(vk_resources))  # the worker's own schedule may have been faster
    job = await ended(vk_resources, 1)
    row = await monitoring_of(vk_resources)
    assert (row["job_id"], row["last_state"], row["last_failure"]) == (job.id, "SUCCEEDED", None)
    assert row["last_run_at"] == job.finished_at
    assert row["last_result"] == job.result
    assert row["last_result"]["new_comments"] == sum(map(len, simulator.truth().values()))
    # the next run reads only changes
    again = await ended(vk_resources, (await run_monitoring(vk_resources, -1))[0].id)
    assert (await monitoring_of(vk_resources))["last_result"] == again.result
    assert (again.result["new_comments"], again.result["saved_calls"] > 0) == (0, True)


RESULT = {"groups": 1, "posts": 0, "failed_posts": 0, "comments": 0, "new_comments": 0}


class Handlers:
    """Handlers that end in different ways."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def succeeds(self, _: RunningJob[Any, Any]) -> dict[str, Any]:
        """Return a result."""
        return RESULT

    async def fails(self, _: RunningJob[Any, Any]) -> dict[str, Any]:
        """Fail because VK accepts no token."""
        raise VkTokenRejected("VK accepts no token.")

    async def waits(self, _: RunningJob[Any, Any]) -> dict[str, Any]:
        """Never end."""
        await self.go_on.wait()
        return RESULT


async def succeed(resources: Resources) -> Row[Any]:
    """Run the monitoring of community -1, which succeeds."""
    job, _ = await run_monitoring(resources, -1)
    async with working(resources, Handlers().succeeds):
        return await ended(resources, job.id)


async def test_a_failed_job_keeps_the_last_result(resources: Resources) -> None:
    await monitor(resources, -1, due="1 hour")
    await succeed(resources)
    job, _ = await run_monitoring(resources, -1)
    async with working(resources, Handlers().fails):
        failed = await ended(resources, job.id)
    row = await monitoring_of(resources)
    assert (row["job_id"], row["last_state"], row["last_result"]) == (job.id, "FAILED", RESULT)
    assert row["last_failure"] == failed.failure
    assert row["last_failure"]["code"] == "VK_TOKEN"
    assert row["last_run_at"] == failed.finished_at
    await succeed(resources)
    assert ((row := await monitoring_of(resources))["last_state"], row["last_failure"]) == ("SUCCEEDED", None)


async def test_a_failed_job_that_is_retried(resources: Resources) -> None:
    await monitor(resources, -1, due="1 hour")
    job, _ = await run_monitoring(resources, -1)
    async with working(resources, Handlers().fails):
        await ended(resources, job.id)
    await retry(resources, job.id)
    async with working(resources, Handlers().succeeds):
        await ended(resources, job.id)
    row = await monitoring_of(resources)
    assert (row["last_state"], row["last_failure"], row["last_result"]) == ("SUCCEEDED", None, RESULT)


async def test_a_waiting_job_that_is_cancelled(resources: Resources) -> None:
    await monitor(resources, -1, due="1 hour")
    await succeed(resources)
    job, _ = await run_monitoring(resources, -1)
    cancelled = await cancel(resources, job.id)
    row = await monitoring_of(resources)
    assert (row["last_state"], row["last_result"], row["last_failure"]) == ("CANCELLED", RESULT, None)
    assert row["last_run_at"] == cancelled.finished_at


async def test_a_running_job_that_is_cancelled(resources: Resources) -> None:
    await monitor(resources, -1, due="1 hour")
    job, _ = await run_monitoring(resources, -1)
    async with working(resources, Handlers().waits):
        await in_state(resources, job.id, JobState.RUNNING)
        await cancel(resources, job.id)
        assert (await monitoring_of(resources))["last_state"] is None
        cancelled = await ended(resources, job.id)
    row = await monitoring_of(resources)
    assert (row["last_state"], row["last_result"], row["last_failure"]) == ("CANCELLED", None, None)
    assert row["last_run_at"] == cancelled.finished_at


async def test_other_jobs_of_the_community_are_not_recorded(resources: Resources) -> None:
    await monitor(resources, -1, due="1 hour")
    await succeed(resources)
    before = await monitoring_of(resources)
    async with working(resources, Handlers().fails):
        failed = await ended(resources, await queue_job(resources, -1))
    assert failed.state == "FAILED"
    assert await monitoring_of(resources) == before
    assert (await read_job(resources, before["job_id"])).state == "SUCCEEDED"
