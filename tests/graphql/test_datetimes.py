"""Each DateTime that a client can send: without a time zone it is rejected, in any place of an operation."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    get_nullable_type,
    is_required_argument,
    is_required_input_field,
)

from app.settings import Settings
from schema import make_schema
from tests.conftest import Api

SDL = make_schema().as_str()
SCHEMA = build_schema(SDL)
PLACEHOLDERS: dict[str, Any] = {
    "ID": "x",
    "String": "x",
    "Int": 1,
    "Float": 1.0,
    "Boolean": True,
    "BigInt": 1,
    "Upload": "x",
}
NESTED = 2
"""How often one input type is entered on the way to a DateTime: filters are nested in filters."""


class Literal(str):
    """GraphQL text that is written without quotes: a name of an enum, or a variable."""

    __slots__ = ()


@dataclass(frozen=True)
class Place:
    """One argument through which a DateTime can be sent.

    `fields` leads from the root to the field, each with its required arguments;
    `path` leads into the argument, with numbers as positions in lists; `declared`
    are the inputs of the SDL on this way.
    """

    operation: str
    fields: tuple[tuple[str, str], ...]
    argument: str
    type: str
    path: tuple[str | int, ...]
    value: Any
    declared: str

    def document(self, given: Any, variables: str = "") -> str:
        """Return an operation that sends `given` as the argument."""
        *outer, (name, required) = self.fields
        arguments = ", ".join(filter(None, [required, f"{self.argument}: {written(given)}"]))
        text = f"{name}({arguments}) {{ __typename }}"
        for outer_name, outer_required in reversed(outer):
            text = f"{outer_name}{f'({outer_required})' if outer_required else ''} {{ {text} }}"
        return f"{self.operation} {variables} {{ {text} }}"

    def sending(self, moment: Any) -> Any:
        """Return the argument's value with `moment` at the place."""
        return put(self.value, self.path, moment)


def put(value: Any, path: tuple[str | int, ...], moment: Any) -> Any:
    if not path:
        return moment
    first, *rest = path
    inner = put(value[first], tuple(rest), moment)
    return [inner] if isinstance(value, list) else {**value, first: inner}


def written(value: Any) -> str:
    """Return a value as a GraphQL literal."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {written(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Literal) else str(value)


def is_required(input_: GraphQLArgument | GraphQLInputField) -> bool:
    if isinstance(input_, GraphQLArgument):
        return is_required_argument(input_)
    return is_required_input_field(input_)


def placeholder(type_: Any) -> Any:
    """Return any value of an input type."""
    nullable: Any = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        return []
    if isinstance(nullable, GraphQLEnumType):
        return Literal(next(iter(nullable.values)))
    if isinstance(nullable, GraphQLInputObjectType):
        return required_of(nullable)
    return PLACEHOLDERS[nullable.name]


def required_of(type_: GraphQLInputObjectType) -> dict[str, Any]:
    return {name: placeholder(field.type) for name, field in type_.fields.items() if is_required(field)}


def datetimes_in(
    type_: Any, declared: str, entered: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any, str]]:
    """Yield each way to a DateTime in an input: its path, a value around it, and where the SDL declares it."""
    nullable: Any = get_nullable_type(type_)
    if isinstance(nullable, GraphQLList):
        for path, value, where in datetimes_in(nullable.of_type, declared, entered):
            yield (0, *path), [value], where
    elif isinstance(nullable, GraphQLInputObjectType):
        if entered.count(nullable.name) == NESTED:
            return
        for name, field in nullable.fields.items():
            deeper = (*entered, nullable.name)
            for path, value, where in datetimes_in(field.type, f"{nullable.name}.{name}", deeper):
                yield (name, *path), {**required_of(nullable), name: value}, where
    elif nullable.name == "DateTime":
        yield (), None, declared


def required_arguments(arguments: dict[str, GraphQLArgument], but: str = "") -> str:
    given = {name: placeholder(each.type) for name, each in arguments.items() if is_required(each) and name != but}
    return ", ".join(f"{name}: {written(value)}" for name, value in given.items())


def places(schema: GraphQLSchema) -> Iterator[Place]:
    """Yield each place of each field that the roots lead to; each type is entered by the shortest way."""
    seen: set[str] = set()
    for operation, root in (("query", schema.query_type), ("mutation", schema.mutation_type)):
        assert root
        waiting: list[tuple[GraphQLObjectType | GraphQLInterfaceType, tuple[tuple[str, str], ...]]] = [(root, ())]
        seen.add(root.name)
        for type_, way in waiting:  # grows during the loop
            for name, field in type_.fields.items():
                for argument, each in field.args.items():
                    here = (*way, (name, required_arguments(field.args, argument)))
                    for path, value, where in datetimes_in(each.type, f"{type_.name}.{name}({argument})"):
                        yield Place(operation, here, argument, str(each.type), path, value, where)
                result: Any = get_named_type(field.type)
                members = result.types if isinstance(result, GraphQLUnionType) else [result]
                for member in members:
                    if not isinstance(member, GraphQLObjectType | GraphQLInterfaceType) or member.name in seen:
                        continue
                    seen.add(member.name)
                    inner = f"... on {member.name}" if isinstance(result, GraphQLUnionType) else ""
                    step = ((name, required_arguments(field.args)), *([(inner, "")] if inner else []))
                    waiting.append((member, (*way, *step)))


PLACES = list(places(SCHEMA))


def test_the_places_cover_all_datetimes_of_the_schema() -> None:
    declared = set()
    for type_ in SCHEMA.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            inputs: Any = {f"{type_.name}.{name}": field for name, field in type_.fields.items()}
        elif isinstance(type_, GraphQLObjectType):
            inputs = {
                f"{type_.name}.{name}({argument})": each
                for name, field in type_.fields.items()
                for argument, each in field.args.items()
            }
        else:
            continue
        declared |= {place for place, each in inputs.items() if get_named_type(each.type).name == "DateTime"}
    assert {place.declared for place in PLACES} == declared
    assert len(declared) >= 10


def ways(place: Place, moment: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield operations that send a time at a place, with their variables: as a literal and by variables."""
    yield place.document(place.sending(moment)), {}
    yield place.document(Literal("$v"), f"($v: {place.type})"), {"v": place.sending(moment)}
    yield place.document(place.sending(Literal("$v")), "($v: DateTime)"), {"v": moment}
    yield place.document(place.sending(Literal("$v")), f"($v: DateTime = {written(moment)})"), {}


