"""Takes jobs from the queue and runs them, a number at once, until it is told to stop."""

import asyncio
import inspect
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pgqueuer.applications import PgQueuer
from pgqueuer.models import Job as Entry
from sqlalchemy import Row
from structlog.contextvars import bound_contextvars

from app import metrics
from app.db.silence import notice_silence
from app.errors import ServiceUnavailable
from app.events import CANCELLATIONS
from app.jobs.database_clock import DatabaseClock
from app.jobs.engine import Queue, make_engine
from app.jobs.group_commit import Together
from app.jobs.handlers import Handler, Handlers, PeriodicTask, ProcessHandler
from app.jobs.offload import in_process
from app.jobs.running_job import RunningJob
from app.jobs.runs import LONGEST_BACKOFF_SECONDS, End, Order, end_of_failure, end_of_run, finish
from app.log import log
from app.resources import Resources
from app.store import jobs, workers
from app.store.clock_steps import correct_future_times
from app.vk.client import ASIDE_SECONDS

LOOK_SECONDS = 0.5
"""How often running jobs are looked at for a request to cancel whose notification was lost."""
BEAT_SECONDS = 3.0
RESTART_SECONDS = 1.0
CLEANUP_SECONDS = 8.0
"""How long a body that was told to end may take for it; then it is left behind, and can write nothing any more."""
STOP_SECONDS = 10.0


@dataclass(slots=True)
class _Run:
    """A handler at work, and the order to end that it was given, once it was."""

    body: "asyncio.Task[dict[str, Any]]"
    ordered: "asyncio.Future[Order]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def order(self) -> Order | None:
        return self.ordered.result() if self.ordered.done() else None

    def end(self, order: Order) -> None:
        """Tell the body to end. The first order counts."""
        if not self.ordered.done():
            self.ordered.set_result(order)
            self.body.cancel()


