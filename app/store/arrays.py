"""Passes many values as one statement parameter, a PostgreSQL array.

With one parameter per value, thousands of values take long to compile, and a
statement is limited to 32,767 parameters.
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    TableValuedAlias,
    and_,
    any_,
    cast,
    column,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import KeyedColumnElement

V = TypeVar("V")


def is_among(value: ColumnElement[V], values: Collection[V]) -> ColumnElement[bool]:
    """Return the condition that a column equals one of these values."""
    if len(values) == 1:
        # With a plain equality, PostgreSQL knows that an index returns the rows in the order of its other columns.
        return value.in_(values)
    condition: ColumnElement[bool] = value == any_(cast(list(values), ARRAY(value.type)))
    return condition


def are_among(columns: Sequence[KeyedColumnElement[V]], keys: Collection[tuple[V, ...]]) -> ColumnElement[bool]:
    """Return the condition that several columns together equal one of these keys."""
    if len(keys) == 1:
        [key] = keys
        return and_(*(each == value for each, value in zip(columns, key, strict=True)))
    return tuple_(*columns).in_(select(rows_of(columns, keys)))


def rows_of(columns: Sequence[KeyedColumnElement[V]], keys: Collection[tuple[V, ...]]) -> TableValuedAlias:
    """Return the keys as a table to join with; its columns have the names and types of `columns`."""
    arrays = (cast([key[index] for key in keys], ARRAY(each.type)) for index, each in enumerate(columns))
    names = (column(each.name, each.type) for each in columns)
    return func.unnest(*arrays).table_valued(*names).render_derived(name="wanted")


def key_columns(keys: Collection[tuple[int, ...]]) -> dict[str, list[int]]:
    """Return keys (owner_id, id) as the parameters `owner_ids` and `ids`, which a statement unnests into rows."""
    return {"owner_ids": [key[0] for key in keys], "ids": [key[1] for key in keys]}
