"""When VK may be asked next, and with which token: a shared slot per request, so that no token exceeds its rate."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from pydantic import SecretStr

from app.vk.wire import VkFault, VkRateLimited, VkTokenRejected


@dataclass(frozen=True, slots=True)
class AllAside:
    """No token can be used: why the one that returns first is put aside, and for how long (None: for good)."""

    reason: str
    seconds: float | None

    def fault(self) -> VkFault:
        """Return what to tell whoever wants to ask VK."""
        if self.seconds is None:
            return VkTokenRejected(f"VK refuses every configured token. {self.reason}")
        message = f"VK refuses every configured token for another {self.seconds:.0f} s. {self.reason}"
        return VkRateLimited(message, retry_after_seconds=self.seconds)


ReserveSlot = Callable[[Sequence[str], float], Awaitable[tuple[str, float] | AllAside]]
"""Fingerprints and the interval in seconds -> fingerprint and wait in seconds, unless all are put aside."""
BlockToken = Callable[[str, str, float | None], Awaitable[None]]
"""Puts a token aside: fingerprint, reason, for how many seconds (None: for good)."""

MARGIN = 1.03
"""Each interval is longer by this: slots that travel at unequal speed must not meet in one second of VK's."""


def fingerprint(token: str) -> str:
    """Return the name a token has in the database, logs and GraphQL. It cannot be turned back."""
    return sha256(token.encode()).hexdigest()[:16]


class Pace:
    """Hands out tokens no faster than VK allows, over all processes that share the database."""

    def __init__(
        self, tokens: Sequence[SecretStr], requests_per_second: float, reserve: ReserveSlot, block: BlockToken
    ) -> None:
        self._tokens = {fingerprint(token.get_secret_value()): token for token in tokens}
        self._interval_seconds = MARGIN / requests_per_second
        self._reserve = reserve
        self._block = block

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of all tokens."""
        return list(self._tokens)

    async def turn(self) -> SecretStr:
        """Wait for the next slot of any token and return that token.

        Raises:
            VkTokenRejected: there is no token, or all of them are put aside for good.
            VkRateLimited: all of them are put aside; tells when one can be used again.
        """
        if not self._tokens:
            raise VkTokenRejected("No VK token is configured. Set VK_TOKENS.")
        slot = await self._reserve(self.fingerprints, self._interval_seconds)
        if isinstance(slot, AllAside):
            raise slot.fault()
        name, wait_seconds = slot
        await asyncio.sleep(wait_seconds)
        return self._tokens[name]

    async def put_aside(self, token: SecretStr, reason: str, seconds: float | None) -> None:
        """Stop using a token for so many seconds, or for good when None."""
        await self._block(fingerprint(token.get_secret_value()), reason, seconds)
