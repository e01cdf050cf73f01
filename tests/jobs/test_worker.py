"""Workers: what becomes of a job when its body ends, fails, takes too long, is cancelled, or when its worker stops."""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

import app.jobs.worker
from app.communities import add_groups
from app.errors import ServiceUnavailable
from app.jobs.collect_comments import collect_comments
from app.jobs.progress import Progress, RunningJob, TakenAway
from app.jobs.queue import NewJob, cancel, enqueue, restore_lost, retry
from app.jobs.runs import End, take
from app.jobs.start_collection import start_collection
from app.jobs.states import JobEventKind, JobKind, JobPriority, JobState, MoveReason
from app.jobs.worker import Worker, open_worker
from app.resources import Resources
from tests.conftest import Simulator, stored_comments, until
from tests.jobs.conftest import ended, events_of, in_state, queue_job, read_job, working


class Bodies:
    """A body that does what a test tells it, and remembers what it was started with."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.cleaned: list[int] = []
        self.go_on = asyncio.Event()

    async def waits(self, job: RunningJob) -> dict[str, Any]:
        """Write a checkpoint and wait until the test lets it go on."""
        self.started.append(job.id)
        try:
            async with job.step() as connection:
                await job.report(connection, Progress("waiting", 1, 2), {"runs": len(self.started)})
            await self.go_on.wait()
        finally:
            self.cleaned.append(job.id)
        async with job.step() as connection:
            await job.report(connection, Progress("waiting", 2, 2), {"runs": len(self.started)})
        return {"groups": 0, "posts": 0, "failed_posts": 0, "comments": 2, "new_comments": 0}


async def test_a_job_succeeds(resources: Resources) -> None:
    bodies = Bodies()
    bodies.go_on.set()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits) as worker:
        row = await ended(resources, job_id)
    assert row.state == "SUCCEEDED"
    assert (row.done, row.total, row.attempts, row.epoch) == (2, 2, 1, 1)
    assert row.created_at <= row.started_at <= row.finished_at
    assert row.worker is None
    assert await events_of(resources, job_id) == [
        ("STATE_CHANGED", {"state": "QUEUED", "reason": "REQUESTED"}),
        ("STATE_CHANGED", {"state": "RUNNING", "reason": "TAKEN", "attempt": 1, "worker": worker._name}),  # noqa: SLF001
        ("STAGE_CHANGED", {"stage": "waiting"}),
        ("STATE_CHANGED", {"state": "SUCCEEDED", "reason": "DONE"}),
    ]


async def test_a_transaction_that_rolls_back_leaves_no_job(resources: Resources) -> None:
    await queue_job(resources)
    row = await read_job(resources, 1)

    async def change_mind() -> None:
        async with resources.database.transaction() as connection:
            await enqueue(connection, resources, NewJob(JobKind(row.kind), row.arguments))
            raise RuntimeError("change of mind")

    with pytest.raises(RuntimeError, match="change of mind"):
        await change_mind()
    assert await _count(resources, "SELECT count(*) FROM jobs") == 1
    assert await _count(resources, "SELECT count(*) FROM pgqueuer") == 1


async def test_a_failure_that_passes_is_tried_again(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    tries: list[int] = []

    async def body(job: RunningJob) -> dict[str, Any]:
        tries.append(job.epoch)
        if len(tries) < 3:
            raise ServiceUnavailable("Something")
        return {}

    job_id = await queue_job(resources)
    async with working(resources, body):
        row = await ended(resources, job_id)
    assert row.state == "SUCCEEDED"
    assert tries == [1, 2, 3]
    assert row.attempts == 3
    assert row.failure is None
    kinds = [kind for kind, _ in await events_of(resources, job_id)]
    assert kinds.count("ATTEMPT_FAILED") == 2


async def test_a_failure_that_does_not_pass_ends_the_job(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)

    async def body(_: RunningJob) -> dict[str, Any]:
        raise ServiceUnavailable("Something")

    job_id = await queue_job(resources)
    async with working(resources, body):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.attempts == row.max_attempts == 5
    assert row.failure["code"] == "SERVICE_UNAVAILABLE"
    assert row.failure["facts"] == {"service": "Something", "retryAfterSeconds": 1.0}


async def test_an_unexpected_error_is_masked(resources: Resources) -> None:
    async def body(_: RunningJob) -> dict[str, Any]:
        raise RuntimeError("a secret")

    job_id = await queue_job(resources)
    async with working(resources, body):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "INTERNAL"
    assert row.failure["facts"]["errorId"] in row.failure["message"]
    assert "a secret" not in str(row.failure)


async def test_a_job_that_takes_too_long(resources: Resources) -> None:
    bodies = Bodies()
    job_id = await queue_job(resources, timeout_seconds=0.05)
    async with working(resources, bodies.waits):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "JOB_TIMED_OUT"
    assert row.failure["facts"] == {"timeoutSeconds": 0.05}
    assert bodies.cleaned == [job_id]


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "notification lost"])
async def test_cancel_a_running_job_within_a_second(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, *, is_told: bool
) -> None:
    bodies = Bodies()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: bodies.started)
        if not is_told:
            monkeypatch.setattr("app.jobs.queue.CANCELLATIONS", "somewhere else")
        await cancel(resources, job_id)
        async with asyncio.timeout(1.0):
            row = await ended(resources, job_id)
    assert row.state == "CANCELLED"
    assert bodies.cleaned == [job_id]
    assert row.checkpoint == {"runs": 1}


async def test_a_body_that_looks_is_told_that_it_was_cancelled(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is stored while somebody cancels is not stored: the step says so itself."""
    monkeypatch.setattr(app.jobs.worker, "LOOK_SECONDS", 60)
    monkeypatch.setattr("app.jobs.queue.CANCELLATIONS", "somewhere else")
    bodies = Bodies()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: bodies.started)
        await in_state(resources, job_id, JobState.RUNNING)
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        await cancel(resources, job_id)
        bodies.go_on.set()
        row = await ended(resources, job_id)
    assert row.state == "CANCELLED"
    assert row.done == 1


