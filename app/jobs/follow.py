"""Follows jobs while they happen: one of them with every event and its newest progress, or all of them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from app.errors import ValidationFailed
from app.feeds import JobChange
from app.jobs.states import JobState
from app.resources import Resources
from app.store.jobs import JobConditions


@dataclass(frozen=True, slots=True)
class Change:
    """What has happened to a job: an event, or new progress (`event` is None). `seq` is the last event told."""

    seq: int
    job: Row[Any]
    event: Row[Any] | None


async def follow(resources: Resources, job_id: int, after_seq: int) -> AsyncGenerator[Change]:
    """Yield every event of a job after `after_seq`, once and in order, and its progress at most five times a second.

    Begins with what was missed, or else with the progress as it is, and ends
    after the job has. All who follow a job share one reader of PostgreSQL; while
    that is away, they wait. Who takes his time gets fewer ticks and every event.

    Raises:
        JobNotFound: no job has this id, or it was removed meanwhile.
        ValidationFailed: it has no such event yet.
        SubscriberTooSlow: more events have happened since the last one taken than
            are kept. What was not told can be followed from that one on.
    """
    with resources.feeds.follow_job(job_id) as feed:
        newest = await feed.newest()
        if not 0 <= after_seq <= newest.last_seq:
            raise ValidationFailed({"afterSeq": f"must be between 0 and the job's last event, {newest.last_seq}"})
        seq = after_seq
        told: Row[Any] | None = None
        while not feed.keeps_after(seq):
            for older in await feed.older_events(seq):
                await resources.feeds.turn()
                seq, told = older.seq, feed.row
                yield Change(seq, told, older)
        while True:
            if seq < feed.last_seq or told is not feed.row:
                await resources.feeds.turn()
                event = feed.event_after(seq)
                seq, told = event.seq if event else seq, feed.row
                yield Change(seq, told, event)
            elif JobState(told.state).is_final and seq >= told.last_seq:
                return
            else:
                await feed.change()


async def follow_all(resources: Resources, conditions: JobConditions) -> AsyncGenerator[JobChange]:
    """Yield each job that meets conditions and has not ended, as it is, and then each change of any that meets them.

    A job that no longer meets them is yielded once more. Of several changes of
    one job that are not taken in time, the newest is. Jobs that are removed are
    not told. Never ends by itself.

    Raises:
        SubscriberTooSlow: more jobs have changed than are kept for one subscriber.
    """
    async with resources.feeds.follow_all(conditions) as taker:
        while True:
            change = await taker.take()
            await resources.feeds.turn()
            yield change
