"""Wakes those who wait for something to change, in this process and in others.

An event is a topic and nothing else: PostgreSQL holds the truth, and whoever is
woken reads it there. So a wake-up that comes twice, late or for several changes
at once does no harm, and a slow listener costs one flag and no memory.

Topics travel by Redis pub/sub where REDIS_URL is set, else, and while Redis
cannot be reached, by PostgreSQL's NOTIFY. Both are listened to all the time.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import asyncpg
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import ARRAY, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.errors import ServiceUnavailable
from app.log import log
from app.settings import Settings

CHANNEL = "vk_comments_events"
RECONNECT_SECONDS = 1.0
"""How long a lost PostgreSQL or Redis is left alone before the next try."""
REDIS_TIMEOUT_SECONDS = 1.0


JOBS = "job:"
"""What the topics of all jobs begin with."""


def job_topic(job_id: int) -> str:
    """Return the topic of everything that happens to one job."""
    return f"{JOBS}{job_id}"


def job_of(topic: str) -> int:
    """Return the id of the job that a topic of `job_topic` is about."""
    return int(topic.removeprefix(JOBS))


CANCELLATIONS = "cancellations"
"""The topic of requests to cancel running jobs."""


class Wake:
    """A flag that one listener waits for and that any number of events raise."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()

    def rouse(self) -> None:
        """Wake the listener, now or as soon as it waits again."""
        self._flag.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for an event since the last call; False when none came in time."""
        waiting = asyncio.ensure_future(self._flag.wait())
        try:
            await asyncio.wait({waiting}, timeout=timeout_seconds)
        finally:
            waiting.cancel()
        was_set = self._flag.is_set()
        self._flag.clear()
        return was_set


class Gathering(Wake):
    """A flag that remembers which topics raised it: `limit` at the most, beyond that it might have been any."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._topics: set[str] | None = set()

    def rouse(self) -> None:
        """Wake the listener, who has to take it that anything may have changed."""
        self._topics = None
        super().rouse()

    def note(self, topic: str) -> None:
        """Wake the listener for one topic."""
        if self._topics is not None:
            self._topics.add(topic)
            if len(self._topics) > self._limit:
                self._topics = None
        super().rouse()

    def take(self) -> set[str] | None:
        """Return the topics that had an event since the last call; None where any may have had one."""
        topics, self._topics = self._topics, set()
        return topics


@dataclass
class Events:
    """The wake-ups of one process."""

    database: Database
    redis: "redis.asyncio.Redis | None"
    redis_is_up: bool = True
    is_listening: bool = False
    """Whether NOTIFY reaches this process at the moment."""
    _redis_again_at: float = 0.0
    _listeners: dict[str, set[Wake]] = field(default_factory=lambda: defaultdict(set))
    _gatherings: dict[Gathering, str] = field(default_factory=dict)

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[Wake]:
        """Lend a flag that every event of `topic` raises."""
        wake = Wake()
        self._listeners[topic].add(wake)
        try:
            yield wake
        finally:
            self._listeners[topic].discard(wake)
            if not self._listeners[topic]:
                del self._listeners[topic]

    @contextmanager
    def gather(self, prefix: str, limit: int) -> Iterator[Gathering]:
        """Lend a flag that every event of a topic with this prefix raises; it remembers up to `limit` topics."""
        gathering = Gathering(limit)
        self._gatherings[gathering] = prefix
        try:
            yield gathering
        finally:
            del self._gatherings[gathering]

    @asynccontextmanager
    async def telling(self, topics: Collection[str]) -> AsyncIterator[AsyncConnection]:
        """Lend a transaction, and tell all processes of `topics` when it is committed; if it fails, of nothing.

        `topics` is read at the end, so it may be filled meanwhile. Without Redis
        PostgreSQL tells of them itself as it commits, which costs no transaction of its own.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached, or went away meanwhile.
        """
        async with self.database.transaction() as connection:
            yield connection
            by_redis = self._redis_may_be_up()
            if topics and not by_redis:
                await _notify(connection, topics)
        if by_redis:
            for topic in topics:
                await self.publish(topic)

    async def publish(self, topic: str) -> None:
        """Tell all processes that something of `topic` has changed. Call it after the change is committed.

        Never raises: who misses the event looks again by itself a few seconds later.
        """
        if self._redis_may_be_up() and await self._published_by_redis(topic):
            return
        try:
            async with self.database.transaction() as connection:
                await _notify(connection, [topic])
        except ServiceUnavailable:
            log.warning("event_lost", topic=topic)
            self.rouse(topic)

    def _redis_may_be_up(self) -> bool:
        # a dead host may take the whole time limit to be noticed: not at each event
        return self.redis is not None and time.monotonic() >= self._redis_again_at

    async def _published_by_redis(self, topic: str) -> bool:
        assert self.redis  # noqa: S101 - the caller checked
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await self.redis.publish(CHANNEL, topic)
        except (RedisError, OSError) as error:
            if self.redis_is_up:
                log.warning("redis_lost", reason=type(error).__name__)
            self.redis_is_up = False
            self._redis_again_at = time.monotonic() + RECONNECT_SECONDS
            return False
        self.redis_is_up = True
        return True

    def rouse(self, topic: str) -> None:
        """Wake the listeners of `topic` in this process."""
        for wake in self._listeners.get(topic, ()):
            wake.rouse()
        for gathering, prefix in self._gatherings.items():
            if topic.startswith(prefix):
                gathering.note(topic)

    def rouse_all(self) -> None:
        """Wake every listener: after a lost connection nobody knows what was missed."""
        for wakes in (*self._listeners.values(), self._gatherings):
            for wake in wakes:
                wake.rouse()

    async def follow_postgres(self) -> None:
        """Pass on what NOTIFY brings, for ever; connects again when the connection is lost."""
        while True:
            with suppress(
                OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                connection = await self.database.listen()
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                try:
                    await connection.add_listener(CHANNEL, lambda *message: self.rouse(str(message[-1])))
                    self.is_listening = True
                    self.rouse_all()
                    await lost.wait()
                finally:
                    self.is_listening = False
                    connection.terminate()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def follow_redis(self) -> None:
        """Pass on what Redis brings, for ever; connects again when the connection is lost."""
        assert self.redis  # noqa: S101 - only started with one
        while True:
            with suppress(RedisError, OSError):
                async with self.redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    self.redis_is_up = True
                    self.rouse_all()
                    async for message in pubsub.listen():
                        self.rouse(message["data"].decode())
            self.redis_is_up = False
            await asyncio.sleep(RECONNECT_SECONDS)


async def _notify(connection: AsyncConnection, topics: Collection[str]) -> None:
    statement = select(func.pg_notify(CHANNEL, func.unnest(cast(list(topics), ARRAY(Text)))))
    await connection.execute(statement)


@asynccontextmanager
async def open_events(settings: Settings, database: Database) -> AsyncIterator[Events]:
    """Open the channels between processes, and close them at the end."""
    client = None
    if settings.redis_url:
        client = redis.asyncio.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # NOTIFY stands in at once, and a lost connection has to be noticed
        )
    events = Events(database, client)
    followers = [asyncio.create_task(events.follow_postgres())]
    if client:
        followers.append(asyncio.create_task(events.follow_redis()))
    try:
        yield events
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        if client:
            await client.aclose()
