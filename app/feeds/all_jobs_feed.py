"""The feed of all jobs for the subscribers of this process: the changes, and those that each has not received yet."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database
from app.errors import SubscriberTooSlow
from app.feeds import base
from app.feeds.base import Feed
from app.notifications import JOBS, Notifications, TopicAccumulator, Wake, job_of
from app.store import jobs
from app.store.rows import FollowedJobRow

JOBS_KEPT = 1_000
"""The maximum number of changed jobs pending for a subscriber; also how many ended jobs are remembered for longer."""
SETTLING = timedelta(minutes=1)
"""How late a change may be committed: it has the time at which its transaction began."""


class JobChange(NamedTuple):
    """The present state of a job; `is_matching` is False if it no longer meets a subscriber's conditions."""

    job: FollowedJobRow
    is_matching: bool


class AllJobsFeed(Feed):
    """The feed of all jobs. `rows` are the unfinished ones, id -> row."""

    def __init__(self, database: Database, notifications: Notifications) -> None:
        super().__init__(database)
        self.rows: dict[int, FollowedJobRow] = {}
        self.subscribers: set[JobsSubscriber] = set()
        self._ended: dict[int, FollowedJobRow] = {}
        self._notifications = notifications
        self._topics = TopicAccumulator(JOBS_KEPT)
        self._read_since: datetime | None = None
        self._read_all_at = -base.LOOK_SECONDS

    @contextmanager
    def listening(self) -> Iterator[Wake]:
        """Subscribe to the notifications of all jobs, and accumulate their topics."""
        with self._notifications.subscribe_prefix(JOBS, JOBS_KEPT) as self._topics:
            yield self._topics

    async def look(self, connection: AsyncConnection, *, is_timeout: bool) -> None:
        """Read the jobs with notifications; read all relevant ones regularly, or if the changed ones are unknown."""
        topics, now = self._topics.take(), time.monotonic()
        if topics is None or is_timeout or now - self._read_all_at >= base.LOOK_SECONDS:
            read_at = await jobs.current_time(connection)
            # Use both clocks: PostgreSQL's clock may have been set back or forward since the last read.
            passed = timedelta(seconds=now - self._read_all_at) if self._read_since else timedelta(0)
            since = min(self._read_since or read_at, read_at - passed)
            rows = await jobs.followed_jobs_since(connection, since - SETTLING)
            self._read_since, self._read_all_at = read_at, now
            present = {row.id for row in rows}
            self.rows = {job_id: row for job_id, row in self.rows.items() if job_id in present}  # others were removed
            changes = self._update(rows)
            self._forget(read_at - SETTLING)
        else:
            changes = self._update(await jobs.followed_jobs(connection, [job_of(topic) for topic in topics]))
        self._publish(changes)

    def _update(self, rows: Sequence[FollowedJobRow]) -> list[tuple[FollowedJobRow | None, FollowedJobRow]]:
        changes = []
        for row in rows:
            former = self.rows.pop(row.id, None) or self._ended.pop(row.id, None)
            (self._ended if row.state in jobs.FINAL else self.rows)[row.id] = row
            if row != former:
                changes.append((former, row))
        return changes

    def _forget(self, ended_before: datetime) -> None:
        """Forget old ended jobs except the last ones: younger ones are read again and must not be published twice."""
        for job_id in list(self._ended)[:-JOBS_KEPT]:
            ended_at = self._ended[job_id].finished_at
            if ended_at and ended_at < ended_before:
                del self._ended[job_id]

    def _publish(self, changes: Sequence[tuple[FollowedJobRow | None, FollowedJobRow]]) -> None:
        if not changes:
            return
        # Filter once per conditions: many subscribers have few different ones.
        by_conditions: dict[jobs.JobConditions, list[JobChange]] = {}
        for subscriber in self.subscribers:
            if subscriber.conditions not in by_conditions:
                by_conditions[subscriber.conditions] = [*_changes(subscriber.conditions, changes)]
            subscriber.offer(by_conditions[subscriber.conditions])
        self.changed.wake_all()


def _changes(
    conditions: jobs.JobConditions, changes: Sequence[tuple[FollowedJobRow | None, FollowedJobRow]]
) -> Iterator[JobChange]:
    for former, row in changes:
        if conditions.matches(row):
            yield JobChange(row, is_matching=True)
        elif former is not None:
            if conditions.matches(former):
                yield JobChange(row, is_matching=False)
        elif row.last_seq > 1 and replace(conditions, states=None).matches(row):
            # Not a new job: it was requeued, and a client's list may show the state that it had before this feed began.
            yield JobChange(row, is_matching=False)


class JobsSubscriber:
    """One subscriber of all jobs. It receives the unfinished jobs that meet its conditions first, then each change."""

    def __init__(self, feed: AllJobsFeed, conditions: jobs.JobConditions) -> None:
        self.conditions = conditions
        self._feed = feed
        self._first = iter(sorted(row.id for row in feed.rows.values() if conditions.matches(row)))
        self._waiting: dict[int, JobChange] = {}
        self._had = 0
        self._is_too_slow = False

    def offer(self, changes: Sequence[JobChange]) -> None:
        """Add changes to the backlog, which holds the newest change of each job.

        If the former backlog exceeds JOBS_KEPT and does not shrink, drop the subscriber.
        """
        if self._is_too_slow or not changes:
            return
        left, had = len(self._waiting), self._had
        for change in changes:
            self._waiting[change.job.id] = change
        self._had = len(self._waiting)
        if left > JOBS_KEPT and self._had >= had:
            self._is_too_slow = True
            self._waiting.clear()
            metrics.job_subscribers_dropped.labels("jobs").inc()

    async def take(self) -> JobChange:
        """Return the next change; wait if there is none.

        Raises:
            SubscriberTooSlow: more jobs have changed meanwhile than are kept for one subscriber.
        """
        while True:
            if self._is_too_slow:
                raise SubscriberTooSlow(JOBS_KEPT)
            for job_id in self._first:
                if change := self._waiting.pop(job_id, None):
                    return change
                if row := self._feed.rows.get(job_id):
                    return JobChange(row, is_matching=True)
            for job_id in self._waiting:
                return self._waiting.pop(job_id)
            self._feed.check()
            await self._feed.changed.wait()
