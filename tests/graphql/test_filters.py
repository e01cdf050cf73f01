"""Each field of each filter of the schema restricts the results: a field that is not implemented is detected."""

from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    build_schema,
    get_named_type,
    get_nullable_type,
)

from app.resources import Resources
from schema import make_schema
from tests.conftest import Api, Wall, write_wall
from tests.graphql.conftest import gid

FILTERS = {
    name: type_
    for name, type_ in build_schema(make_schema().as_str()).type_map.items()
    if isinstance(type_, GraphQLInputObjectType) and name.endswith("Filter")
}
LISTS = {
    "GroupFilter": "groups",
    "PostFilter": "posts",
    "CommentFilter": "comments",
    "KeywordFilter": "keywords",
    "JobFilter": "jobs",
}
NODES = {
    "groupIds": ("Group", (-99,)),
    "postIds": ("Post", (-99, 99)),
    "authorIds": ("Author", (99,)),
    "keywordIds": ("Keyword", (99,)),
    "waveIds": ("Wave", (99,)),
}
LATEST, EARLIEST = "9999-01-01T00:00:00Z", "0002-01-01T00:00:00Z"
FIELDS = [(name, field) for name, type_ in FILTERS.items() for field in type_.fields]


def values(filter_name: str, name: str) -> list[Any]:
    """Return values of a field that no row of the wall matches all of: a single one, or true and false."""
    type_: Any = get_nullable_type(FILTERS[filter_name].fields[name].type)
    inner: Any = get_named_type(type_)
    value: Any
    if isinstance(inner, GraphQLInputObjectType):
        value = {"publishedFrom": EARLIEST if name == "not" else LATEST}
    elif isinstance(inner, GraphQLEnumType):
        value = next(iter(inner.values))
    elif inner.name == "ID":
        type_name, key = NODES[name]
        value = gid(type_name, *key)
    elif inner.name == "Boolean":
        return [True, False]
    else:
        value = {"String": "zzz", "Int": 2**31 - 1, "DateTime": EARLIEST if name.endswith("To") else LATEST}[inner.name]
    return [[value] if isinstance(type_, GraphQLList) else value]


def test_every_filter_is_tested() -> None:
    assert FILTERS.keys() == LISTS.keys()


@pytest.mark.parametrize(("filter_name", "field"), FIELDS, ids=str)
async def test_each_field_restricts_its_list(api: Api, wall: Wall, filter_name: str, field: str) -> None:
    query = (
        f"query ($filter: {filter_name}) {{ {LISTS[filter_name]}(filter: $filter) {{ nodes {{ id }} totalCount }} }}"
    )
    found = []
    for value in values(filter_name, field):
        answer = (await api.execute(query, filter={field: value}))[LISTS[filter_name]]
        assert answer["totalCount"] == len(answer["nodes"])
        found.append({node["id"] for node in answer["nodes"]})
    assert set.intersection(*found) == set()
    assert wall.comment_ids


@pytest.mark.parametrize("field", FILTERS["CommentFilter"].fields)
async def test_removing_comments_ignores_no_field(api: Api, resources: Resources, wall: Wall, field: str) -> None:
    await write_wall(resources, -2)
    remove = """mutation ($filter: CommentFilter) { removeComments(input: {filter: $filter}) {
      __typename ... on RemoveCommentsSuccess { changedCount } } }"""
    count = "query ($filter: CommentFilter) { comments(filter: $filter) { totalCount } }"
    everything = (await api.execute(count, filter=None))["comments"]["totalCount"]
    assert everything == 2 * len(wall.comment_ids)
    selected = {field: values("CommentFilter", field)[0]}
    found = (await api.execute(count, filter=selected))["comments"]["totalCount"]
    removed = (await api.execute(remove, filter=selected))["removeComments"]
    left = (await api.execute(count, filter=None))["comments"]["totalCount"]
    assert removed == {"__typename": "RemoveCommentsSuccess", "changedCount": found}
    assert left == everything - found
    assert found < everything
