"""Opens all resources of a process in one place and in order; closes them in reverse order."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import httpx2
from sqlalchemy.exc import DBAPIError

from app.auth import KeyRing, key_ring
from app.db.engine import Database, open_database
from app.db.migrate import migrate, require_migrated
from app.errors import StartFailed
from app.feeds import JobFeeds, open_feeds
from app.health import HealthCheck
from app.notifications import Notifications, open_notifications
from app.settings import Settings
from app.statistics import Statistics
from app.store import tokens
from app.vk.client import VkClient
from app.vk.pace import AllBlocked, Pace, Slot, TokenKind

REFUSALS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""A wrong user or password, or a database that does not exist."""


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of a web process or a worker, shared by all its tasks."""

    settings: Settings
    database: Database
    notifications: Notifications
    feeds: JobFeeds
    vk: VkClient
    health: HealthCheck
    keys: KeyRing
    statistics: Statistics


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the database (the embedded one if DATABASE_URL is not set), the notifications and the VK client.

    The embedded database is migrated to this version's tables; any other database
    must already be migrated (`vk-comments migrate`).

    Raises:
        StartFailed: a resource cannot be opened; the message says what to do.
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_open_migrated(settings))
        notifications = await stack.enter_async_context(open_notifications(settings, database))
        feeds = await stack.enter_async_context(open_feeds(database, notifications))
        http = await stack.enter_async_context(_open_http(settings))
        pace = await _shared_pace(settings, database)
        vk = VkClient(http, settings.vk_api_version, pace, settings.vk_timeout_seconds)
        health = HealthCheck(database, notifications, vk, started, settings.job_heartbeat_timeout_seconds)
        yield Resources(settings, database, notifications, feeds, vk, health, key_ring(settings), Statistics(database))


@asynccontextmanager
async def _open_migrated(settings: Settings) -> AsyncIterator[Database]:
    async with open_postgresql(settings) as database:
        try:
            await (require_migrated(database) if settings.database_url else migrate(database))
        except DBAPIError as error:
            if isinstance(error.driver_exception, REFUSALS):
                raise StartFailed(f"PostgreSQL says: {error.driver_exception}. Check DATABASE_URL.") from error
            raise
        yield database


@asynccontextmanager
async def open_postgresql(settings: Settings) -> AsyncIterator[Database]:
    """Open the database without migrating or checking its tables; start the embedded server without DATABASE_URL."""
    async with AsyncExitStack() as stack:
        if settings.database_url:
            url = settings.database_url.get_secret_value()
        else:
            url = await stack.enter_async_context(_open_embedded(settings))
        yield await stack.enter_async_context(open_database(settings, url))


@asynccontextmanager
async def _open_embedded(settings: Settings) -> AsyncIterator[str]:
    # Imported lazily: on systems where the module cannot be imported, DATABASE_URL still works.
    from app.db.embedded import embedded_postgres  # noqa: PLC0415 - lazy import

    server = embedded_postgres(settings.data_dir)
    # Start and stop the server in a thread, because the event loop must not block. A thread
    # cannot be cancelled: on cancellation wait for it, otherwise the server would never be stopped.
    entering = asyncio.create_task(asyncio.to_thread(server.__enter__))
    try:
        yield (await asyncio.shield(entering)).url
    finally:
        await asyncio.wait({entering})
        if entering.exception() is None:
            await asyncio.to_thread(server.__exit__, None, None, None)


def _open_http(settings: Settings) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=str(settings.vk_api_url),
        timeout=settings.vk_timeout_seconds,
        headers={"User-Agent": "vk-comments"},
        trust_env=settings.vk_api_url.host not in ("127.0.0.1", "localhost"),
    )


async def _shared_pace(settings: Settings, database: Database) -> Pace:
    pace = Pace(settings.vk_tokens, settings.vk_requests_per_second, _TokenTable(database))
    if pace.fingerprints:
        async with database.transaction() as connection:
            await tokens.add_tokens(connection, pace.fingerprints)
    return pace


@dataclass(frozen=True, slots=True)
class _TokenTable:
    """The token registry in PostgreSQL, shared by all processes that use the database."""

    database: Database

    async def reserve(
        self, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
    ) -> Slot | AllBlocked | None:
        async with self.database.transaction() as connection:
            slot = await tokens.reserve_slot(connection, fingerprints, interval_seconds, calls, executes=executes)
            if slot is None:
                first = await tokens.next_unblocked(connection, fingerprints)
                return AllBlocked(first.reason, first.seconds, first.vk_code) if first else None
        return Slot(slot.fingerprint, slot.wait_seconds)

    async def block(self, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None) -> None:
        async with self.database.transaction() as connection:
            await tokens.block_token(connection, fingerprint, reason, vk_code, seconds)

    async def note_kind(self, fingerprint: str, kind: TokenKind) -> None:
        async with self.database.transaction() as connection:
            await tokens.write_kind(connection, fingerprint, kind.value)
