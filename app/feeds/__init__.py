"""Live updates of jobs: reads changes once per process, however many subscribers follow them.

A feed is one task that reads PostgreSQL when it is woken, at most five times a
second, and shares the result. Subscribers read from it at their own pace, so the
messages of a slow one do not accumulate: progress is conflated, and of the events
that must not be missed a bounded number is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from app import metrics
from app.db.engine import Database
from app.feeds.all_jobs_feed import AllJobsFeed, JobChange, JobsSubscriber
from app.feeds.base import Feed
from app.feeds.job_feed import EVENTS_KEPT, JobFeed
from app.feeds.turns import Turns
from app.notifications import Notifications
from app.store import jobs

__all__ = ["EVENTS_KEPT", "JobChange", "JobFeeds", "open_feeds"]

READERS = 3
"""How many subscribers may read older events at once, so that they leave connections for other work."""


class JobFeeds:
    """The feeds of one process. Each runs while it has subscribers, and ends soon after the last has left."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        self._database = database
        self._notifications = notifications
        self._by_job: dict[int, JobFeed] = {}
        self._all: AllJobsFeed | None = None
        self._readers = asyncio.Semaphore(READERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()

    async def turn(self) -> None:
        """Wait for the calling subscriber's fairness turn to produce a message."""
        await self._turns.take()

    @contextmanager
    def follow_job(self, job_id: int) -> Iterator[JobFeed]:
        """Subscribe to one job; the value is the feed that all its subscribers share."""
        feed = self._by_job.get(job_id)
        if feed is None:
            feed = self._by_job[job_id] = JobFeed(self._database, self._notifications, self._readers, job_id)
            self._start(feed, lambda: self._by_job.pop(job_id))
        with feed.followed(), metrics.job_subscribers.labels("jobProgress").track_inprogress():
            yield feed

    @asynccontextmanager
    async def follow_all(self, conditions: jobs.JobConditions) -> AsyncIterator[JobsSubscriber]:
        """Subscribe to all jobs that meet the conditions."""
        feed = self._all
        if feed is None:
            feed = self._all = AllJobsFeed(self._database, self._notifications)
            self._start(feed, lambda: setattr(self, "_all", None))
        with feed.followed(), metrics.job_subscribers.labels("jobs").track_inprogress():
            await feed.looked(1)
            subscriber = JobsSubscriber(feed, conditions)
            feed.subscribers.add(subscriber)
            try:
                yield subscriber
            finally:
                feed.subscribers.remove(subscriber)

    def _start(self, feed: Feed, forget: Callable[[], object]) -> None:
        async def run() -> None:
            try:
                await feed.run()
            finally:
                forget()  # without an await after the feed's end, so that no subscriber can join an ended feed

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def open_feeds(database: Database, notifications: Notifications) -> AsyncIterator[JobFeeds]:
    """Provide the feeds of a process, none of which runs yet, and end the running ones at the end."""
    feeds = JobFeeds(database, notifications)
    try:
        yield feeds
    finally:
        await feeds.close()