class Worker:
    """Runs up to `concurrency` jobs at once, of the kinds that have a handler; other kinds are left to other workers.

    `limits` is how many jobs of a kind run at once in all processes; a kind that is absent, or 0, has no limit.
    """

    def __init__(
        self,
        resources: Resources,
        concurrency: int,
        handlers: Handlers,
        limits: Mapping[str, int],
        periodic_tasks: Mapping[str, PeriodicTask],
    ) -> None:
        # containers may share host names, and all have low process ids
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._resources = resources
        self._concurrency = concurrency
        self._handlers = handlers
        self._limits = {kind: limits.get(kind, 0) for kind in handlers}
        self._periodic_tasks = periodic_tasks
        # by job and epoch: a run that still cleans up may be joined by the next run of the same job
        self._runs: dict[tuple[int, int], _Run] = {}
        self._clock = DatabaseClock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work: set[int] = set()
        self._beat_seconds = min(BEAT_SECONDS, resources.settings.job_heartbeat_timeout_seconds / 3)
        self._engine: PgQueuer | None = None
        self._is_serving = False
        self._is_stopping = False
        # what ends in the same moment is one transaction: a commit costs more than all that is in it
        self._finish: Together[tuple[Row[Any], End], End | None] = Together(lambda ends: finish(resources, ends))

    async def run(self) -> None:
        """Work until `stop` is called. Ends with what ended one of its tasks, if that was not a call of `stop`."""
        watch, serve = asyncio.create_task(self._watch()), asyncio.create_task(self._serve())
        try:
            done, _ = await asyncio.wait({watch, serve}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            left = {watch, serve, *self._tasks}  # runs only where this was cancelled: their jobs go on elsewhere
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=RESTART_SECONDS)
            with suppress(ServiceUnavailable):
                async with self._resources.database.transaction() as connection:
                    await workers.remove_worker(connection, self.name)

    async def _serve(self) -> None:
        """Serve the queue until `stop` is called; starts anew when its connections are lost, while its jobs go on."""
        while not self._is_stopping:
            try:
                await self._consume()
            except Exception as error:  # noqa: BLE001 - whatever ended it, the queue has to be served again
                log.warning("queue_lost", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(RESTART_SECONDS)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def note_end(self, task: "asyncio.Task[None]") -> None:
        """Report in the health of this process that the task of `run` has died, if it was not stopped."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or (task.cancelled() and self._is_stopping):
            return
        log.critical("worker_died", worker=self.name, exc_info=error)
        self._resources.health.note_dead_worker(type(error).__name__)

    def stop(self) -> None:
        """Take no further job, and send the running ones back to the queue at their last checkpoint."""
        self._is_stopping = True
        if self._engine:
            self._engine.shutdown.set()
        for run in self._runs.values():
            run.end(Order.STOP)

    async def _consume(self) -> None:
        async with asyncpg.create_pool(
            self._resources.database.dsn,
            min_size=2,
            max_size=4,
            init=_prepare,
            server_settings={"application_name": "vk-comments queue"},
        ) as pool:
            queue = Queue(pool, self._resources.events, self.name, self._room, self._at_work)

            async def begin(entry: Entry) -> None:
                self._at_work.add(entry.id)
                run = asyncio.create_task(self._run_entry(entry.id, queue.taken.pop(entry.id)))
                self._tasks.add(run)
                run.add_done_callback(self._tasks.discard)

            self._engine = engine = make_engine(queue, begin, self._limits, self._periodic_tasks)
            if self._is_stopping:
                engine.shutdown.set()
            batch_size = max(1, self._concurrency // 2)
            self._is_serving = True
            try:
                await self._beat()
                await engine.run(
                    batch_size=batch_size,
                    heartbeat_timeout=timedelta(seconds=self._resources.settings.job_heartbeat_timeout_seconds),
                    dequeue_timeout=timedelta(seconds=1),
                    shutdown_on_listener_failure=True,
                )
            finally:
                self._is_serving = False

    def _room(self) -> int:
        return self._concurrency - len(self._tasks)

    async def _run_entry(self, entry_id: int, row: Row[Any]) -> None:
        """Run the job that was taken as `row` with its entry in the queue, and write how that ended."""
        with bound_contextvars(job_id=row.id, kind=row.kind):
            log.info("job_started", attempt=row.attempts, resumes=row.checkpoint is not None)
            begun = time.monotonic()
            try:
                run = await self._run_body(row)
                # as soon as the end is written, the entry may be taken again, also by this worker
                self._at_work.discard(entry_id)
                wanted = end_of_run(row, run.body, run.order)
                end = await self._write_end(row, wanted) if wanted else None
                if end is None:
                    metrics.jobs_taken_away.inc()
                    log.warning("job_taken_away")
                    return
            except Exception:  # noqa: BLE001 - the entry grows stale, and a worker takes the job once more
                log.exception("run_end_lost")
                return
            finally:
                self._at_work.discard(entry_id)
            log.info("job_ended", state=end.state.value, reason=end.reason.value, failure=end.failure)
            metrics.jobs_ended.labels(row.kind, end.state.value).inc()
            metrics.job_run_seconds.labels(row.kind, end.state.value).observe(time.monotonic() - begun)

    async def _write_end(self, row: Row[Any], end: End) -> End | None:
        try:
            return await self._finish((row, end))
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a result that PostgreSQL does not take would be none the next time
            return await self._finish((row, end_of_failure(error, row)))

    async def _run_body(self, row: Row[Any]) -> _Run:
        """Run the body of a job to its end: its own, or that of its time, or the one that it is told to come to."""
        body = asyncio.ensure_future(_call(self._handlers[row.kind], RunningJob(self._resources, row)))
        key = row.id, row.epoch
        self._runs[key] = run = _Run(body)
        if self._is_stopping:
            run.end(Order.STOP)
        try:
            either: set[asyncio.Future[Any]] = {body, run.ordered}
            await asyncio.wait(either, timeout=row.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not body.done():
                run.end(Order.TIME_IS_UP)
                await asyncio.wait({body}, timeout=CLEANUP_SECONDS)
        finally:
            body.cancel()
            del self._runs[key]
        if not body.done():
            log.error("body_left_behind", order=run.order)
            body.add_done_callback(lambda left: left.cancelled() or left.exception())
        return run

    async def _watch(self) -> None:
        """See to it, for ever, that cancelled jobs end, and that this worker and its jobs show life."""
        beaten_at = -self._beat_seconds
        with self._resources.events.subscribe(CANCELLATIONS) as wake:
            while True:
                now = time.monotonic()
                try:
                    if now - beaten_at >= self._beat_seconds:
                        beaten_at = now
                        await self._beat()
                    await self._end_cancelled()
                except ServiceUnavailable:
                    log.warning("watch_delayed")
                except Exception:  # noqa: BLE001 - whatever it was, the jobs that run have to be watched on
                    log.exception("watch_failed")
                await wake.wait(min(LOOK_SECONDS, self._beat_seconds))

    async def _end_cancelled(self) -> None:
        if not self._runs:
            return
        async with self._resources.database.connect() as connection:
            cancelled = await jobs.cancelled_among(connection, {job_id for job_id, _ in self._runs})
        self._end([key for key in self._runs if key[0] in cancelled], Order.CANCEL)

    async def _beat(self) -> None:
        """Write heartbeats, of this worker only while it serves the queue. A job whose lease is lost is stopped."""
        running = list(self._runs)
        async with self._resources.database.transaction() as connection:
            if self._is_serving:
                await workers.note_alive(connection, self.name, self._concurrency, list(self._handlers))
            lost = await jobs.beat(connection, running) if running else set()
            now, at = await jobs.current_time(connection), time.monotonic()
        # one that has just written its end is not running either, but then its handler has returned
        self._end(lost, Order.LET_GO)
        await self._correct_times(now, at)

    async def _correct_times(self, now: datetime, at: float) -> None:
        """Have times in the future written again where PostgreSQL's clock was set back."""
        if self._clock.was_set_back(now, at):
            async with self._resources.database.transaction() as connection:
                count = await correct_future_times(connection, LONGEST_BACKOFF_SECONDS, max(ASIDE_SECONDS.values()))
            if count:
                log.warning("future_times_corrected", count=count)
        self._clock.note(now, at)

    def _end(self, keys: Collection[tuple[int, int]], order: Order) -> None:
        for key in self._runs.keys() & set(keys):
            self._runs[key].end(order)


async def _prepare(connection: "asyncpg.Connection[Any] | PoolConnectionProxy[Any]") -> None:
    notice_silence(connection)


def _call(handler: Handler | ProcessHandler, job: RunningJob) -> Awaitable[dict[str, Any]]:
    if inspect.iscoroutinefunction(handler):
        return cast(Handler, handler)(job)
    return in_process(cast(ProcessHandler, handler), dict(job.arguments))


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a worker while the context lasts, and lend a function that stops it before.

    Running jobs go back to the queue at its end, within ten seconds.
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
