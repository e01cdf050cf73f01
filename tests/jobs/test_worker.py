"""Workers: what happens to a job when its handler ends, fails, times out, is cancelled, or when its worker stops."""

import asyncio
import math
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from pgqueuer.applications import PgQueuer
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

import app.jobs.upkeep
import app.jobs.watch
import app.jobs.worker
from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import make_worker
from app.errors import Fault, QueryTimedOut, QueueFull, ServiceUnavailable, StartFailed
from app.job_states import JobEventKind, JobPriority, JobState, MoveReason
from app.jobs import runs
from app.jobs.active_runs import Run
from app.jobs.engine import make_engine
from app.jobs.queue import NewJob, cancel, enqueue, queries_of, restore_lost, retry
from app.jobs.running_job import LeaseLost, Progress, RunningJob
from app.jobs.runs import End
from app.jobs.worker import running
from app.resources import Resources, open_resources
from app.store.jobs import cancelled_among
from app.store.workers import live_workers
from app.vk.wire import VkUnavailable
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.kinds import JobKind
from tests.conftest import MakeSettings, Simulator, stored_comments, until
from tests.jobs.conftest import (
    PLAIN,
    claim_job,
    ended,
    events_of,
    in_state,
    plain,
    queue_job,
    read_job,
    running_job,
    working,
)
from tests.timeouts import WAIT_SECONDS


class Handlers:
    """A handler that waits for the test, and records the arguments of its runs."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.cleaned: list[int] = []
        self.go_on = asyncio.Event()

    async def waits(self, job: RunningJob[Any, Any]) -> dict[str, Any]:
        """Write a checkpoint and wait until the test releases it."""
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
    bodies = Handlers()
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
        ("STATE_CHANGED", {"state": "RUNNING", "reason": "CLAIMED", "attempt": 1, "worker": worker.name}),
        ("STAGE_CHANGED", {"stage": "waiting"}),
        ("STATE_CHANGED", {"state": "SUCCEEDED", "reason": "DONE"}),
    ]


async def test_a_transaction_that_rolls_back_leaves_no_job(resources: Resources) -> None:
    await queue_job(resources)
    arguments = {"owner_ids": [-1]}

    async def change_mind() -> None:
        async with resources.database.transaction() as connection:
            await enqueue(connection, resources, NewJob(PLAIN, arguments))
            raise RuntimeError("change of mind")

    with pytest.raises(RuntimeError, match="change of mind"):
        await change_mind()
    assert await _count(resources, "SELECT count(*) FROM jobs") == 1
    assert await _count(resources, "SELECT count(*) FROM pgqueuer") == 1


async def test_a_transient_failure_is_retried(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    tries: list[int] = []

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        tries.append(job.epoch)
        if len(tries) < 3:
            raise VkUnavailable("VK is away.")
        return {}

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert row.state == "SUCCEEDED"
    assert tries == [1, 2, 3]
    assert row.attempts == 3
    assert row.failure is None
    kinds = [kind for kind, _ in await events_of(resources, job_id)]
    assert kinds.count("ATTEMPT_FAILED") == 2


async def test_a_permanent_failure_ends_the_job(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        raise VkUnavailable("VK is away.")

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.attempts == row.max_attempts == 5
    assert (row.failure["code"], row.failure["message"]) == ("VK_UNAVAILABLE", "VK is away.")


async def test_an_outage_of_postgresql_does_not_count_as_an_attempt(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    runs = 0

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        if runs <= 7:
            raise ServiceUnavailable("PostgreSQL", 0.0)
        return {}

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert (row.state, row.attempts, row.epoch) == ("SUCCEEDED", 1, 8)


async def test_an_unexpected_error_is_masked(resources: Resources) -> None:
    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        raise RuntimeError("a secret")

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "INTERNAL"
    assert row.failure["facts"]["errorId"] in row.failure["message"]
    assert "a secret" not in str(row.failure)


async def test_a_job_that_times_out(resources: Resources) -> None:
    bodies = Handlers()
    job_id = await queue_job(resources, timeout_seconds=0.05)
    async with working(resources, bodies.waits):
        row = await ended(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "JOB_TIMED_OUT"
    assert row.failure["facts"] == {"timeoutSeconds": 0.05}
    assert bodies.cleaned == [job_id]


@pytest.mark.parametrize("is_notified", [True, False], ids=["notified", "notification lost"])
async def test_cancel_a_running_job_within_a_second(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, *, is_notified: bool
) -> None:
    """By the notification, or if that is lost, by the next check, which follows within half a second."""
    assert app.jobs.watch.CANCEL_CHECK_SECONDS <= 0.5
    if is_notified:
        monkeypatch.setattr(app.jobs.watch, "CANCEL_CHECK_SECONDS", math.inf)
    else:
        monkeypatch.setattr("app.jobs.queue.CANCELLATIONS", "somewhere else")
    bodies = Handlers()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits) as worker:
        if is_notified:
            worker._watch._heartbeat_seconds = 10 * WAIT_SECONDS  # noqa: SLF001 - the worker also checks for cancel requests at each heartbeat
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        await cancel(resources, job_id)
        row = await ended(resources, job_id)
    assert row.state == "CANCELLED"
    assert bodies.cleaned == [job_id]
    assert row.checkpoint == {"runs": 1}


async def test_a_step_of_a_cancelled_job_raises(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is being stored during a cancel request is not stored: the step itself reports the request."""
    monkeypatch.setattr(app.jobs.watch, "CANCEL_CHECK_SECONDS", 60)
    monkeypatch.setattr("app.jobs.queue.CANCELLATIONS", "somewhere else")
    bodies = Handlers()
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


