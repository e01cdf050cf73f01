"""Packs calls: up to 25 in one `execute`, so that a request, which is what VK counts, does the most it can."""

from collections.abc import Sequence
from typing import Any

from app.vk.client import HostFailed, Usage, VkClient, is_about_token
from app.vk.wire import CALLS_PER_EXECUTE, Call, VkExecuteRefused, VkFault, VkScriptFailed, VkTokenRejected

MOST_ANSWER_BYTES = 5_000_000
"""VK refuses to answer an `execute` with more (error 13)."""
CAUTION = 1.1
FORGETTING = 0.95
REFUSED = 1.5
"""By how much a refused answer is taken to be larger than VK allows; what its halves measure corrects it in time."""


class Batch:
    """Makes calls in packs and learns how large their answers are, so that a pack is seldom refused.

    `usage` counts what was asked of VK through it.
    """

    def __init__(self, client: VkClient) -> None:
        self.usage = Usage()
        self._client = client
        self._bytes_per_call = 0.0
        self._most_calls = CALLS_PER_EXECUTE

    @property
    def token_count(self) -> int:
        """How many tokens there are, each with a rate of its own."""
        return len(self._client.fingerprints)

    @property
    def capacity(self) -> int:
        """How many calls one pack takes at present."""
        fitting = MOST_ANSWER_BYTES / (self._bytes_per_call * CAUTION) if self._bytes_per_call else CALLS_PER_EXECUTE
        return max(1, min(self._most_calls, int(fitting)))

    async def answers(self, calls: Sequence[Call]) -> list[Any]:
        """Return the answer of each call in order, or the VkFault that this one failed with.

        Costs one request per 25 calls, or more where answers are large. A pack
        whose answer is too big for VK (5 MB), or that its host fails at, is
        halved until it fits; where no
        token may use `execute` each call is a request. Calls that failed in a
        way that can pass are made again.

        Raises:
            VkFault: a request failed as a whole, in a way that is not about one call.
        """
        found: list[Any] = []
        while len(found) < len(calls):
            found += await self._pack(calls[len(found) : len(found) + self.capacity])
        return found

    async def _pack(self, calls: Sequence[Call]) -> list[Any]:
        if len(calls) == 1:
            return [await self._single(calls[0])]
        try:
            found, size = await self._client.execute(calls, self.usage)
        except VkExecuteRefused:
            return [await self._single(call) for call in calls]
        except VkScriptFailed:
            self._learn(REFUSED * MOST_ANSWER_BYTES / len(calls))
            return await self._halves(calls)
        except HostFailed:
            self._most_calls = max(1, len(calls) // 2)
            return await self._halves(calls)
        self._learn(size / len(calls))
        self._most_calls = min(CALLS_PER_EXECUTE, max(self._most_calls, len(calls) + 1))
        return await self._mended(calls, found)

    async def _halves(self, calls: Sequence[Call]) -> list[Any]:
        middle = len(calls) // 2
        return await self._pack(calls[:middle]) + await self._pack(calls[middle:])

    async def _mended(self, calls: Sequence[Call], found: list[Any]) -> list[Any]:
        """Make those calls again, together, that failed in a way that can pass."""
        failed = [place for place, answer in enumerate(found) if isinstance(answer, VkFault) and _may_pass(answer)]
        again = [calls[place] for place in failed]
        if not again:
            return found
        # a rejected token has been put aside by now. If all failed in another way, each is made by itself:
        # a single call is tried again more patiently
        is_worth_a_pack = len(again) < len(calls) or any(
            isinstance(each, VkFault) and is_about_token(each) for each in found
        )
        mended = await self._pack(again) if is_worth_a_pack else [await self._single(call) for call in again]
        for place, answer in zip(failed, mended, strict=True):
            found[place] = answer
        return found

    async def _single(self, call: Call) -> Any:
        try:
            return await self._client.call(call, self.usage)
        except VkFault as fault:
            if _may_pass(fault):
                raise
            return fault

    def _learn(self, bytes_per_call: float) -> None:
        self._bytes_per_call = max(bytes_per_call, FORGETTING * self._bytes_per_call)


def _may_pass(fault: VkFault) -> bool:
    """Whether the fault is not about this one call: it passes with time, or with another token."""
    return fault.passes or isinstance(fault, VkTokenRejected)
