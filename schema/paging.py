"""Relay connections over keyset pages: arguments, cursors, edges, and fields that return pages of children."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import orjson
import strawberry

from app.errors import ValidationFailed
from app.json_types import JsonValue
from app.resources import Resources
from app.store.keyset import EMPTY, CountChildren, CountRows, Key, Order, Page, ReadPage, ReadPages, Slice
from schema.context import Info
from schema.loaders import Converts, Loader, parents_by_request
from schema.node import Node

DEFAULT_SIZE = 20
LARGEST_SIZE = 500

C = TypeVar("C", bound=Hashable)
R = TypeVar("R")
T = TypeVar("T")

First = Annotated[
    int | None,
    strawberry.argument(description="The number of items from the start, at most 500. Not together with `last`."),
]
After = Annotated[str | None, strawberry.argument(description="Only items after this cursor.")]
Last = Annotated[
    int | None,
    strawberry.argument(description="The number of items from the end, at most 500. Not together with `first`."),
]
Before = Annotated[str | None, strawberry.argument(description="Only items before this cursor.")]


@dataclass(frozen=True, slots=True)
class PageArguments:
    """The paging arguments of a field, as the client gave them."""

    first: int | None
    after: str | None
    last: int | None
    before: str | None

    def page(self, order: Order) -> Page:
        """Return the requested page of an ordering; without `first` and `last` the first 20 items.

        Raises:
            ValidationFailed: the arguments contradict each other or exceed the limits, or a cursor belongs to another
                ordering.
        """
        problems: dict[str, str] = {}
        if self.first is not None and self.last is not None:
            problems["first"] = "cannot be used together with last"
        for name, size in (("first", self.first), ("last", self.last)):
            if size is not None and not 0 <= size <= LARGEST_SIZE:
                problems[name] = f"must be between 0 and {LARGEST_SIZE}"
        keys: dict[str, tuple[object, ...] | None] = {"after": None, "before": None}
        for name, cursor in (("after", self.after), ("before", self.before)):
            if cursor is not None:
                keys[name] = values_of(cursor, order)
                if keys[name] is None:
                    problems[name] = "is not a cursor of this ordering"
        if problems:
            raise ValidationFailed(problems)
        backwards = self.last is not None
        size = self.last if backwards else self.first
        return Page(order, DEFAULT_SIZE if size is None else size, keys["after"], keys["before"], backwards)


def cursor_of(order: Order, row: object) -> str:
    """Return the cursor of a row: the ordering's name and the row's key values, so that it is stable and checkable."""
    values = [getattr(row, name) for name in order.columns]
    return urlsafe_b64encode(orjson.dumps([order.name, *values])).decode().rstrip("=")


def values_of(cursor: str, order: Order) -> tuple[object, ...] | None:
    """Return the key values in a cursor; None if it is not a cursor of this ordering."""
    try:
        name, *values = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if name != order.name or len(values) != len(order.columns):
            return None
        return tuple(_key_value(column, value) for column, value in zip(order.columns, values, strict=True))
    except (ValueError, TypeError):
        return None


def _key_value(column: str, value: JsonValue) -> object:
    if column.endswith("_at"):
        moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if column in ("name", "folded_phrase"):
        return str(value)
    if column == "rank":
        return float(str(value))
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise ValueError(column)
    return value


CountItems: TypeAlias = Callable[[Info], Awaitable[int]]
"""Counts the items of a whole list."""


@strawberry.type(description="The position of a page in its list.")
class PageInfo:
    """Relay's PageInfo."""

    has_next_page: bool = strawberry.field(description="`true`: there are items after `endCursor`.")
    has_previous_page: bool = strawberry.field(description="`true`: there are items before `startCursor`.")
    start_cursor: str | None = strawberry.field(description="The cursor of the first edge; null on an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last edge; null on an empty page.")


@strawberry.type(description="An item of a list, with its cursor.")
class Edge(Generic[T]):
    """Relay's edge. The cursor is computed only if it is selected."""

    node: T = strawberry.field(description="The item.")
    order: strawberry.Private[Order]
    row: strawberry.Private[object]

    @strawberry.field(description="The cursor of the item, for `after` and `before`.")
    def cursor(self) -> str:
        """Return the cursor."""
        return cursor_of(self.order, self.row)


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """Relay's connection. `count` returns totalCount; its query runs only if the field is selected."""

    edges: list[Edge[T]] = strawberry.field(description="The items of this page, each with its cursor.")
    slice: strawberry.Private[Slice[object]]
    order: strawberry.Private[Order]
    count: strawberry.Private[CountItems]

    @strawberry.field(description="The items of this page.")
    def nodes(self) -> list[T]:
        """Return the items without their cursors."""
        return [edge.node for edge in self.edges]

    @strawberry.field(description="The position of this page in the list.")
    def page_info(self) -> PageInfo:
        """Return the position of the page."""
        rows = self.slice.rows
        return PageInfo(
            has_next_page=self.slice.has_next,
            has_previous_page=self.slice.has_previous,
            start_cursor=cursor_of(self.order, rows[0]) if rows else None,
            end_cursor=cursor_of(self.order, rows[-1]) if rows else None,
        )

    @strawberry.field(description="The number of items in the whole list.", graphql_type=int)
    def total_count(self, info: Info) -> Awaitable[int]:
        """Return the size of the whole list."""
        return self.count(info)


