"""Operations that are too large are rejected before they are validated, over HTTP and WebSocket."""

from contextlib import asynccontextmanager

import pytest

from app.resources import open_resources
from tests.conftest import Api, MakeSettings, serve

ALIASES = "aliases in one selection set"
LARGE = {
    "aliases of one field": ("{" + " ".join(f"a{number}: __typename" for number in range(20_000)) + "}", "tokens"),
    "failing aliases": ("{" + " ".join(f'a{number}: node(id: "x") {{id}}' for number in range(400)) + "}", ALIASES),
    "duplicate fields": ("{" + "__typename " * 10_000 + "}", "tokens"),
    "overlapping fields": ("{groups {" + "nodes {id} " * 800 + "}}", "selections of one field"),
    "directives": ("{__typename " + "@include(if: true) " * 500 + "}", "directives"),
    "nested lists": ("{" + "[" * 50_000 + "}", "nested brackets"),
    "introspections": ("{" + " ".join(f"a{n}: __schema {{types {{name}}}}" for n in range(51)) + "}", "root fields"),
}


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_operation(api: Api, name: str) -> None:
    query, what = LARGE[name]
    error = await api.fail(query)
    if what == "tokens":  # the parser's own limit
        assert error["extensions"] == {"code": "GRAPHQL_PARSE_FAILED"}
        assert "more than 5000 tokens" in error["message"]
        return
    limit = error["extensions"]["limit"]
    assert error["message"] == f"The operation has more than {limit} {what}. Split it into several operations."
    assert error["extensions"] == {"code": "OPERATION_TOO_LARGE", "limit": limit, "exceeded": what}


@pytest.mark.parametrize(
    ("query", "code"),
    [("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "GRAPHQL_VALIDATION_FAILED")],
)
async def test_errors_of_the_engine_have_codes(api: Api, query: str, code: str) -> None:
    assert (await api.fail(query))["extensions"] == {"code": code}


async def test_limits_are_settings(make_settings: MakeSettings) -> None:
    async with (
        open_resources(make_settings(operation_max_root_fields=1)) as resources,
        asynccontextmanager(serve)(resources) as api,
    ):
        assert await api.execute("{ __typename }") == {"__typename": "Query"}
        error = await api.fail("{ a: __typename b: __typename }")
    assert error["extensions"] == {"code": "OPERATION_TOO_LARGE", "limit": 1, "exceeded": "root fields"}
