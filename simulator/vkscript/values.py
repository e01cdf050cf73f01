"""The semantics of values: which are truthy, which are equal, how they are added and converted.

A value is what JSON can represent: null, true, false, a finite number, a text, a list, or an object with text keys.
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
    """Return whether a value is truthy: not null, false, 0 or an empty text (as in JavaScript; empty lists are)."""
    return isinstance(value, list | dict) or bool(value)


def are_equal(left: Value, right: Value) -> bool:
    """Return whether two values are equal; lists and objects equal only themselves, null null, a number its text."""
    if left is None or right is None or isinstance(left, list | dict) or isinstance(right, list | dict):
        return left is right
    if isinstance(left, str) != isinstance(right, str):
        text, number = (left, right) if isinstance(left, str) else (right, left)
        return bool(number_of_text(text) == number)
    return bool(left == right)


def is_less(left: Value, right: Value) -> bool:
    """Return whether a number is below another (null and false count as 0, true as 1), or a text before another.

    Raises:
        ApiError: 13 in VK's wording for values of different kinds (wording seen in public code).
    """
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if isinstance(left, str | list | dict) or isinstance(right, str | list | dict):
        raise failed_run("Comparing values of different or unsupported types")
    return to_number(left) < to_number(right)


def calculate(sign: str, left: Value, right: Value) -> Number:
    """Return `+ - * / %` of numbers; a remainder has the sign of the left one, a division without remainder is whole.

    Raises:
        ApiError: 13 if a value is not a number, for a division by zero, or if the result is too large.
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
    """Return the number itself; beyond 64 bits as a float, which bounds its size."""
    if isinstance(number, int):
        return number if -_LARGEST <= number < _LARGEST else float(number)
    if not math.isfinite(number):
        raise failed_run("Number is too large")
    return number


def to_number(value: Value) -> Number:
    """Return a value as a number: null and false are 0, true is 1, a text is the number that it represents.

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
    """Return the number that a whole text represents, or None."""
    match = _NUMBER.fullmatch(text.rstrip())
    return _number(match[1]) if match else None


def parse_int(value: Value) -> int:
    """`parseInt`: the integer at the beginning of a text, a number without its fraction, and 0 for anything else.

    JavaScript returns NaN for the latter, which JSON cannot represent.
    """
    if isinstance(value, str):
        match = _WHOLE.match(value)
        return int(_number(match[1])) if match else 0
    return int(value) if isinstance(value, int | float) else 0


def parse_double(value: Value) -> float:
    """`parseDouble`: the number at the beginning of a text, a number itself, and 0 for anything else."""
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
    """Return a single value as the text that `+` appends to a text.

    Raises:
        ApiError: 13 for lists and objects.
    """
    if isinstance(value, list | dict):
        raise failed_run("Text expected")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return number_text(value) if isinstance(value, float) else str(value)


def number_text(number: float) -> str:
    """Return a number as JavaScript writes it: without a fraction if that is zero."""
    return str(int(number)) if number.is_integer() and abs(number) < _LARGEST else str(number)


def member(value: Value, name: str) -> Value:
    """`value.name`: `length` of lists and texts, or an object's member; null if it does not exist, and for null."""
    if isinstance(value, dict):
        return value.get(name)
    return len(value) if name == "length" and isinstance(value, str | list) else None


def item(value: Value, place: Value) -> Value:
    """`value[place]`: an item of a list, a character of a text, an object's member; null if it does not exist."""
    if isinstance(value, dict):
        return value.get(to_text(place))
    if not isinstance(value, list | str):
        return None
    number = number_of_text(place) if isinstance(place, str) else place
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
        return None
    return value[int(number)] if 0 <= number < len(value) else None