async def test_retry_resumes_from_the_checkpoint(resources: Resources) -> None:
    bodies = Handlers()
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


async def test_a_worker_that_stops_returns_its_jobs_to_the_queue(vk_resources: Resources, simulator: Simulator) -> None:
    """The next worker resumes from the checkpoint, and the interrupted run does not count as an attempt."""
    await add_groups(vk_resources, ["1"])
    pages = simulator.control()["requests"]
    async with working(vk_resources, COLLECT_COMMENTS):
        simulator.control(hold=True)
        job_id = (await start_collection(vk_resources, owner_ids=[-1])).id
        await until(lambda: simulator.control()["waiting"])
    row = await read_job(vk_resources, job_id)
    assert (row.state, row.attempts) == ("QUEUED", 0)
    simulator.control(hold=False)
    async with working(vk_resources, COLLECT_COMMENTS):
        row = await ended(vk_resources, job_id)
    assert row.state == "SUCCEEDED"
    assert row.epoch == 2
    assert await stored_comments(vk_resources) == simulator.truth()
    assert simulator.control()["requests"] > pages


async def test_a_run_that_was_declared_dead_cannot_write(resources: Resources) -> None:
    job_id = await queue_job(resources)
    first = await claim_job(resources, job_id, "first")
    second = await claim_job(resources, job_id, "second")
    assert first
    assert second
    assert second.epoch == first.epoch + 1
    frozen = running_job(resources, first)
    with pytest.raises(LeaseLost):
        async with frozen.step() as connection:
            await frozen.report(connection, Progress("late", 9), {"late": True})
    alive = running_job(resources, second)
    async with alive.step() as connection:
        await alive.report(connection, Progress("in time", 1), {"late": False})
        await alive.event(connection, JobEventKind.POST_FAILED, "failed", {})
    row = await read_job(resources, job_id)
    assert (row.worker, row.done, row.checkpoint) == ("second", 1, {"late": False})


def lost_leases() -> float:
    """Return the number of runs that ended because of a lost lease."""
    return REGISTRY.get_sample_value("vk_comments_leases_lost_total") or 0.0


async def test_a_worker_that_lost_its_lease_does_not_end_the_job(resources: Resources) -> None:
    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        await claim_job(resources, job.id, "a faster one")
        async with job.step():
            raise AssertionError

    before = lost_leases()
    job_id = await queue_job(resources)
    async with working(resources, handler):
        await until(lambda: lost_leases() == before + 1)
        row = await read_job(resources, job_id)
    assert (row.state, row.worker, row.epoch) == ("RUNNING", "a faster one", 2)
    assert await _count(resources, "SELECT count(*) FROM pgqueuer") == 1


