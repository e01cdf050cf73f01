"""Notifications between processes: wake the listeners of a topic, in this process and in others.

A notification consists of a topic without payload: PostgreSQL is the source of
truth, and a woken listener reads it. So a notification that arrives twice, late or
for several changes at once does no harm, and a slow listener needs one flag and no
queue.

Topics are sent by Redis pub/sub if REDIS_URL is set; otherwise, and while Redis
cannot be reached, by PostgreSQL's NOTIFY. Each process always listens to both.
"""

import asyncio
import re
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

from app import metrics
from app.db.engine import Database
from app.errors import ServiceUnavailable
from app.log import log
from app.settings import Settings

RECONNECT_SECONDS = 1.0
"""The pause before the next attempt to connect to PostgreSQL or Redis."""
REDIS_TIMEOUT_SECONDS = 1.0
CANCEL_AGAIN_SECONDS = 1.0


JOBS = "job:"
"""The prefix of the topics of all jobs."""


def job_topic(job_id: int) -> str:
    """Return the topic of all changes of one job."""
    return f"{JOBS}{job_id}"


def job_of(topic: str) -> int:
    """Return the job id in a topic of `job_topic`."""
    return int(topic.removeprefix(JOBS))


CANCELLATIONS = "cancellations"
"""The topic of requests to cancel running jobs."""
_JOB_TOPIC = re.compile(r"job:(0|[1-9][0-9]{0,18})")
_LARGEST_ID = 2**63 - 1


def channel_of(prefix: str) -> str:
    """Return the name of the channel, for NOTIFY and Redis, that the processes with one CHANNEL_PREFIX share."""
    return f"{prefix}_events"


def topic_of(payload: str | bytes) -> str | None:
    """Return the topic in a received message, or None if it is not a topic: other programs may use the channel."""
    text = payload.decode(errors="replace") if isinstance(payload, bytes) else payload
    if text == CANCELLATIONS:
        return text
    match = _JOB_TOPIC.fullmatch(text)
    return text if match and int(match[1]) <= _LARGEST_ID else None


class Wake:
    """A flag for which one listener waits, and which any number of notifications set."""

    def __init__(self) -> None:
        self._flag = asyncio.Event()

    def wake(self) -> None:
        """Wake the listener, now or as soon as it waits again."""
        self._flag.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until the flag is set, and clear it; return False if that takes longer than the timeout."""
        waiting = asyncio.ensure_future(self._flag.wait())
        try:
            await asyncio.wait({waiting}, timeout=timeout_seconds)
        finally:
            waiting.cancel()
        was_set = self._flag.is_set()
        self._flag.clear()
        return was_set


class TopicAccumulator(Wake):
    """A flag that remembers the topics that set it, at most `limit`; with more, any topic may have set it."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._topics: set[str] | None = set()

    def wake(self) -> None:
        """Wake the listener, which must assume that any topic may have changed."""
        self._topics = None
        super().wake()

    def note(self, topic: str) -> None:
        """Wake the listener for one topic."""
        if self._topics is not None:
            self._topics.add(topic)
            if len(self._topics) > self._limit:
                self._topics = None
        super().wake()

    def take(self) -> set[str] | None:
        """Return the topics with a notification since the last call; None if any topic may have had one."""
        topics, self._topics = self._topics, set()
        return topics


