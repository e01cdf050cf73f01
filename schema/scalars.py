"""Scalars of our own."""

from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from app.errors import ValidationFailed

LARGEST = 2**53

BigInt = NewType("BigInt", int)
"""An integer that JavaScript holds exactly."""


def _parse(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise ValidationFailed({"BigInt": "must be an integer between -2^53 and 2^53"})
    return value


SCALARS: dict[object, ScalarDefinition] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer beyond 32 bits, as a JSON number; exact up to 2^53, as JavaScript's numbers are.",
        serialize=int,
        parse_value=_parse,
    )
}
