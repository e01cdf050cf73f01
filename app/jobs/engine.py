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
from app.jobs.handlers import PeriodicTask
from app.jobs.queue import queries_of
from app.jobs.runs import take
from app.store import entries

EntryBody = Callable[[Entry], Awaitable[None]]


class Queue(Queries):
    """PgQueuer's queries, but for what makes an entry and its job one thing.

    Taking an entry takes its job, in one transaction: `taken` holds the rows.
    What becomes of an entry after that is written with its job: `app.jobs.runs`
    ends it, `app.store.jobs.beat` keeps it from growing stale. So PgQueuer
    writes nothing about it, and a worker that was frozen can neither end an
    entry nor keep it alive that another one has taken over meanwhile.

    `room` says how many jobs more this worker may take; `at_work` are the
    entries of those that it runs.
    """

    def __init__(
        self, pool: "asyncpg.Pool", events: Events, worker: str, room: Callable[[], int], at_work: Container[int]
    ) -> None:
        super().__init__(AsyncpgPoolDriver(pool))
        self.taken: dict[int, Row[Any]] = {}
        self._events = events
        self._worker = worker
        self._room = room
        self._at_work = at_work

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Entry]:
        """Take the most urgent jobs and return their entries. Entries without a job to run are dropped."""
        room = min(batch_size, self._room() - len(self.taken))
        if room <= 0:
            return []
        topics: list[str] = []
        async with self._events.telling(topics) as connection:
            found = await queries_of(connection).dequeue(
                room, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
            )
            # one that is being run here only looked stale, as this process was slow to show life
            job_ids: dict[int, int] = {entry.id: _job_id(entry) for entry in found if entry.id not in self._at_work}
            taken = await take(connection, job_ids, self._worker) if job_ids else {}
            await entries.release(connection, [entry_id for entry_id in job_ids if entry_id not in taken])
            topics += map(job_topic, job_ids.values())
        self.taken |= taken
        return [entry for entry in found if entry.id in taken]

    async def log_jobs(self, job_status: list[tuple[Entry, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Write nothing: for PgQueuer an entry is done as soon as its run was begun."""

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Write nothing."""


def _job_id(entry: Entry) -> int:
    """Return which job an entry stands for; 0, which is none, where it was not made by us."""
    try:
        return int(entry.payload or b"")
    except ValueError:
        return 0


def make_engine(
    queue: Queue, body: EntryBody, limits: Mapping[str, int], tasks: Mapping[str, PeriodicTask]
) -> PgQueuer:
    """Return an engine that calls `body` for each entry of these kinds, and runs periodic tasks (name -> task).

    `body` is to begin the run and return: an engine that fails waits for its bodies before it says so.
    `limits` maps each kind to how many of it run at once in all processes; 0 is no limit.
    """
    engine = PgQueuer(queue.driver, queries=queue)
    for kind, limit in limits.items():
        engine.entrypoint(kind, concurrency_limit=limit)(body)
    for name, (when, action) in tasks.items():
        engine.schedule(name, when)(_on_schedule(action))
    return engine


def _on_schedule(action: Callable[[], Awaitable[None]]) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_: Schedule) -> None:
        await action()

    return run
