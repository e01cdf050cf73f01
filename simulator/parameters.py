"""Reads requests: where VK accepts parameters, and its rules for numbers, flags, lists and versions."""

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
# From this version on, groups.getById and wall.getById answer with an object; before it, with a bare list.
OBJECT_ANSWERS_SINCE: Final = (5, 139)
_LARGEST_FIELD_BYTES: Final = 16 * 1024 * 1024
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)


def parse_query(query: bytes) -> dict[str, str]:
    """Return the parameters of a query string or an urlencoded body; the last value of a repeated name counts."""
    return dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters of an urlencoded or multipart body; other or broken bodies have none (VK reads no JSON)."""
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
    """Return the token of an `Authorization: Bearer` header, or None."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def parse_version(text: str | None) -> tuple[int, int]:
    """Return the API version of a request, for instance (5, 199).

    Raises:
        ApiError: 8 if it is missing or older than 5.81, 100 if VK has no such version.
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
    """The parameters of one method call; each reader raises ApiError 100 in VK's wording on an invalid value.

    As in VK, an empty value counts as absent. Limits are those of VK API schema 5.199; a count whose limit is only in
    its description is cut to it, not rejected. `caller` is the kind of the calling token.
    """

    def __init__(
        self, values: Mapping[str, str], version: tuple[int, int] = NEWEST_VERSION, caller: TokenKind = "user"
    ) -> None:
        self.values = values
        self.version = version
        self.caller = caller

    def text(self, name: str) -> str | None:
        """Return the value unchanged, or None."""
        return self.values.get(name) or None

    def required_text(self, name: str) -> str:
        """Return the value unchanged; it is required."""
        found = self.text(name)
        if found is None:
            raise invalid(f"{name} is undefined")
        return found

    def integer(self, name: str, default: int = 0, *, minimum: int | None = None, maximum: int | None = None) -> int:
        """Return an integer within its limits."""
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
        """Return an integer; it is required."""
        self.required_text(name)
        return self.integer(name, minimum=minimum)

    def count(self, default: int, most: int, *, cut: bool = False) -> int:
        """Return the number of requested items, 0 to `most`; reject a larger one, or with `cut` reduce it to `most`."""
        return min(most, self.integer("count", default, minimum=0, maximum=None if cut else most))

    def flag(self, name: str) -> bool:
        """Return a flag: everything except 0, false and an empty text is true."""
        return (self.text(name) or "0").lower() not in {"0", "false"}

    def choice(self, name: str, options: Sequence[str]) -> str:
        """Return one of the options; the first is the default."""
        found = self.text(name) or options[0]
        if found not in options:
            raise invalid(f"{name} is invalid")
        return found

    def words(self, name: str, most: int = 1000) -> list[str]:
        """Return a comma-separated list."""
        words = [word for each in (self.text(name) or "").split(",") if (word := each.strip())]
        if len(words) > most:
            raise invalid(f"{name} should contain less or equal to {most} items")
        return words
