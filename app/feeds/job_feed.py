"""The feed of one job for its subscribers in this process: its row and its last events."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager

from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database
from app.errors import Fault, JobNotFound, SubscriberTooSlow
from app.feeds import base
from app.feeds.base import Feed
from app.log import log
from app.notifications import Notifications, Wake, job_topic
from app.store import jobs
from app.store.rows import FollowedJobRow, JobEventRow

EVENTS_KEPT = 500
"""How many events of a job are kept for its subscribers: one that falls behind by more is dropped."""
EVENTS_AT_ONCE = 100
"""How many older events a subscriber reads at once."""


class JobFeed(Feed):
    """The feed of one job.

    `row` is its newest row, set once `newest` has been awaited. `events` are its
    last events without gaps, up to `EVENTS_KEPT`; `last_seq` is the number of the
    last of them.
    """

    row: FollowedJobRow

    def __init__(
        self, database: Database, notifications: Notifications, readers: asyncio.Semaphore, job_id: int
    ) -> None:
        super().__init__(database)
        self.job_id = job_id
        self.events: deque[JobEventRow] = deque(maxlen=EVENTS_KEPT)
        self.last_seq = 0
        self._is_known = False
        self._is_removed = False
        self._notifications = notifications
        self._readers = readers

    def listening(self) -> AbstractContextManager[Wake]:
        """Subscribe to the notifications of the job."""
        return self._notifications.subscribe(job_topic(self.job_id))

    async def look(self, connection: AsyncConnection, *, is_timeout: bool) -> None:
        """Read the row and new events: the first time the newest EVENTS_KEPT, later at most half as many at once.

        So many events at once never drop a subscriber that keeps up.
        """
        row = await jobs.followed_job(connection, self.job_id)
        if row is None:
            self._is_removed = True
            self.changed.wake_all()
            return
        known = self.last_seq if self._is_known else max(0, row.last_seq - EVENTS_KEPT)
        new: Sequence[JobEventRow] = ()
        if row.last_seq > known:
            limit = EVENTS_KEPT // 2 if self._is_known else EVENTS_KEPT
            new = await jobs.events_after(connection, self.job_id, known, limit)
            # An event newer than the row is published with the next read, together with the matching row.
            new = [event for event in new if event.seq <= row.last_seq]
        if new or is_timeout or not self._is_known or row != self.row:
            self.row, self._is_known = row, True
            self.events.extend(new)
            self.last_seq = known + len(new)
            self.changed.wake_all()
        if self.last_seq < row.last_seq:
            self._wake.wake()

    async def newest(self) -> FollowedJobRow:
        """Return the row as PostgreSQL has it now or slightly later.

        Raises:
            JobNotFound: the job does not exist.
        """
        self._wake.wake()
        await self.looked(self._begun + 1)
        if self._is_removed:
            raise JobNotFound(self.job_id)
        return self.row

    def keeps_after(self, seq: int) -> bool:
        """Return whether the feed still keeps all events after `seq`."""
        return seq >= self.last_seq - len(self.events)

    def event_after(self, seq: int) -> JobEventRow | None:
        """Return the event after `seq`; None if it has not happened yet.

        Raises:
            SubscriberTooSlow: the feed no longer keeps it.
        """
        index = seq - self.last_seq + len(self.events)
        if index < 0:
            metrics.job_subscribers_dropped.labels("jobProgress").inc()
            raise SubscriberTooSlow(EVENTS_KEPT)
        return self.events[index] if index < len(self.events) else None

    async def older_events(self, seq: int) -> Sequence[JobEventRow]:
        """Read up to `EVENTS_AT_ONCE` events after `seq` from PostgreSQL, for a subscriber that begins with older ones.

        Raises:
            JobNotFound: the job was removed meanwhile.
        """
        while True:
            try:
                async with self._readers, self.database.connect() as connection:
                    older = await jobs.events_after(connection, self.job_id, seq, EVENTS_AT_ONCE)
            except Fault as fault:
                log.warning("follow_delayed", job_id=self.job_id, reason=fault.message)
                await asyncio.sleep(base.RETRY_SECONDS)
                continue
            if not older:
                await self.newest()
            return [event for event in older if event.seq <= self.last_seq]

    async def change(self) -> None:
        """Wait for the next change.

        Raises:
            JobNotFound: the job was removed.
        """
        self.check()
        if self._is_removed:
            raise JobNotFound(self.job_id)
        await self.changed.wait()
