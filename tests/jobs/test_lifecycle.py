"""Random events of jobs and workers: after each step, PostgreSQL's state equals that of a model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import asyncpg
import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from pgqueuer.models import Job as Entry
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.types import JobId, QueueEntrypoint, QueueManagerId
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import JobAlreadyRunning, JobStateConflict, QueueFull, ServiceUnavailable
from app.job_states import JobPriority, JobState, MoveReason
from app.jobs import upkeep
from app.jobs.engine import Queue
from app.jobs.queue import cancel, retry
from app.jobs.running_job import CancelRequested, LeaseLost, Progress, RunningJob
from app.jobs.runs import End, StopReason, end_of_run
from app.json_types import JsonValue
from app.notifications import Notifications
from app.resources import Resources, open_resources
from app.store import jobs
from app.store.rows import ClaimedJobRow, JobRow
from app.vk.wire import VkRequestRefused, VkUnavailable
from app.work.kinds import JobKind
from tests.conftest import MakeSettings
from tests.jobs.conftest import claim_job, finish, queue_job, read_job, running_job
from tests.jobs.lifecycle import (
    CONCURRENCY,
    MAX_ATTEMPTS,
    QUEUE_LIMIT,
    Model,
    ModelEnd,
    ModelEntry,
    ModelJob,
    ModelWorker,
)

T = TypeVar("T")

EXAMPLES = 40
AGEING_SECONDS = 600.0
HEARTBEAT_TIMEOUT = timedelta(hours=1)
"""Longer than an example takes on any machine: only `freeze` makes a heartbeat time out."""
KIND = JobKind.COLLECT_COMMENTS.value
OWNER_IDS = range(-6, 0)
PRIORITIES = st.sampled_from(JobPriority)
BATCHES = st.integers(1, 3)
ENDS: Mapping[str, tuple[Exception | StopReason | None, ModelEnd]] = {
    "done": (None, ModelEnd(JobState.SUCCEEDED, MoveReason.DONE)),
    "refused": (
        VkRequestRefused("no"),
        ModelEnd(JobState.FAILED, MoveReason.FAILURE, "VK_REQUEST_REFUSED"),
    ),
    "may pass": (
        VkUnavailable("not now"),
        ModelEnd(JobState.QUEUED, MoveReason.TRANSIENT_FAILURE, "VK_UNAVAILABLE", is_delayed=True),
    ),
    "database away": (
        ServiceUnavailable("PostgreSQL"),
        ModelEnd(JobState.QUEUED, MoveReason.TRANSIENT_FAILURE, "SERVICE_UNAVAILABLE", is_delayed=True, counts=False),
    ),
    "time is up": (StopReason.TIMED_OUT, ModelEnd(JobState.FAILED, MoveReason.TIMED_OUT, "JOB_TIMED_OUT")),
    "worker stops": (StopReason.WORKER_STOPS, ModelEnd(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False)),
    "cancelled": (StopReason.CANCEL, ModelEnd(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)),
}
"""The cause of a run's end, and what follows from it while attempts are left."""


@dataclass
class Run:
    """One run of a job by a simulated worker."""

    row: ClaimedJobRow
    entry: Entry
    job: RunningJob[Any, Any]
    stage: str
    is_broken: bool = False
    """One of its steps has failed, so its handler is about to end."""


