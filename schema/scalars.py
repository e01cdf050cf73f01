"""The scalars of this API."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NewType, TypeAlias

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from app.errors import ValidationFailed

LARGEST = 2**53

if TYPE_CHECKING:
    BigInt: TypeAlias = int  # so that no field of a row needs a call that does nothing
else:
    BigInt = NewType("BigInt", int)
"""An integer that JavaScript represents exactly."""
EXAMPLES = "2026-01-31T00:00:00Z or 2026-01-31T03:00:00+03:00"
LONGEST_TIME = 40
"""The maximum length of a rejected time in its error message."""


LARGEST_INT = 2**31 - 1
"""The largest value of GraphQL's Int, which has 32 bits."""


def as_int(count: int) -> int:
    """Return a count of VK as an Int, limited to the largest Int."""
    return min(count, LARGEST_INT)


def _rejection(scalar: str, problem: str) -> GraphQLError:
    """Return the error for a value that a scalar rejects.

    A `GraphQLError` keeps its code wherever the value is; graphql-core drops the code of
    other exceptions if the value is in a variable.
    """
    fault = ValidationFailed({scalar: problem})
    return GraphQLError(fault.message, extensions={"code": fault.code.value, **fault.facts()})


def _parse_big_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST:
        raise _rejection("BigInt", "must be an integer between -2^53 and 2^53")
    return value


def _parse_datetime(value: object) -> datetime:
    """Return a time that a client sent, in UTC.

    Reject a time without a zone: it would be read as the local time of the server, which
    differs between servers.

    Raises:
        GraphQLError: the value is not a time, has no time zone, or is outside the years 1 to 9999 in UTC.
    """
    shown = repr(str(value)[:LONGEST_TIME])
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise _rejection("DateTime", f"{shown} is not a time in ISO 8601, such as {EXAMPLES}")
    if moment.utcoffset() is None:
        raise _rejection("DateTime", f"{shown} has no time zone; it must be like {EXAMPLES}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise _rejection("DateTime", f"{shown} is outside the years 1 to 9999 (UTC)") from None


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An uploaded file: its name and content."""

    name: str
    data: bytes


Upload = NewType("Upload", UploadedFile)


def _parse_upload(value: object) -> object:
    if not isinstance(value, UploadedFile):
        raise _rejection("Upload", "must be a file, sent according to the GraphQL multipart request specification")
    return value


SCALARS: dict[object, ScalarDefinition] = {
    Upload: strawberry.scalar(
        name="Upload",
        description="A file, sent as multipart/form-data according to the GraphQL multipart request specification.",
        parse_value=_parse_upload,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="An integer of more than 32 bits, as a JSON number; exact up to 2^53, like JavaScript numbers.",
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
