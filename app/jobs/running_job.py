"""A job while it runs: what its body reads, and the only way by which it writes."""

import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.events import job_topic
from app.jobs.states import JobEventKind
from app.resources import Resources
from app.store import jobs

TICKS_PER_SECOND = 5
FIRST_SECONDS = 1.0
"""How long a job is looked at before a rate is told: what it does in its first moments says nothing."""
SHORTEST_MEMORY_SECONDS, LONGEST_MEMORY_SECONDS = 5.0, 60.0


class TakenAway(Exception):
    """Another worker has this job now, so this one must not write for it any more."""


class CancelRequested(Exception):
    """Somebody has asked to cancel the job."""


@dataclass(slots=True)
class RateMeter:
    """The pace of a job, smoothed, so that the time left that follows from it does not jump.

    It remembers the last half of what it has seen, but for five seconds at the
    least and a minute at the most: a short job is followed quickly, a long one calmly.
    """

    at: float
    done: int
    per_second: float | None = None
    begun_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.begun_at = self.at

    def update(self, now: float, done: int) -> float | None:
        """Take in how much is done at `now` (seconds); returns units per second, None while nothing is known.

        Where less is done than before, other units are counted now: it begins anew.
        """
        if done < self.done:
            self.restart(now, done)
        passed = now - self.at
        if passed < (FIRST_SECONDS if self.per_second is None else 1e-6):
            return self.per_second
        rate = (done - self.done) / passed
        memory_seconds = min(LONGEST_MEMORY_SECONDS, max(SHORTEST_MEMORY_SECONDS, (now - self.begun_at) / 2))
        weight = 1 - math.exp(-passed / memory_seconds)
        self.per_second = rate if self.per_second is None else self.per_second + weight * (rate - self.per_second)
        self.at, self.done = now, done
        return self.per_second

    def restart(self, now: float, done: int) -> None:
        """Forget what was measured."""
        self.at = self.begun_at = now
        self.done, self.per_second = done, None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. `done` and `total` are in units of the job, comments for a collection."""

    stage: str
    done: int = 0
    total: int | None = None
    message: str | None = None


class RunningJob:
    """One run of one job, from the moment a worker has taken it."""

    def __init__(self, resources: Resources, row: Row[Any]) -> None:
        self.resources = resources
        self.id: int = row.id
        self.epoch: int = row.epoch
        self.arguments: Mapping[str, Any] = row.arguments
        self.checkpoint: Mapping[str, Any] | None = row.checkpoint
        self.created_at = row.created_at
        self._stage: str = row.stage
        self._meter = RateMeter(time.monotonic(), row.done)
        self._told_at = -math.inf
        self._must_tell = False

    @asynccontextmanager
    async def step(self) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction in which this run may write: all of it happens, or nothing.

        It holds the job's row, so that no other worker can take the job before
        what is written here is there.

        Raises:
            TakenAway: another worker has the job.
            CancelRequested: the job is to end.
        """
        topics: list[str] = []
        async with self.resources.events.telling(topics) as connection:
            locked = await jobs.lock_job(connection, self.id, self.epoch)
            if locked is None:
                raise TakenAway
            if locked.cancel_requested_at:
                raise CancelRequested
            yield connection
            if self._is_worth_telling():
                topics.append(job_topic(self.id))

    async def report(
        self,
        connection: AsyncConnection,
        progress: Progress,
        checkpoint: Mapping[str, Any] | None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Write progress and checkpoint in a step; a new stage becomes an event.

        `result` is for a job that will fail: what it has done all the same.
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
            "checkpoint": checkpoint,
            **({"result": result} if result else {}),
        }
        await jobs.write_progress(connection, self.id, values)
        if is_new_stage:
            self._stage = progress.stage
            await self.event(
                connection, JobEventKind.STAGE_CHANGED, f"Stage: {progress.stage}.", {"stage": progress.stage}
            )

    async def event(
        self, connection: AsyncConnection, kind: JobEventKind, message: str, facts: Mapping[str, Any]
    ) -> None:
        """Record in a step what must not be missed by those who follow the job."""
        await jobs.add_event(connection, self.id, kind.value, message, facts)
        self._must_tell = True

    def _is_worth_telling(self) -> bool:
        # ticks may be left out, since the newest says all; events may not
        now = time.monotonic()
        if not self._must_tell and now - self._told_at < 1 / TICKS_PER_SECOND:
            return False
        self._told_at, self._must_tell = now, False
        return True
