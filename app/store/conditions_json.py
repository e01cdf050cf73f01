"""Converts conditions to plain JSON and back, so that a job's row can contain its selection of comments."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from app.json_types import JsonObject, JsonValue

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def to_json(conditions: "DataclassInstance") -> JsonObject:
    """Return a dataclass of conditions as plain JSON; fields with their default value are omitted.

    Fields may be numbers, strings, booleans, datetimes, tuples of these, and nested conditions.
    """
    values = {field.name: (getattr(conditions, field.name), field.default) for field in fields(conditions)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def from_json(kind: type[T], stored: Mapping[str, JsonValue]) -> T:
    """Return the conditions (a dataclass `kind`) that `to_json` has converted."""
    hints = get_type_hints(kind)
    return kind(**{name: _of(hints[name], value) for name, value in stored.items()})


def holds_nul(stored: object) -> bool:
    """Return whether a string in this JSON contains NUL, which PostgreSQL rejects."""
    if isinstance(stored, dict | list):
        return any(map(holds_nul, stored.values() if isinstance(stored, dict) else stored))
    return isinstance(stored, str) and "\0" in stored


def _plain(value: Any) -> JsonValue:  # Any: each field of conditions has its own type
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _of(hint: Any, value: Any) -> object:  # Any: a type, and a JSON value of that type
    if get_origin(hint) in (Union, UnionType):
        [hint] = [each for each in get_args(hint) if each is not type(None)]
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            return tuple(_of(kinds[0], item) for item in value)
        return tuple(_of(kind, item) for kind, item in zip(kinds, value, strict=True))
    if hint is datetime:
        return datetime.fromisoformat(value)
    return from_json(cast(type, hint), value) if is_dataclass(hint) else value
