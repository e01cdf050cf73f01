"""One job as all who follow it in this process see it: its row, and its last events."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app import metrics
from app.db.engine import Database
from app.errors import Fault, JobNotFound, SubscriberTooSlow
from app.events import Events, Wake, job_topic
from app.feeds import base
from app.feeds.base import Feed
from app.log import log
from app.store import jobs

EVENTS_KEPT = 500
"""How many events of a job are kept for its subscribers: who falls behind by more is dropped."""
EVENTS_AT_ONCE = 100
"""How many events a subscriber reads at once that begins with older ones."""


class JobFeed(Feed):
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
                await asyncio.sleep(base.RETRY_SECONDS)
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
