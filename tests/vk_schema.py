"""Validates VK replies against VK's own published schema (a subset of VKCOM/vk-api-schema 5.199).

The schema is not plain JSON Schema draft 7: `required: true` is on the property itself, also beside a `$ref`; this
module moves it to the object. `groups_group` forbids further properties inside the `allOf` of `groups_group_full`,
which could then never have one; this module removes that restriction.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from jsonschema import Draft7Validator, ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT7

SCHEMA = Path(__file__).parent / "data" / "vk" / "schema"
_BASE = "http://vk.schema/"


class VkSchema:
    """The schema, loaded once; `violations` validates whole replies such as {"response": ...}.

    With `stubs_allowed` a comment may lack `from_id` and `text`: VK sends deleted comments without them (seen), though
    its schema requires both.
    """

    def __init__(self, root: Path = SCHEMA, *, stubs_allowed: bool = False) -> None:
        self._replies: dict[str, dict[str, str]] = {}
        definitions: dict[str, Any] = {}
        for path in sorted(root.rglob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            place = path.relative_to(root).as_posix()
            if path.name == "methods.json":
                for method in content["methods"]:
                    replies = method["responses"].items()
                    self._replies[method["name"]] = {kind: _absolute(place, reply["$ref"]) for kind, reply in replies}
            else:
                definitions[place] = _lifted(content)
        definitions["groups/objects.json"]["definitions"]["groups_group"].pop("additionalProperties")
        if stubs_allowed:
            required = definitions["wall/objects.json"]["definitions"]["wall_wall_comment"]["required"]
            required[:] = [name for name in required if name not in {"from_id", "text"}]
        self._registry: Registry[Any] = Registry().with_resources(
            (_BASE + place, DRAFT7.create_resource(content)) for place, content in definitions.items()
        )

    def violations(self, method: str, reply: object, kind: str = "response") -> list[str]:
        """Return descriptions of the reply's violations of the schema. `kind` may be "extendedResponse"."""
        return self._violations(self._replies[method][kind], reply)

    def definition_violations(self, place: str, value: object) -> list[str]:
        """Return a value's violations of a definition ("file#/definitions/..."), such as of "wall/objects.json"."""
        return self._violations(_BASE + place, value)

    def _violations(self, reference: str, value: object) -> list[str]:
        validator = Draft7Validator({"$ref": reference}, registry=self._registry)
        return [f"{_path(error)}: {error.message[:200]}" for error in validator.iter_errors(value)]


def _path(error: ValidationError) -> str:
    return "/".join(str(step) for step in error.absolute_path)


def _absolute(place: str, reference: str) -> str:
    file, _, pointer = reference.partition("#")
    parts: list[str] = []
    for part in (PurePosixPath(place).parent / file).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return f"{_BASE}{'/'.join(parts)}#{pointer}"


def _lifted(node: Any) -> Any:
    """Return the schema with each property's `required: true` moved to the object, and without formats."""
    if isinstance(node, list):
        return [_lifted(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _lifted(value) for key, value in node.items() if key not in {"format", "$schema"}}
    properties = made.get("properties")
    if isinstance(properties, dict):
        required = sorted(_take_required(properties))
        if required:
            made["required"] = required
    return made


def _take_required(properties: dict[str, Any]) -> Iterator[str]:
    for name, value in properties.items():
        if isinstance(value, dict) and isinstance(value.get("required"), bool) and value.pop("required"):
            yield name
