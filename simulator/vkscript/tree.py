"""The nodes of a script's tree: expressions, which have a value, and statements, which have an effect.

Chains of operators and steps are flat, not nested, so that a long one costs no depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null."""

    value: float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """`{"a": b}`."""

    entries: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that an earlier `var` declares."""

    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """`Args`: the other parameters of the request, as texts."""


@dataclass(frozen=True, slots=True)
class Path:
    """`start.a[b]@.c.slice(d)`: a value and the steps from it."""

    start: Expression
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """`.name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """`[place]`."""

    place: Expression


@dataclass(frozen=True, slots=True)
class Each:
    """`@.name`: this member of each item of a list."""

    name: str


@dataclass(frozen=True, slots=True)
class MethodCall:
    """`.name(arguments)`, one of `methods.METHODS`."""

    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """`API.section.method(argument)`; `method` is "section.method"; a missing argument is an empty object."""

    method: str
    argument: Expression


@dataclass(frozen=True, slots=True)
class Parsed:
    """`parseInt(operand)` if `whole`, otherwise `parseDouble(operand)`."""

    operand: Expression
    whole: bool


@dataclass(frozen=True, slots=True)
class Unary:
    """`!operand`, `-operand`, or several such signs, the one next to the operand last."""

    signs: tuple[str, ...]
    operand: Expression


@dataclass(frozen=True, slots=True)
class Chain:
    """`first + a - b`: operators of one rank, from left to right."""

    first: Expression
    rest: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """`a && b && c`: the first falsy value, or the last."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`a || b || c`: the first truthy value, or the last."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Assignment:
    """`target = value`, or with `operator` + or - `target += value`; its value is the new one."""

    target: Target
    operator: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Declaration:
    """`var a = 1, b;`."""

    variables: tuple[tuple[str, Expression | None], ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An expression whose value is ignored."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Block:
    """`{...}`; an empty one also stands for a lone `;`."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """`if (a) b else if (c) d else e`: conditions and their statements in order, and the final else statement."""

    branches: tuple[tuple[Expression, Statement], ...]
    otherwise: Statement


@dataclass(frozen=True, slots=True)
class Loop:
    """`while (condition) body`."""

    condition: Expression
    body: Statement


@dataclass(frozen=True, slots=True)
class Return:
    """`return value;`."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Deletion:
    """`delete target;`."""

    target: Target


Expression: TypeAlias = (
    Literal
    | ListOf
    | ObjectOf
    | Variable
    | Arguments
    | Path
    | ApiCall
    | Parsed
    | Unary
    | Chain
    | AllOf
    | AnyOf
    | Choice
    | Assignment
)
Step: TypeAlias = Member | Index | Each | MethodCall
Target: TypeAlias = Variable | Path
Statement: TypeAlias = Declaration | Evaluation | Block | Condition | Loop | Return | Deletion