async def test_retry_goes_on_from_the_checkpoint(resources: Resources) -> None:
    bodies = Bodies()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        await cancel(resources, job_id)
        await ended(resources, job_id)
        assert (await retry(resources, job_id)).checkpoint == {"runs": 1}
        bodies.go_on.set()
        row = await ended(resources, job_id)
    assert row.state == "SUCCEEDED"
    assert row.checkpoint == {"runs": 2}


async def test_a_worker_that_stops_hands_its_jobs_over(vk_resources: Resources, simulator: Simulator) -> None:
    """The next worker goes on from the checkpoint, and the run that was cut short is no attempt."""
    await add_groups(vk_resources, ["1"])
    pages = simulator.control()["requests"]
    async with working(vk_resources, collect_comments):
        simulator.control(hold=True)
        job_id = (await start_collection(vk_resources, owner_ids=[-1])).id
        await until(lambda: simulator.control()["waiting"])
    row = await read_job(vk_resources, job_id)
    assert (row.state, row.attempts) == ("QUEUED", 0)
    simulator.control(hold=False)
    async with working(vk_resources, collect_comments):
        row = await ended(vk_resources, job_id)
    assert row.state == "SUCCEEDED"
    assert row.epoch == 2
    assert await stored_comments(vk_resources) == simulator.truth()
    assert simulator.control()["requests"] > pages


async def test_a_run_that_was_declared_dead_can_write_nothing(resources: Resources) -> None:
    job_id = await queue_job(resources)
    first = await take(resources, job_id, "first")
    second = await take(resources, job_id, "second")
    assert first
    assert second
    assert second.epoch == first.epoch + 1
    frozen = RunningJob(resources, first)
    with pytest.raises(TakenAway):
        async with frozen.step() as connection:
            await frozen.report(connection, Progress("late", 9), {"late": True})
    alive = RunningJob(resources, second)
    async with alive.step() as connection:
        await alive.report(connection, Progress("in time", 1), {"late": False})
        await alive.event(connection, JobEventKind.POST_FAILED, "told", {})
    row = await read_job(resources, job_id)
    assert (row.worker, row.done, row.checkpoint) == ("second", 1, {"late": False})


