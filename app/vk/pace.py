"""When VK may be asked next, and with which token: a shared slot per request, so that no token exceeds its rate."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Protocol

from pydantic import SecretStr

from app.vk.wire import VkExecuteRefused, VkFault, VkRateLimited, VkTokenRejected


class TokenKind(Enum):
    """What VK issued a token for. It decides which methods it may call."""

    USER = "USER"
    SERVICE = "SERVICE"
    GROUP = "GROUP"


class TokenHealth(Enum):
    """Whether a token can be used."""

    READY = "READY"
    RESTING = "RESTING"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved moment: this token may be used once, `wait_seconds` from now."""

    fingerprint: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class AllAside:
    """No token can be used: why the one that returns first is put aside, and for how long (None: for good)."""

    reason: str
    seconds: float | None
    vk_code: int | None = None

    def fault(self) -> VkFault:
        """Return what to tell whoever wants to ask VK."""
        if self.seconds is None:
            return VkTokenRejected(f"VK refuses every configured token. {self.reason}")
        message = f"VK refuses every configured token for another {self.seconds:.0f} s. {self.reason}"
        # with a captcha, say, it is a person who has to do something, not time
        if self.vk_code in WANTS_A_PERSON:
            return VkTokenRejected(message)
        return VkRateLimited(message, retry_after_seconds=self.seconds)


WANTS_A_PERSON = (14, 17)
"""Captcha needed, validation required."""


class TokenBook(Protocol):
    """What all processes know of the tokens, by fingerprint."""

    async def reserve(
        self, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
    ) -> Slot | AllAside | None:
        """Reserve the earliest slot of any of these tokens, for a request that makes so many calls.

        With `executes` the token has to be one that may use `execute`; None
        where none may, but others could be used for single calls.
        """

    async def put_aside(self, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None) -> None:
        """Do not use a token for so many seconds, or for good when None."""

    async def note_kind(self, fingerprint: str, kind: TokenKind) -> None:
        """Note which kind a token is of."""


MARGIN = 1.05
"""Each interval is longer by this: slots that travel at unequal speed must not meet in one second of VK's."""


def fingerprint(token: SecretStr) -> str:
    """Return the name a token has in the database, logs and GraphQL. It cannot be turned back."""
    return sha256(token.get_secret_value().encode()).hexdigest()[:16]


class Pace:
    """Hands out tokens no faster than VK allows, over all processes that share the book."""

    def __init__(self, tokens: Sequence[SecretStr], requests_per_second: float, book: TokenBook) -> None:
        self._tokens = {fingerprint(token): token for token in tokens}
        self._interval_seconds = MARGIN / requests_per_second
        self._book = book
        self._kinds: dict[str, TokenKind] = {}
        self._turned_away: Counter[str] = Counter()

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of all tokens."""
        return list(self._tokens)

    async def turn(self, calls: int = 1, *, executes: bool = False) -> SecretStr:
        """Wait for the next slot of any token that will do and return that token.

        `calls` is how many calls the request makes; `executes` whether it is an `execute`.

        Raises:
            VkTokenRejected: there is no token, or all of them are put aside and time alone will not help.
            VkRateLimited: all of them are put aside; tells when one can be used again.
            VkExecuteRefused: of the tokens that can be used none may `execute`.
        """
        if not self._tokens:
            raise VkTokenRejected("No VK token is configured. Set VK_TOKENS.")
        while True:
            slot = await self._book.reserve(self.fingerprints, self._interval_seconds, calls, executes=executes)
            if isinstance(slot, AllAside):
                raise slot.fault()
            if slot is None:
                raise VkExecuteRefused("No VK token may use execute.")
            turned_away = self._turned_away[slot.fingerprint]
            await asyncio.sleep(slot.wait_seconds)
            # what another request met meanwhile, this one would meet, too
            if self._turned_away[slot.fingerprint] == turned_away:
                return self._tokens[slot.fingerprint]

    async def put_aside(self, token: SecretStr, fault: VkFault, seconds: float | None) -> None:
        """Stop using a token for so many seconds, or for good when None, because of this fault."""
        self._turned_away[fingerprint(token)] += 1
        await self._book.put_aside(fingerprint(token), fault.message, fault.vk_code, seconds)

    async def note_kind(self, token: SecretStr, kind: TokenKind) -> None:
        """Note which kind a token turned out to be of."""
        name = fingerprint(token)
        if self._kinds.get(name) is not kind:
            self._kinds[name] = kind
            await self._book.note_kind(name, kind)