class Interrupted:
    """Notifications of a worker that run `meanwhile` before the commit of its claims."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def publish_on_commit(self, topics: Collection[str]) -> AsyncIterator[AsyncConnection]:
        """Yield a transaction, and run `meanwhile` before its commit."""
        async with self._notifications.publish_on_commit(topics) as connection:
            yield connection
            if self.meanwhile:
                await self.meanwhile()


class SimulatedWorker(ModelWorker):
    """A worker that does only what the test calls: its queue, and its runs by their entries."""

    def __init__(self, name: str, notifications: Notifications, pool: asyncpg.Pool) -> None:
        super().__init__(name)
        self.runs: dict[JobId, Run] = {}
        self._notifications = Interrupted(notifications)
        self.running = self.runs
        room: Callable[[], int] = lambda: CONCURRENCY - len(self.runs)  # noqa: E731 - it reads the worker's runs
        self.queue = Queue(pool, cast("Notifications", self._notifications), name, room, self.running)

    async def claim(self, batch_size: int, meanwhile: Callable[[], Awaitable[None]] | None = None) -> list[Entry]:
        """Claim up to `batch_size` entries with their jobs."""
        self._notifications.meanwhile = meanwhile
        kinds = {QueueEntrypoint(KIND): EntrypointExecutionParameter(concurrency_limit=0)}
        return await self.queue.dequeue(batch_size, kinds, QueueManagerId(self.manager), None, HEARTBEAT_TIMEOUT)


class Tools:
    """The tools of the state machine: an event loop, PostgreSQL, and direct SQL."""

    def __init__(self, runner: asyncio.Runner, resources: Resources, pool: asyncpg.Pool) -> None:
        self._runner = runner
        self.resources = resources
        self.pool = pool

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self._runner.run(work)

    def sql(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Execute a statement and return its rows."""
        return self.run(self.pool.fetch(statement, *values))

    def worker(self, number: int) -> SimulatedWorker:
        """Return a new worker."""
        return SimulatedWorker(f"worker {number}", self.resources.notifications, self.pool)


