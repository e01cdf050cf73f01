"""Keyset paging: one page of a table, one page for each of many parents, and counts; each in one statement."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Never, TypeAlias, TypeVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    Table,
    UnaryExpression,
    func,
    literal,
    select,
    true,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.arrays import rows_of

Conditions = Sequence[ColumnElement[bool]]
AnyRow: TypeAlias = Row[*tuple[object, ...]]
"""A row of any table: the functions of `store` that call these state which of `app.store.rows` it is."""
Key = tuple[int, ...]
"""The key values of a row, or of the parent of rows."""
_Select: TypeAlias = Select[*tuple[object, ...]]

C = TypeVar("C")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Order:
    """An ordering by columns that together are unique and never null, all in one direction.

    `needs` names the condition that the order requires.
    """

    name: str
    columns: tuple[str, ...]
    is_descending: bool = False
    needs: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an ordering: up to `limit` rows after and before key values of that ordering.

    `backwards` counts `limit` from the end. Hashable, so that it can be part of a loader's key.
    """

    order: Order
    limit: int
    after: tuple[object, ...] | None = None
    before: tuple[object, ...] | None = None
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Slice(Generic[R_co]):
    """The rows of one page in the requested order, and whether more exist on either side."""

    rows: Sequence[R_co]
    has_next: bool
    has_previous: bool


EMPTY: Slice[Never] = Slice((), has_next=False, has_previous=False)

# The functions of `store` that a list of the API calls: conditions of type C select rows of type R.
ReadPage: TypeAlias = Callable[[AsyncConnection, C, Page], Awaitable[Slice[R]]]
CountRows: TypeAlias = Callable[[AsyncConnection, C], Awaitable[int]]
# The same for many parents at once, and rows by key; keys without rows are absent.
ReadPages: TypeAlias = Callable[[AsyncConnection, Sequence[Key], C, Page], Awaitable[Mapping[Key, Slice[R]]]]
CountChildren: TypeAlias = Callable[[AsyncConnection, Sequence[Key], C], Awaitable[Mapping[Key, int]]]
CountByKey: TypeAlias = Callable[[AsyncConnection, Sequence[Key]], Awaitable[Mapping[Key, int]]]
ReadRows: TypeAlias = Callable[[AsyncConnection, Sequence[Key]], Awaitable[Mapping[Key, R]]]


async def page_rows(
    connection: AsyncConnection, table: FromClause, conditions: Conditions, page: Page
) -> Slice[AnyRow]:
    """Read one page of the rows of `table` that meet all `conditions`."""
    rows = (await connection.execute(_paged(select(table).where(*conditions), table, page))).all()
    return _slice(rows, page)


async def pages_by_key(
    connection: AsyncConnection,
    table: FromClause,
    key: Sequence[str],
    keys: Sequence[Key],
    conditions: Conditions,
    page: Page,
) -> Mapping[Key, Slice[AnyRow]]:
    """Read the same page for each of many parents: key values -> its slice; parents without rows are absent.

    `key` names the columns of `table` that hold the parent's key.
    """
    parents = rows_of([table.c[name] for name in key], keys)
    inner = _paged(
        select(table).where(*(table.c[name] == parents.c[name] for name in key), *conditions), table, page
    ).lateral("page")
    statement = (
        select(inner)
        .select_from(parents.join(inner, true()))
        .order_by(*(inner.c[name] for name in key), *_ordering(inner, page))
    )
    grouped: dict[Key, list[AnyRow]] = defaultdict(list)
    for row in await connection.execute(statement):
        grouped[tuple(getattr(row, name) for name in key)].append(row)
    return {parent: _slice(rows, page) for parent, rows in grouped.items()}


async def rows_by_key(
    connection: AsyncConnection, table: Table, key: Sequence[str], keys: Sequence[Key]
) -> Mapping[Key, AnyRow]:
    """Read rows by their unique key: key values -> row; unknown keys are absent."""
    parents = rows_of([table.c[name] for name in key], keys)
    joined = parents.join(table, tuple_(*(table.c[name] for name in key)) == tuple_(*(parents.c[name] for name in key)))
    rows = await connection.execute(select(table).select_from(joined))
    return {tuple(getattr(row, name) for name in key): row for row in rows}


async def counts_by_key(
    connection: AsyncConnection,
    table: Table,
    key: Sequence[str],
    keys: Sequence[Key],
    conditions: Conditions = (),
) -> dict[Key, int]:
    """Count the rows of each parent that meet all `conditions`: key values -> count; zeros are absent."""
    parents = rows_of([table.c[name] for name in key], keys)
    columns = [table.c[name] for name in key]
    joined = parents.join(table, tuple_(*columns) == tuple_(*(parents.c[name] for name in key)))
    statement = select(*columns, func.count()).select_from(joined).where(*conditions).group_by(*columns)
    return {tuple(row[:-1]): row[-1] for row in await connection.execute(statement)}


async def count_rows(connection: AsyncConnection, table: FromClause, conditions: Conditions) -> int:
    """Count the rows of `table` that meet all `conditions`."""
    return await connection.scalar(select(func.count()).select_from(table).where(*conditions)) or 0


def _paged(statement: _Select, table: FromClause, page: Page) -> _Select:
    columns = [table.c[name] for name in page.order.columns]
    for values, is_after in ((page.after, True), (page.before, False)):
        if values is not None:
            key = tuple_(*columns)
            bound = tuple_(*(literal(value, column.type) for value, column in zip(values, columns, strict=True)))
            statement = statement.where(key > bound if is_after != page.order.is_descending else key < bound)
    return statement.order_by(*_ordering(table, page)).limit(page.limit + 1)


def _ordering(table: FromClause, page: Page) -> list[UnaryExpression[object]]:
    descending = page.order.is_descending != page.backwards
    return [table.c[name].desc() if descending else table.c[name].asc() for name in page.order.columns]


def _slice(rows: Sequence[AnyRow], page: Page) -> Slice[AnyRow]:
    has_more = len(rows) > page.limit
    kept = rows[: page.limit]
    if page.backwards:
        return Slice(kept[::-1], has_next=page.before is not None, has_previous=has_more)
    return Slice(kept, has_next=has_more, has_previous=page.after is not None)
