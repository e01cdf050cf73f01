"""Follows a job while it happens: every event once and in order, and its newest progress in between."""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from app.errors import JobNotFound, ServiceUnavailable, ValidationFailed
from app.events import job_topic
from app.jobs.states import JobState
from app.log import log
from app.resources import Resources
from app.store import jobs

TICK_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How often a job is looked at whose notifications do not arrive."""
RETRY_SECONDS = 1.0
EVENTS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Change:
    """What has happened to a job: an event, or new progress (`event` is None). `seq` is the last event told."""

    seq: int
    job: Row[Any]
    event: Row[Any] | None


async def follow(resources: Resources, job_id: int, after_seq: int) -> AsyncGenerator[Change]:
    """Yield every event of a job after `after_seq`, once and in order, and its progress at most five times a second.

    Begins with what was missed, or else with the progress as it is, and ends
    after the job has. PostgreSQL is read at each wake-up, so a listener that is
    slow gets fewer ticks and every event. While PostgreSQL is away, it waits.

    Raises:
        JobNotFound: no job has this id.
        ValidationFailed: it has no such event yet.
    """
    seq, is_first = after_seq, True
    with resources.events.subscribe(job_topic(job_id)) as wake:
        while True:
            read_at = time.monotonic()
            try:
                async with resources.database.connect() as connection:
                    job = await jobs.job_by_id(connection, job_id)
                    found = await jobs.events_after(connection, job_id, seq, EVENTS_AT_ONCE)
            except ServiceUnavailable:
                log.warning("follow_delayed", job_id=job_id)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if job is None:
                raise JobNotFound(job_id)
            if not 0 <= seq <= job.last_seq:
                raise ValidationFailed({"afterSeq": f"must be between 0 and the job's last event, {job.last_seq}"})
            # an event younger than the row is told in the next round, with the row that fits
            events = [event for event in found if event.seq <= job.last_seq]
            for event in events:
                seq = event.seq
                yield Change(seq, job, event)
            if len(events) == EVENTS_AT_ONCE:
                continue
            if JobState(job.state).is_final and seq >= job.last_seq:
                if is_first and not events:
                    yield Change(seq, job, None)
                return
            if not events:
                yield Change(seq, job, None)
            is_first = False
            await asyncio.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - read_at)))
            await wake.wait(LOOK_SECONDS)