async def test_a_result_that_comes_too_late_is_not_written(resources: Resources) -> None:
    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        await claim_job(resources, job.id, "a faster one")
        return {"late": True}

    before = lost_leases()
    job_id = await queue_job(resources)
    async with working(resources, handler):
        await until(lambda: lost_leases() == before + 1)
    row = await read_job(resources, job_id)
    assert (row.state, row.worker, row.result) == ("RUNNING", "a faster one", None)
    assert await _count(resources, "SELECT count(*) FROM pgqueuer") == 1


async def test_a_job_that_ends_its_process_is_abandoned(resources: Resources) -> None:
    job_id = await queue_job(resources)
    for attempt in range(1, 6):
        row = await claim_job(resources, job_id, "a worker that dies")
        assert row
        assert row.attempts == attempt
    assert await claim_job(resources, job_id, "one more") is None
    row = await read_job(resources, job_id)
    assert row.state == "FAILED"
    assert row.failure["code"] == "JOB_GAVE_UP"
    assert row.failure["facts"] == {"attempts": 5}
    assert await claim_job(resources, job_id, "one more") is None
    assert await claim_job(resources, 99, "one more") is None


async def test_a_job_that_was_cancelled_while_its_worker_died_ends(resources: Resources) -> None:
    job_id = await queue_job(resources)
    await claim_job(resources, job_id, "a worker that dies")
    await cancel(resources, job_id)
    assert (await read_job(resources, job_id)).state == "RUNNING"
    assert await claim_job(resources, job_id, "the next") is None
    assert (await read_job(resources, job_id)).state == "CANCELLED"


async def test_a_job_without_a_queue_entry_is_restored(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await queue_job(resources)
    connection = await asyncpg.connect(resources.database.dsn)
    await connection.execute("DELETE FROM pgqueuer")
    await connection.execute("UPDATE jobs SET queued_at = now() - interval '1 minute'")
    await connection.close()
    monkeypatch.setattr("app.background.EVERY_FIVE_SECONDS", "* * * * * *")
    bodies = Handlers()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
    assert bodies.started == [job_id]


async def test_consistent_jobs_are_not_restored(resources: Resources) -> None:
    await queue_job(resources)
    assert await restore_lost(resources, 0) == []


async def test_the_highest_priority_is_next_within_the_concurrency(resources: Resources) -> None:
    low, normal, critical = [
        await queue_job(resources, -number, priority)
        for number, priority in ((1, JobPriority.LOW), (2, JobPriority.NORMAL), (3, JobPriority.CRITICAL))
    ]
    most = 0
    order: list[int] = []
    running = 0

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        nonlocal most, running
        running += 1
        most = max(most, running)
        order.append(job.id)
        async with job.step() as connection:
            await job.report(connection, Progress("x"), None)
        running -= 1
        return {}

    async with working(resources, handler, concurrency=1):
        for job_id in (low, normal, critical):
            await ended(resources, job_id)
    assert order == [critical, normal, low]
    assert most == 1


async def test_a_critical_job_is_next_though_a_thousand_wait(resources: Resources) -> None:
    """Also while all workers are busy: they claim none of the waiting jobs in advance."""
    order: list[int] = []
    may_end = [asyncio.Event() for _ in range(4)]

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        order.append(job.id)
        if len(order) <= 4:
            await may_end[len(order) - 1].wait()
        return {}

    busy = [await queue_job(resources, -number, JobPriority.LOW) for number in range(1, 5)]
    async with working(resources, handler), working(resources, handler):
        await until(lambda: len(order) == 4)
        async with resources.database.transaction() as connection:
            for _ in range(1_000):
                await enqueue(connection, resources, NewJob(PLAIN, {}, priority=JobPriority.LOW))
        critical = await queue_job(resources, -9, JobPriority.CRITICAL)
        # only one worker has capacity: of two, the other one could start its claimed job first
        may_end[0].set()
        await until(lambda: len(order) > 6)
        for event in may_end:
            event.set()
    assert sorted(order[:4]) == busy
    assert order[4] == critical


async def test_the_limit_of_the_queue_is_exact(make_settings: MakeSettings) -> None:
    """However many clients enqueue concurrently, in whichever process."""
    settings = make_settings(queue_limit=7)
    async with open_resources(settings) as first, open_resources(settings) as second:
        requests = [queue_job((first, second)[number % 2], -number) for number in range(1, 31)]
        answers = await asyncio.gather(*requests, return_exceptions=True)
        refused = [answer for answer in answers if not isinstance(answer, int)]
        assert [type(answer) for answer in refused] == [QueueFull] * 23
        assert await _count(first, "SELECT count(*) FROM jobs") == 7
        assert await _count(first, "SELECT count(*) FROM pgqueuer") == 7


async def test_running_jobs_have_heartbeats(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.jobs.watch, "HEARTBEAT_SECONDS", 0)
    bodies = Handlers()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: bodies.started)
        first = (await in_state(resources, job_id, JobState.RUNNING)).heartbeat_at

        async def has_heartbeat() -> bool:
            return bool((await read_job(resources, job_id)).heartbeat_at > first)

        await until(has_heartbeat)


