"""A running job: what its handler reads, and the only way in which the handler writes."""

import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.job_states import JobEventKind
from app.json_models import to_json
from app.json_types import JsonValue
from app.notifications import job_topic
from app.resources import Resources
from app.store import jobs
from app.store.rows import JobRow

Arguments = TypeVar("Arguments")
Checkpoint = TypeVar("Checkpoint")

TICKS_PER_SECOND = 5
FIRST_SECONDS = 1.0
"""No rate is computed before this time: the first moments of a job are not representative."""
MIN_MEMORY_SECONDS, MAX_MEMORY_SECONDS = 5.0, 60.0


class LeaseLost(Exception):
    """The lease is lost: another worker has claimed this job, so this run must not write for it any more."""


class CancelRequested(Exception):
    """A client has requested to cancel the job."""


@dataclass(slots=True)
class RateMeter:
    """The smoothed rate of a job, from which a stable remaining time can be estimated.

    The time constant of the smoothing is half of the measured time, at least 5 s and
    at most 60 s: the rate of a short job adapts quickly, that of a long one slowly.
    """

    at: float
    done: int
    per_second: float | None = None
    begun_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun_at = self.at

    def update(self, now: float, done: int) -> float | None:
        """Record how many units are done at `now` (seconds); return units per second, None while no rate is known.

        Restart if fewer units are done than before: then the job counts other units now.
        """
        if done < self.done:
            self.restart(now, done)
        elapsed = now - self.at
        if elapsed < (FIRST_SECONDS if self.per_second is None else 1e-6):
            return self.per_second
        rate = (done - self.done) / elapsed
        memory_seconds = min(MAX_MEMORY_SECONDS, max(MIN_MEMORY_SECONDS, (now - self.begun_at) / 2))
        weight = 1 - math.exp(-elapsed / memory_seconds)
        self.per_second = rate if self.per_second is None else self.per_second + weight * (rate - self.per_second)
        self.at, self.done = now, done
        return self.per_second

    def restart(self, now: float, done: int) -> None:
        """Discard the measurements and start again at `now` with `done` units."""
        self.at = self.begun_at = now
        self.done, self.per_second = done, None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job. `done` and `total` count the job's units, such as comments for a collection."""

    stage: str
    done: int = 0
    total: int | None = None
    message: str | None = None


class RunningJob(Generic[Arguments, Checkpoint]):
    """One run of one job, starting when a worker has claimed it.

    `arguments` are those of the job's row, and `checkpoint` is that of its last run, None if it has none.
    """

    def __init__(self, resources: Resources, row: JobRow, arguments: Arguments, checkpoint: Checkpoint | None) -> None:
        self.resources = resources
        self.id: int = row.id
        self.epoch: int = row.epoch
        self.arguments = arguments
        self.checkpoint = checkpoint
        self.created_at = row.created_at
        self._stage: str = row.stage
        self._meter = RateMeter(time.monotonic(), row.done)
        self._published_at = -math.inf
        self._has_new_event = False

    @asynccontextmanager
    async def step(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction in which this run may write; all of it is committed, or nothing.

        It locks the job's row, so that no other worker can claim the job before the
        transaction is committed.

        Raises:
            LeaseLost: another worker has claimed the job.
            CancelRequested: a client has requested to cancel the job.
        """
        topics: list[str] = []
        async with self.resources.notifications.publish_on_commit(topics) as connection:
            locked = await jobs.lock_job(connection, self.id, self.epoch)
            if locked is None:
                raise LeaseLost
            if locked.cancel_requested_at:
                raise CancelRequested
            yield connection
            if self._should_publish():
                topics.append(job_topic(self.id))

    async def report(
        self,
        connection: AsyncConnection,
        progress: Progress,
        checkpoint: Checkpoint | None,
        result: object | None = None,
    ) -> None:
        """Write progress and checkpoint inside a step; record an event if the stage is new.

        `result` is for a job that will fail: the result, a model, that it has nevertheless achieved.
        """
        now, is_new_stage = time.monotonic(), progress.stage != self._stage
        if is_new_stage:
            self._meter.restart(now, progress.done)
        values = {
            "stage": progress.stage,
            "done": progress.done,
            "total": progress.total,
            "message": progress.message,
            "rate_per_second": self._meter.update(now, progress.done),
            "checkpoint": to_json(checkpoint),
            **({"result": to_json(result)} if result else {}),
        }
        await jobs.write_progress(connection, self.id, values)
        if is_new_stage:
            self._stage = progress.stage
            await self.event(
                connection, JobEventKind.STAGE_CHANGED, f"Stage: {progress.stage}.", {"stage": progress.stage}
            )

    async def event(
        self, connection: AsyncConnection, kind: JobEventKind, message: str, facts: Mapping[str, JsonValue]
    ) -> None:
        """Record, inside a step, an event that subscribers of the job must not miss."""
        await jobs.add_event(connection, self.id, kind, message, facts)
        self._has_new_event = True

    def _should_publish(self) -> bool:
        # Skip ticks above the limit: the newest one supersedes them. Never skip an event.
        now = time.monotonic()
        if not self._has_new_event and now - self._published_at < 1 / TICKS_PER_SECOND:
            return False
        self._published_at, self._has_new_event = now, False
        return True