class Lifecycle(RuleBasedStateMachine):
    """All events that jobs may undergo, in any order."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self.tools = tools
        self.resources = tools.resources
        self.model = Model()
        self.workers = [tools.worker(number) for number in range(3)]
        self.born = len(self.workers)
        tools.sql("DELETE FROM jobs")
        tools.sql("DELETE FROM pgqueuer")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        return self.tools.run(work)

    def entry_of(self, job_id: int) -> int:
        """Return the id of a job's queue entry."""
        [row] = self.tools.sql("SELECT queue_id FROM jobs WHERE id = $1", job_id)
        return int(row["queue_id"])

    def any_job(self, data: st.DataObject, *states: JobState) -> ModelJob:
        """Draw a job in one of these states."""
        return data.draw(st.sampled_from([job for job in self.model.jobs.values() if job.state in states]))

    def awake(self) -> list[SimulatedWorker]:
        """Return the workers that are not frozen."""
        return [worker for worker in self.workers if not worker.is_frozen]

    def busy(self) -> list[SimulatedWorker]:
        """Return those of them that have runs."""
        return [worker for worker in self.awake() if worker.runs]

    @rule(data=st.data())
    def run_random_rule(self, data: st.DataObject) -> None:
        """Run a random rule. All are one rule, because hypothesis would disable half of several rules at a time."""
        happen = getattr(self, data.draw(st.sampled_from(self._possible())))
        happen(data)

    def _possible(self) -> list[str]:
        """Return the names of the possible rules, repeated for those that should happen often."""
        model, awake = self.model, self.awake()
        is_consistent = model.is_consistent() and len(awake) > 1
        return [
            *["enqueue"] * 3,
            *["cancel", "retry"] * bool(model.jobs),
            *["claim", "claim", "claim", "heartbeat", "freeze"] * bool(awake),
            *["claim_at_once"] * is_consistent,
            *["step", "finish"] * 3 * bool(self.busy()),
            "crash",
            *["wake_up", "wake_up"] * (len(awake) < len(self.workers)),
            *["lose_entry"] * (len(model.unfinished()) > len(model.lost())),
            *["leave_entry"] * (len(model.unfinished()) < len(model.jobs)),
            *["restore"] * bool(model.lost()),
            *["drop_orphans"] * bool(model.orphans()),
            *["time_passes"] * model.has_delayed(),
            *["rise"] * bool(self._can_rise()),
        ]

    # clients

    def enqueue(self, data: st.DataObject) -> None:
        """A client starts a job; another job may have claimed its community, and the queue may be full."""
        free = [owner_id for owner_id in OWNER_IDS if self.model.holder([owner_id]) is None]
        owner_id, priority = data.draw(st.sampled_from([*free, *free, *OWNER_IDS])), data.draw(PRIORITIES)
        work = queue_job(self.resources, owner_id, priority)
        if self.model.waiting_count() >= QUEUE_LIMIT:
            with pytest.raises(QueueFull):
                self.run(work)
        elif (holder := self.model.holder([owner_id])) is not None:
            with pytest.raises(JobAlreadyRunning) as caught:
                self.run(work)
            assert caught.value.job_id == holder
        else:
            job_id = self.run(work)
            job = ModelJob(job_id, (owner_id,), priority.value, self.entry_of(job_id), (owner_id,))
            self.model.insert(job, MoveReason.REQUESTED)

    def cancel(self, data: st.DataObject) -> None:
        """A client cancels a job in any state."""
        job = self.any_job(data, *JobState)
        if job.state.is_final:
            with pytest.raises(JobStateConflict):
                self.run(cancel(self.resources, job.id))
        else:
            self.run(cancel(self.resources, job.id))
            self.model.cancel(job)

    def retry(self, data: st.DataObject) -> None:
        """A client retries a job in any state."""
        job = self.any_job(data, *JobState)
        if any(entry.job_id == job.id for entry in self.model.orphans()):
            return  # only this test can have left such an entry
        work = retry(self.resources, job.id)
        if self.model.waiting_count() >= QUEUE_LIMIT:
            with pytest.raises(QueueFull):
                self.run(work)
        elif job.state not in (JobState.FAILED, JobState.CANCELLED):
            with pytest.raises(JobStateConflict):
                self.run(work)
        elif self.model.holder(job.owner_ids) is not None:
            with pytest.raises(JobAlreadyRunning):
                self.run(work)
        else:
            self.run(work)
            self.model.retry(job, self.entry_of(job.id))

    # workers

    def claim(self, data: st.DataObject) -> None:
        """A worker claims the jobs with the highest priority, up to its capacity."""
        batch_size = data.draw(BATCHES)
        worker = data.draw(st.sampled_from(self.awake()))
        self._claimed(worker, batch_size, self.run(worker.claim(batch_size)))

    def claim_at_once(self, data: st.DataObject) -> None:
        """A worker claims while another one has not yet committed its claims: it gets none of these."""
        batch_size = data.draw(BATCHES)
        first, second = data.draw(st.permutations(self.awake()))[:2]
        rest: list[Entry] = []

        async def meanwhile() -> None:
            rest.extend(await second.claim(batch_size))

        self._claimed(first, batch_size, self.run(first.claim(batch_size, meanwhile)))
        # the first worker has also locked entries that it did not claim, so the second one may have got too few
        free = self.model.free()
        assert len(rest) <= self.model.room(second)
        for found in rest:
            entry = self.model.entries[int(found.id)]
            assert entry in free
            job = self.model.claim(entry, second)
            assert job
            self._begin(second, found, job)

    def _claimed(self, worker: SimulatedWorker, batch_size: int, entries: Sequence[Entry]) -> None:
        """Compare the entries that a worker has claimed with those of the model."""
        found = {int(entry.id): entry for entry in entries}
        for entry in self.model.claimable(worker, batch_size):
            if entry.id in worker.runs:  # it runs in this worker, and only its heartbeat had timed out
                entry.manager, entry.is_stale = worker.manager, False
            elif job := self.model.claim(entry, worker):
                self._begin(worker, found.pop(entry.id), job)
        assert not found

    def _begin(self, worker: SimulatedWorker, entry: Entry, job: ModelJob) -> None:
        row = worker.queue.claimed.pop(entry.id)
        assert (row.id, row.epoch, row.attempts, row.checkpoint) == (job.id, job.epoch, job.attempts, job.checkpoint)
        worker.runs[entry.id] = Run(row, entry, running_job(self.resources, row), stage=row.stage)

    def _owns(self, run: Run) -> ModelJob | None:
        """Return the job of a run, or None if the run's lease is lost."""
        job = self.model.jobs[run.row.id]
        return job if job.state is JobState.RUNNING and job.epoch == run.row.epoch else None

    def step(self, data: st.DataObject) -> None:
        """A run writes progress and a checkpoint, unless its lease is lost or it is to stop; it may fail."""
        stage, mark = data.draw(st.sampled_from(["one", "two"])), data.draw(st.integers(0, 9))
        explodes = data.draw(st.sampled_from([False, False, True]))
        worker = data.draw(st.sampled_from(self.busy()))
        run = data.draw(st.sampled_from([*worker.runs.values()]))
        if run.is_broken:
            return

        async def write() -> None:
            async with run.job.step() as connection:
                await run.job.report(connection, Progress(stage, mark), {"mark": mark})
                if explodes:
                    raise ServiceUnavailable("PostgreSQL")

        job = self._owns(run)
        if job is None or job.is_cancel_requested or explodes:
            run.is_broken = True
            refusal = LeaseLost if job is None else CancelRequested if job.is_cancel_requested else ServiceUnavailable
            with pytest.raises(refusal):
                self.run(write())
        else:
            self.run(write())
            job.checkpoint = {"mark": mark}
            if run.stage != stage:
                job.events.append(("STAGE_CHANGED", None, None))
                run.stage = stage

    def finish(self, data: st.DataObject) -> None:
        """A run ends, which is written unless its lease is lost."""
        how = data.draw(st.sampled_from(sorted(ENDS)))
        worker = data.draw(st.sampled_from(self.busy()))
        run = data.draw(st.sampled_from([*worker.runs.values()]))
        cause, expected = ENDS[how]
        del worker.runs[run.entry.id]
        end = self.run(_end(run.row, cause))
        if how == "may pass" and run.row.attempts >= MAX_ATTEMPTS:
            expected = ModelEnd(JobState.FAILED, MoveReason.FAILURE, expected.failure)
        assert (end.state, end.reason) == (expected.state, expected.reason)
        job = self._owns(run)
        assert self.run(finish(self.resources, run.row, end)) is (job is not None)
        if job:
            self.model.end(job, expected)

    def heartbeat(self, data: st.DataObject) -> None:
        """A worker writes heartbeats for its jobs, and gets the jobs whose lease is lost."""
        worker = data.draw(st.sampled_from(self.awake()))
        runs = worker.runs.values()

        async def write_heartbeat() -> set[int]:
            async with self.resources.database.transaction() as connection:
                lost = await jobs.write_heartbeats(connection, [(run.row.id, run.row.epoch) for run in runs])
            return {job_id for job_id, _ in lost}

        owned = [job for run in runs if (job := self._owns(run))]
        assert self.run(write_heartbeat()) == {run.row.id for run in runs} - {job.id for job in owned}
        for job in owned:
            if entry := self.model.entries.get(job.entry_id):
                entry.is_stale = False

    # faults

    def crash(self, data: st.DataObject) -> None:
        """A worker dies with all its runs; a new one replaces it."""
        number = data.draw(st.sampled_from(range(len(self.workers))))
        self._time_out_heartbeat(self.workers[number])
        self.workers[number] = self.tools.worker(self.born)
        self.born += 1

    def freeze(self, data: st.DataObject) -> None:
        """A worker freezes with all its runs for longer than the heartbeat timeout."""
        worker = data.draw(st.sampled_from(self.awake()))
        worker.is_frozen = True
        self._time_out_heartbeat(worker)

    def wake_up(self, data: st.DataObject) -> None:
        """A frozen worker continues as if nothing had happened."""
        data.draw(st.sampled_from([worker for worker in self.workers if worker.is_frozen])).is_frozen = False

    def _time_out_heartbeat(self, worker: ModelWorker) -> None:
        statement = "UPDATE pgqueuer SET heartbeat = now() - interval '2 hours' WHERE queue_manager_id = $1"
        self.tools.sql(statement, worker.manager)
        for entry in self.model.entries.values():
            if entry.manager == worker.manager:
                entry.is_stale = True

    def lose_entry(self, data: st.DataObject) -> None:
        """An entry is lost without a change of its job."""
        job = data.draw(st.sampled_from([job for job in self.model.unfinished() if job not in self.model.lost()]))
        self.tools.sql("DELETE FROM pgqueuer WHERE id = $1", job.entry_id)
        del self.model.entries[job.entry_id]

    def leave_entry(self, data: st.DataObject) -> None:
        """An entry remains after its job has ended."""
        job = self.any_job(data, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
        [row] = self.tools.sql(
            "INSERT INTO pgqueuer (priority, status, entrypoint, payload)"
            " VALUES ($1, 'queued', $2, convert_to($3, 'UTF8')) RETURNING id",
            job.priority,
            KIND,
            str(job.id),
        )
        self.model.entries[row["id"]] = ModelEntry(row["id"], job.id, job.priority)

    # periodic tasks

    def restore(self, _: st.DataObject) -> None:
        """Jobs that have lost their entries get new ones."""
        restored = [job for job in self.model.lost() if not job.is_delayed]
        self.run(upkeep.restore(self.resources))
        for job in restored:
            self.model.put_into_queue(job, self.entry_of(job.id))

    def drop_orphans(self, _: st.DataObject) -> None:
        """Entries without an unfinished job are removed."""
        self.run(upkeep.drop_orphans(self.resources, [kind.value for kind in JobKind]))
        for entry in self.model.orphans():
            del self.model.entries[entry.id]

    def time_passes(self, _: st.DataObject) -> None:
        """All backoffs end."""
        self.tools.sql("UPDATE pgqueuer SET execute_after = now() - interval '1 second' WHERE execute_after > now()")
        self.tools.sql("UPDATE jobs SET queued_at = now() - interval '1 second' WHERE queued_at > now()")
        self.model.time_passes()

    def rise(self, data: st.DataObject) -> None:
        """A job has waited so long that its priority rises."""
        steps = data.draw(st.integers(1, 3))
        job = data.draw(st.sampled_from(self._can_rise()))
        job.waited_steps = steps
        long = timedelta(seconds=AGEING_SECONDS * steps + 60)
        self.tools.sql("UPDATE jobs SET enqueued_at = now() - $2::interval WHERE id = $1", job.id, long)
        self.run(upkeep.raise_waiting(self.resources))
        self.model.raise_waiting()

    def _can_rise(self) -> list[ModelJob]:
        return [job for job in self.model.jobs.values() if job.state is JobState.QUEUED and not job.is_delayed]

    # invariants

    @invariant()
    def rows_equal_the_model(self) -> None:
        """States, attempts, epochs and checkpoints equal the model's."""
        found = {
            row["id"]: (
                row["state"],
                row["attempts"],
                row["epoch"],
                orjson.loads(row["checkpoint"] or "null"),
                orjson.loads(row["failure"] or "{}").get("code"),
                row["worker"],
                row["is_cancel_requested"],
                row["last_seq"],
            )
            for row in self.tools.sql("SELECT *, cancel_requested_at IS NOT NULL AS is_cancel_requested FROM jobs")
        }
        assert found == {
            job.id: (
                job.state.value,
                job.attempts,
                job.epoch,
                job.checkpoint,
                job.failure,
                job.worker,
                job.is_cancel_requested,
                len(job.events),
            )
            for job in self.model.jobs.values()
        }

    @invariant()
    def events_have_no_gap(self) -> None:
        """Each change has one event, in order, and there are no other events."""
        found: dict[int, list[Any]] = {job_id: [] for job_id in self.model.jobs}
        for row in self.tools.sql(
            "SELECT job_id, seq, kind, facts ->> 'state' AS state, facts ->> 'reason' AS reason"
            " FROM job_events ORDER BY job_id, seq"
        ):
            found[row["job_id"]].append((row["seq"], (row["kind"], row["state"], row["reason"])))
        assert found == {job.id: [*enumerate(job.events, 1)] for job in self.model.jobs.values()}

    @invariant()
    def a_community_is_claimed_by_one_unfinished_job(self) -> None:
        """Ended jobs have no claims."""
        found = {row["owner_id"]: row["job_id"] for row in self.tools.sql("SELECT * FROM job_groups")}
        assert found == {owner_id: job.id for job in self.model.unfinished() for owner_id in job.owner_ids}

    @invariant()
    def an_unfinished_job_has_one_entry_unless_it_was_lost(self) -> None:
        """And its entry belongs to the worker that has claimed it."""
        rows = self.tools.sql(
            "SELECT id, convert_from(payload, 'UTF8')::bigint AS job_id, priority, queue_manager_id, status::text"
            " FROM pgqueuer"
        )
        found = {row["id"]: (row["job_id"], row["priority"], row["queue_manager_id"], row["status"]) for row in rows}
        assert found == {
            entry.id: (entry.job_id, entry.priority, entry.manager, "picked" if entry.manager else "queued")
            for entry in self.model.entries.values()
        }
        orphans = self.model.orphans()
        stand_for = sorted(entry.job_id for entry in self.model.entries.values() if entry not in orphans)
        assert stand_for == sorted(job.id for job in self.model.unfinished() if job not in self.model.lost())


async def _end(row: JobRow, cause: Exception | StopReason | None) -> End:
    """Return the end of a run whose handler returned, raised this exception, or was stopped for this reason."""
    handler: asyncio.Future[JsonValue] = asyncio.get_running_loop().create_future()
    if isinstance(cause, StopReason):
        handler.cancel()
    elif cause:
        handler.set_exception(cause)
    else:
        handler.set_result({})
    end = end_of_run(row, handler, cause if isinstance(cause, StopReason) else None)
    assert end
    return end


def test_lifecycle(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "REPAIR_AFTER_SECONDS", 0.0)
    # so that a backoff ends only by `time_passes`, however long an example takes
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 300.0)
    configured = make_settings(
        queue_limit=QUEUE_LIMIT, job_max_attempts=MAX_ATTEMPTS, job_ageing_seconds=AGEING_SECONDS
    )
    with asyncio.Runner() as runner:
        opened = open_resources(configured)
        resources = runner.run(opened.__aenter__())
        pool = runner.run(_pool(resources))

        class Configured(Lifecycle):
            def __init__(self) -> None:
                super().__init__(Tools(runner, resources, pool))

        try:
            run_state_machine_as_test(
                Configured,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=50,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(pool.close())
            runner.run(opened.__aexit__(None, None, None))


async def _pool(resources: Resources) -> asyncpg.Pool:
    return await asyncpg.create_pool(resources.database.dsn, min_size=1, max_size=2)


@pytest.mark.parametrize("how", ["worker stops", "database away", "refused", "cancelled"])
@pytest.mark.parametrize("is_retried", [True, False], ids=["retried", "not retried"])
async def test_a_frozen_run_continues_after_its_job_was_ended(
    resources: Resources, how: str, *, is_retried: bool
) -> None:
    """Neither its end by another worker nor its return to the queue has raised the job's epoch."""
    job_id = await queue_job(resources)
    frozen = await claim_job(resources, job_id, "frozen")
    assert frozen
    await cancel(resources, job_id)
    assert await claim_job(resources, job_id, "another") is None
    if is_retried:
        await retry(resources, job_id)
    before = await read_job(resources, job_id)
    assert not await finish(resources, frozen, await _end(frozen, ENDS[how][0]))
    assert await read_job(resources, job_id) == before
