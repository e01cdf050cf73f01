"""The types of JSON values: what `jsonb` columns hold and VK's replies consist of."""

from typing import TypeAlias

JsonValue: TypeAlias = bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
"""A parsed JSON value."""
JsonObject: TypeAlias = dict[str, JsonValue]
"""A parsed JSON object."""
