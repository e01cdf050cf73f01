"""When the next request to VK may be sent, and with which token: a shared slot per request enforces the rate limits."""

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
    """The kind of a token as VK issued it, which decides the methods that it may call."""

    USER = "USER"
    SERVICE = "SERVICE"
    GROUP = "GROUP"


class TokenHealth(Enum):
    """Whether a token can be used: READY, COOLING_DOWN (in cooldown) or REJECTED (permanently)."""

    READY = "READY"
    COOLING_DOWN = "COOLING_DOWN"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved slot: this token may be used once, `wait_seconds` from now."""

    fingerprint: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class AllBlocked:
    """No token can be used: why the one whose cooldown ends first is blocked, and for how long (None: permanently)."""

    reason: str
    seconds: float | None
    vk_code: int | None = None

    def fault(self) -> VkFault:
        """Return the exception for the caller that requested a slot."""
        if self.seconds is None:
            return VkTokenRejected(f"VK refuses every configured token. {self.reason}")
        message = f"VK refuses every configured token for another {self.seconds:.0f} s. {self.reason}"
        # For a captcha, for example, waiting does not help: a person has to act.
        if self.vk_code in NEEDS_A_PERSON:
            return VkTokenRejected(message)
        return VkRateLimited(message, retry_after_seconds=self.seconds)


NEEDS_A_PERSON = (14, 17)
"""Captcha needed, validation required."""


class TokenRegistry(Protocol):
    """The state of the tokens that all processes share, by fingerprint."""

    async def reserve(
        self, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
    ) -> Slot | AllBlocked | None:
        """Reserve the earliest slot of any of these tokens, for a request that makes so many calls.

        With `executes` the token must be allowed to use `execute`; None if no usable
        token is, although others could be used for single calls.
        """

    async def block(self, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None) -> None:
        """Block a token for so many seconds, or permanently when None."""

    async def note_kind(self, fingerprint: str, kind: TokenKind) -> None:
        """Record the kind of a token."""


MARGIN = 1.05
"""The factor of each interval: requests that travel at unequal speed must not exceed the rate when they reach VK."""


def fingerprint(token: SecretStr) -> str:
    """Return the name of a token in the database, logs and GraphQL: a hash that does not reveal the token."""
    return sha256(token.get_secret_value().encode()).hexdigest()[:16]


class Pace:
    """Hands out tokens no faster than VK allows, over all processes that share the registry."""

    def __init__(self, tokens: Sequence[SecretStr], requests_per_second: float, registry: TokenRegistry) -> None:
        self._tokens = {fingerprint(token): token for token in tokens}
        self._interval_seconds = MARGIN / requests_per_second
        self._registry = registry
        self._kinds: dict[str, TokenKind] = {}
        self._blocks: Counter[str] = Counter()

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of all tokens."""
        return list(self._tokens)

    async def wait_for_slot(self, calls: int = 1, *, executes: bool = False) -> SecretStr:
        """Wait for the next slot of any usable token and return that token.

        `calls` is how many calls the request makes; `executes` whether it is an `execute`.

        Raises:
            VkTokenRejected: no token is configured, or all are blocked and waiting alone does not help.
            VkRateLimited: all tokens are blocked; contains the seconds until one can be used again.
            VkExecuteRefused: none of the usable tokens may use `execute`.
        """
        if not self._tokens:
            raise VkTokenRejected("No VK token is configured. Set VK_TOKENS.")
        while True:
            slot = await self._registry.reserve(self.fingerprints, self._interval_seconds, calls, executes=executes)
            if isinstance(slot, AllBlocked):
                raise slot.fault()
            if slot is None:
                raise VkExecuteRefused("No VK token may use execute.")
            blocks = self._blocks[slot.fingerprint]
            await asyncio.sleep(slot.wait_seconds)
            # If another request got the token blocked meanwhile, VK would reject this one, too: reserve another slot.
            if self._blocks[slot.fingerprint] == blocks:
                return self._tokens[slot.fingerprint]

    async def block(self, token: SecretStr, fault: VkFault, seconds: float | None) -> None:
        """Block a token for so many seconds, or permanently when None, because of this fault."""
        self._blocks[fingerprint(token)] += 1
        await self._registry.block(fingerprint(token), fault.message, fault.vk_code, seconds)

    async def note_kind(self, token: SecretStr, kind: TokenKind) -> None:
        """Record the kind of a token when it becomes known."""
        name = fingerprint(token)
        if self._kinds.get(name) is not kind:
            self._kinds[name] = kind
            await self._registry.note_kind(name, kind)
