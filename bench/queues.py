"""Two queues that run the same handlers, with the same settings of PgQueuer: this project's, and PgQueuer alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Context
from pgqueuer.models import Job as Entry
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import JobId, QueueManagerId

from app.background import make_worker
from app.job_states import JobPriority
from app.jobs.definitions import AnyJobDefinition, JobDefinition
from app.jobs.queue import NewJob, cancel, enqueue
from app.jobs.running_job import RunningJob
from app.jobs.worker import running
from app.resources import Resources
from app.work.kinds import JobKind

CONCURRENCY = 10
DEQUEUE_SECONDS = 1.0
KIND = JobKind.COLLECT_COMMENTS
TABLES = "jobs, job_events, job_groups, pgqueuer, pgqueuer_log, pgqueuer_statistics"

Handler = Callable[[], Awaitable[object]]


def definition_of(handler: Any) -> AnyJobDefinition:
    """Return the definition of the jobs of the benchmarks; without a handler, for jobs that no worker runs."""
    return JobDefinition(KIND, "", handler, dict, dict, dict)


class ComparedQueue(Protocol):
    """One of the two queues that are compared."""

    url: str

    def working(self, handler: Handler) -> AbstractAsyncContextManager[None]:
        """Run a worker in this process, with up to `CONCURRENCY` concurrent jobs, which all call this handler."""

    async def enqueue(self) -> int:
        """Enqueue one job in its own transaction and return its id."""

    async def fill(self, connection: "asyncpg.Connection[Any]", count: int) -> None:
        """Enqueue many jobs, with rows equal to those of `enqueue`."""

    async def cancel(self, job_id: int) -> None:
        """Request the cancellation of a running job."""


class ProjectQueue:
    """This project's queue. With `claims` each of the jobs that fill it has its own community."""

    def __init__(self, resources: Resources, *, claims: bool = False) -> None:
        self.url = resources.database.dsn
        self.resources = resources
        self._claims = claims

    @asynccontextmanager
    async def working(self, handler: Handler) -> AsyncIterator[None]:
        """Run a worker as servers do."""

        async def run(_: RunningJob[Any, Any]) -> dict[str, Any]:
            await handler()
            return {}

        async with running(make_worker(self.resources, CONCURRENCY, {KIND.value: definition_of(run)})):
            yield

    async def enqueue(self) -> int:
        """Enqueue one job as mutations do."""
        async with self.resources.database.transaction() as connection:
            return int((await enqueue(connection, self.resources, NewJob(definition_of(None), {}))).id)

    async def fill(self, connection: "asyncpg.Connection[Any]", count: int) -> None:
        """Write the rows of many jobs at once, in the steps in which `enqueue` writes those of one."""
        claims = "ARRAY[-n]" if self._claims else "'{}'"
        await connection.execute(f"""
            INSERT INTO jobs (kind, arguments, claims, priority, max_attempts, timeout_seconds)
            SELECT '{KIND.value}', '{{}}', {claims}, {JobPriority.NORMAL.value}, 5, 60
              FROM generate_series(1, {count}) AS n;
            INSERT INTO pgqueuer (priority, status, entrypoint, dedupe_key, payload)
            SELECT priority, 'queued', kind, id || ':' || epoch, convert_to(id::text, 'UTF8') FROM jobs ORDER BY id;
            UPDATE jobs SET queue_id = pgqueuer.id, last_seq = 1 FROM pgqueuer WHERE dedupe_key = jobs.id || ':0';
            INSERT INTO job_events (job_id, seq, kind, message, facts)
            SELECT id, 1, 'STATE_CHANGED', 'The job waits for a worker: it was requested.',
                   '{{"state": "QUEUED", "reason": "REQUESTED"}}' FROM jobs;
            INSERT INTO groups (owner_id, screen_name, name)
            SELECT -n, 'g' || n, 'G' FROM generate_series(1, {count}) AS n ON CONFLICT DO NOTHING;
            INSERT INTO job_groups (owner_id, job_id)
            SELECT claims[1], id FROM jobs WHERE claims <> '{{}}';
        """)  # noqa: S608 - values of this file

    async def cancel(self, job_id: int) -> None:
        """Cancel a job as mutations do."""
        await cancel(self.resources, job_id)


class PgQueuerQueue:
    """PgQueuer as in its documentation, on asyncpg's pool, with no tables but its own."""

    def __init__(self, url: str, pool: "asyncpg.Pool") -> None:
        self.url = url
        self._pool = pool

    @asynccontextmanager
    async def working(self, handler: Handler) -> AsyncIterator[None]:
        """Run PgQueuer's manager with the settings that this project's worker uses."""
        manager = QueueManager(Queries(AsyncpgPoolDriver(self._pool)))
        manager.entrypoint(KIND.value)(_entrypoint(handler))
        task = asyncio.create_task(run_manager(manager))
        try:
            yield
        finally:
            manager.shutdown.set()
            await task

    async def enqueue(self) -> int:
        """Enqueue one entry in a transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            [entry_id] = await Queries(AsyncpgDriver(connection)).enqueue(KIND.value, b"1")  # type: ignore[arg-type] # the driver accepts any connection of asyncpg
        return entry_id

    async def fill(self, connection: "asyncpg.Connection[Any]", count: int) -> None:
        """Enqueue many entries by PgQueuer's own function for many."""
        await Queries(AsyncpgDriver(connection)).enqueue([KIND.value] * count, [b"1"] * count, [0] * count)

    async def cancel(self, job_id: int) -> None:
        """Request the cancellation of an entry."""
        await Queries(AsyncpgPoolDriver(self._pool)).mark_job_as_cancelled([JobId(job_id)])


def _entrypoint(handler: Handler) -> Callable[[Entry, Context], Awaitable[None]]:
    async def run(_: Entry, context: Context) -> None:
        with context.cancellation:
            await handler()

    return run


async def run_manager(manager: QueueManager, heartbeat_seconds: float = 10.0) -> None:
    """Run PgQueuer's manager until it is shut down."""
    await manager.run(
        batch_size=CONCURRENCY // 2,
        max_concurrent_tasks=CONCURRENCY,
        heartbeat_timeout=timedelta(seconds=heartbeat_seconds),
        dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS),
    )


async def run_hanging(url: str, manager_id: QueueManagerId, heartbeat_seconds: float) -> None:
    """Run PgQueuer's manager under this id; its jobs never end."""
    async with asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
        manager = QueueManager(Queries(AsyncpgPoolDriver(pool)))
        manager.queue_manager_id = manager_id
        manager.entrypoint(KIND.value)(_entrypoint(asyncio.Event().wait))
        await run_manager(manager, heartbeat_seconds)


async def clear(connection: "asyncpg.Connection[Any]") -> None:
    """Empty a queue of either kind."""
    await connection.execute(f"TRUNCATE {TABLES} CASCADE")
