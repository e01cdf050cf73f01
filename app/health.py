"""Health checks: whether this process can do its work, component by component."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib.metadata import version

import asyncpg
from redis.exceptions import RedisError
from sqlalchemy import select, true
from sqlalchemy.exc import SQLAlchemyError

from app import metrics
from app.db.engine import Database
from app.db.failures import meaning_of, sqlstate_of
from app.errors import QueryTimedOut, ServiceUnavailable
from app.notifications import Notifications
from app.store.health_writes import write_to_disk
from app.store.job_stats import unfinished
from app.store.rows import TokenStateRow
from app.store.tokens import token_states
from app.store.workers import live_workers
from app.vk.client import VkClient
from app.vk.pace import TokenHealth

UNREACHABLE = (ServiceUnavailable, QueryTimedOut, SQLAlchemyError, asyncpg.PostgresError, RedisError, OSError)
LONGEST_ANSWER_SECONDS = 3.0
"""A component that takes longer to answer counts as down."""


class HealthStatus(Enum):
    """The health of a component or of the whole system."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """A component on which this process depends. `latency_ms` is the time of its answer; None if none was requested."""

    name: str
    status: HealthStatus
    latency_ms: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The health of the whole: that of its worst component."""

    status: HealthStatus
    components: list[ComponentHealth]
    version: str
    uptime_seconds: float


