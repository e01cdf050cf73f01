"""This file reads requests: where VK takes parameters from, and its rules for numbers, flags, lists and versions."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from simulator.errors import ApiError, invalid
from simulator.tokens import TokenKind

OLDEST_VERSION: Final = (5, 81)
NEWEST_VERSION: Final = (5, 199)
# From this version on groups.getById and wall.getById answer with an object, before it with a bare list.
OBJECT_ANSWERS_SINCE: Final = (5, 139)
_LARGEST_FIELD_BYTES: Final = 16 * 1024 * 1024
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)


def parse_query(query: bytes) -> dict[str, str]:
    """Parameters of a query string or an urlencoded body; of a name that comes twice the last value counts."""
    return dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))


async def read_form(request: Request) -> dict[str, str]:
    """Parameters of a body, urlencoded or multipart; a broken or another kind of body holds none (VK reads no JSON)."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return parse_query(body)
    if kind != "multipart/form-data":
        return {}
    try:
        async with request.form(max_part_size=_LARGEST_FIELD_BYTES) as form:
            return {name: value for name, value in form.multi_items() if isinstance(value, str)}
    except HTTPException:
        return {}


def bearer_token(authorization: str) -> str | None:
    """The token of an `Authorization: Bearer` header, or None."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def parse_version(text: str | None) -> tuple[int, int]:
    """The API version a request names, for instance (5, 199).

    Raises:
        ApiError: 8 when it is missing or older than 5.81, 100 when it is no version VK has.
    """
    if not text:
        raise ApiError(8)
    match = _VERSION.fullmatch(text)
    version = (int(match[1]), int(match[2])) if match else None
    if version is None or version > NEWEST_VERSION:
        raise invalid("v is invalid")
    if version < OLDEST_VERSION:
        raise ApiError(
            8,
            "Invalid request: versions below 5.81 are deprecated. Version param should be passed as "
            '"v". "version" param is invalid and not supported. '
            "For more information go to https://vk.com/dev/constant_version_updates",
        )
    return version


class Parameters:
    """The parameters of one method call; every reader raises ApiError 100 in VK's wording on a wrong value.

    An empty value counts as absent, as VK has it. Limits are those of VK API schema 5.199; a count whose limit only
    its description names is cut to it, not refused. `caller` is the kind of the token that calls.
    """

    def __init__(
        self, values: Mapping[str, str], version: tuple[int, int] = NEWEST_VERSION, caller: TokenKind = "user"
    ) -> None:
        self.values = values
        self.version = version
        self.caller = caller

    def text(self, name: str) -> str | None:
        """The value as it came, or None."""
        return self.values.get(name) or None

    def required_text(self, name: str) -> str:
        """The value as it came."""
        found = self.text(name)
        if found is None:
            raise invalid(f"{name} is undefined")
        return found

    def integer(self, name: str, default: int = 0, *, minimum: int | None = None, maximum: int | None = None) -> int:
        """A number within its limits."""
        found = self.text(name)
        if found is None:
            return default
        if not _INTEGER.fullmatch(found):
            raise invalid(f"{name} not integer")
        number = int(found)
        if minimum is not None and number < minimum:
            raise invalid(f"{name} should be greater or equal to {minimum}")
        if maximum is not None and number > maximum:
            raise invalid(f"{name} should be less or equal to {maximum}")
        return number

    def required_integer(self, name: str, *, minimum: int | None = None) -> int:
        """A number that must be there."""
        self.required_text(name)
        return self.integer(name, minimum=minimum)

    def count(self, default: int, most: int, *, cut: bool = False) -> int:
        """How many items to give, from 0 to the most that VK gives; a larger number is cut to that, or refused."""
        return min(most, self.integer("count", default, minimum=0, maximum=None if cut else most))

    def flag(self, name: str) -> bool:
        """A yes or no; everything but 0, false and nothing is a yes."""
        return (self.text(name) or "0").lower() not in {"0", "false"}

    def choice(self, name: str, options: Sequence[str]) -> str:
        """One of the options; the first is the default."""
        found = self.text(name) or options[0]
        if found not in options:
            raise invalid(f"{name} is invalid")
        return found

    def words(self, name: str, most: int = 1000) -> list[str]:
        """A list, written with commas between its words."""
        words = [word for each in (self.text(name) or "").split(",") if (word := each.strip())]
        if len(words) > most:
            raise invalid(f"{name} should contain less or equal to {most} items")
        return words
