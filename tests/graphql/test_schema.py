"""The schema as a whole: its exported text, its descriptions, its names."""

from pathlib import Path

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    build_schema,
)
from graphql.type import GraphQLNamedType, GraphQLUnionType

from schema import make_schema

EXPORTED = Path(__file__).parents[2] / "schema" / "schema.graphql"
NO_NEED = ("__", "Int", "String", "Boolean", "Float", "ID")


def test_exported_sdl_is_the_schema() -> None:
    assert EXPORTED.read_text(encoding="utf-8") == make_schema().as_str() + "\n", (
        "The schema has changed: run `vk-comments schema -o schema/schema.graphql` and look at the difference."
    )


def types() -> dict[str, GraphQLNamedType]:
    """Return all types of the exported schema except the built-in ones."""
    found = build_schema(EXPORTED.read_text(encoding="utf-8")).type_map
    return {name: type_ for name, type_ in found.items() if not name.startswith(NO_NEED)}


def test_everything_has_a_description() -> None:
    missing: list[str] = []
    for name, type_ in types().items():
        if not type_.description:
            missing.append(name)
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, field in type_.fields.items():
                if not field.description:
                    missing.append(f"{name}.{field_name}")
                arguments: dict[str, GraphQLArgument] = field.args
                missing += [f"{name}.{field_name}({arg})" for arg, value in arguments.items() if not value.description]
        if isinstance(type_, GraphQLEnumType):
            missing += [f"{name}.{value_name}" for value_name, value in type_.values.items() if not value.description]
        if isinstance(type_, GraphQLInputObjectType):
            missing += [f"{name}.{field_name}" for field_name, field in type_.fields.items() if not field.description]
    assert missing == []


def test_mutations_take_one_input_and_answer_with_a_union() -> None:
    mutation = types()["Mutation"]
    assert isinstance(mutation, GraphQLObjectType)
    for name, field in mutation.fields.items():
        assert list(field.args) == ["input"]
        named = name[0].upper() + name[1:]
        assert str(field.type) == f"{named}Result!"
        union = types()[f"{named}Result"]
        assert isinstance(union, GraphQLUnionType)
        members = [member.name for member in union.types]
        assert members[0] == f"{named}Success"
        assert all(member.endswith("Error") for member in members[1:])


def test_every_error_implements_the_interface() -> None:
    errors = [type_ for name, type_ in types().items() if name.endswith("Error") and name != "Error"]
    assert len(errors) > 10
    for error in errors:
        assert isinstance(error, GraphQLObjectType)
        assert [interface.name for interface in error.interfaces] == ["Error"]


@pytest.mark.parametrize("field", ["node", "group", "post", "comment", "author", "job"])
def test_single_objects_are_nullable(field: str) -> None:
    query = types()["Query"]
    assert isinstance(query, GraphQLObjectType)
    assert not str(query.fields[field].type).endswith("!")
