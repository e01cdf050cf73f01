"""Reads what happens to jobs once per process, however many subscribers follow it there.

A feed is one task that looks into PostgreSQL when it is woken, at most five
times a second, and shares what it finds. Subscribers take from it at their own
pace, so that the news of a slow one pile up nowhere: what is progress is
conflated, and of what must not be missed a bounded number is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from app import metrics
from app.db.engine import Database
from app.events import Events
from app.feeds.all_jobs_feed import AllJobsFeed, JobChange, JobsTaker
from app.feeds.base import Feed
from app.feeds.job_feed import EVENTS_KEPT, JobFeed
from app.feeds.turns import Turns
from app.store import jobs

__all__ = ["EVENTS_KEPT", "JobChange", "JobFeeds", "open_feeds"]

READERS = 3
"""How many subscribers may read older events at once: they are not to use up the connections of everybody else."""


class JobFeeds:
    """The feeds of one process. Each runs while somebody follows it, and ends a moment later."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._by_job: dict[int, JobFeed] = {}
        self._all: AllJobsFeed | None = None
        self._readers = asyncio.Semaphore(READERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()

    async def turn(self) -> None:
        """Wait until it is a subscriber's turn to make a message."""
        await self._turns.take()

    @contextmanager
    def follow_job(self, job_id: int) -> Iterator[JobFeed]:
        """Lend what all subscribers of one job share."""
        feed = self._by_job.get(job_id)
        if feed is None:
            feed = self._by_job[job_id] = JobFeed(self._database, self._events, self._readers, job_id)
            self._start(feed, lambda: self._by_job.pop(job_id))
        with feed.followed(), metrics.job_subscribers.labels("jobProgress").track_inprogress():
            yield feed

    @asynccontextmanager
    async def follow_all(self, conditions: jobs.JobConditions) -> AsyncIterator[JobsTaker]:
        """Lend a subscriber's place among those of all jobs."""
        feed = self._all
        if feed is None:
            feed = self._all = AllJobsFeed(self._database, self._events)
            self._start(feed, lambda: setattr(self, "_all", None))
        with feed.followed(), metrics.job_subscribers.labels("jobs").track_inprogress():
            await feed.looked(1)
            taker = JobsTaker(feed, conditions)
            feed.takers.add(taker)
            try:
                yield taker
            finally:
                feed.takers.remove(taker)

    def _start(self, feed: Feed, forget: Callable[[], object]) -> None:
        async def run() -> None:
            try:
                await feed.run()
            finally:
                forget()  # in the same moment in which it has ended: nobody can come in between

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_feeds(database: Database, events: Events) -> AsyncIterator[JobFeeds]:
    """Open the feeds of a process, none of which runs yet, and end those that do at the end."""
    feeds = JobFeeds(database, events)
    try:
        yield feeds
    finally:
        await feeds.close()
