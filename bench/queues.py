"""Two queues that run the same bodies, with the same settings of PgQueuer: ours, and PgQueuer alone."""

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
from app.jobs.definitions import AnyJobDefinition, JobDefinition
from app.jobs.queue import NewJob, cancel, enqueue
from app.jobs.running_job import RunningJob
from app.jobs.states import JobPriority
from app.jobs.worker import running
from app.resources import Resources
from app.work.kinds import JobKind

CONCURRENCY = 10
DEQUEUE_SECONDS = 1.0
KIND = JobKind.COLLECT_COMMENTS
TABLES = "jobs, job_events, job_groups, pgqueuer, pgqueuer_log, pgqueuer_statistics"

Body = Callable[[], Awaitable[object]]


def definition_of(handler: Any) -> AnyJobDefinition:
    """Return the definition of the jobs of the benchmarks; without a handler, for jobs that no worker runs."""
    return JobDefinition(KIND, "", handler, dict, dict, dict)


class Side(Protocol):
    """One of the two queues that are compared."""

    url: str

    def working(self, body: Body) -> AbstractAsyncContextManager[None]:
        """Run a worker in this process, as many jobs at once as `CONCURRENCY`, which all do this."""

    async def enqueue(self) -> int:
        """Put one job into the queue in a transaction of its own and return its id."""

    async def fill(self, connection: "asyncpg.Connection[Any]", count: int) -> None:
        """Put many jobs into the queue, as rows that are just like those of `enqueue`."""

    async def cancel(self, job_id: int) -> None:
        """Ask for the end of a job that runs."""


class Ours:
    """Our queue. With `claims` each of the jobs that fill it has a community of its own."""

    def __init__(self, resources: Resources, *, claims: bool = False) -> None:
        self.url = resources.database.dsn
        self.resources = resources
        self._claims = claims

    @asynccontextmanager
    async def working(self, body: Body) -> AsyncIterator[None]:
        """Run a worker as servers do."""

        async def run(_: RunningJob[Any, Any]) -> dict[str, Any]:
            await body()
            return {}

        async with running(make_worker(self.resources, CONCURRENCY, {KIND.value: definition_of(run)})):
            yield

    async def enqueue(self) -> int:
        """Put one job into the queue as mutations do."""
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
            SELECT id, 1, 'STATE_CHANGED', 'The job waits for a worker: somebody asked for it.',
                   '{{"state": "QUEUED", "reason": "REQUESTED"}}' FROM jobs;
            INSERT INTO groups (owner_id, screen_name, name)
            SELECT -n, 'g' || n, 'G' FROM generate_series(1, {count}) AS n ON CONFLICT DO NOTHING;
            INSERT INTO job_groups (owner_id, job_id)
            SELECT claims[1], id FROM jobs WHERE claims <> '{{}}';
        """)  # noqa: S608 - values of this file

    async def cancel(self, job_id: int) -> None:
        """Ask for a job's end as mutations do."""
        await cancel(self.resources, job_id)


class Alone:
    """PgQueuer as its documentation shows it, on asyncpg's pool, without any table but its own."""

    def __init__(self, url: str, pool: "asyncpg.Pool") -> None:
        self.url = url
        self._pool = pool

    @asynccontextmanager
    async def working(self, body: Body) -> AsyncIterator[None]:
        """Run PgQueuer's manager with the settings that our worker gives it."""
        manager = QueueManager(Queries(AsyncpgPoolDriver(self._pool)))
        manager.entrypoint(KIND.value)(_entrypoint(body))
        task = asyncio.create_task(run_alone(manager))
        try:
            yield
        finally:
            manager.shutdown.set()
            await task

    async def enqueue(self) -> int:
        """Put one entry into the queue, in a transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            [entry_id] = await Queries(AsyncpgDriver(connection)).enqueue(KIND.value, b"1")  # type: ignore[arg-type] # the driver takes any connection of asyncpg
        return entry_id

    async def fill(self, connection: "asyncpg.Connection[Any]", count: int) -> None:
        """Put many entries into the queue by PgQueuer's own function for that."""
        await Queries(AsyncpgDriver(connection)).enqueue([KIND.value] * count, [b"1"] * count, [0] * count)

    async def cancel(self, job_id: int) -> None:
        """Ask for an entry's end."""
        await Queries(AsyncpgPoolDriver(self._pool)).mark_job_as_cancelled([JobId(job_id)])


def _entrypoint(body: Body) -> Callable[[Entry, Context], Awaitable[None]]:
    async def run(_: Entry, context: Context) -> None:
        with context.cancellation:
            await body()

    return run


async def run_alone(manager: QueueManager, heartbeat_seconds: float = 10.0) -> None:
    """Run PgQueuer's manager until it is shut down."""
    await manager.run(
        batch_size=CONCURRENCY // 2,
        max_concurrent_tasks=CONCURRENCY,
        heartbeat_timeout=timedelta(seconds=heartbeat_seconds),
        dequeue_timeout=timedelta(seconds=DEQUEUE_SECONDS),
    )


async def hang_alone(url: str, manager_id: QueueManagerId, heartbeat_seconds: float) -> None:
    """Run PgQueuer's manager under this id; its jobs never end."""
    async with asyncpg.create_pool(url, min_size=2, max_size=4) as pool:
        manager = QueueManager(Queries(AsyncpgPoolDriver(pool)))
        manager.queue_manager_id = manager_id
        manager.entrypoint(KIND.value)(_entrypoint(asyncio.Event().wait))
        await run_alone(manager, heartbeat_seconds)


async def clear(connection: "asyncpg.Connection[Any]") -> None:
    """Empty a queue of either kind."""
    await connection.execute(f"TRUNCATE {TABLES} CASCADE")
