"""Access tokens: their kinds, whether they are valid, and counters of their use."""

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
# VK's error for a token whose kind may not call a method; each method is open to user tokens.
_WRONG_KIND: Final[dict[TokenKind, int]] = {"group": 27, "service": 28}


@dataclass(slots=True, eq=False)
class Token:
    """An access token, identified by its number in the order of first use, from 1; its text is stored only as a key.

    `requests` are HTTP requests, `calls` are runs of methods, `errors` are rejected requests by code.
    """

    number: int
    kind: TokenKind
    state: TokenState = "live"
    requests: int = 0
    calls: int = 0
    errors: Counter[int] = field(default_factory=Counter)

    def check(self) -> None:
        """Check that the token is live.

        Raises:
            ApiError: 5 for a revoked or expired token.
        """
        if self.state != "live":
            raise ApiError(5, _REFUSALS[self.state])

    def check_kind(self, kinds: tuple[TokenKind, ...]) -> None:
        """Check that the token is of one of these kinds.

        Raises:
            ApiError: 27 for a community's token, 28 for a service token.
        """
        if self.kind not in kinds:
            raise ApiError(_WRONG_KIND[self.kind])


class Tokens:
    """All tokens, configured or seen in a request; one that was not configured is a live user token."""

    def __init__(self, kinds: Mapping[str, TokenKind]) -> None:
        self._tokens: dict[str, Token] = {}
        for text, kind in kinds.items():
            self.token(text).kind = kind

    def token(self, text: str) -> Token:
        """Return the token with this text; create it if it is new."""
        if text not in self._tokens:
            self._tokens[text] = Token(len(self._tokens) + 1, "user")
        return self._tokens[text]

    def reset_counters(self) -> None:
        """Reset the counters; kinds and states stay."""
        for token in self._tokens.values():
            token.requests = token.calls = 0
            token.errors.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Return number, kind, state and counters of each token, never its text."""
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