@dataclass(slots=True)
class HealthCheck:
    """Checks the components of one process; `started` is its start on the monotonic clock."""

    database: Database
    notifications: Notifications
    vk: VkClient
    started: float
    heartbeat_age_seconds: float = 10.0
    """The heartbeat age after which a worker counts as dead."""
    dead_worker: str | None = None
    """The type of the error that ended the worker of this process; None while it runs, or without a worker."""
    worker_died: asyncio.Event = field(default_factory=asyncio.Event)
    is_draining: bool = False
    """Whether this process is about to end and should receive no new requests."""
    _written: ComponentHealth | None = None
    _write_began_at: float = 0.0
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _latest: HealthReport | None = None
    _latest_at: float = 0.0
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def note_dead_worker(self, reason: str) -> None:
        """Record that the worker of this process has died, so that the process reports it and ends."""
        self.dead_worker = reason
        self.worker_died.set()

    async def latest(self, oldest_seconds: float) -> HealthReport:
        """Return a report that is at most this old; concurrent callers share one check at a time."""
        async with self._looking:
            now = time.monotonic()
            if self._latest is None or now - self._latest_at > oldest_seconds:
                self._latest, self._latest_at = await self.report(), now
            return self._latest

    async def report(self) -> HealthReport:
        """Check all components. Never raises, and takes a few seconds at most."""
        postgresql = await self.postgresql()
        answers = postgresql.status is HealthStatus.HEALTHY
        components = [await self.storing(postgresql) if answers else postgresql]
        if self.notifications.redis:
            components.append(await self.redis())
        tokens = await self.tokens() if answers else []
        if self.dead_worker or answers:
            components.append(await self.workers())
        components += [self.listening(), self.vk_api(tokens)]
        worst = max((component.status for component in components), key=list(HealthStatus).index)
        return HealthReport(worst, components, version("vk-comments"), time.monotonic() - self.started)

    async def postgresql(self) -> ComponentHealth:
        """Check that PostgreSQL answers. Nothing works without it."""

        async def query() -> None:
            async with self.database.connect() as connection:
                await connection.execute(select(true()))

        return await _timed("postgresql", query, HealthStatus.UNHEALTHY)

    async def storing(self, answering: ComponentHealth) -> ComponentHealth:
        """Check that PostgreSQL, which answers, can write to its disk; return its health. Storing needs it.

        There is one write at a time; concurrent callers that wait share the next one.
        """
        called_at = time.monotonic()
        async with self._writing:
            if self._written is None or self._write_began_at < called_at:
                self._write_began_at = time.monotonic()
                self._written = await self._write(answering)
            return self._written

    async def _write(self, answering: ComponentHealth) -> ComponentHealth:
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS), self.database.transaction() as connection:
                await write_to_disk(connection)
        except UNREACHABLE as error:
            state = sqlstate_of(error)
            reason = f"SQLSTATE {state}" if state else type(error).__name__
            meaning = meaning_of(state) or "a write failed"
            return replace(answering, status=HealthStatus.UNHEALTHY, detail=f"cannot store: {meaning} ({reason})")
        return answering

    async def redis(self) -> ComponentHealth:
        """Check that Redis answers. NOTIFY replaces it while it is down."""
        return await _timed("redis", self._ping, HealthStatus.DEGRADED)

    async def _ping(self) -> None:
        assert self.notifications.redis  # noqa: S101 - only called if Redis is configured
        await self.notifications.redis.ping()

    def listening(self) -> ComponentHealth:
        """Check that notifications of other processes arrive. Without them, clients see changes some seconds later."""
        if self.notifications.is_listening:
            return ComponentHealth("notifications", HealthStatus.HEALTHY, None, "listening")
        return ComponentHealth("notifications", HealthStatus.DEGRADED, None, "not connected; trying again")

    async def workers(self) -> ComponentHealth:
        """Count the live workers of all processes. Without any, jobs only wait.

        A process whose own worker has died is UNHEALTHY, whatever the other workers do: it must be restarted.
        """
        if self.dead_worker:
            detail = f"the worker of this process has died ({self.dead_worker}, see the log): start the process again"
            return ComponentHealth("workers", HealthStatus.UNHEALTHY, None, detail)
        count = 0
        with suppress(*UNREACHABLE):
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS), self.database.connect() as connection:
                count = len(await live_workers(connection, self.heartbeat_age_seconds))
        if count:
            return ComponentHealth("workers", HealthStatus.HEALTHY, None, f"{count} alive")
        return ComponentHealth("workers", HealthStatus.DEGRADED, None, "none is alive, so jobs only wait")

    async def measure(self) -> None:
        """Set the gauges of this process and, if PostgreSQL answers in time, those of all processes."""
        self.database.measure()
        with suppress(*UNREACHABLE):
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS), self.database.connect() as connection:
                counted = await unfinished(connection)
                metrics.live_workers.set(len(await live_workers(connection, self.heartbeat_age_seconds)))
                metrics.unfinished_jobs.clear()
                for row in counted:
                    metrics.unfinished_jobs.labels(row.kind, row.state).set(row.number)

    async def tokens(self) -> Sequence[TokenStateRow]:
        """Read the states of the tokens; empty if PostgreSQL does not answer."""
        with suppress(*UNREACHABLE):
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS), self.database.connect() as connection:
                return await token_states(connection, self.vk.fingerprints)
        return []

    def vk_api(self, tokens: Sequence[TokenStateRow]) -> ComponentHealth:
        """Check the last answer of VK, and that a token is usable. Only collecting needs VK."""
        if not self.vk.fingerprints:
            return ComponentHealth("vk", HealthStatus.DEGRADED, None, "no token is configured: set VK_TOKENS")
        if self.vk.last_fault:
            return ComponentHealth("vk", HealthStatus.DEGRADED, None, self.vk.last_fault.message)
        if not tokens:
            return ComponentHealth("vk", HealthStatus.HEALTHY, None, f"{len(self.vk.fingerprints)} token(s)")
        ready = sum(token.health == TokenHealth.READY.value for token in tokens)
        if not ready:
            return ComponentHealth("vk", HealthStatus.DEGRADED, None, f"no token is left: {tokens[0].reason}")
        return ComponentHealth("vk", HealthStatus.HEALTHY, None, f"{ready} of {len(tokens)} token(s) ready")


async def _timed(name: str, check: Callable[[], Awaitable[None]], when_down: HealthStatus) -> ComponentHealth:
    start = time.perf_counter()
    try:
        async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
            await check()
    except UNREACHABLE as error:
        return ComponentHealth(name, when_down, None, f"cannot be reached ({type(error).__name__})")
    return ComponentHealth(name, HealthStatus.HEALTHY, round((time.perf_counter() - start) * 1000, 2), "answers")
