"""The example operations of GraphiQL are valid."""

import json
from pathlib import Path

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate
from graphql.execution.values import get_variable_values

from schema import make_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "web" / "examples").glob("*.graphql"))


@pytest.fixture(scope="module")
def sdl() -> GraphQLSchema:
    return build_schema(make_schema().as_str())


def test_examples_exist() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, sdl: GraphQLSchema) -> None:
    document = parse(path.read_text())
    assert [error.message for error in validate(sdl, document)] == []
    [operation] = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    assert operation.name
    variables = json.loads(path.with_suffix(".json").read_text())
    coerced = get_variable_values(sdl, operation.variable_definitions or (), variables)
    assert not isinstance(coerced, list), coerced
