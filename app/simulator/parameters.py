"""This file reads requests: where VK takes parameters from, and its rules for numbers, flags, lists and versions."""

import email
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

from app.simulator.errors import ApiError, invalid

OLDEST_VERSION: Final = (5, 81)
NEWEST_VERSION: Final = (5, 199)
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_VERSION: Final = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})", re.ASCII)


def parse_query(query: bytes) -> dict[str, str]:
    """Parameters of a query string or an urlencoded body; of a name that comes twice the last value counts."""
    return dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))


def parse_body(content_type: str, body: bytes) -> dict[str, str]:
    """Parameters of a POST body, urlencoded or multipart; another kind of body holds none (VK reads no JSON)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _parse_multipart(content_type, body)
    return parse_query(body) if kind == "application/x-www-form-urlencoded" else {}


def _parse_multipart(content_type: str, body: bytes) -> dict[str, str]:
    head = f"Content-Type: {content_type}\r\n\r\n".encode("utf-8", "replace")
    message = email.message_from_bytes(head + body)
    found: dict[str, str] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            found[_clean(name)] = value.decode("utf-8", "replace")
    return found


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
    its description names is cut to it, not refused.
    """

    def __init__(self, values: Mapping[str, str], version: tuple[int, int] = NEWEST_VERSION) -> None:
        self.values = values
        self.version = version

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

    def count(self, default: int, most: int) -> int:
        """How many items to give: not below 0, and cut to the most that VK gives."""
        return min(most, self.integer("count", default, minimum=0))

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
