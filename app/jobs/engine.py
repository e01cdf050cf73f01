"""PgQueuer as this project uses it: what its queue does differently here, and one engine of queue and clock."""

from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import timedelta
from typing import Any

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.applications import PgQueuer
from pgqueuer.models import Job as Entry
from pgqueuer.models import Schedule, TracebackRecord
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId
from sqlalchemy import Row

from app.events import Events, job_topic
from app.jobs.queue import queries_of
from app.jobs.runs import take
from app.store import entries

EntryBody = Callable[[Entry], Awaitable[None]]
Clock = Mapping[str, tuple[str, Callable[[], Awaitable[None]]]]
"""Name -> when, as a cron expression (a sixth field is seconds), and what."""


class Queue(Queries):
    """PgQueuer's queries, but for what makes an entry and its job one thing.

    Taking an entry takes its job, in one transaction: `taken` holds the rows.
    How a run ends is written by `app.jobs.runs`, the entry's part included, so
    PgQueuer writes nothing about it; `running` are the entries at work here. And a worker that was frozen does not keep
    an entry alive that another one has taken over meanwhile.

    One worker has at most `limit` jobs at once; PgQueuer's own limit is at least
    twice its batch size, so it cannot be 1.
    """

    def __init__(self, pool: "asyncpg.Pool", events: Events, worker: str, limit: int) -> None:
        super().__init__(AsyncpgPoolDriver(pool))
        self.taken: dict[JobId, Row[Any]] = {}
        self.running: Container[JobId] = ()
        self._events = events
        self._worker = worker
        self._limit = limit
        self._manager_id: QueueManagerId | None = None

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,  # noqa: ARG002 - replaced by the limit
        heartbeat_timeout: timedelta,
    ) -> list[Entry]:
        """Take the most urgent jobs and return their entries. Entries without a job to run are dropped."""
        self._manager_id = queue_manager_id
        topics: list[str] = []
        async with self._events.telling(topics) as connection:
            found = await queries_of(connection).dequeue(
                batch_size, entrypoints, queue_manager_id, self._limit, heartbeat_timeout
            )
            # one that is being run here only looked stale, as this process was slow to show life
            job_ids = {entry.id: _job_id(entry) for entry in found if entry.id not in self.running}
            taken = await take(connection, job_ids.values(), self._worker) if job_ids else {}
            await entries.release(connection, [key for key, job_id in job_ids.items() if job_id not in taken])
            topics += map(job_topic, job_ids.values())
        self.taken |= {key: taken[job_id] for key, job_id in job_ids.items() if job_id in taken}
        return [entry for entry in found if entry.id in self.taken]

    async def log_jobs(self, job_status: list[tuple[Entry, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Write nothing.

        Where the end of a run could not be written, as PostgreSQL was away for
        long, its entry grows stale, and a worker takes the job once more.
        """

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Keep this worker's entries from growing stale."""
        statement = "UPDATE pgqueuer SET heartbeat = now() WHERE id = ANY($1) AND queue_manager_id = $2"
        await self.driver.execute(statement, job_ids, self._manager_id)


def _job_id(entry: Entry) -> int:
    """Return which job an entry stands for; 0, which is none, where it was not made by us."""
    try:
        return int(entry.payload or b"")
    except ValueError:
        return 0


def make_engine(queue: Queue, body: EntryBody, limits: Mapping[str, int], clock: Clock) -> PgQueuer:
    """Return an engine that runs `body` for each entry of these kinds, and what `clock` says when it says.

    `limits` maps each kind to how many of it run at once in all processes; 0 is no limit.
    """
    engine = PgQueuer(queue.driver, queries=queue)
    queue.running = engine.qm.job_context
    for kind, limit in limits.items():
        engine.entrypoint(kind, concurrency_limit=limit)(body)
    for name, (when, action) in clock.items():
        engine.schedule(name, when)(_on_schedule(action))
    return engine


def _on_schedule(action: Callable[[], Awaitable[None]]) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_: Schedule) -> None:
        await action()

    return run
