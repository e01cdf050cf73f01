"""The protocols of rows have the columns of their tables, with their types."""

import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from sqlalchemy import ARRAY, Column, Table
from sqlalchemy.dialects.postgresql import JSONB

from app import json_types
from app.db import tables
from app.store import rows

WITHOUT: dict[type, set[str]] = {rows.FollowedJobRow: {"heartbeat_at", "checkpoint"}}
"""The columns that a statement does not select although they are the table's."""


@pytest.mark.parametrize(
    ("protocol", "table"),
    [
        (rows.GroupRow, tables.groups),
        (rows.PostRow, tables.posts),
        (rows.AuthorRow, tables.authors),
        (rows.CommentRow, tables.comments),
        (rows.FollowedJobRow, tables.jobs),
        (rows.JobRow, tables.jobs),
        (rows.JobEventRow, tables.job_events),
        (rows.ExportRow, tables.exports),
        (rows.MonitoringRow, tables.monitorings),
        (rows.KeywordRow, tables.keywords),
        (rows.FeaturesRow, tables.comment_features),
        (rows.WaveRow, tables.waves),
    ],
    ids=lambda given: getattr(given, "name", None) or given.__name__,
)
def test_a_protocol_has_the_columns_of_its_table(protocol: type, table: Table) -> None:
    expected = {column.name: column for column in table.c if column.name not in WITHOUT.get(protocol, ())}
    hints = get_type_hints(protocol, localns=vars(json_types))
    assert hints.keys() == expected.keys()
    wrong = {name: hint for name, hint in hints.items() if not _holds(hint, expected[name])}
    assert not wrong


def _holds(hint: Any, column: Column[Any]) -> bool:
    """Return whether a type is that of a column's values: with None if and only if the column is nullable."""
    kinds = set(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else {hint}
    is_nullable = type(None) in kinds
    [kind] = kinds - {type(None)}
    origin = get_origin(kind) or kind
    if isinstance(column.type, JSONB):
        is_of_type = origin is list or issubclass(origin, dict)
    elif isinstance(column.type, ARRAY):
        is_of_type = origin is list and get_args(kind) == (column.type.item_type.python_type,)
    else:
        is_of_type = kind is column.type.python_type
    return is_of_type and is_nullable == column.nullable