@dataclass
class Notifications:
    """The notifications that one process sends and receives."""

    database: Database
    redis: "redis.asyncio.Redis | None"
    channel: str
    redis_is_up: bool = True
    is_listening: bool = False
    """Whether NOTIFY reaches this process at the moment."""
    _redis_again_at: float = 0.0
    _listeners: dict[str, set[Wake]] = field(default_factory=lambda: defaultdict(set))
    _accumulators: dict[TopicAccumulator, str] = field(default_factory=dict)

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[Wake]:
        """Provide a flag that each notification of `topic` sets."""
        wake = Wake()
        self._listeners[topic].add(wake)
        try:
            yield wake
        finally:
            self._listeners[topic].discard(wake)
            if not self._listeners[topic]:
                del self._listeners[topic]

    @contextmanager
    def subscribe_prefix(self, prefix: str, limit: int) -> Iterator[TopicAccumulator]:
        """Provide a flag that each notification of a topic with this prefix sets; it remembers up to `limit` topics."""
        accumulator = TopicAccumulator(limit)
        self._accumulators[accumulator] = prefix
        try:
            yield accumulator
        finally:
            del self._accumulators[accumulator]

    @asynccontextmanager
    async def publish_on_commit(self, topics: Collection[str]) -> AsyncIterator[AsyncConnection]:
        """Provide a transaction, and publish `topics` to all processes on commit; if it fails, publish nothing.

        `topics` is read at the end, so it may be filled meanwhile. Without Redis the
        transaction itself sends NOTIFY, which needs no second transaction.

        Raises:
            ServiceUnavailable: PostgreSQL cannot be reached, or the connection was lost.
        """
        async with self.database.transaction() as connection:
            yield connection
            by_redis = self._redis_may_be_up()
            if topics and not by_redis:
                await self._notify(connection, topics)
        if by_redis:
            for topic in topics:
                await self.publish(topic)

    async def publish(self, topic: str) -> None:
        """Notify all processes that `topic` has changed. Call it after the change is committed.

        Never raises: if neither Redis nor PostgreSQL can be reached, only this process
        is notified; the others read the change at their next regular read a few seconds later.
        """
        if self._redis_may_be_up() and await self._published_by_redis(topic):
            return
        try:
            async with self.database.transaction() as connection:
                await self._notify(connection, [topic])
        except ServiceUnavailable:
            log.warning("event_lost", topic=topic)
            self.wake(topic)

    def _redis_may_be_up(self) -> bool:
        # A dead host may take the whole timeout to be detected: do not wait for it at each notification.
        return self.redis is not None and time.monotonic() >= self._redis_again_at

    async def _published_by_redis(self, topic: str) -> bool:
        assert self.redis  # noqa: S101 - the caller checked
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await self.redis.publish(self.channel, topic)
        except (RedisError, OSError) as error:
            if self.redis_is_up:
                log.warning("redis_lost", reason=type(error).__name__)
            self.redis_is_up = False
            self._redis_again_at = time.monotonic() + RECONNECT_SECONDS
            return False
        self.redis_is_up = True
        return True

    def _receive(self, payload: str | bytes) -> None:
        topic = topic_of(payload)
        if topic is None:
            metrics.foreign_events.inc()
        else:
            self.wake(topic)

    def wake(self, topic: str) -> None:
        """Wake the listeners of `topic` in this process."""
        for wake in self._listeners.get(topic, ()):
            wake.wake()
        for accumulator, prefix in self._accumulators.items():
            if topic.startswith(prefix):
                accumulator.note(topic)

    def wake_all(self) -> None:
        """Wake every listener: after a lost connection it is unknown which notifications were missed."""
        for wakes in (*self._listeners.values(), self._accumulators):
            for wake in wakes:
                wake.wake()

    async def _notify(self, connection: AsyncConnection, topics: Collection[str]) -> None:
        statement = select(func.pg_notify(self.channel, func.unnest(cast(list(topics), ARRAY(Text)))))
        await connection.execute(statement)

    async def follow_postgres(self) -> None:
        """Dispatch NOTIFY messages forever; reconnect when the connection is lost."""
        while True:
            with suppress(
                OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
                connection = await self.database.listen()
                lost = asyncio.Event()
                connection.add_termination_listener(lambda _, lost=lost: lost.set())
                try:
                    await connection.add_listener(self.channel, lambda *message: self._receive(message[-1]))
                    self.is_listening = True
                    self.wake_all()
                    await lost.wait()
                finally:
                    self.is_listening = False
                    connection.terminate()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def follow_redis(self) -> None:
        """Dispatch Redis messages forever; reconnect when the connection is lost."""
        assert self.redis  # noqa: S101 - only started if Redis is configured
        while True:
            with suppress(RedisError, OSError):
                async with self.redis.pubsub() as pubsub:
                    await pubsub.subscribe(self.channel)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._receive(message["data"])
                        else:  # the subscription is confirmed: this process has missed all earlier messages
                            self.redis_is_up = True
                            self.wake_all()
            self.redis_is_up = False
            await asyncio.sleep(RECONNECT_SECONDS)


@asynccontextmanager
async def open_notifications(settings: Settings, database: Database) -> AsyncIterator[Notifications]:
    """Open the channels between processes, and close them at the end."""
    client = None
    if settings.redis_url:
        client = redis.asyncio.Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # NOTIFY replaces Redis at once, and a lost connection must be detected
        )
    events = Notifications(database, client, channel_of(settings.channel_prefix))
    followers = [asyncio.create_task(events.follow_postgres())]
    if client:
        followers.append(asyncio.create_task(events.follow_redis()))
    try:
        yield events
    finally:
        await end_tasks(followers)
        if client:
            await client.aclose()


async def end_tasks(tasks: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks until all of them have ended.

    One cancellation may be lost: before Python 3.12 `asyncio.wait_for`, which the Redis client sends commands
    with, suppresses it when what it waits for ends in the same moment. Then the process would never end.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)
