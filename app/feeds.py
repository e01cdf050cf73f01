"""Reads what happens to jobs once per process, however many subscribers follow it there.

A feed is one task that looks into PostgreSQL when it is woken, at most five
times a second, and shares what it finds. Subscribers take from it at their own
pace, so that the news of a slow one pile up nowhere: what is progress is
conflated, and of what must not be missed a bounded number is kept.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database
from app.errors import Fault, JobNotFound, SubscriberTooSlow
from app.events import JOBS, Events, Gathering, Wake, job_of, job_topic
from app.log import log
from app.store import jobs

TICK_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How often a feed looks whose notifications do not arrive."""
RETRY_SECONDS = 1.0
EVENTS_KEPT = 500
"""How many events of a job are kept for its subscribers: who falls behind by more is dropped."""
EVENTS_AT_ONCE = 100
"""How many events a subscriber reads at once that begins with older ones."""
READERS = 3
"""How many of those may read at once: they are not to use up the connections of everybody else."""
TURNS = 30
"""How many messages are made before everything else in the process gets a turn: one takes some 0.3 ms."""
JOBS_KEPT = 1_000
"""How many changed jobs wait for a subscriber of all jobs; also, how many that ended a while ago are remembered."""
SETTLING = timedelta(minutes=1)
"""What is committed carries the time when its transaction began, which may be so long ago."""


class JobChange(NamedTuple):
    """A job as it is now; `is_matching` is False for one that met a subscriber's conditions and no longer does."""

    job: Row[Any]
    is_matching: bool


class _Bell:
    """Wakes all who wait for it to ring."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        await self._next.wait()


class _Turns:
    """Lets subscribers go on a few at a time: a thousand at once would keep the event loop to themselves."""

    def __init__(self) -> None:
        self._left = TURNS
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a turn; those who came before go first."""
        loop = asyncio.get_running_loop()
        if self._left == TURNS:
            loop.call_soon(self._renew)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waiting = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _renew(self) -> None:
        self._left = TURNS
        while self._left and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():  # it was cancelled
                waiting.set_result(None)
                self._left -= 1
        if self._left < TURNS:
            asyncio.get_running_loop().call_soon(self._renew)


class _Feed(ABC):
    """A task that looks, and those who follow what it sees. It runs while there are any."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.followers = 0
        self.changed = _Bell()
        self._looked = _Bell()
        self._begun = 0
        self._done = 0
        self._wake = Wake()
        self._failure: tuple[Exception, TracebackType | None] | None = None

    @abstractmethod
    def listening(self) -> AbstractContextManager[Wake]:
        """Lend the flag that wakes this feed."""

    @abstractmethod
    async def look(self, connection: AsyncConnection, *, is_beat: bool) -> None:
        """Read what has changed; `is_beat` says that nothing woke the feed for `LOOK_SECONDS`."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Keep the feed running meanwhile."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1
            if not self.followers:
                self._wake.rouse()

    async def run(self) -> None:
        """Look whenever something happens, until nobody follows any more. While PostgreSQL is away, wait."""
        is_woken = True
        with self.listening() as self._wake:
            while self.followers:
                pause, begun_at = TICK_SECONDS, time.monotonic()
                self._begun += 1
                try:
                    async with self.database.connect() as connection:
                        await self.look(connection, is_beat=not is_woken)
                except Fault as fault:
                    log.warning("feed_delayed", reason=fault.message)
                    self._wake.rouse()  # what woke it has not been read
                    pause = RETRY_SECONDS
                except Exception as error:  # noqa: BLE001 - whatever it is, those who wait have to hear of it
                    self._failure = (error, error.__traceback__)
                    self._looked.ring()
                    self.changed.ring()
                    return
                else:
                    self._done = self._begun
                    self._looked.ring()
                await asyncio.sleep(max(0.0, begun_at + pause - time.monotonic()))
                is_woken = await self._wake.wait(LOOK_SECONDS)

    async def looked(self, number: int) -> None:
        """Wait until so many looks have been taken."""
        while self._done < number:
            self.check()
            await self._looked.wait()

    def check(self) -> None:
        """Raise what ended the feed before its time, if anything did: a bug, not a PostgreSQL that is away."""
        if self._failure:
            error, trace = self._failure
            raise error.with_traceback(trace)  # without the traces of the others to whom it was raised


