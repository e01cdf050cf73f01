"""This file knows access tokens: their kinds, whether they still hold, and what each was used for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from simulator.errors import ApiError

TokenKind = Literal["user", "service", "group"]
TokenState = Literal["live", "revoked", "expired"]
TOKEN_KINDS: Final[tuple[TokenKind, ...]] = get_args(TokenKind)
_REFUSALS: Final[dict[TokenState, str]] = {
    "revoked": "User authorization failed: invalid access_token (4).",
    "expired": "User authorization failed: access_token has expired.",
}
# What VK says to a token of a kind that a method is not for; all of them are for users.
_WRONG_KIND: Final[dict[TokenKind, int]] = {"group": 27, "service": 28}


@dataclass(slots=True, eq=False)
class Token:
    """An access token by its number in the order of first use, from 1; its text is kept nowhere but as a key.

    `requests` are HTTP requests, `calls` runs of methods, `errors` refused requests by code.
    """

    number: int
    kind: TokenKind
    state: TokenState = "live"
    requests: int = 0
    calls: int = 0
    errors: Counter[int] = field(default_factory=Counter)

    def check(self) -> None:
        """Do nothing for a live token.

        Raises:
            ApiError: 5 for a revoked or expired one.
        """
        if self.state != "live":
            raise ApiError(5, _REFUSALS[self.state])

    def check_kind(self, kinds: tuple[TokenKind, ...]) -> None:
        """Do nothing for a token of one of these kinds.

        Raises:
            ApiError: 27 for a community's, 28 for a service token.
        """
        if self.kind not in kinds:
            raise ApiError(_WRONG_KIND[self.kind])


class Tokens:
    """All tokens seen or told; one that nobody told of is a live user token."""

    def __init__(self, kinds: Mapping[str, TokenKind]) -> None:
        self._tokens: dict[str, Token] = {}
        for text, kind in kinds.items():
            self.token(text).kind = kind

    def token(self, text: str) -> Token:
        """The token with this text."""
        if text not in self._tokens:
            self._tokens[text] = Token(len(self._tokens) + 1, "user")
        return self._tokens[text]

    def reset_counters(self) -> None:
        """Start counting anew; kinds and states stay."""
        for token in self._tokens.values():
            token.requests = token.calls = 0
            token.errors.clear()

    def told(self) -> list[dict[str, Any]]:
        """Number, kind, state and counters of each token, never its text."""
        return [
            {
                "number": token.number,
                "kind": token.kind,
                "state": token.state,
                "requests": token.requests,
                "calls": token.calls,
                "errors": {str(code): times for code, times in token.errors.items()},
            }
            for token in self._tokens.values()
        ]
