"""Packs calls: up to 25 in one `execute`, so that a request, which is what VK counts, does the most it can."""

from collections.abc import Sequence
from typing import Any

from app.vk.client import VkClient
from app.vk.wire import (
    CALLS_PER_EXECUTE,
    Call,
    VkExecuteRefused,
    VkFault,
    VkScriptFailed,
    VkTokenRejected,
    execute,
    read_execute,
)


async def answers(client: VkClient, calls: Sequence[Call]) -> list[Any]:
    """Return the answer of each call in order, or the VkFault that this one failed with.

    Costs one request per 25 calls. A pack whose answer is too big for VK
    (5 MB) is halved until it fits; a token that may not use `execute` makes one
    request a call. A call that failed in a way that can pass is made again by itself.

    Raises:
        VkFault: a request failed as a whole, in a way that is not about one call.
    """
    found: list[Any] = []
    for start in range(0, len(calls), CALLS_PER_EXECUTE):
        found += await _pack(client, calls[start : start + CALLS_PER_EXECUTE])
    return found


async def _pack(client: VkClient, calls: Sequence[Call]) -> list[Any]:
    if len(calls) == 1 or not client.may_execute:
        return [await _single(client, call) for call in calls]
    try:
        found = read_execute(await client.call(execute(calls)), calls)
    except VkExecuteRefused:
        return [await _single(client, call) for call in calls]
    except VkScriptFailed:
        middle = len(calls) // 2
        return await _pack(client, calls[:middle]) + await _pack(client, calls[middle:])
    return [
        await _single(client, call) if isinstance(answer, VkFault) and _may_pass(answer) else answer
        for answer, call in zip(found, calls, strict=True)
    ]


async def _single(client: VkClient, call: Call) -> Any:
    try:
        return (await client.call(call))["response"]
    except VkFault as fault:
        if _may_pass(fault):
            raise
        return fault


def _may_pass(fault: VkFault) -> bool:
    """Whether the fault is not about this one call: it passes with time, or with another token."""
    return fault.passes or isinstance(fault, VkTokenRejected)
