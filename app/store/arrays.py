"""Many values as one parameter of a statement: PostgreSQL's arrays.

A parameter for each value takes long to compile for thousands of them, and a
statement can have 32,767.
"""

from collections.abc import Collection, Sequence
from typing import Any

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


def is_among(value: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition that a column holds one of these values."""
    if len(values) == 1:
        # plainly, as PostgreSQL then knows that rows of an index come in the order of its other columns
        return value.in_(values)
    condition: ColumnElement[bool] = value == any_(cast(list(values), ARRAY(value.type)))
    return condition


def are_among(columns: Sequence[KeyedColumnElement[Any]], keys: Collection[tuple[Any, ...]]) -> ColumnElement[bool]:
    """Return the condition that several columns hold one of these keys together."""
    if len(keys) == 1:
        [key] = keys
        return and_(*(each == value for each, value in zip(columns, key, strict=True)))
    return tuple_(*columns).in_(select(rows_of(columns, keys)))


def rows_of(columns: Sequence[KeyedColumnElement[Any]], keys: Collection[tuple[Any, ...]]) -> TableValuedAlias:
    """Return rows of these keys, to be joined, with columns of the same names and types as these columns."""
    arrays = (cast([key[place] for key in keys], ARRAY(each.type)) for place, each in enumerate(columns))
    names = (column(each.name, each.type) for each in columns)
    return func.unnest(*arrays).table_valued(*names).render_derived(name="wanted")


def key_columns(keys: Collection[tuple[int, ...]]) -> dict[str, list[int]]:
    """Return keys (owner_id, id) as the parameters `owner_ids` and `ids`, of which a statement makes rows by unnest."""
    return {"owner_ids": [key[0] for key in keys], "ids": [key[1] for key in keys]}