async def test_a_time_without_a_zone_is_rejected_everywhere() -> None:
    schema, moment = make_schema(), "2026-01-31T00:00:00"
    context: Any = SimpleNamespace(resources=SimpleNamespace(settings=Settings.model_construct()))
    for document, variables in (way for place in PLACES for way in ways(place, moment)):
        result: Any = await schema.execute(document, variable_values=variables, context_value=context)
        [error] = result.errors
        assert result.data is None
        assert f"DateTime: '{moment}' has no time zone; it must be like 2026-01-31T00:00:00Z or" in error.message, (
            document
        )
        assert error.extensions["code"] == "VALIDATION_FAILED"
        assert [field["path"] for field in error.extensions["fields"]] == ["DateTime"]


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        ("2026-01-31", "'2026-01-31' has no time zone; it must be like"),
        ("yesterday", "'yesterday' is not a time in ISO 8601, such as"),
        ("2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z' is not a time in ISO 8601, such as"),
        (1_772_323_200, "'1772323200' is not a time in ISO 8601, such as"),
        ("x" * 10_000, f"{'x' * 40!r} is not a time"),
        ("0001-01-01T00:00:00+05:00", "'0001-01-01T00:00:00+05:00' is outside the years 1 to 9999 (UTC)"),
        ("9999-12-31T23:00:00-05:00", "'9999-12-31T23:00:00-05:00' is outside the years 1 to 9999 (UTC)"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_values_that_are_not_times_are_rejected(api: Api, moment: Any, problem: str) -> None:
    query = "query ($v: DateTime) { comments(filter: {publishedFrom: $v}) { nodes { id } } }"
    error = await api.fail(query, v=moment)
    assert problem in error["message"]
    assert error["extensions"]["code"] == "VALIDATION_FAILED"


@pytest.mark.parametrize(
    "moment",
    ["2026-01-31T00:00:00Z", "2026-01-31T03:00:00+03:00", "2026-01-30T18:30:00.000-05:30", "20260131T000000Z"],
)
async def test_times_with_a_zone_are_the_same_moment(api: Api, moment: str) -> None:
    query = "query ($v: DateTime) { statistics(from: $v) { from } }"
    assert await api.execute(query, v=moment) == {"statistics": {"from": "2026-01-31T00:00:00+00:00"}}