async def test_a_worker_that_lost_its_job_lets_it_be(resources: Resources) -> None:
    async def body(job: RunningJob) -> dict[str, Any]:
        await take(resources, job.id, "a faster one")
        async with job.step():
            raise AssertionError

    job_id = await queue_job(resources)
    async with working(resources, body):
        row = await in_state(resources, job_id, JobState.RUNNING)
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
        row = await read_job(resources, job_id)
    assert (row.state, row.worker, row.epoch) == ("RUNNING", "a faster one", 2)


async def test_a_result_that_comes_too_late_is_not_written(resources: Resources) -> None:
    async def body(job: RunningJob) -> dict[str, Any]:
        await take(resources, job.id, "a faster one")
        return {"late": True}

    job_id = await queue_job(resources)
    async with working(resources, body):
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
    row = await read_job(resources, job_id)
    assert (row.state, row.worker, row.result) == ("RUNNING", "a faster one", None)


async def test_a_job_that_ends_its_process_is_given_up(resources: Resources) -> None:
    job_id = await queue_job(resources)
    for attempt in range(1, 6):
        row = await take(resources, job_id, "a worker that dies")
        assert row
        assert row.attempts == attempt
    assert await take(resources, job_id, "one more") is None
    row = await read_job(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "JOB_GAVE_UP"
    assert row.failure["facts"] == {"attempts": 5}
    assert await take(resources, job_id, "one more") is None
    assert await take(resources, 99, "one more") is None


async def test_a_job_that_was_cancelled_while_its_worker_died_ends(resources: Resources) -> None:
    job_id = await queue_job(resources)
    await take(resources, job_id, "a worker that dies")
    await cancel(resources, job_id)
    assert (await read_job(resources, job_id)).state == "RUNNING"
    assert await take(resources, job_id, "the next") is None
    assert (await read_job(resources, job_id)).state == "CANCELLED"


async def test_a_job_without_an_entry_in_the_queue_is_found(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await queue_job(resources)
    connection = await asyncpg.connect(resources.database.dsn)
    await connection.execute("DELETE FROM pgqueuer")
    await connection.execute("UPDATE jobs SET created_at = now() - interval '1 minute'")
    await connection.close()
    monkeypatch.setattr(app.jobs.worker, "RESTORE_SECONDS", 0)
    bodies = Bodies()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
    assert bodies.started == [job_id]


async def test_jobs_that_are_well_are_not_restored(resources: Resources) -> None:
    await queue_job(resources)
    assert await restore_lost(resources, 0) == []


async def test_the_most_urgent_job_is_next_and_no_more_than_allowed_run(resources: Resources) -> None:
    low, normal, critical = [
        await queue_job(resources, -number, priority)
        for number, priority in ((1, JobPriority.LOW), (2, JobPriority.NORMAL), (3, JobPriority.CRITICAL))
    ]
    most = 0
    order: list[int] = []
    running = 0

    async def body(job: RunningJob) -> dict[str, Any]:
        nonlocal most, running
        running += 1
        most = max(most, running)
        order.append(job.id)
        async with job.step() as connection:
            await job.report(connection, Progress("x"), None)
        running -= 1
        return {}

    async with working(resources, body, concurrency=1):
        for job_id in (low, normal, critical):
            await ended(resources, job_id)
    assert order == [critical, normal, low]
    assert most == 1


async def test_running_jobs_show_life(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.jobs.worker, "BEAT_SECONDS", 0)
    bodies = Bodies()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: bodies.started)
        first = (await in_state(resources, job_id, JobState.RUNNING)).heartbeat_at

        async def has_beaten() -> bool:
            return bool((await read_job(resources, job_id)).heartbeat_at > first)

        await until(has_beaten)


async def test_the_queue_is_served_again_after_its_connections_were_lost(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.jobs.worker, "RESTART_SECONDS", 0)
    bodies = Bodies()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        first = await queue_job(resources, -1)
        await ended(resources, first)
        await _count(
            resources,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        second = await queue_job(resources, -2)
        assert (await ended(resources, second)).state == "SUCCEEDED"


async def _count(resources: Resources, sql: str) -> Any:
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_jobs_are_watched_on_after_any_failure(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [ServiceUnavailable("PostgreSQL"), RuntimeError("anything")]

    async def fails_twice(*arguments: Any) -> list[int]:
        if failures:
            raise failures.pop()
        return await restore_lost(*arguments)

    monkeypatch.setattr(app.jobs.worker, "restore_lost", fails_twice)
    monkeypatch.setattr(app.jobs.worker, "RESTORE_SECONDS", 0)
    monkeypatch.setattr(app.jobs.worker, "LOOK_SECONDS", 0.01)
    bodies = Bodies()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: not failures)
        await cancel(resources, job_id)
        assert (await ended(resources, job_id)).state == "CANCELLED"


async def test_a_run_ends_although_its_connections_were_lost(resources: Resources) -> None:
    lost: list[int] = []

    async def body(_: RunningJob) -> dict[str, Any]:
        # every connection is lost at the moment when the end is to be written
        lost.append(
            await _count(
                resources,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'vk-comments'",
            )
        )
        return {}

    job_id = await queue_job(resources)
    async with working(resources, body):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
    assert lost[0] > 0


async def test_an_entry_of_a_job_that_has_ended_is_dropped(resources: Resources) -> None:
    job_id = await queue_job(resources)
    await _count(resources, "UPDATE jobs SET state = 'FAILED'")
    bodies = Bodies()
    async with working(resources, bodies.waits):
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
    assert bodies.started == []
    assert (await read_job(resources, job_id)).state == "FAILED"


async def test_a_job_that_is_taken_while_the_worker_stops_goes_back(resources: Resources) -> None:
    job_id = await queue_job(resources)
    row = await take(resources, job_id, "stopping")
    assert row
    bodies = Bodies()
    worker = Worker(resources, 1, {JobKind.COLLECT_COMMENTS: bodies.waits})
    worker.stop()
    end = await worker._run_body(row)  # noqa: SLF001 - the moment between taking and stopping cannot be hit from outside
    assert end == End(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False)
    assert bodies.started == []


async def test_a_body_that_does_not_end_is_left_behind(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.jobs.worker, "STOP_SECONDS", 0.05)
    bodies = Bodies()

    async def deaf(job: RunningJob) -> dict[str, Any]:
        bodies.started.append(job.id)
        while not bodies.go_on.is_set():
            with suppress(asyncio.CancelledError):
                await bodies.go_on.wait()
        return {}

    await queue_job(resources)
    async with open_worker(resources, 1, {JobKind.COLLECT_COMMENTS: deaf}):
        await until(lambda: bodies.started)
        asyncio.get_running_loop().call_later(0.3, bodies.go_on.set)
    assert bodies.go_on.is_set()


async def test_a_failure_of_vk_that_lasts_is_tried_again_later(
    vk_resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    await add_groups(vk_resources, ["1"])
    simulator.control(faults=[{"code": 10, "times": 8}])
    job_id = (await start_collection(vk_resources, owner_ids=[-1])).id
    async with working(vk_resources, collect_comments):
        row = await ended(vk_resources, job_id)
    assert (row.state, row.attempts) == ("SUCCEEDED", 2)
    [failed] = [facts for kind, facts in await events_of(vk_resources, job_id) if kind == "ATTEMPT_FAILED"]
    assert failed["failure"]["code"] == "VK_UNAVAILABLE"


async def test_a_cancelled_job_without_worker_and_entry_ends(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await queue_job(resources)
    await take(resources, job_id, "a worker that dies")
    await cancel(resources, job_id)
    await _count(resources, "DELETE FROM pgqueuer")
    await _count(
        resources,
        "UPDATE jobs SET created_at = now() - interval '1 minute', started_at = NULL, heartbeat_at = NULL",
    )
    monkeypatch.setattr(app.jobs.worker, "RESTORE_SECONDS", 0)
    async with working(resources, Bodies().waits):
        assert (await ended(resources, job_id)).state == "CANCELLED"
    # the community is free again
    await queue_job(resources)
