"""Each job kind is complete: one record in its module, with models that can be stored, and a type of the API."""

from dataclasses import is_dataclass
from typing import Any

import pytest
from pydantic import TypeAdapter

from app.background import DEFINITIONS
from app.jobs.definitions import AnyJobDefinition
from app.json_models import from_json, to_json
from app.json_types import JsonObject
from app.work.collecting.collection import CollectionRequest
from app.work.exporting.export_request import ExportRequest
from app.work.kinds import JobKind
from schema.job_results import RESULT_TYPES

KINDS = list(JobKind)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def definition(request: pytest.FixtureRequest) -> AnyJobDefinition:
    """Return the definition of each kind."""
    return DEFINITIONS[request.param.value]


def test_every_kind_has_a_definition() -> None:
    assert [definition.kind for definition in DEFINITIONS.values()] == KINDS


def test_it_stands_in_the_module_named_after_it(definition: AnyJobDefinition) -> None:
    handler: Any = definition.handler
    assert handler.__name__ == definition.kind.value
    assert handler.__module__.rpartition(".")[2] == definition.kind.value
    assert definition.description.endswith(".")


def test_its_models_are_declared(definition: AnyJobDefinition) -> None:
    for model in (definition.arguments, definition.result):
        assert is_dataclass(model)
    for model in (definition.arguments, definition.checkpoint, definition.result):
        assert TypeAdapter(model).json_schema()


def test_its_result_has_a_type_of_the_api(definition: AnyJobDefinition) -> None:
    assert definition.result in RESULT_TYPES


def test_no_two_kinds_have_the_same_result() -> None:
    assert len({definition.result for definition in DEFINITIONS.values()}) == len(DEFINITIONS)


def test_the_communities_of_a_job() -> None:
    collection = DEFINITIONS[JobKind.COLLECT_COMMENTS.value]
    request = CollectionRequest((-1,), {-2: (3,)})
    assert (list(collection.groups(request)), list(collection.claims(request))) == ([-1, -2], [-1])
    export = DEFINITIONS[JobKind.EXPORT_COMMENTS.value]
    stored: JsonObject = {"conditions": {}, "format": "csv", "columns": ["vkId"], "compression": None, "csv": {}}
    exported = from_json(ExportRequest, stored)
    assert from_json(ExportRequest, to_json(exported)) == exported
    assert list(export.claims(exported)) == []
