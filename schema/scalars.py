"""Scalars of our own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from app.errors import ValidationFailed

LARGEST = 2**53

BigInt = NewType("BigInt", int)
"""An integer that JavaScript holds exactly."""
EXAMPLES = "2026-01-31T00:00:00Z or 2026-01-31T03:00:00+03:00"
LONGEST_TIME = 40
"""Characters of a rejected time that its error repeats."""


LARGEST_INT = 2**31 - 1
"""GraphQL's Int has 32 bits."""


def as_int(count: int) -> int:
    """Return a count of VK's as an Int: the largest one where VK states more."""
    return min(count, LARGEST_INT)


def _rejection(scalar: str, problem: str) -> GraphQLError:
    """Return the error for a value that a scalar rejects.

    As a `GraphQLError` it keeps its code wherever the value stands; graphql-core
    drops the code of other exceptions when the value is in a variable.
    """
    fault = ValidationFailed({scalar: problem})
    return GraphQLError(fault.message, extensions={"code": fault.code.value, **fault.facts()})


def _parse_big_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise _rejection("BigInt", "must be an integer between -2^53 and 2^53")
    return value


def _parse_datetime(value: object) -> datetime:
    """Return a time that a client sent, in UTC.

    A time without a zone is rejected: it would mean the local time of the server
    that reads it, which differs between servers.

    Raises:
        GraphQLError: the value is not a time, has no time zone, or is beyond the years 1 to 9999 in UTC.
    """
    shown = repr(str(value)[:LONGEST_TIME])
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _rejection("DateTime", f"{shown} is not a time in ISO 8601; write {EXAMPLES}")
    if moment.utcoffset() is None:
        raise _rejection("DateTime", f"{shown} has no time zone; write {EXAMPLES}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _rejection("DateTime", f"{shown} is beyond the years 1 to 9999 (UTC)") from None


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form: its name, and what is in it."""

    name: str
    data: bytes


Upload = NewType("Upload", UploadedFile)


def _parse_upload(value: object) -> object:
    if not isinstance(value, UploadedFile):
        raise _rejection("Upload", "must be a file, sent by the GraphQL multipart request specification")
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
        parse_value=_parse_big_int,
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A date with a time in ISO 8601. Results are in UTC. An input needs a time zone, `Z` or an offset "
        "such as `+03:00`; without one it is rejected with VALIDATION_FAILED.",
        serialize=datetime.isoformat,
        parse_value=_parse_datetime,
    ),
}
