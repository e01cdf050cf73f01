"""The shape of operations: what is counted, with fragments, and in time that does not depend on what they expand to."""

import pytest
from graphql import get_introspection_query, parse

from schema.limits import ShapeLimits, shape_problem, text_problem

LIMITS = ShapeLimits(tokens=5_000, depth=6, fields=100, root_fields=3, aliases=4, directives=5)


def exceeded(query: str) -> str | None:
    """Return which limit an operation exceeds."""
    problem = text_problem(query, LIMITS) or shape_problem(parse(query), LIMITS)
    return str((problem.extensions or {})["exceeded"]) if problem else None


def nested(levels: int) -> str:
    """Return a query with so many levels of fields."""
    return "{" + "a {" * (levels - 1) + "a" + "}" * levels


def names(count: int) -> str:
    """Return this many fields with different names."""
    return " ".join(f"f{number}" for number in range(count))


@pytest.mark.parametrize(
    ("within", "beyond", "what"),
    [
        (nested(6), nested(7), "levels of fields"),
        (f"{{a {{{names(99)}}}}}", f"{{a {{{names(100)}}}}}", "fields"),
        ("{a {" + "b " * 20 + "}}", "{a {" + "b " * 21 + "}}", "selections of one field"),
        ("{a b c}", "{a b c d}", "root fields"),
        ("{a {b: x c: x d: x e: x}}", "{a {b: x c: x d: x e: x f: x}}", "aliases in one selection set"),
        ("{a " + "@skip(if: false) " * 5 + "}", "{a " + "@skip(if: false) " * 6 + "}", "directives"),
        ("query " + "@x " * 5 + "{a}", "query " + "@x " * 6 + "{a}", "directives"),
        (nested(6), "{" * 201 + "a" + "}" * 201, "nested brackets"),
        ("{a(b: [" + "[] " * 2_000 + "])}", "{a(b: [" + "[] " * 5_000 + "])}", "tokens"),
    ],
)
def test_a_limit(within: str, beyond: str, what: str) -> None:
    assert exceeded(within) is None
    assert exceeded(beyond) == what


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("{...f} fragment f on Q {a b ...g} fragment g on Q {c d}", "root fields"),
        ("{... on Q {a b} ... {c d}}", "root fields"),
        ("{a {...f}} fragment f on A {b {c {d {e {f {g}}}}}}", "levels of fields"),
        (f"{{a {{...f ...f}}}} fragment f on A {{{names(60)}}}", "fields"),
        ("{a {...f}} fragment f on A {b: x c: x d: x e: x f: x}", "aliases in one selection set"),
        (f"{{a}} fragment f on A {{{names(101)}}}", "fields"),
        ("{a {...f}} fragment f on A {" + "b: x " * 21 + "}", "aliases in one selection set"),
        ("{a {" + "...f @x " * 6 + "}} fragment f on A {b}", "directives"),
    ],
)
def test_fragments_count_where_they_are_spread(query: str, what: str) -> None:
    assert exceeded(query) == what


def test_fragments_that_double_are_measured_once_each() -> None:
    doubling = " ".join(f"fragment f{number} on A {{...f{number + 1} ...f{number + 1}}}" for number in range(20))
    assert exceeded(f"{{a {{...f0}}}} {doubling} fragment f20 on A {{b}}") == "fields"


def test_a_long_chain_of_fragments() -> None:
    chain = " ".join(f"fragment f{number} on A {{...f{number + 1}}}" for number in range(800))
    assert exceeded(f"{{a {{...f0}}}} {chain} fragment f800 on A {{b}}") == "nested fragments"


def test_fragments_that_spread_themselves_are_left_to_validation() -> None:
    assert exceeded("{...f} fragment f on Q {a ...g} fragment g on Q {b ...f}") is None
    assert exceeded("{...unknown}") is None


def test_definitions_of_types_are_left_to_validation() -> None:
    assert exceeded("type A {a: Int} {a}") is None


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    text = "[" * 300
    assert exceeded(f'{{a(b: "{text}") # {text}\n c(d: """{text} " {text}""")}}') is None


def test_introspection_of_tools_is_within_the_limits() -> None:
    limits = ShapeLimits(tokens=5_000, depth=20, fields=2_000, root_fields=50, aliases=100, directives=200)
    assert shape_problem(parse(get_introspection_query(input_value_deprecation=True)), limits) is None


def test_introspection_that_returns_to_types() -> None:
    circle = "fields {type {" * 4 + "name" + "}}" * 4
    assert exceeded("{__schema {types {" + circle + "}}}") in ("levels of fields", "nested lists of types")
    wide = ShapeLimits(tokens=5_000, depth=50, fields=100, root_fields=3, aliases=4, directives=5)
    problem = shape_problem(parse("{__schema {types {" + circle + "}}}"), wide)
    assert problem
    assert (problem.extensions or {})["exceeded"] == "nested lists of types"
