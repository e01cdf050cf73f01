"""Opens everything a process of ours works with, in one place and in order; closes it the other way round."""

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
from app.events import Events, open_events
from app.health import HealthCheck
from app.settings import Settings
from app.store import tokens
from app.vk.client import VkClient
from app.vk.pace import AllAside, Pace

REFUSALS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""A wrong user or password, no such database."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a web process or a worker works with. Shared by all its tasks."""

    settings: Settings
    database: Database
    events: Events
    vk: VkClient
    health: HealthCheck
    keys: KeyRing


@asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open the database (the embedded one where DATABASE_URL is not set), the events and the VK client.

    The embedded database is brought to this version's tables; another one has
    to be there already (`vk-comments migrate`).

    Raises:
        StartFailed: something cannot be opened; says what to do.
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_open_migrated(settings))
        events = await stack.enter_async_context(open_events(settings, database))
        http = await stack.enter_async_context(_open_http(settings))
        pace = await _shared_pace(settings, database)
        vk = VkClient(http, settings.vk_api_version, pace)
        health = HealthCheck(database, events, vk, pace, started)
        yield Resources(settings, database, events, vk, health, key_ring(settings))


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
    """Open the database as it is, whatever tables it has; starts the embedded server where it is the one to use."""
    async with AsyncExitStack() as stack:
        if settings.database_url:
            url = settings.database_url.get_secret_value()
        else:
            url = await stack.enter_async_context(_open_embedded(settings))
        yield await stack.enter_async_context(open_database(settings, url))


@asynccontextmanager
async def _open_embedded(settings: Settings) -> AsyncIterator[str]:
    # imported where it is needed: where it does not run, DATABASE_URL still works
    from app.db.embedded import embedded_postgres  # noqa: PLC0415

    server = embedded_postgres(settings.data_dir)
    # Starting and stopping take a moment, in which the loop has to go on. A thread
    # cannot be cancelled: who leaves meanwhile waits for it, or nobody would stop the server.
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
    async def reserve(fingerprints: Sequence[str], interval_seconds: float) -> tuple[str, float] | AllAside:
        async with database.transaction() as connection:
            slot = await tokens.reserve_slot(connection, fingerprints, interval_seconds)
            if slot is None:
                return AllAside(*await tokens.next_return(connection, fingerprints))
        return slot.fingerprint, slot.wait_seconds

    async def block(fingerprint: str, reason: str, seconds: float | None) -> None:
        async with database.transaction() as connection:
            await tokens.block_token(connection, fingerprint, reason, seconds)

    pace = Pace(settings.vk_tokens, settings.vk_requests_per_second, reserve, block)
    if pace.fingerprints:
        async with database.transaction() as connection:
            await tokens.add_tokens(connection, pace.fingerprints)
    return pace
