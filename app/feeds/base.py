"""A task that looks into PostgreSQL for all who follow something, for as long as anybody does."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.errors import Fault
from app.events import Wake
from app.log import log

TICK_SECONDS = 0.2
LOOK_SECONDS = 5.0
"""How often a feed looks whose notifications do not arrive."""
RETRY_SECONDS = 1.0


class Bell:
    """Wakes all who wait for it to ring."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake those who wait now."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Wait until it rings the next time."""
        await self._next.wait()


class Feed(ABC):
    """A task that looks, and those who follow what it sees. It runs while there are any."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.followers = 0
        self.changed = Bell()
        self._looked = Bell()
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
