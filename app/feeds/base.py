"""The base of feeds: one task that reads PostgreSQL for all its subscribers, for as long as it has any."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.errors import Fault
from app.log import log
from app.notifications import Wake

TICK_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How long a feed waits for a notification before it reads without one: notifications may be lost."""
RETRY_SECONDS = 1.0


class BroadcastEvent:
    """An event that wakes all tasks that wait for it, and resets at once."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def wake_all(self) -> None:
        """Wake all tasks that are waiting now."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next `wake_all`."""
        await self._next.wait()


class Feed(ABC):
    """A task that reads changes, and its subscribers. It runs while it has any."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.followers = 0
        self.changed = BroadcastEvent()
        self._looked = BroadcastEvent()
        self._begun = 0
        self._done = 0
        self._wake = Wake()
        self._failure: tuple[Exception, TracebackType | None] | None = None

    @abstractmethod
    def listening(self) -> AbstractContextManager[Wake]:
        """Subscribe to the notifications that wake this feed."""

    @abstractmethod
    async def look(self, connection: AsyncConnection, *, is_timeout: bool) -> None:
        """Read the changes; `is_timeout`: no notification woke the feed for `LOOK_SECONDS`."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Keep the feed running while the context lasts."""
        self.followers += 1
        try:
            yield
        finally:
            self.followers -= 1
            if not self.followers:
                self._wake.wake()

    async def run(self) -> None:
        """Read at each notification until no subscriber is left. While PostgreSQL is down, retry."""
        is_woken = True
        with self.listening() as self._wake:
            while self.followers:
                pause, begun_at = TICK_SECONDS, time.monotonic()
                self._begun += 1
                try:
                    async with self.database.connect() as connection:
                        await self.look(connection, is_timeout=not is_woken)
                except Fault as fault:
                    log.warning("feed_delayed", reason=fault.message)
                    self._wake.wake()  # the change that woke the feed has not been read yet
                    pause = RETRY_SECONDS
                except Exception as error:  # noqa: BLE001 - subscribers must receive any exception
                    self._failure = (error, error.__traceback__)
                    self._looked.wake_all()
                    self.changed.wake_all()
                    return
                else:
                    self._done = self._begun
                    self._looked.wake_all()
                await asyncio.sleep(max(0.0, begun_at + pause - time.monotonic()))
                is_woken = await self._wake.wait(LOOK_SECONDS)

    async def looked(self, number: int) -> None:
        """Wait until the feed has completed its read with this number, counted from 1."""
        while self._done < number:
            self.check()
            await self._looked.wait()

    def check(self) -> None:
        """Raise the exception that ended the feed, if any: a bug, not an unreachable PostgreSQL."""
        if self._failure:
            error, trace = self._failure
            raise error.with_traceback(trace)  # without the traces of the other subscribers that raised it
