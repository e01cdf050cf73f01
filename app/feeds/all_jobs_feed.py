"""All jobs as those who follow them in this process see them: what changes, and what each still has to be told."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database
from app.errors import SubscriberTooSlow
from app.events import JOBS, Events, Gathering, Wake, job_of
from app.feeds import base
from app.feeds.base import Feed
from app.store import jobs

JOBS_KEPT = 1_000
"""How many changed jobs wait for a subscriber of all jobs; also, how many that ended a while ago are remembered."""
SETTLING = timedelta(minutes=1)
"""What is committed carries the time when its transaction began, which may be so long ago."""


class JobChange(NamedTuple):
    """A job as it is now; `is_matching` is False for one that met a subscriber's conditions and no longer does."""

    job: Row[Any]
    is_matching: bool


class AllJobsFeed(Feed):
    """All jobs as the subscribers of this process see them: `rows` are those that have not ended, id -> row."""

    def __init__(self, database: Database, events: Events) -> None:
        super().__init__(database)
        self.rows: dict[int, Row[Any]] = {}
        self.takers: set[JobsTaker] = set()
        self._ended: dict[int, Row[Any]] = {}
        self._channel = events
        self._topics = Gathering(JOBS_KEPT)
        self._read_since: datetime | None = None
        self._read_all_at = -base.LOOK_SECONDS

    @contextmanager
    def listening(self) -> Iterator[Wake]:
        """Lend the flag that events of any job raise, and keep its topics."""
        with self._channel.gather(JOBS, JOBS_KEPT) as self._topics:
            yield self._topics

    async def look(self, connection: AsyncConnection, *, is_beat: bool) -> None:
        """Read the jobs that were told of, and now and then, or when nobody knows which those are, all that matter."""
        topics, now = self._topics.take(), time.monotonic()
        if topics is None or is_beat or now - self._read_all_at >= base.LOOK_SECONDS:
            read_at = await jobs.current_time(connection)
            # by both clocks: PostgreSQL's may have been set back or forward since the last time
            passed = timedelta(seconds=now - self._read_all_at) if self._read_since else timedelta(0)
            since = min(self._read_since or read_at, read_at - passed)
            rows = await jobs.followed_jobs_since(connection, since - SETTLING)
            self._read_since, self._read_all_at = read_at, now
            found = {row.id for row in rows}
            self.rows = {job_id: row for job_id, row in self.rows.items() if job_id in found}  # others were removed
            changes = self._take_in(rows)
            self._forget(read_at - SETTLING)
        else:
            changes = self._take_in(await jobs.followed_jobs(connection, [job_of(topic) for topic in topics]))
        self._hand_out(changes)

    def _take_in(self, rows: Sequence[Row[Any]]) -> list[tuple[Row[Any] | None, Row[Any]]]:
        changes = []
        for row in rows:
            former = self.rows.pop(row.id, None) or self._ended.pop(row.id, None)
            (self._ended if row.state in jobs.FINAL else self.rows)[row.id] = row
            if row != former:
                changes.append((former, row))
        return changes

    def _forget(self, ended_before: datetime) -> None:
        """Forget old jobs but the last ones; the others are read again, and are not to be told twice."""
        for job_id in list(self._ended)[:-JOBS_KEPT]:
            if self._ended[job_id].finished_at < ended_before:
                del self._ended[job_id]

    def _hand_out(self, changes: Sequence[tuple[Row[Any] | None, Row[Any]]]) -> None:
        if not changes:
            return
        # many subscribers, few different filters
        news: dict[jobs.JobConditions, list[JobChange]] = {}
        for taker in self.takers:
            if taker.conditions not in news:
                news[taker.conditions] = [*_news(taker.conditions, changes)]
            taker.offer(news[taker.conditions])
        self.changed.ring()


def _news(conditions: jobs.JobConditions, changes: Sequence[tuple[Row[Any] | None, Row[Any]]]) -> Iterator[JobChange]:
    for former, row in changes:
        if conditions.matches(row):
            yield JobChange(row, is_matching=True)
        elif former is not None:
            if conditions.matches(former):
                yield JobChange(row, is_matching=False)
        elif row.last_seq > 1 and replace(conditions, states=None).matches(row):
            # it is no new job but was queued again, and what it was before this feed began may be on a client's list
            yield JobChange(row, is_matching=False)


class JobsTaker:
    """One subscriber of all jobs: first those that have not ended and meet its conditions, then each change."""

    def __init__(self, feed: AllJobsFeed, conditions: jobs.JobConditions) -> None:
        self.conditions = conditions
        self._feed = feed
        self._first = iter(sorted(row.id for row in feed.rows.values() if conditions.matches(row)))
        self._waiting: dict[int, JobChange] = {}
        self._had = 0
        self._is_too_slow = False

    def offer(self, news: Sequence[JobChange]) -> None:
        """Keep news until they are taken, the newest of each job, however many come at once.

        Nothing is kept any more when too many are left of the former ones and
        they do not get fewer.
        """
        if self._is_too_slow or not news:
            return
        left, had = len(self._waiting), self._had
        for change in news:
            self._waiting[change.job.id] = change
        self._had = len(self._waiting)
        if left > JOBS_KEPT and self._had >= had:
            self._is_too_slow = True
            self._waiting.clear()
            metrics.job_subscribers_dropped.labels("jobs").inc()

    async def take(self) -> JobChange:
        """Return the next news, at once or when there are any.

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
