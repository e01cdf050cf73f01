"""Scalars of our own."""

from dataclasses import dataclass
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from app.errors import ValidationFailed

LARGEST = 2**53

BigInt = NewType("BigInt", int)
"""An integer that JavaScript holds exactly."""


LARGEST_INT = 2**31 - 1
"""GraphQL's Int has 32 bits."""


def as_int(count: int) -> int:
    """Return a count of VK's as an Int: the largest one where VK states more."""
    return min(count, LARGEST_INT)


def _parse(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise ValidationFailed({"BigInt": "must be an integer between -2^53 and 2^53"})
    return value


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form: its name, and what is in it."""

    name: str
    data: bytes


Upload = NewType("Upload", UploadedFile)


def _parse_upload(value: object) -> object:
    if not isinstance(value, UploadedFile):
        raise ValidationFailed({"Upload": "must be a file, sent by the GraphQL multipart request specification"})
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Upload: strawberry.scalar(
        name="Upload",
        description="A file, sent as multipart/form-data by the GraphQL multipart request specification.",
        parse_value=_parse_upload,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer beyond 32 bits, as a JSON number; exact up to 2^53, as JavaScript's numbers are.",
        serialize=int,
        parse_value=_parse,
    ),
}
