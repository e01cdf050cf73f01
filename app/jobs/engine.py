"""Adapts PgQueuer to this project: overrides its queries, and builds the engine that runs queue and schedule."""

from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import timedelta

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.applications import PgQueuer
from pgqueuer.models import Job as QueueEntry
from pgqueuer.models import Schedule, TracebackRecord
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries
from pgqueuer.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId

from app.jobs.definitions import PeriodicTask
from app.jobs.queue import queries_of
from app.jobs.runs import claim
from app.notifications import Notifications, job_topic
from app.store import entries
from app.store.rows import ClaimedJobRow

EntryHandler = Callable[[QueueEntry], Awaitable[None]]


class Queue(Queries):
    """Overrides PgQueuer's queries so that a queue entry and its job row are claimed in one transaction.

    `claimed` maps queue entry id -> job row until the run begins. PgQueuer's own
    status and heartbeat writes are disabled: `app.jobs.runs` ends the entry and
    `app.store.jobs.write_heartbeats` writes its heartbeat, each in one transaction with the job.
    So a worker that was frozen can neither end nor keep alive an entry that another
    worker has claimed meanwhile.

    `free_capacity` returns how many more jobs this worker may claim;
    `running_entries` are the ids of the queue entries whose jobs it runs.
    """

    def __init__(
        self,
        pool: "asyncpg.Pool",
        notifications: Notifications,
        worker: str,
        free_capacity: Callable[[], int],
        running_entries: Container[int],
    ) -> None:
        super().__init__(AsyncpgPoolDriver(pool))
        self.claimed: dict[int, ClaimedJobRow] = {}
        self._notifications = notifications
        self._worker = worker
        self._free_capacity = free_capacity
        self._running_entries = running_entries

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[QueueEntry]:
        """Claim the jobs with the highest priority; return their queue entries. Drop entries of jobs not to run."""
        batch_size = min(batch_size, self._free_capacity() - len(self.claimed))
        if batch_size <= 0:
            return []
        topics: list[str] = []
        async with self._notifications.publish_on_commit(topics) as connection:
            found = await queries_of(connection).dequeue(
                batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
            )
            # skip entries whose jobs run in this process: their heartbeat was only late
            job_ids: dict[int, int] = {
                entry.id: _job_id(entry) for entry in found if entry.id not in self._running_entries
            }
            claimed = await claim(connection, job_ids, self._worker) if job_ids else {}
            await entries.release(connection, [entry_id for entry_id in job_ids if entry_id not in claimed])
            topics += map(job_topic, job_ids.values())
        self.claimed |= claimed
        return [entry for entry in found if entry.id in claimed]

    async def log_jobs(self, job_status: list[tuple[QueueEntry, JOB_STATUS, TracebackRecord | None]]) -> None:
        """Write nothing: PgQueuer regards an entry as done as soon as its run has begun."""

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        """Write nothing: `app.store.jobs.write_heartbeats` writes the heartbeats."""


def _job_id(entry: QueueEntry) -> int:
    """Return the id of an entry's job; 0, which is no job's id, if the entry was not made by `app.jobs.queue`."""
    try:
        return int(entry.payload or b"")
    except ValueError:
        return 0


def make_engine(
    queue: Queue, handle: EntryHandler, limits: Mapping[str, int], tasks: Mapping[str, PeriodicTask]
) -> PgQueuer:
    """Return an engine that calls `handle` for each queue entry of these kinds, and runs periodic tasks (name -> task).

    `handle` must start the run and return at once, because an engine that fails waits
    for its handlers before it reports the failure. `limits` maps each kind to the
    maximum of concurrent runs over all processes; 0 means no limit.
    """
    engine = PgQueuer(queue.driver, queries=queue)
    for kind, limit in limits.items():
        engine.entrypoint(kind, concurrency_limit=limit)(handle)
    for name, (cron, task) in tasks.items():
        engine.schedule(name, cron)(_on_schedule(task))
    return engine


def _on_schedule(task: Callable[[], Awaitable[None]]) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_: Schedule) -> None:
        await task()

    return run
