"""Claims jobs from the queue and runs several of them concurrently, until it is stopped."""

import asyncio
import inspect
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from pgqueuer.applications import PgQueuer
from pgqueuer.models import Job as QueueEntry
from structlog.contextvars import bound_contextvars

from app import metrics
from app.db.keepalive import enable_keepalive
from app.errors import DATABASE_DELAYS
from app.jobs.active_runs import ActiveRuns, Run
from app.jobs.definitions import AnyJobDefinition, Definitions, PeriodicTask
from app.jobs.engine import Queue, make_engine
from app.jobs.group_commit import GroupCommit
from app.jobs.offload import in_process
from app.jobs.runs import End, StopReason, end_of_failure, end_of_run, finish
from app.jobs.watch import Watch
from app.json_models import to_json
from app.json_types import JsonValue
from app.log import log
from app.resources import Resources
from app.store import workers
from app.store.rows import JobRow

RESTART_SECONDS = 1.0
CLEANUP_SECONDS = 8.0
"""The time that a stopped handler has to clean up. After it, the handler is abandoned and cannot write any more."""
STOP_SECONDS = 10.0


class Worker:
    """Runs up to `concurrency` jobs at once, of the kinds that have a definition; other workers run other kinds.

    `limits` is the maximum of concurrent runs of a kind over all processes; a kind that is absent, or 0, has no limit.
    """

    def __init__(
        self,
        resources: Resources,
        concurrency: int,
        definitions: Definitions,
        limits: Mapping[str, int],
        periodic_tasks: Mapping[str, PeriodicTask],
    ) -> None:
        # containers may have the same host name, and their process ids are low and alike
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._resources = resources
        self._concurrency = concurrency
        self._definitions = definitions
        self._limits = {kind: limits.get(kind, 0) for kind in definitions}
        self._periodic_tasks = periodic_tasks
        self._runs = ActiveRuns()
        self._watch = Watch(resources, self.name, concurrency, list(definitions), self._runs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running_entries: set[int] = set()
        self._engine: PgQueuer | None = None
        self._is_stopping = False
        # runs that end at the same time share a transaction, because a commit costs more than the writes in it
        self._finish: GroupCommit[tuple[JobRow, End], End | None] = GroupCommit(lambda ends: finish(resources, ends))

    async def run(self) -> None:
        """Work until `stop` is called. If one of its tasks ends before, raise that task's exception."""
        watch, serve = asyncio.create_task(self._watch.run()), asyncio.create_task(self._serve())
        try:
            done, _ = await asyncio.wait({watch, serve}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            # runs are left only if this coroutine was cancelled: other workers resume their jobs
            left = {watch, serve, *self._tasks}
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=RESTART_SECONDS)
            with suppress(*DATABASE_DELAYS):
                async with self._resources.database.transaction() as connection:
                    await workers.remove_worker(connection, self.name)

    async def _serve(self) -> None:
        """Serve the queue until `stop` is called; restart if its connections are lost, while its jobs continue."""
        while not self._is_stopping:
            try:
                await self._consume()
            except Exception as error:  # noqa: BLE001 - whatever the error, the queue has to be served again
                log.warning("queue_lost", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(RESTART_SECONDS)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def note_end(self, task: "asyncio.Task[None]") -> None:
        """Report in this process's health that the task of `run` has died, unless the worker was stopped."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or (task.cancelled() and self._is_stopping):
            return
        log.critical("worker_died", worker=self.name, exc_info=error)
        self._resources.health.note_dead_worker(type(error).__name__)

    def stop(self) -> None:
        """Claim no more jobs, and return the running ones to the queue with their last checkpoint."""
        self._is_stopping = True
        if self._engine:
            self._engine.shutdown.set()
        self._runs.stop(self._runs.keys(), StopReason.WORKER_STOPS)

    async def _consume(self) -> None:
        async with asyncpg.create_pool(
            self._resources.database.dsn,
            min_size=2,
            max_size=4,
            init=_prepare,
            server_settings={"application_name": "vk-comments queue"},
        ) as pool:
            queue = Queue(pool, self._resources.notifications, self.name, self._free_capacity, self._running_entries)

            async def begin(entry: QueueEntry) -> None:
                self._running_entries.add(entry.id)
                run = asyncio.create_task(self._run_entry(entry.id, queue.claimed.pop(entry.id)))
                self._tasks.add(run)
                run.add_done_callback(self._tasks.discard)

            self._engine = engine = make_engine(queue, begin, self._limits, self._periodic_tasks)
            if self._is_stopping:
                engine.shutdown.set()
            batch_size = max(1, self._concurrency // 2)
            self._watch.is_serving = True
            try:
                await self._watch.write_heartbeats()
                await engine.run(
                    batch_size=batch_size,
                    heartbeat_timeout=timedelta(seconds=self._resources.settings.job_heartbeat_timeout_seconds),
                    dequeue_timeout=timedelta(seconds=1),
                    shutdown_on_listener_failure=True,
                )
            finally:
                self._watch.is_serving = False

    def _free_capacity(self) -> int:
        # a worker that stops would only return what it claims
        return 0 if self._is_stopping else self._concurrency - len(self._tasks)

    async def _run_entry(self, entry_id: int, row: JobRow) -> None:
        """Run the job that was claimed as `row` with its queue entry, and write how the run ended."""
        with bound_contextvars(job_id=row.id, kind=row.kind):
            log.info("job_started", attempt=row.attempts, resumes=row.checkpoint is not None)
            started_at = time.monotonic()
            try:
                run = await self._run_handler(row)
                # once the end is written, the entry may be claimed again, also by this worker
                self._running_entries.discard(entry_id)
                decided = end_of_run(row, run.handler, run.stop_reason)
                end = await self._write_end(row, decided) if decided else None
                if end is None:
                    metrics.leases_lost.inc()
                    log.warning("lease_lost")
                    return
            except Exception:  # noqa: BLE001 - the entry's heartbeat times out, and a worker claims the job again
                log.exception("run_end_lost")
                return
            finally:
                self._running_entries.discard(entry_id)
            log.info("job_ended", state=end.state.value, reason=end.reason.value, failure=end.failure)
            metrics.jobs_ended.labels(row.kind, end.state.value).inc()
            metrics.job_run_seconds.labels(row.kind, end.state.value).observe(time.monotonic() - started_at)

    async def _write_end(self, row: JobRow, end: End) -> End | None:
        try:
            return await self._finish((row, end))
        except DATABASE_DELAYS:
            raise
        except Exception as error:  # noqa: BLE001 - a result that PostgreSQL rejects would be rejected on each retry
            return await self._finish((row, end_of_failure(error, row)))

    async def _run_handler(self, row: JobRow) -> Run:
        """Run the handler until it returns, times out or is stopped."""
        handler = asyncio.create_task(_call(self._definitions[row.kind], self._resources, row))
        key = row.id, row.epoch
        self._runs[key] = run = Run(handler)
        if self._is_stopping:
            run.stop(StopReason.WORKER_STOPS)
        try:
            either: set[asyncio.Future[Any]] = {
                handler,
                run.stop_requested,
            }  # their results differ, and are not read here
            await asyncio.wait(either, timeout=row.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not handler.done():
                run.stop(StopReason.TIMED_OUT)
                await asyncio.wait({handler}, timeout=CLEANUP_SECONDS)
        finally:
            handler.cancel()
            del self._runs[key]
        if not handler.done():
            log.warning("handler_left_behind", stop_reason=run.stop_reason)
            handler.add_done_callback(lambda left: left.cancelled() or left.exception())
        return run


async def _prepare(connection: "asyncpg.Connection[Record] | PoolConnectionProxy[Record]") -> None:
    enable_keepalive(connection)


async def _call(definition: AnyJobDefinition, resources: Resources, row: JobRow) -> JsonValue:
    """Call the handler of a job that was claimed as `row`, and return the job's result as JSON."""
    job = definition.running_job(resources, row)
    if inspect.iscoroutinefunction(definition.handler):
        return to_json(await definition.handler(job))
    return to_json(await in_process(definition.handler, job.arguments))


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a worker while the context is open, and yield a function that stops it early.

    On exit, running jobs return to the queue within ten seconds.
    """
    task = asyncio.create_task(worker.run())
    task.add_done_callback(worker.note_end)

    async def drain() -> None:
        worker.stop()
        _, late = await asyncio.wait({task}, timeout=STOP_SECONDS)
        if late:
            log.warning("worker_stopped_hard")
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)

    try:
        yield drain
    finally:
        if not task.done():
            await drain()