def connection_of(found: Slice[R] | None, order: Order, convert: Callable[[R], T], count: CountItems) -> Connection[T]:
    """Return a connection of a page of rows; None is an empty page."""
    page: Slice[R] = found or EMPTY
    edges = [Edge(node=convert(row), order=order, row=row) for row in page.rows]
    return Connection(edges=edges, slice=page, order=order, count=count)


async def page_of_all(
    info: Info,
    page: Page,
    conditions: C,
    read: ReadPage[C, R],
    count: CountRows[C],
    convert: Callable[[R], T],
) -> Connection[T]:
    """Read a page of a whole table, with the store's functions `read` and `count`."""
    database = info.context.resources.database
    async with database.connect() as connection:
        found = await read(connection, conditions, page)

    async def total(_: Info) -> int:
        async with database.connect() as connection:
            return await count(connection, conditions)

    return connection_of(found, page.order, convert, total)


def all_of(
    returns: object,
    convert: Callable[[R], T],
    description: str,
    filter_type: Any,  # a type that is known only at run time: in annotations the type checker accepts only Any
    default_order: Enum,
    read: ReadPage[C, R],
    count: CountRows[C],
) -> Any:  # the declared type of the field, as strawberry.field does
    """Declare a Query field that returns a page of a whole table, with the store's functions `read` and `count`.

    `returns` is the connection's type; `convert` converts a row.
    """

    def load(info: Info, _: object, page: Page, conditions: C) -> Awaitable[Connection[T]]:
        return page_of_all(info, page, conditions, read, count, convert)

    return _list_field(load, returns, description, filter_type, default_order)


@dataclass(frozen=True, slots=True)
class ChildrenRequest(Generic[C]):
    """Which children of a parent are requested. Equal requests for many parents share one SQL statement."""

    page: Page
    conditions: C


def _count_of(counts: Loader[tuple[Key, C], int], key: tuple[Key, C], info: Info) -> Awaitable[int]:
    return info.context.loaders.load(counts, key)


ChildrenLoader: TypeAlias = Loader[tuple[Key, ChildrenRequest[C]], Connection[T]]


def children_loader(
    read: ReadPages[C, R], count: CountChildren[C], type_: Callable[[], Converts[R, T]]
) -> ChildrenLoader[C, T]:
    """Declare a loader of a page of each parent's children; parents with the same request share one statement.

    `type_` is as for `rows_loader`.
    """

    async def load_counts(resources: Resources, keys: list[tuple[Key, C]]) -> list[int]:
        found: dict[tuple[Key, C], int] = {}
        async with resources.database.connect() as connection:
            for conditions, parents in parents_by_request(keys).items():
                numbers = await count(connection, parents, conditions)
                found |= {(parent, conditions): number for parent, number in numbers.items()}
        return [found.get(key, 0) for key in keys]

    counts = Loader(load_counts)

    async def load(resources: Resources, keys: list[tuple[Key, ChildrenRequest[C]]]) -> list[Connection[T]]:
        found: dict[tuple[Key, ChildrenRequest[C]], Slice[R]] = {}
        async with resources.database.connect() as connection:
            for request, parents in parents_by_request(keys).items():
                slices = await read(connection, parents, request.conditions, request.page)
                found |= {(parent, request): page for parent, page in slices.items()}
        of = type_().of
        return [
            connection_of(
                found.get((parent, request)),
                request.page.order,
                of,
                partial(_count_of, counts, (parent, request.conditions)),
            )
            for parent, request in keys
        ]

    return Loader(load)


def children(
    loader: ChildrenLoader[C, T],
    returns: object,
    description: str,
    filter_type: Any,  # as in `all_of`
    default_order: Enum,
) -> Any:  # as in `all_of`
    """Declare a field that returns a page of its parent's children, with a loader of `children_loader`.

    One SQL statement reads the pages of all parents at one level of a query. Like
    `relation`, it creates no coroutine per field.
    """

    def load(info: Info, root: Node, page: Page, conditions: C) -> Awaitable[Connection[T]]:
        return info.context.loaders.load(loader, (root.key, ChildrenRequest(page, conditions)))

    return _list_field(load, returns, description, filter_type, default_order)


def _list_field(
    load: Callable[[Info, Any, Page, C], Awaitable[Connection[T]]],  # Any: the parent, of the type with this field
    returns: object,
    description: str,
    filter_type: Any,  # as in `all_of`
    default_order: Enum,
) -> Any:  # as in `all_of`
    order_type: Any = type(default_order)  # as `filter_type`

    def resolve(
        root: strawberry.Parent[object],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[filter_type | None, strawberry.argument(description="Selects items.")] = None,
        order_by: Annotated[
            order_type | None, strawberry.argument(description=f"The ordering. Default: {default_order.name}.")
        ] = None,
    ) -> Awaitable[Connection[T]]:
        page = PageArguments(first, after, last, before).page((order_by or default_order).value)
        conditions = filter.conditions() if filter else filter_type.everything()
        if page.order.needs and getattr(conditions, page.order.needs) is None:
            raise ValidationFailed({"orderBy": f"{page.order.name} requires filter.{page.order.needs}"})
        return load(info, root, page, conditions)

    return strawberry.field(resolver=resolve, graphql_type=returns, description=description)
