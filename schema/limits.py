"""Limits the shape of operations before they are validated: validation and execution of a large one take seconds.

Sizes are counted with fragments expanded, in one pass that visits each fragment once, so
that a few fragments that spread each other cannot stand for millions of fields.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)
from strawberry.extensions import SchemaExtension

from app.errors import ErrorCode
from app.settings import Settings
from schema.context import Context

MOST_NESTED_BRACKETS = 200
"""The parser calls itself for each level, and Python allows about a thousand calls."""
INTROSPECTION_LISTS = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})
"""The fields of an introspection that return to types: nested in each other, their results grow exponentially."""
MOST_NESTED_INTROSPECTION_LISTS = 3
MOST_REPETITIONS = 20
"""How often a selection set may select one field: validation compares each pair, with all that is selected in them."""
MOST_NESTED_FRAGMENTS = 50
"""Validation calls itself for each fragment that a fragment spreads."""
_BRACKETS = re.compile(r'"""(?:\\"""|.)*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*|[{}\[\]()]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ShapeLimits:
    """The largest operation that is accepted. `aliases` counts per selection set, the rest per document."""

    tokens: int
    depth: int
    fields: int
    root_fields: int
    aliases: int
    directives: int

    @classmethod
    def of(cls, settings: Settings) -> "ShapeLimits":
        """Return the limits that the settings state."""
        return cls(
            tokens=settings.operation_max_tokens,
            depth=settings.operation_max_depth,
            fields=settings.operation_max_fields,
            root_fields=settings.operation_max_root_fields,
            aliases=settings.operation_max_aliases,
            directives=settings.operation_max_directives,
        )


class Shape(NamedTuple):
    """The size of a selection set with its fragments.

    `introspection` is how deep lists of types are nested in it, `fragments` how deep spreads of fragments are;
    `repetitions` is how often one of its selection sets selects the same field.
    """

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    introspection: int = 0
    fragments: int = 0
    repetitions: int = 0


def limit_exceeded(what: str, limit: int) -> GraphQLError:
    """Return the error for an operation with more than `limit` of `what`."""
    return GraphQLError(
        f"The operation has more than {limit} {what}. Split it into several operations.",
        extensions={"code": ErrorCode.OPERATION_TOO_LARGE.value, "limit": limit, "exceeded": what},
    )


def text_problem(query: str, limits: ShapeLimits) -> GraphQLError | None:
    """Return why a document must not be parsed: it has too many brackets, or they are nested too deeply."""
    depth = count = 0
    for match in _BRACKETS.finditer(query):
        bracket = match[0]
        if bracket in "{[(":
            depth += 1
            count += 1
            if depth > MOST_NESTED_BRACKETS:
                return limit_exceeded("nested brackets", MOST_NESTED_BRACKETS)
            if count > limits.tokens:
                return limit_exceeded("tokens", limits.tokens)
        elif bracket in "}])":
            depth -= 1
    return None


def shape_problem(document: DocumentNode, limits: ShapeLimits) -> GraphQLError | None:
    """Return why a parsed document must not be validated, None if it may be."""
    definitions = document.definitions
    fragments = {node.name.value: node for node in definitions if isinstance(node, FragmentDefinitionNode)}
    measured = _Measured(fragments)
    for node in definitions:
        if not isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            continue
        shape = measured.selection_set(node.selection_set)
        found = {
            "levels of fields": (shape.depth, limits.depth),
            "fields": (shape.fields, limits.fields),
            "aliases in one selection set": (shape.aliases, limits.aliases),
            "directives": (shape.directives + len(node.directives or ()), limits.directives),
            "nested lists of types": (shape.introspection, MOST_NESTED_INTROSPECTION_LISTS),
            "nested fragments": (shape.fragments, MOST_NESTED_FRAGMENTS),
            "selections of one field": (shape.repetitions, MOST_REPETITIONS),
        }
        if isinstance(node, OperationDefinitionNode):
            found["root fields"] = (measured.root_fields(node.selection_set), limits.root_fields)
        for what, (number, limit) in found.items():
            if number > limit:
                return limit_exceeded(what, limit)
    return None


class _Measured:
    """The sizes of the fragments of a document, each computed once."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._shapes: dict[str, Shape] = {}
        self._root_fields: dict[str, int] = {}
        for name in _innermost_first(fragments):
            self._shapes[name] = self.selection_set(fragments[name].selection_set)
            self._root_fields[name] = self.root_fields(fragments[name].selection_set)

    def selection_set(self, node: SelectionSetNode) -> Shape:
        """Return the size of a selection set."""
        shape, aliases = Shape(), 0
        selected: Counter[str] = Counter()
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                aliases += selection.alias is not None
                selected[(selection.alias or selection.name).value] += 1
                inner = self._field(selection)
            elif isinstance(selection, InlineFragmentNode):
                inner = self.selection_set(selection.selection_set)
            else:
                # unknown fragments, and those that spread themselves, are empty here: validation rejects them
                inner = self._shapes.get(_spread_name(selection), Shape())
                inner = inner._replace(fragments=inner.fragments + 1)
            shape = Shape(
                max(shape.depth, inner.depth),
                shape.fields + inner.fields,
                max(shape.aliases, inner.aliases),
                shape.directives + inner.directives + len(selection.directives or ()),
                max(shape.introspection, inner.introspection),
                max(shape.fragments, inner.fragments),
                max(shape.repetitions, inner.repetitions),
            )
        repetitions = max(selected.values(), default=0)
        return shape._replace(aliases=max(shape.aliases, aliases), repetitions=max(shape.repetitions, repetitions))

    def root_fields(self, node: SelectionSetNode) -> int:
        """Return the number of fields at the root of an operation."""
        count = 0
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                count += 1
            elif isinstance(selection, InlineFragmentNode):
                count += self.root_fields(selection.selection_set)
            else:
                count += self._root_fields.get(_spread_name(selection), 0)
        return count

    def _field(self, node: FieldNode) -> Shape:
        inner = self.selection_set(node.selection_set) if node.selection_set else Shape()
        return inner._replace(
            depth=inner.depth + 1,
            fields=inner.fields + 1,
            introspection=inner.introspection + (node.name.value in INTROSPECTION_LISTS),
        )


def _innermost_first(fragments: Mapping[str, FragmentDefinitionNode]) -> list[str]:
    """Return the names of fragments, each behind those that it spreads; without recursion, as chains may be long."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    stack = list(fragments)
    while stack:
        name = stack[-1]
        inner = [] if name in entered else [each for each in _spreads(fragments[name]) if each in fragments]
        entered.add(name)
        if waiting := [each for each in inner if each not in entered]:
            stack += waiting
        else:
            order[stack.pop()] = None
    return list(order)


def _spreads(fragment: FragmentDefinitionNode) -> Iterator[str]:
    stack = [fragment.selection_set]
    while stack:
        for selection in stack.pop().selections:
            if isinstance(selection, FieldNode | InlineFragmentNode):
                stack += [selection.selection_set] if selection.selection_set else []
            else:
                yield _spread_name(selection)


def _spread_name(selection: SelectionNode) -> str:
    return selection.name.value if isinstance(selection, FragmentSpreadNode) else ""


class LimitShape(SchemaExtension):
    """Rejects operations whose text or shape exceeds the limits, before they are parsed or validated."""

    def on_parse(self) -> Iterator[None]:
        """Limit the tokens that the parser reads."""
        limits = self._limits()
        if self.execution_context.query:
            if problem := text_problem(self.execution_context.query, limits):
                raise problem
            self.execution_context.parse_options["max_tokens"] = limits.tokens
        yield

    def on_validate(self) -> Iterator[None]:
        """Skip validation if the shape exceeds a limit."""
        document = self.execution_context.graphql_document
        if document and (problem := shape_problem(document, self._limits())):
            self.execution_context.pre_execution_errors = [problem]
        yield

    def _limits(self) -> ShapeLimits:
        context: Context = self.execution_context.context
        return ShapeLimits.of(context.resources.settings)
