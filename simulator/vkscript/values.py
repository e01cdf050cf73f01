"""This file says how values behave: what counts as yes, what is equal, how they add up and turn into one another.

A value is what JSON knows: null, true, false, a finite number, a text, a list, or an object with texts as keys.
"""

import math
import operator
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from simulator.errors import failed_run

Value: TypeAlias = Any
Number: TypeAlias = int | float

_LARGEST: Final = 2**63
_NUMBER: Final = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)", re.ASCII)
_WHOLE: Final = re.compile(r"\s*([+-]?[0-9]+)", re.ASCII)
_LONGEST_INTEGER: Final = 18
_PLAIN: Final[dict[str, Callable[[Number, Number], Number]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def is_true(value: Value) -> bool:
    """Whether a value counts as yes: all but null, false, 0 and an empty text; empty lists do (as in JavaScript)."""
    return isinstance(value, list | dict) or bool(value)


def are_equal(left: Value, right: Value) -> bool:
    """Whether two values are equal: lists and objects only to themselves, null to null, a number to its text."""
    if left is None or right is None or isinstance(left, list | dict) or isinstance(right, list | dict):
        return left is right
    if isinstance(left, str) != isinstance(right, str):
        text, number = (left, right) if isinstance(left, str) else (right, left)
        return bool(number_of_text(text) == number)
    return bool(left == right)


def is_less(left: Value, right: Value) -> bool:
    """Whether a number is below another (null and false count as 0, true as 1), or a text before another.

    Raises:
        ApiError: 13 in VK's wording for values of different kinds (wording seen in public code).
    """
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if isinstance(left, str | list | dict) or isinstance(right, str | list | dict):
        raise failed_run("Comparing values of different or unsupported types")
    return to_number(left) < to_number(right)


def calculate(sign: str, left: Value, right: Value) -> Number:
    """`+ - * / %` of numbers; a remainder has the sign of the left one, a division that comes out even is whole.

    Raises:
        ApiError: 13 when a value is no number, for a division by zero, or when the result is too large.
    """
    one, other = to_number(left), to_number(right)
    if sign in _PLAIN:
        return _checked(_PLAIN[sign](one, other))
    if other == 0:
        raise failed_run("Division by zero")
    whole = isinstance(one, int) and isinstance(other, int)
    rest = abs(one) % abs(other) * (1 if one >= 0 else -1) if whole else math.fmod(one, other)
    if sign == "%":
        return rest
    return _checked(one // other if whole and rest == 0 else one / other)


def _checked(number: Number) -> Number:
    """The number itself; beyond 64 bits as a fraction, which keeps its size bounded."""
    if isinstance(number, int):
        return number if -_LARGEST <= number < _LARGEST else float(number)
    if not math.isfinite(number):
        raise failed_run("Number is too large")
    return number


def to_number(value: Value) -> Number:
    """A value as a number: null and false are 0, true is 1, a text is the number it spells.

    Raises:
        ApiError: 13 for anything else.
    """
    if value is None or isinstance(value, bool):
        return int(value or 0)
    if isinstance(value, int | float):
        return value
    number = number_of_text(value) if isinstance(value, str) else None
    if number is None:
        raise failed_run("Number expected")
    return number


def number_of_text(text: str) -> Number | None:
    """The number that a whole text spells, or None."""
    match = _NUMBER.fullmatch(text.rstrip())
    return _number(match[1]) if match else None


def parse_int(value: Value) -> int:
    """`parseInt`: the whole number a text begins with, a number without its fraction, and 0 for all else.

    JavaScript says NaN there, which JSON does not know.
    """
    if isinstance(value, str):
        match = _WHOLE.match(value)
        return int(_number(match[1])) if match else 0
    return int(value) if isinstance(value, int | float) else 0


def parse_double(value: Value) -> float:
    """`parseDouble`: the number a text begins with, a number itself, and 0 for all else."""
    if isinstance(value, str):
        match = _NUMBER.match(value)
        return float(_number(match[1])) if match else 0.0
    return float(value) if isinstance(value, int | float) else 0.0


def _number(digits: str) -> Number:
    if digits.lstrip("+-").isdigit() and len(digits) <= _LONGEST_INTEGER:
        return int(digits)
    number = float(digits)
    return number if math.isfinite(number) else math.copysign(_LARGEST, number)


def to_text(value: Value) -> str:
    """A single value as `+` joins it to a text.

    Raises:
        ApiError: 13 for lists and objects.
    """
    if isinstance(value, list | dict):
        raise failed_run("Text expected")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return number_text(value) if isinstance(value, float) else str(value)


def number_text(number: float) -> str:
    """A number as JavaScript writes it: without a fraction where there is none."""
    return str(int(number)) if number.is_integer() and abs(number) < _LARGEST else str(number)


def member(value: Value, name: str) -> Value:
    """`value.name`: `length` of lists and texts, the member of an object; null where there is none, and of null."""
    if isinstance(value, dict):
        return value.get(name)
    return len(value) if name == "length" and isinstance(value, str | list) else None


def item(value: Value, place: Value) -> Value:
    """`value[place]`: an item of a list, a letter of a text, a member of an object; null where there is none."""
    if isinstance(value, dict):
        return value.get(to_text(place))
    if not isinstance(value, list | str):
        return None
    number = number_of_text(place) if isinstance(place, str) else place
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
        return None
    return value[int(number)] if 0 <= number < len(value) else None
