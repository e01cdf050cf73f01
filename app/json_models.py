"""Converts declared models to plain JSON and back, with their types and ranges checked.

A model is a dataclass, a named tuple or a collection of these; JSON is what a jsonb column contains.
"""

from typing import Any, TypeVar

from pydantic import TypeAdapter

from app.json_types import JsonValue

Model = TypeVar("Model")

_adapters: dict[object, TypeAdapter[Any]] = {}  # keyed by model; each adapter converts another type


def _adapter(model: Any) -> TypeAdapter[Any]:  # as above; mypy does not accept a type variable here
    # building the validator of a model takes milliseconds
    if model not in _adapters:
        _adapters[model] = TypeAdapter(model)
    return _adapters[model]


def to_json(value: object, *, omit_defaults: bool = False) -> JsonValue:
    """Return a model as plain JSON; with `omit_defaults`, without fields that have their default value."""
    plain: JsonValue = _adapter(type(value)).dump_python(value, mode="json", exclude_defaults=omit_defaults)
    return plain


def from_json(model: type[Model], stored: JsonValue) -> Model:
    """Return the model that `to_json` has converted. Missing fields get their default value, unknown ones are ignored.

    Raises:
        pydantic.ValidationError: a value is missing, or has another type or range than the model declares.
    """
    found: Model = _adapter(model).validate_python(stored)
    return found


def contains_nul(stored: JsonValue) -> bool:
    """Return whether a string in this JSON contains NUL, which PostgreSQL rejects."""
    if isinstance(stored, dict | list):
        return any(map(contains_nul, stored.values() if isinstance(stored, dict) else stored))
    return isinstance(stored, str) and "\0" in stored
