"""Packs calls: up to 25 in one `execute`, because VK's rate limit counts requests, not calls."""

from collections.abc import Sequence

from app.vk.client import HostFailed, Usage, VkClient, is_about_token
from app.vk.wire import CALLS_PER_EXECUTE, Answer, Call, VkExecuteRefused, VkFault, VkScriptFailed, VkTokenRejected

MOST_ANSWER_BYTES = 5_000_000
"""VK refuses to answer an `execute` with more (error 13)."""
MARGIN = 1.1
DECAY = 0.95
REFUSED_SIZE = 1.5
"""The assumed size of a refused answer, as a multiple of VK's limit; the answers of its halves correct the estimate."""


class Batch:
    """Makes calls in packs and estimates the size of their answers, so that a pack is seldom refused.

    `usage` counts its requests and calls.
    """

    def __init__(self, client: VkClient) -> None:
        self.usage = Usage()
        self._client = client
        self._bytes_per_call = 0.0
        self._most_calls = CALLS_PER_EXECUTE

    @property
    def token_count(self) -> int:
        """The number of tokens, each with its own rate limit."""
        return len(self._client.fingerprints)

    @property
    def capacity(self) -> int:
        """The number of calls that fit into one pack at present, 1 to 25."""
        fitting = MOST_ANSWER_BYTES / (self._bytes_per_call * MARGIN) if self._bytes_per_call else CALLS_PER_EXECUTE
        return max(1, min(self._most_calls, int(fitting)))

    async def answers(self, calls: Sequence[Call]) -> list[Answer]:
        """Return the answer of each call in order, or the VkFault with which it failed.

        Costs one request per 25 calls, or more if answers are large. A pack whose
        answer exceeds VK's limit (5 MB), or at which the host fails, is halved until
        it succeeds. If no token may use `execute`, each call is a request. Calls that
        failed transiently are retried.

        Raises:
            VkFault: a request failed as a whole, for a reason that does not concern a single call.
        """
        answers: list[Answer] = []
        while len(answers) < len(calls):
            answers += await self._pack(calls[len(answers) : len(answers) + self.capacity])
        return answers

    async def _pack(self, calls: Sequence[Call]) -> list[Answer]:
        if len(calls) == 1:
            return [await self._single(calls[0])]
        try:
            answers, size = await self._client.execute(calls, self.usage)
        except VkExecuteRefused:
            return [await self._single(call) for call in calls]
        except VkScriptFailed:
            self._learn(REFUSED_SIZE * MOST_ANSWER_BYTES / len(calls))
            return await self._halves(calls)
        except HostFailed:
            self._most_calls = max(1, len(calls) // 2)
            return await self._halves(calls)
        self._learn(size / len(calls))
        self._most_calls = min(CALLS_PER_EXECUTE, max(self._most_calls, len(calls) + 1))
        return await self._with_retries(calls, answers)

    async def _halves(self, calls: Sequence[Call]) -> list[Answer]:
        middle = len(calls) // 2
        return await self._pack(calls[:middle]) + await self._pack(calls[middle:])

    async def _with_retries(self, calls: Sequence[Call], answers: list[Answer]) -> list[Answer]:
        """Retry the calls that failed transiently, in one pack, and return all answers."""
        failed = [
            index for index, answer in enumerate(answers) if isinstance(answer, VkFault) and _is_retryable(answer)
        ]
        again = [calls[index] for index in failed]
        if not again:
            return answers
        # Use a pack if some calls succeeded, or if a token was rejected: that one is blocked by now. If all calls
        # failed for another reason, make each one alone, because a single call has more attempts.
        is_worth_a_pack = len(again) < len(calls) or any(
            isinstance(each, VkFault) and is_about_token(each) for each in answers
        )
        retried = await self._pack(again) if is_worth_a_pack else [await self._single(call) for call in again]
        for index, answer in zip(failed, retried, strict=True):
            answers[index] = answer
        return answers

    async def _single(self, call: Call) -> Answer:
        try:
            return await self._client.call(call, self.usage)
        except VkFault as fault:
            if _is_retryable(fault):
                raise
            return fault

    def _learn(self, bytes_per_call: float) -> None:
        self._bytes_per_call = max(bytes_per_call, DECAY * self._bytes_per_call)


def _is_retryable(fault: VkFault) -> bool:
    """Return whether the same call may succeed later or with another token."""
    return fault.is_transient or isinstance(fault, VkTokenRejected)
