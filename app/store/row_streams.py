"""Streams many rows through asyncpg directly, in memory that does not grow with their number.

This module imports no other library than asyncpg: processes that only read and write rows stay small.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from app.db.failures import is_transient, sqlstate_of
from app.db.keepalive import enable_keepalive

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[Any]  # Any: its rows are sequences, which its type hints do not say

CONNECT_TIMEOUT_SECONDS = 5.0
SESSION = {
    "application_name": "vk-comments export",
    "timezone": "UTC",
    "jit": "off",
    "statement_timeout": "0",  # the job has its own timeout
    "client_connection_check_interval": "5s",  # a statement also ends if its client was killed
    # Use one processor: the others serve other queries.
    "max_parallel_workers_per_gather": "0",
    # A million rows joined with their authors take 8.6 s; with the default of 4 MB 11.8 s.
    "work_mem": "64MB",
}
ARGUMENTS_AT_ONCE = 1_000
"""How many arguments one statement quotes: a row of PostgreSQL has up to 1,664 columns."""


class SourceLost(Exception):
    """PostgreSQL cannot answer, or the connection was lost. Picklable, unlike the driver's exceptions."""


@dataclass(frozen=True, slots=True)
class DriverStatement:
    """A statement in the driver's form: $1, $2 ... are placeholders for the arguments."""

    sql: str
    arguments: tuple[object, ...] = ()


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator["_Connection"]:
    """Open a connection for reading many rows, and close it at the end.

    Raises:
        SourceLost: PostgreSQL cannot be reached.
    """
    with _typed_loss():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_SECONDS, server_settings=SESSION)
    try:
        enable_keepalive(connection)
        yield connection
    finally:
        connection.terminate()


async def row_batches(
    connection: "_Connection", statement: DriverStatement, size: int
) -> AsyncIterator[Sequence[Sequence[object]]]:
    """Yield the rows of a statement in batches of `size`, in the state of the moment when it begins.

    Raises:
        SourceLost: the connection was lost.
    """
    with _typed_loss():
        transaction = connection.transaction(readonly=True)
        await transaction.start()
        cursor = await connection.cursor(statement.sql, *statement.arguments)
    while True:
        # Not around the yield: the caller's exceptions must not be converted.
        with _typed_loss():
            rows = await cursor.fetch(size)
        if not rows:
            return
        yield rows


async def copy_csv(
    connection: "_Connection",
    statement: DriverStatement,
    delimiter: str,
    take: Callable[[bytes], None],
) -> None:
    """Pass the rows of a statement to `take` as lines of CSV, formatted by PostgreSQL.

    Raises:
        SourceLost: the connection was lost.
    """
    failures: list[BaseException] = []

    async def output(lines: bytes) -> None:
        try:
            take(lines)
        except BaseException as failure:
            failures.append(failure)
            raise

    try:
        with _typed_loss():
            sql = await _with_literals(connection, statement)
            await connection.copy_from_query(sql, output=output, format="csv", delimiter=delimiter)
    except Exception as error:
        if failures:  # an exception of `take`, such as OSError for a full disk, is not a lost connection
            raise failures[0] from None
        if connection.is_closed() and not isinstance(error, SourceLost):
            # asyncpg raises various internal errors when a connection is lost while it copies.
            raise SourceLost(f"{type(error).__name__}: {error}") from None
        raise


async def _with_literals(connection: "_Connection", statement: DriverStatement) -> str:
    """Return a statement with its arguments as literals, because COPY has no parameters; PostgreSQL quotes them.

    asyncpg has such a function, too, but only for as many arguments as a row has columns.
    """
    prepared = await connection.prepare(statement.sql)
    types = [_type_name(type_) for type_ in prepared.get_parameters()]
    literals: list[str] = []
    for first in range(0, len(types), ARGUMENTS_AT_ONCE):
        some = types[first : first + ARGUMENTS_AT_ONCE]
        quoted = ", ".join(f"quote_nullable(${number}::{name}::text)" for number, name in enumerate(some, 1))
        row = await connection.fetchrow(f"SELECT {quoted}", *statement.arguments[first : first + len(some)])
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        literals += row
    # Replace all in one pass: text within an argument that looks like a placeholder stays unchanged.
    return re.sub(r"\$(\d+)\b", lambda match: literals[int(match[1]) - 1], statement.sql)


def _type_name(type_: asyncpg.Type) -> str:
    name = f"_{type_.name[:-2]}" if type_.name.endswith("[]") else type_.name
    return f'"{type_.schema}"."{name}"'


@contextmanager
def _typed_loss() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        if is_transient(sqlstate_of(error)) or isinstance(error, asyncpg.QueryCanceledError):
            raise SourceLost(f"{type(error).__name__}: {error}") from None
        raise
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise SourceLost(f"{type(error).__name__}: {error}") from None