async def test_the_queue_is_served_again_after_its_connections_were_lost(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.jobs.worker, "RESTART_SECONDS", 0)
    bodies = Handlers()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        first = await queue_job(resources, -1)
        await ended(resources, first)
        await _count(
            resources,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

        async def queue_again() -> int | None:
            with suppress(ServiceUnavailable):  # until the lost connections are detected
                return await queue_job(resources, -2)
            return None

        assert (await ended(resources, await until(queue_again))).state == "SUCCEEDED"


async def _count(resources: Resources, sql: str) -> Any:
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_other_jobs_are_claimed_while_a_long_job_continues_after_a_failure(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error, the queue is served again at once, and running jobs continue."""
    monkeypatch.setattr(app.jobs.worker, "RESTART_SECONDS", 0)
    bodies = Handlers()

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        return await bodies.waits(job) if job.id == 1 else {}

    async with working(resources, handler):
        long = await queue_job(resources, -1)
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        await _count(
            resources,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )

        async def queue_another() -> int | None:
            with suppress(ServiceUnavailable):
                return await queue_job(resources, -2)
            return None

        other = await until(queue_another)
        assert (await ended(resources, other)).state == "SUCCEEDED"
        bodies.go_on.set()
        row = await ended(resources, long)
    assert (row.state, row.epoch, row.attempts) == ("SUCCEEDED", 1, 1)


async def test_a_cancelled_job_does_not_return_to_the_queue(resources: Resources) -> None:
    """Neither because its worker stops during the cleanup, nor because this attempt has failed."""
    has_begun, is_cleaning, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cleaning.set()
            await may_end.wait()
        raise AssertionError

    job_id = await queue_job(resources)
    async with working(resources, handler) as worker:
        await has_begun.wait()
        worker.stop()
        await is_cleaning.wait()
        await cancel(resources, job_id)
        may_end.set()
        assert (await ended(resources, job_id)).state == "CANCELLED"
    assert await _count(resources, "SELECT count(*) FROM pgqueuer") == 0

    failing = await queue_job(resources)
    taken = await claim_job(resources, failing, "me")
    assert taken
    await cancel(resources, failing)
    again = End(JobState.QUEUED, MoveReason.TRANSIENT_FAILURE, retry_after_seconds=300)
    assert await runs.finish(resources, [(taken, again)]) == [End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)]
    assert (await read_job(resources, failing)).state == "CANCELLED"
    assert await _count(resources, "SELECT count(*) FROM job_groups") == 0


async def test_a_result_that_postgresql_rejects_fails_the_job_at_once(resources: Resources) -> None:
    runs = 0

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        return {"text": "a\x00b"}

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert (row.state, row.failure["code"], runs) == ("FAILED", "INTERNAL", 1)


@pytest.mark.parametrize("failure", [ServiceUnavailable("PostgreSQL"), QueryTimedOut()], ids=["away", "late"])
async def test_an_end_that_cannot_be_written_leaves_the_job_to_others(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, failure: Fault
) -> None:
    async def away(*_: Any) -> list[End | None]:
        raise failure

    monkeypatch.setattr(app.jobs.worker, "finish", away)

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {}

    job_id = await queue_job(resources)
    with capture_logs() as logs:
        async with working(resources, handler):
            await until(lambda: [line for line in logs if line["event"] == "run_end_lost"])
    assert (await read_job(resources, job_id)).state == "RUNNING"
    assert await _count(resources, "SELECT count(*) FROM pgqueuer WHERE status = 'picked'") == 1


async def test_a_worker_is_registered_before_it_claims_its_first_job(resources: Resources) -> None:
    for statement in (
        "CREATE TABLE claims (is_known bool)",
        """
        CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO claims SELECT EXISTS (SELECT FROM workers WHERE name = NEW.worker); RETURN NEW; END $$
        """,
        (
            "CREATE TRIGGER note_claim BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.epoch > OLD.epoch)"
            " EXECUTE FUNCTION note_claim()"
        ),
    ):
        async with resources.database.transaction() as connection:
            await connection.exec_driver_sql(statement)
    bodies = Handlers()
    bodies.go_on.set()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await ended(resources, job_id)
    assert await _count(resources, "SELECT count(*) FROM claims WHERE is_known") == 1


async def test_a_worker_claims_a_job_again_as_soon_as_it_is_back_in_the_queue(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it still waits for the confirmation that the end of the former run is written."""
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    started: list[int] = []

    async def fails_once(job: RunningJob[Any, Any]) -> dict[str, Any]:
        started.append(job.id)
        if len(started) == 1:
            raise ServiceUnavailable("VK")
        return {}

    async def answers_late(*arguments: Any) -> Any:
        written = await runs.finish(*arguments)
        await until(lambda: len(started) == 2)
        return written

    monkeypatch.setattr(app.jobs.worker, "finish", answers_late)
    job_id = await queue_job(resources)
    async with working(resources, fails_once):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"


async def test_a_worker_that_is_stopped_while_it_connects(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker(resources, 1)

    def stopped_meanwhile(*arguments: Any) -> PgQueuer:
        worker.stop()
        return make_engine(*arguments)

    monkeypatch.setattr(app.jobs.worker, "make_engine", stopped_meanwhile)
    async with asyncio.timeout(WAIT_SECONDS):
        await worker.run()


async def test_two_entries_of_one_job_are_one_run(resources: Resources) -> None:
    job_id = await queue_job(resources)
    await _count(
        resources,
        "INSERT INTO pgqueuer (priority, status, entrypoint, payload)"
        " SELECT 30, 'queued', entrypoint, payload FROM pgqueuer",
    )
    bodies = Handlers()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
    assert bodies.started == [job_id]


async def test_other_failures_of_the_queue_are_those_of_sqlalchemy(resources: Resources) -> None:
    async with resources.database.connect() as connection:
        with pytest.raises(DBAPIError, match="division by zero"):
            await queries_of(connection).driver.fetch("SELECT 1 / 0")


async def test_many_workers_race_for_the_slots_of_a_kind(make_settings: MakeSettings) -> None:
    """A worker that loses the race claims nothing, and nothing fails."""

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {}

    async with open_resources(make_settings(job_kind_limits="collect_comments=3")) as resources:
        async with resources.database.transaction() as connection:
            for _ in range(60):
                await enqueue(connection, resources, NewJob(PLAIN, {}))
        with capture_logs() as logs:
            async with working(resources, handler), working(resources, handler), working(resources, handler):
                await until(lambda: _count(resources, "SELECT count(*) = 60 FROM jobs WHERE state = 'SUCCEEDED'"))
    assert [line["reason"] for line in logs if line["event"] == "queue_lost"] == []


async def test_jobs_are_still_watched_after_any_failure(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = [QueryTimedOut(), ServiceUnavailable("PostgreSQL"), RuntimeError("anything")]

    async def fails_twice(*arguments: Any) -> set[int]:
        if failures:
            raise failures.pop()
        return await cancelled_among(*arguments)

    monkeypatch.setattr("app.store.jobs.cancelled_among", fails_twice)
    monkeypatch.setattr(app.jobs.watch, "CANCEL_CHECK_SECONDS", 0.01)
    bodies = Handlers()
    job_id = await queue_job(resources)
    with capture_logs() as logs:
        async with working(resources, bodies.waits):
            await until(lambda: not failures)
            await cancel(resources, job_id)
            assert (await ended(resources, job_id)).state == "CANCELLED"
    assert [line["event"] for line in logs if line["event"].startswith("watch_")] == [
        "watch_failed",
        "watch_delayed",
        "watch_delayed",
    ]


async def test_a_run_ends_even_if_its_connections_were_lost(resources: Resources) -> None:
    lost: list[int] = []

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        # all connections are lost at the moment when the end is written
        lost.append(
            await _count(
                resources,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'vk-comments'",
            )
        )
        return {}

    job_id = await queue_job(resources)
    async with working(resources, handler):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
    assert lost[0] > 0


async def test_an_entry_of_a_job_that_has_ended_is_dropped(resources: Resources) -> None:
    job_id = await queue_job(resources)
    await _count(resources, "UPDATE jobs SET state = 'FAILED'")
    bodies = Handlers()
    async with working(resources, bodies.waits):
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
    assert bodies.started == []
    assert (await read_job(resources, job_id)).state == "FAILED"


async def test_a_job_that_is_claimed_while_the_worker_stops_returns_to_the_queue(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopsWithIt(Run):
        """A run that starts at the moment when its worker stops."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            worker.stop()

    monkeypatch.setattr(app.jobs.worker, "Run", StopsWithIt)
    bodies = Handlers()
    async with working(resources, bodies.waits) as worker:
        job_id = await queue_job(resources)
        await until(lambda: _count(resources, "SELECT epoch > 0 AND state = 'QUEUED' FROM jobs"))
    assert (await read_job(resources, job_id)).attempts == 0
    assert bodies.started == []


class Unstoppable:
    """A handler that ignores its cancellation until the test releases it."""

    def __init__(self) -> None:
        self.is_running = asyncio.Event()
        self.is_free = asyncio.Event()
        self.refusals: list[type[BaseException]] = []

    async def handler(self, job: RunningJob[Any, Any]) -> dict[str, Any]:
        """Continue in spite of the cancellation, then try to write."""
        self.is_running.set()
        while not self.is_free.is_set():
            with suppress(asyncio.CancelledError):
                await self.is_free.wait()
        try:
            async with job.step() as connection:
                await job.report(connection, Progress("too late", 9), {"late": True})
        except LeaseLost as error:
            self.refusals.append(type(error))
            raise
        return {}


async def test_a_handler_that_does_not_end_is_abandoned_and_cannot_write(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.jobs.worker, "CLEANUP_SECONDS", 0.05)
    unstoppable = Unstoppable()
    job_id = await queue_job(resources)
    async with working(resources, unstoppable.handler):
        await unstoppable.is_running.wait()
        await cancel(resources, job_id)
        row = await ended(resources, job_id)
        unstoppable.is_free.set()
        await until(lambda: unstoppable.refusals)
    assert row.state == "CANCELLED"
    assert (await read_job(resources, job_id)).checkpoint is None


async def test_a_worker_that_stops_does_not_wait_for_such_a_handler(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.jobs.worker, "CLEANUP_SECONDS", 0.05)
    unstoppable = Unstoppable()
    job_id = await queue_job(resources)
    async with running(make_worker(resources, 1, {JobKind.COLLECT_COMMENTS.value: plain(unstoppable.handler)})):
        await unstoppable.is_running.wait()
    row = await read_job(resources, job_id)
    assert (row.state, row.attempts) == ("QUEUED", 0)
    unstoppable.is_free.set()
    await until(lambda: unstoppable.refusals)


async def test_a_worker_that_does_not_stop_is_cancelled(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.jobs.worker, "STOP_SECONDS", 0.05)
    unstoppable = Unstoppable()
    job_id = await queue_job(resources)
    async with running(make_worker(resources, 1, {JobKind.COLLECT_COMMENTS.value: plain(unstoppable.handler)})):
        await unstoppable.is_running.wait()
    assert (await read_job(resources, job_id)).state == "RUNNING"
    # its entry remains, so another worker claims the job as soon as the heartbeat has timed out
    assert await _count(resources, "SELECT count(*) FROM pgqueuer WHERE status = 'picked'") == 1
    unstoppable.is_free.set()


async def test_a_handler_that_cancels_itself_has_crashed(resources: Resources) -> None:
    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        raise asyncio.CancelledError

    job_id = await queue_job(resources)
    async with working(resources, handler):
        row = await ended(resources, job_id)
    assert (row.state, row.failure["code"]) == ("FAILED", "INTERNAL")


async def test_a_cancelled_handler_that_fails_during_cleanup_counts_as_cancelled(resources: Resources) -> None:
    started = asyncio.Event()

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the file is gone")

    job_id = await queue_job(resources)
    async with working(resources, handler):
        await started.wait()
        await cancel(resources, job_id)
        row = await ended(resources, job_id)
    assert (row.state, row.failure) == ("CANCELLED", None)


async def test_a_worker_stops_a_job_that_another_one_has_claimed(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It notices by itself, also if the handler writes nothing, and leaves the entry to the other worker."""
    monkeypatch.setattr(app.jobs.watch, "HEARTBEAT_SECONDS", 0)
    monkeypatch.setattr(app.jobs.watch, "CANCEL_CHECK_SECONDS", 0.01)
    bodies = Handlers()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        other = "00000000-0000-0000-0000-000000000001"
        await _count(resources, f"UPDATE pgqueuer SET queue_manager_id = '{other}'")  # noqa: S608 - no input
        assert await until(
            lambda: claim_job(resources, job_id, "the other one")
        )  # skips an entry that is being written
        await until(lambda: bodies.cleaned)
    row = await read_job(resources, job_id)
    assert (row.state, row.worker, row.epoch) == ("RUNNING", "the other one", 2)
    assert str(await _count(resources, "SELECT queue_manager_id FROM pgqueuer")) == other
    assert (await events_of(resources, job_id))[-1][1]["reason"] == "RESCUED"


async def test_another_worker_resumes_a_job_whose_heartbeat_timed_out(
    make_settings: MakeSettings, resources: Resources
) -> None:
    """Its entry is claimed again as soon as its heartbeat has timed out, and the checkpoint exists."""
    job_id = await queue_job(resources)
    dead = await claim_job(resources, job_id, "a worker that died")
    assert dead
    frozen = running_job(resources, dead)
    async with frozen.step() as connection:
        await frozen.report(connection, Progress("half", 1, 2), {"half": True})
    await _count(
        resources,
        "UPDATE pgqueuer SET status = 'picked', heartbeat = now() - interval '2 seconds',"
        " queue_manager_id = '00000000-0000-0000-0000-000000000001'",
    )
    seen: list[Any] = []

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        seen.append(job.checkpoint)
        return {}

    async with (
        open_resources(make_settings(job_heartbeat_timeout_seconds=1)) as others,
        working(others, handler),
    ):
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
    assert seen == [{"half": True}]
    with pytest.raises(LeaseLost):
        async with frozen.step():
            raise AssertionError


async def test_a_worker_does_not_claim_its_own_running_job(resources: Resources) -> None:
    bodies = Handlers()
    job_id = await queue_job(resources)
    async with working(resources, bodies.waits):
        await until(lambda: _count(resources, "SELECT done FROM jobs"))
        await _count(resources, "UPDATE pgqueuer SET heartbeat = now() - interval '1 minute'")
        await until(lambda: _count(resources, "SELECT heartbeat > now() - interval '30 seconds' FROM pgqueuer"))
        bodies.go_on.set()
        row = await ended(resources, job_id)
    assert (row.state, row.epoch, row.attempts) == ("SUCCEEDED", 1, 1)
    assert bodies.started == [job_id]


@pytest.mark.parametrize("payload", ["NULL", "''", "'no number'", "'99'"])
async def test_entries_without_a_job_are_removed(resources: Resources, payload: str) -> None:
    columns = "INSERT INTO pgqueuer (priority, status, entrypoint, payload)"
    await _count(resources, f"{columns} VALUES (0, 'queued', 'collect_comments', {payload})")
    bodies = Handlers()
    bodies.go_on.set()
    async with working(resources, bodies.waits):
        job_id = await queue_job(resources)
        assert (await ended(resources, job_id)).state == "SUCCEEDED"
        await until(lambda: _count(resources, "SELECT count(*) = 0 FROM pgqueuer"))
    assert bodies.started == [job_id]


async def test_workers_are_registered_while_they_are_alive(resources: Resources) -> None:
    async def names() -> list[str]:
        async with resources.database.connect() as connection:
            return [row.name for row in await live_workers(connection, 10)]

    bodies = Handlers()
    await queue_job(resources)
    async with working(resources, bodies.waits, concurrency=3) as worker:
        await until(names)
        await until(lambda: bodies.started)
        async with resources.database.connect() as connection:
            [row] = await live_workers(connection, 10)
        assert (row.name, row.concurrency, row.kinds) == (worker.name, 3, ["collect_comments"])
        assert row.running_count == 1
        assert 0 <= row.heartbeat_age_seconds < 10
    assert await names() == []


async def test_the_limit_of_a_kind_holds_over_all_processes(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(job_kind_limits="collect_comments=2")
    running = most = 0
    everyone = asyncio.Event()

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            everyone.set()
        await everyone.wait()
        await asyncio.sleep(0)
        running -= 1
        return {}

    async with open_resources(settings) as first, open_resources(settings) as second:
        job_ids = [await queue_job(first, -number) for number in range(1, 13)]
        async with working(first, handler, concurrency=4), working(second, handler, concurrency=4):
            for job_id in job_ids:
                assert (await ended(first, job_id)).state == "SUCCEEDED"
    assert most == 2


async def test_a_limit_of_a_kind_that_does_not_exist(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(job_kind_limits="collect_everything=2")) as opened:
        with pytest.raises(StartFailed, match="JOB_KIND_LIMITS: 'collect_everything' is not a kind of job"):
            make_worker(opened, 1)


async def test_a_lasting_failure_of_vk_is_retried_later(
    vk_resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    await add_groups(vk_resources, ["1"])
    simulator.control(faults=[{"code": 10, "times": 8}])
    job_id = (await start_collection(vk_resources, owner_ids=[-1])).id
    async with working(vk_resources, COLLECT_COMMENTS):
        row = await ended(vk_resources, job_id)
    assert (row.state, row.attempts) == ("SUCCEEDED", 2)
    [failed] = [facts for kind, facts in await events_of(vk_resources, job_id) if kind == "ATTEMPT_FAILED"]
    assert failed["failure"]["code"] == "VK_UNAVAILABLE"


async def test_a_cancelled_job_without_worker_and_entry_ends(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await queue_job(resources)
    await claim_job(resources, job_id, "a worker that dies")
    await cancel(resources, job_id)
    await _count(resources, "DELETE FROM pgqueuer")
    await _count(
        resources,
        "UPDATE jobs SET queued_at = now() - interval '1 minute', started_at = NULL, heartbeat_at = NULL",
    )
    monkeypatch.setattr("app.background.EVERY_FIVE_SECONDS", "* * * * * *")
    async with working(resources, Handlers().waits):
        assert (await ended(resources, job_id)).state == "CANCELLED"
    # the community is free again
    await queue_job(resources)


async def test_a_run_that_cleans_up_during_the_next_run_of_its_job(make_settings: MakeSettings) -> None:
    """Each run has its own record: the next one has heartbeats and can be cancelled while the former one cleans up."""
    epochs: list[int] = []
    release, forever = asyncio.Event(), asyncio.Event()

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        epochs.append(job.epoch)
        try:
            await forever.wait()
        finally:
            if job.epoch == 1:
                await release.wait()
        return {}

    async def has_run(epoch: int) -> bool:
        return epoch in epochs

    async with open_resources(make_settings(job_heartbeat_timeout_seconds=1)) as opened:
        job_id = await queue_job(opened)
        async with working(opened, handler, concurrency=2) as worker:
            await until(lambda: has_run(1))
            async with opened.database.transaction() as connection:
                # the job ends elsewhere: another worker has claimed it and written its end
                await connection.execute(
                    text("UPDATE jobs SET state = 'FAILED', epoch = 2, finished_at = now(), worker = NULL")
                )
                await connection.execute(text("DELETE FROM pgqueuer"))
                await connection.execute(text("DELETE FROM job_groups"))
            await retry(opened, job_id)
            await until(lambda: has_run(3))
            assert set(worker._runs) == {(job_id, 1), (job_id, 3)}  # noqa: SLF001 - the subject of the test
            release.set()

            async def former_is_gone() -> bool:
                return set(worker._runs) == {(job_id, 3)}  # noqa: SLF001 - the subject of the test

            await until(former_is_gone)
            await cancel(opened, job_id)
            assert (await ended(opened, job_id)).state == "CANCELLED"
    assert epochs == [1, 3]
