"""Takes jobs from the queue and runs them, a number at once, until it is told to stop."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.errors import RetryRequested
from pgqueuer.models import Job as QueueEntry
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueEntrypoint, QueueManagerId
from sqlalchemy import Row
from structlog.contextvars import bound_contextvars

from app.errors import JobTimedOut, ServiceUnavailable
from app.events import CANCELLATIONS
from app.jobs.collect_comments import collect_comments
from app.jobs.progress import CancelRequested, RunningJob, TakenAway
from app.jobs.queue import restore_lost
from app.jobs.runs import End, end_of_failure, failure_of, finish, take
from app.jobs.states import JobKind, JobState, MoveReason
from app.log import log
from app.resources import Resources
from app.store import jobs

Body = Callable[[RunningJob], Awaitable[dict[str, Any]]]

BODIES: Mapping[JobKind, Body] = {JobKind.COLLECT_COMMENTS: collect_comments}
LOOK_SECONDS = 0.5
"""How often running jobs are looked at for a request to cancel whose notification was lost."""
BEAT_SECONDS = 3.0
RESTORE_SECONDS = 10.0
SILENT_SECONDS = 30.0
"""How long an unfinished job without an entry in the queue is left alone."""
RESTART_SECONDS = 1.0
STOP_SECONDS = 4.0


@dataclass(slots=True)
class _Run:
    """A body at work."""

    epoch: int
    body: "asyncio.Task[dict[str, Any]]"
    is_cancelled: bool = False


class _BoundedQueries(Queries):
    """PgQueuer's queries with a limit of their own on how many jobs one worker has at once.

    PgQueuer's is at least twice its batch size, so it cannot be 1.
    """

    limit = 1

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,  # noqa: ARG002 - replaced by the limit
        heartbeat_timeout: timedelta,
    ) -> list[QueueEntry]:
        return await super().dequeue(batch_size, entrypoints, queue_manager_id, self.limit, heartbeat_timeout)


class Worker:
    """Runs up to `concurrency` jobs at once. `bodies` says what each kind of job does."""

    def __init__(self, resources: Resources, concurrency: int, bodies: Mapping[JobKind, Body] = BODIES) -> None:
        self._resources = resources
        self._concurrency = concurrency
        self._bodies = bodies
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._runs: dict[int, _Run] = {}
        self._manager: QueueManager | None = None
        self._is_stopping = False

    async def run(self) -> None:
        """Work until `stop` is called; starts anew when the connections to the queue are lost."""
        watch = asyncio.create_task(self._watch())
        try:
            while not self._is_stopping:
                try:
                    await self._consume()
                except Exception as error:  # noqa: BLE001 - whatever ended it, the queue has to be served again
                    log.warning("queue_lost", reason=f"{type(error).__name__}: {error}")
                    await asyncio.sleep(RESTART_SECONDS)
        finally:
            watch.cancel()

    def stop(self) -> None:
        """Take no further job, and send the running ones back to the queue at their last checkpoint."""
        self._is_stopping = True
        if self._manager:
            self._manager.shutdown.set()
        for run in self._runs.values():
            run.body.cancel()

    async def _consume(self) -> None:
        async with asyncpg.create_pool(
            self._resources.database.dsn,
            min_size=2,
            max_size=4,
            server_settings={"application_name": "vk-comments queue"},
        ) as pool:
            queries = _BoundedQueries(AsyncpgPoolDriver(pool))
            queries.limit = self._concurrency
            self._manager = manager = QueueManager(queries)
            for kind in self._bodies:
                manager.entrypoint(kind.value)(self._run_entry)
            if self._is_stopping:
                manager.shutdown.set()
            batch_size = max(1, self._concurrency // 2)
            heartbeat_seconds = self._resources.settings.job_heartbeat_timeout_seconds
            await manager.run(
                batch_size=batch_size,
                max_concurrent_tasks=2 * batch_size,
                heartbeat_timeout=timedelta(seconds=heartbeat_seconds),
                dequeue_timeout=timedelta(seconds=1),
                shutdown_on_listener_failure=True,
            )

    async def _run_entry(self, entry: QueueEntry) -> None:
        """Run the job that an entry of the queue stands for.

        Raises:
            RetryRequested: the entry goes back into the queue.
        """
        job_id = int(entry.payload or b"0")
        row = await take(self._resources, job_id, self._name)
        if row is None:
            return
        with bound_contextvars(job_id=job_id, kind=row.kind):
            log.info("job_started", attempt=row.attempts, resumes=row.checkpoint is not None)
            end = await self._run_body(row)
            if end and await finish(self._resources, row, end) and end.state is JobState.QUEUED:
                raise RetryRequested(timedelta(seconds=end.retry_after_seconds))

    async def _run_body(self, row: Row[Any]) -> End | None:
        """Run the body of a job within its time limit and say how it ended; None if it is another worker's now."""
        job = RunningJob(self._resources, row)
        body = asyncio.ensure_future(self._bodies[JobKind(row.kind)](job))
        self._runs[row.id] = run = _Run(row.epoch, body)
        if self._is_stopping:
            body.cancel()
        try:
            await asyncio.wait({body}, timeout=row.timeout_seconds)
            is_late = not body.done()
        finally:
            body.cancel()
            await asyncio.wait({body})
            del self._runs[row.id]
        if is_late:
            return End(JobState.FAILED, MoveReason.TIMED_OUT, failure=failure_of(JobTimedOut(row.timeout_seconds)))
        return self._end_of(run, row)

    def _end_of(self, run: _Run, row: Row[Any]) -> End | None:
        if run.body.cancelled():
            # a body is cancelled on request, or because this worker stops: then the run does not count
            if run.is_cancelled:
                return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
            return End(JobState.QUEUED, MoveReason.WORKER_STOPPED, counts=False)
        error = run.body.exception()
        if error is None:
            return End(JobState.SUCCEEDED, MoveReason.DONE, result=run.body.result())
        if isinstance(error, TakenAway):
            log.warning("job_taken_away")
            return None
        if isinstance(error, CancelRequested):
            return End(JobState.CANCELLED, MoveReason.CANCEL_REQUESTED)
        return end_of_failure(error, row)

    async def _watch(self) -> None:
        """See to it, for ever, that cancelled jobs end, that running ones show life and that lost ones are found."""
        beaten = restored = -RESTORE_SECONDS
        with self._resources.events.subscribe(CANCELLATIONS) as wake:
            while True:
                await wake.wait(LOOK_SECONDS)
                now = time.monotonic()
                try:
                    await self._end_cancelled()
                    if now - beaten >= BEAT_SECONDS:
                        beaten = now
                        await self._beat()
                    if now - restored >= RESTORE_SECONDS:
                        restored = now
                        await self._restore()
                except ServiceUnavailable:
                    log.warning("watch_delayed")
                except Exception:  # noqa: BLE001 - whatever it was, the jobs that run have to be watched on
                    log.exception("watch_failed")

    async def _end_cancelled(self) -> None:
        if not self._runs:
            return
        async with self._resources.database.connect() as connection:
            cancelled = await jobs.cancelled_among(connection, list(self._runs))
        for job_id in cancelled & self._runs.keys():
            self._runs[job_id].is_cancelled = True
            self._runs[job_id].body.cancel()

    async def _beat(self) -> None:
        if self._runs:
            async with self._resources.database.transaction() as connection:
                await jobs.beat(connection, {job_id: run.epoch for job_id, run in self._runs.items()})

    async def _restore(self) -> None:
        for job_id in await restore_lost(self._resources, SILENT_SECONDS):
            log.warning("job_restored", job_id=job_id)


@asynccontextmanager
async def open_worker(
    resources: Resources, concurrency: int, bodies: Mapping[JobKind, Body] = BODIES
) -> AsyncIterator[None]:
    """Run a worker while the context lasts. Running jobs go back to the queue at its end, within four seconds."""
    worker = Worker(resources, concurrency, bodies)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        _, late = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if late:
            log.warning("worker_stopped_hard")
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
