"""The connections to PostgreSQL: one pool per process, with time limits, gauges and typed failures."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import asyncpg
import orjson
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from app import metrics
from app.db.failures import is_transient, retry_after_seconds, sqlstate_of
from app.db.keepalive import enable_keepalive
from app.errors import QueryTimedOut, ServiceUnavailable, ValidationFailed
from app.settings import Settings

CONNECT_TIMEOUT_SECONDS = 5.0
IDLE_SECONDS = 5.0
USED_AT = "used_at"
_UNREACHABLE = (
    OSError,
    PoolTimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InternalClientError,  # raised on a connection whose server was killed
)
_TIMED_OUT = "57014"
_BAD_VALUE = "22"
"""The SQLSTATEs of values that PostgreSQL rejects begin with this."""


@dataclass(frozen=True, slots=True)
class Database:
    """One PostgreSQL database: a pool for SQL, and the address for separate connections (LISTEN)."""

    engine: AsyncEngine
    dsn: str = field(repr=False)  # may contain a password

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection for reading; its transaction is rolled back at the end.

        Raises:
            ValidationFailed: a parameter of the query is a value that PostgreSQL rejects.
            QueryTimedOut: a statement exceeded the statement timeout.
            ServiceUnavailable: PostgreSQL cannot be reached, or the connection was lost.
        """
        with _typed_failures(), _bad_values():
            async with self.engine.connect() as connection:
                self.measure()
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Provide a connection in a transaction: commit at the end, roll back on any exception.

        Raises:
            QueryTimedOut: a statement exceeded the statement timeout.
            ServiceUnavailable: PostgreSQL cannot be reached, or the connection was lost.
        """
        with _typed_failures():
            async with self.engine.begin() as connection:
                self.measure()
                yield connection

    async def listen(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside the pool, for LISTEN. The caller closes it."""
        name = {"application_name": "vk-comments events"}
        connection = await asyncpg.connect(self.dsn, timeout=CONNECT_TIMEOUT_SECONDS, server_settings=name)
        enable_keepalive(connection)
        return connection

    def measure(self) -> None:
        """Set the gauges of the pool."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)  # noqa: S101 - for the type checker: create_async_engine creates this class
        metrics.database_connections.labels("in_use").set(pool.checkedout())
        metrics.database_connections.labels("idle").set(pool.checkedin())
        metrics.database_connections.labels("overflow").set(max(0, pool.overflow()))


@asynccontextmanager
async def open_database(settings: Settings, url: str) -> AsyncIterator[Database]:
    """Open the pool for the database at `url` (postgresql://...) and close it at the end.

    Connections are opened when they are first needed, so this does not fail while
    PostgreSQL is down.
    """

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        # asyncpg parses the URL instead of SQLAlchemy: it supports all of libpq's options, such as sslmode.
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={
                "application_name": "vk-comments",
                "timezone": "UTC",
                "jit": "off",  # for queries of milliseconds, compiling costs more than it saves
                "statement_timeout": str(int(settings.database_statement_timeout_seconds * 1000)),
                # A worker that counts as dead must not hold locks: frozen in a transaction, it would block all others.
                "idle_in_transaction_session_timeout": str(int(settings.job_heartbeat_timeout_seconds * 1000)),
            },
        )
        enable_keepalive(connection)
        return connection

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_overflow,
        pool_timeout=settings.database_statement_timeout_seconds,
        hide_parameters=True,  # errors are logged, but not the values that were to be stored
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )
    event.listen(engine.sync_engine, "checkout", _ping_idle)
    event.listen(engine.sync_engine, "checkin", _note_use)
    try:
        yield Database(engine, url)
    finally:
        await engine.dispose()


def _ping_idle(connection: AsyncAdapt_asyncpg_connection, record: ConnectionPoolEntry, _: object) -> None:
    """Ping a connection that has been idle before it is checked out; if it does not answer, the pool reconnects.

    SQLAlchemy's pre-ping would ping at each checkout, which takes three round trips: more than most queries.

    Raises:
        InvalidatePoolError: the connection is closed or does not answer.
    """
    if not connection.driver_connection.is_closed():
        if time.monotonic() - record.info.get(USED_AT, time.monotonic()) < IDLE_SECONDS:
            return
        try:
            connection.ping()  # type: ignore[no-untyped-call]  # SQLAlchemy has no type hints for it
        except Exception as error:
            raise InvalidatePoolError from error  # the pool then replaces all connections of this age
        return
    raise InvalidatePoolError


def _note_use(_: object, record: ConnectionPoolEntry) -> None:
    record.info[USED_AT] = time.monotonic()


@contextmanager
def _typed_failures() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError) as error:  # COPY raises the driver's own exceptions
        state = sqlstate_of(error)
        if getattr(error, "connection_invalidated", False) or is_transient(state):
            raise ServiceUnavailable("PostgreSQL", retry_after_seconds(state)) from error
        if state == _TIMED_OUT:
            raise QueryTimedOut from error
        raise
    except _UNREACHABLE as error:
        raise ServiceUnavailable("PostgreSQL") from error


@contextmanager
def _bad_values() -> Iterator[None]:
    # Only for reading: parameters of queries come from clients. Values that are written come from this application, so
    # a rejected one is a bug.
    try:
        yield
    except DBAPIError as error:
        if sqlstate_of(error).startswith(_BAD_VALUE):
            message = "a text contains a NUL character, or a number or time is out of range"
            raise ValidationFailed({"input": message}) from error
        raise
