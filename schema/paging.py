"""Relay connections over keyset pages: arguments, cursors, edges, and fields that return pages of children."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson
import strawberry

from app.errors import ValidationFailed
from app.store.keyset import EMPTY, Order, Page, Slice
from schema.context import Info

DEFAULT_SIZE = 20
LARGEST_SIZE = 500

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
        keys: dict[str, tuple[Any, ...] | None] = {"after": None, "before": None}
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


def cursor_of(order: Order, row: Any) -> str:
    """Return the cursor of a row: the ordering's name and the row's key values, so that it is stable and checkable."""
    values = [getattr(row, name) for name in order.columns]
    return urlsafe_b64encode(orjson.dumps([order.name, *values])).decode().rstrip("=")


def values_of(cursor: str, order: Order) -> tuple[Any, ...] | None:
    """Return the key values in a cursor; None if it is not a cursor of this ordering."""
    try:
        name, *values = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if name != order.name or len(values) != len(order.columns):
            return None
        return tuple(_key_value(column, value) for column, value in zip(order.columns, values, strict=True))
    except (ValueError, TypeError):
        return None


def _key_value(column: str, value: Any) -> Any:
    if column.endswith("_at"):
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if column in ("name", "folded_phrase"):
        return str(value)
    if column == "rank":
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 1 << 63:
        raise ValueError(column)
    return value


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
    row: strawberry.Private[Any]

    @strawberry.field(description="The cursor of the item, for `after` and `before`.")
    def cursor(self) -> str:
        """Return the cursor."""
        return cursor_of(self.order, self.row)


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    """Relay's connection. `count` returns totalCount; its query runs only if the field is selected."""

    edges: list[Edge[T]] = strawberry.field(description="The items of this page, each with its cursor.")
    slice: strawberry.Private[Slice]
    order: strawberry.Private[Order]
    count: strawberry.Private[Callable[[], Awaitable[int]]]

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
    def total_count(self) -> Any:
        """Return the size of the whole list."""
        return self.count()


def connection_of(
    found: Slice | None, order: Order, wrap: Callable[[Any], T], count: Callable[[], Awaitable[int]]
) -> Connection[T]:
    """Return a connection of a page of rows; None is an empty page."""
    page = found or EMPTY
    edges = [Edge(node=wrap(row), order=order, row=row) for row in page.rows]
    return Connection(edges=edges, slice=page, order=order, count=count)


async def page_of_all(
    info: Info,
    arguments: PageArguments,
    order: Order,
    conditions: Any,
    read: Callable[[Any, Any, Page], Awaitable[Slice]],
    count: Callable[[Any, Any], Awaitable[int]],
    wrap: Callable[[Any], T],
) -> Connection[T]:
    """Read a page of a whole table, with the store's functions `read` and `count`."""
    page = arguments.page(order)
    require_conditions(order, conditions)
    database = info.context.resources.database
    async with database.connect() as connection:
        found = await read(connection, conditions, page)

    async def total() -> int:
        async with database.connect() as connection:
            return await count(connection, conditions)

    return connection_of(found, order, wrap, total)


def all_of(
    returns: Any,
    description: str,
    filter_type: Any,
    order_type: Any,
    default_order: Any,
    read: Callable[[Any, Any, Page], Awaitable[Slice]],
    count: Callable[[Any, Any], Awaitable[int]],
) -> Any:
    """Declare a Query field that returns a page of a whole table, with the store's functions `read` and `count`.

    `returns` is the type of the items; its `of` converts a row.
    """

    async def resolve(
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[filter_type | None, strawberry.argument(description="Selects items.")] = None,
        order_by: Annotated[
            order_type | None, strawberry.argument(description=f"The ordering. Default: {default_order.name}.")
        ] = None,
    ) -> Any:
        conditions = filter.conditions() if filter else filter_type.everything()
        arguments = PageArguments(first, after, last, before)
        order = (order_by or default_order).value
        return await page_of_all(info, arguments, order, conditions, read, count, returns.of)

    return strawberry.field(resolver=resolve, graphql_type=Connection[returns], description=description)


def require_conditions(order: Order, conditions: Any) -> None:
    """Check that the filter contains the condition that an ordering requires.

    Raises:
        ValidationFailed: it does not.
    """
    if order.needs and getattr(conditions, order.needs) is None:
        raise ValidationFailed({"orderBy": f"{order.name} requires filter.{order.needs}"})


@dataclass(frozen=True, slots=True)
class ChildrenRequest:
    """Which children of a parent are requested. Equal requests for many parents share one SQL statement."""

    page: Page
    conditions: Any


def children(
    loader: str,
    returns: Any,
    description: str,
    filter_type: Any,
    order_type: Any,
    default_order: Any,
) -> Any:
    """Declare a field that returns a page of its parent's children, through the loader of that name.

    One SQL statement reads the pages of all parents at one level of a query. Like
    `relation`, it creates no coroutine per field.
    """

    def resolve(
        root: strawberry.Parent[Any],
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[filter_type | None, strawberry.argument(description="Selects items.")] = None,
        order_by: Annotated[
            order_type | None, strawberry.argument(description=f"The ordering. Default: {default_order.name}.")
        ] = None,
    ) -> Any:
        page = PageArguments(first, after, last, before).page((order_by or default_order).value)
        conditions = filter.conditions() if filter else filter_type.everything()
        require_conditions(page.order, conditions)
        return getattr(info.context.loaders, loader).load((root.key, ChildrenRequest(page, conditions)))

    return strawberry.field(resolver=resolve, graphql_type=returns, description=description)
