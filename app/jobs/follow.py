"""Follows jobs while they run: one job with all its events and its newest progress, or all jobs."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from app.errors import ValidationFailed
from app.feeds import JobChange
from app.resources import Resources
from app.store.jobs import JobConditions
from app.store.rows import FollowedJobRow, JobEventRow


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """A change of a job: a job event, or new progress (`event` is None). `seq` is that of the last event yielded."""

    seq: int
    job: FollowedJobRow
    event: JobEventRow | None


async def follow(resources: Resources, job_id: int, after_seq: int) -> AsyncGenerator[JobUpdate]:
    """Yield every event of a job after `after_seq`, once and in order, and its progress at most 5 times per second.

    Start with the missed events, or with the current progress if there are none; end
    after the job has ended. All subscribers of a job share one reader of PostgreSQL,
    and wait while PostgreSQL cannot be reached. A slow subscriber gets every event,
    but fewer progress ticks.

    Raises:
        JobNotFound: no job has this id, or it was removed meanwhile.
        ValidationFailed: the job has no event `after_seq` yet.
        SubscriberTooSlow: since the last event read, more events have happened than
            are buffered. Follow the job again from that event to read the others.
    """
    with resources.feeds.follow_job(job_id) as feed:
        newest = await feed.newest()
        if not 0 <= after_seq <= newest.last_seq:
            raise ValidationFailed({"afterSeq": f"must be between 0 and the job's last event, {newest.last_seq}"})
        seq = after_seq
        last_row: FollowedJobRow | None = None
        while not feed.keeps_after(seq):
            for older in await feed.older_events(seq):
                await resources.feeds.turn()
                seq, last_row = older.seq, feed.row
                yield JobUpdate(seq, last_row, older)
        while True:
            if seq < feed.last_seq or last_row is not feed.row:
                await resources.feeds.turn()
                event = feed.event_after(seq)
                seq, last_row = event.seq if event else seq, feed.row
                yield JobUpdate(seq, last_row, event)
            elif last_row.state.is_final and seq >= last_row.last_seq:
                return
            else:
                await feed.change()


async def follow_all(resources: Resources, conditions: JobConditions) -> AsyncGenerator[JobChange]:
    """Yield each unfinished job that meets the conditions, then each change of a job that meets them.

    Yield a job once more when it no longer meets them. If a subscriber is slow, it
    gets only the newest of several changes of one job. Removed jobs are not
    reported. Never ends by itself.

    Raises:
        SubscriberTooSlow: more jobs have changed than are buffered for one subscriber.
    """
    async with resources.feeds.follow_all(conditions) as subscriber:
        while True:
            change = await subscriber.take()
            await resources.feeds.turn()
            yield change
