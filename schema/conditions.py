"""Converts the filter of a list to conditions of the store, field by field, so that no field can be forgotten."""

from collections.abc import Collection
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from schema.node import key_of

C = TypeVar("C")
_IDS = "ids"
"""The key in a field's metadata under which `ids_field` stores the type of its ids."""


def ids_field(type_name: str, name: str, description: str) -> Any:  # the declared type of the field
    """Declare a filter field that contains global ids of one type; `name` is the condition for their keys."""
    return strawberry.field(default=None, description=description, metadata={_IDS: (type_name, name)})


def conditions_of(kind: type[C], given: object, path: str = "filter", but: Collection[str] = (), **others: object) -> C:
    """Return conditions with every field of a filter (an input type) that is set.

    A field becomes the condition of the same name. Lists become tuples, enums
    their values, and global ids keys. `others` are conditions that the caller
    has made, for example from the fields in `but`.

    Raises:
        ValidationFailed: an id is not an id of its type; `path` is the path of the filter in the input.
        TypeError: the conditions have no such field (a bug).
    """
    values = dict(others)
    for field in fields(given):  # type: ignore[arg-type]  # Strawberry makes a dataclass of each input type
        value = getattr(given, field.name)
        if value is None or field.name in but:
            continue
        if _IDS in field.metadata:
            type_name, name = field.metadata[_IDS]
            where = f"{path}.{to_camel_case(field.name)}"
            keys = (key_of(each, type_name, f"{where}.{number}") for number, each in enumerate(value))
            values[name] = tuple(key if len(key) > 1 else key[0] for key in keys)
        else:
            values[field.name] = tuple(map(_plain, value)) if isinstance(value, list) else _plain(value)
    return kind(**values)


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
