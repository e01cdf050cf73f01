"""Lists that are longer than any page: they are completed in parts."""

import asyncio
from typing import Any

import pytest
import strawberry
from graphql import GraphQLError

from app.resources import Resources
from schema.long_lists import CHUNK, ChunkedExecution
from schema.paging import LARGEST_SIZE
from tests.conftest import Api, statements

MANY = LARGEST_SIZE + CHUNK + 1
WRONG = LARGEST_SIZE + 7
ADD = """
mutation ($keywords: [NewKeywordInput!]!) {
  addKeywords(input: {keywords: $keywords}) {
    ... on AddKeywordsSuccess { outcomes { phrase outcome keyword { phrase category matching matchCount } } }
  }
}"""


class Silent(strawberry.Schema):
    """A schema that does not log the errors of a test."""

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Do nothing."""


def _always(root: strawberry.Parent[Any]) -> Any:
    return root.number_or_error() if root.number == WRONG else asyncio.sleep(0, root.number)


@strawberry.type
class Item:
    """One of many items."""

    number: int
    always: int = strawberry.field(resolver=_always, graphql_type=int)

    @strawberry.field
    def at_once(self) -> int | None:
        """Return a value at once, except for one item."""
        return self.number_or_error()

    @strawberry.field
    async def later(self) -> int | None:
        """Return a value after other tasks have run, except for one item."""
        await asyncio.sleep(0)
        return self.number_or_error()

    def number_or_error(self) -> int:
        """Return the number, except for one item, which fails."""
        if self.number == WRONG:
            raise ValueError("wrong")
        return self.number


@strawberry.type
class Query:
    """Returns many items."""

    @strawberry.field
    def items(self, count: int) -> list[Item] | None:
        """Return this many items."""
        return [Item(number=number) for number in range(count)]


SCHEMA = Silent(Query, execution_context_class=ChunkedExecution)


async def execute(selection: str, count: int) -> tuple[Any, int]:
    """Execute a query; return its result, and how often another task ran meanwhile."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(others())
        result = await SCHEMA.execute(f"{{ items(count: {count}) {{ {selection} }} }}")
        other.cancel()
    return result, turns


async def test_other_tasks_run_between_the_parts() -> None:
    short, turns_of_short = await execute("number", LARGEST_SIZE)
    long, turns_of_long = await execute("number", MANY)
    assert short.data == {"items": [{"number": number} for number in range(LARGEST_SIZE)]}
    assert long.data == {"items": [{"number": number} for number in range(MANY)]}
    assert turns_of_long >= turns_of_short + MANY // CHUNK


@pytest.mark.parametrize("field", ["atOnce", "later"])
async def test_an_item_that_fails(field: str) -> None:
    result, _ = await execute(field, MANY)
    assert [error.path for error in result.errors] == [["items", WRONG, field]]
    assert result.data == {"items": [{field: None if number == WRONG else number} for number in range(MANY)]}


async def test_an_item_that_may_not_fail() -> None:
    result, _ = await execute("always", MANY)
    assert [error.path for error in result.errors] == [["items", WRONG, "always"]]
    assert result.data == {"items": None}


async def test_outcomes_of_many_keywords(api: Api, resources: Resources) -> None:
    phrases = [f"слово{number}" for number in range(MANY)]
    keywords = [
        {"phrase": phrases[0], "category": "a"},
        {"phrase": phrases[1], "matching": "SUBSTRING", "category": None},
        *({"phrase": phrase} for phrase in phrases[2:]),
    ]
    with statements(resources) as seen:
        outcomes = (await api.execute(ADD, keywords=keywords))["addKeywords"]["outcomes"]
    assert [each["phrase"] for each in outcomes] == phrases
    assert {each["outcome"] for each in outcomes} == {"ADDED"}
    plain = {"category": None, "matching": "WORD_FORMS", "matchCount": 0}
    assert [each["keyword"] for each in outcomes] == [
        {**plain, "phrase": phrases[0], "category": "a"},
        {**plain, "phrase": phrases[1], "matching": "SUBSTRING"},
        *({**plain, "phrase": phrase} for phrase in phrases[2:]),
    ]
    assert sum("FROM keyword_months" in text for text in seen.texts) == MANY // CHUNK + 1