class JobFeed(_Feed):
    """One job as all its subscribers in this process see it.

    `row` is the newest, there as soon as it was awaited once; `events` are its
    last ones without a gap, up to `EVENTS_KEPT`, and `last_seq` is the number of
    the last of them.
    """

    row: Row[Any]

    def __init__(self, database: Database, events: Events, readers: asyncio.Semaphore, job_id: int) -> None:
        super().__init__(database)
        self.job_id = job_id
        self.events: deque[Row[Any]] = deque(maxlen=EVENTS_KEPT)
        self.last_seq = 0
        self._is_known = False
        self._is_removed = False
        self._channel = events
        self._readers = readers

    def listening(self) -> AbstractContextManager[Wake]:
        """Lend the flag that events of the job raise."""
        return self._channel.subscribe(job_topic(self.job_id))

    async def look(self, connection: AsyncConnection, *, is_beat: bool) -> None:
        """Read the row, and the events that are new: first the newest ones, later half of what is kept at once.

        So a subscriber that keeps up is never thrown out by many events that come at once.
        """
        row = await jobs.followed_job(connection, self.job_id)
        if row is None:
            self._is_removed = True
            self.changed.ring()
            return
        known = self.last_seq if self._is_known else max(0, row.last_seq - EVENTS_KEPT)
        found: Sequence[Row[Any]] = ()
        if row.last_seq > known:
            limit = EVENTS_KEPT // 2 if self._is_known else EVENTS_KEPT
            found = await jobs.events_after(connection, self.job_id, known, limit)
            # an event younger than the row is told by the next look, with the row that fits
            found = [event for event in found if event.seq <= row.last_seq]
        if found or is_beat or not self._is_known or row != self.row:
            self.row, self._is_known = row, True
            self.events.extend(found)
            self.last_seq = known + len(found)
            self.changed.ring()
        if self.last_seq < row.last_seq:
            self._wake.rouse()

    async def newest(self) -> Row[Any]:
        """Return the row as PostgreSQL has it now, or a little later.

        Raises:
            JobNotFound: there is no such job.
        """
        self._wake.rouse()
        await self.looked(self._begun + 1)
        if self._is_removed:
            raise JobNotFound(self.job_id)
        return self.row

    def keeps_after(self, seq: int) -> bool:
        """Say whether all events after `seq` are still kept here."""
        return seq >= self.last_seq - len(self.events)

    def event_after(self, seq: int) -> Row[Any] | None:
        """Return the event after `seq`; None if it has not happened yet.

        Raises:
            SubscriberTooSlow: it is no longer kept here.
        """
        place = seq - self.last_seq + len(self.events)
        if place < 0:
            metrics.job_subscribers_dropped.labels("jobProgress").inc()
            raise SubscriberTooSlow(EVENTS_KEPT)
        return self.events[place] if place < len(self.events) else None

    async def older_events(self, seq: int) -> Sequence[Row[Any]]:
        """Read up to `EVENTS_AT_ONCE` events after `seq` from PostgreSQL, for a subscriber that begins with old ones.

        Raises:
            JobNotFound: the job was removed meanwhile.
        """
        while True:
            try:
                async with self._readers, self.database.connect() as connection:
                    found = await jobs.events_after(connection, self.job_id, seq, EVENTS_AT_ONCE)
            except Fault as fault:
                log.warning("follow_delayed", job_id=self.job_id, reason=fault.message)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if not found:
                await self.newest()
            return [event for event in found if event.seq <= self.last_seq]

    async def change(self) -> None:
        """Wait until there is something new.

        Raises:
            JobNotFound: the job was removed.
        """
        self.check()
        if self._is_removed:
            raise JobNotFound(self.job_id)
        await self.changed.wait()


class AllJobsFeed(_Feed):
    """All jobs as the subscribers of this process see them: `rows` are those that have not ended, id -> row."""

    def __init__(self, database: Database, events: Events) -> None:
        super().__init__(database)
        self.rows: dict[int, Row[Any]] = {}
        self.takers: set[JobsTaker] = set()
        self._ended: dict[int, Row[Any]] = {}
        self._channel = events
        self._topics = Gathering(JOBS_KEPT)
        self._read_since: datetime | None = None
        self._read_all_at = -LOOK_SECONDS

    @contextmanager
    def listening(self) -> Iterator[Wake]:
        """Lend the flag that events of any job raise, and keep its topics."""
        with self._channel.gather(JOBS, JOBS_KEPT) as self._topics:
            yield self._topics

    async def look(self, connection: AsyncConnection, *, is_beat: bool) -> None:
        """Read the jobs that were told of, and now and then, or when nobody knows which those are, all that matter."""
        topics, now = self._topics.take(), time.monotonic()
        if topics is None or is_beat or now - self._read_all_at >= LOOK_SECONDS:
            read_at = await jobs.current_time(connection)
            rows = await jobs.followed_jobs_since(connection, (self._read_since or read_at) - SETTLING)
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
        elif row.queued_at > row.created_at and replace(conditions, states=None).matches(row):
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


class JobFeeds:
    """The feeds of one process. Each runs while somebody follows it, and ends a moment later."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events
        self._by_job: dict[int, JobFeed] = {}
        self._all: AllJobsFeed | None = None
        self._readers = asyncio.Semaphore(READERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = _Turns()

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

    def _start(self, feed: _Feed, forget: Callable[[], object]) -> None:
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
