"""Keeps several packs of calls under way, so that VK is asked for the next while the last answers are being stored."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any

from app.vk.batch import Batch
from app.vk.walk import Ask, Walk

BESIDE_TOKENS = 2
"""How many packs more than there are tokens are under way: one travels and one is stored while one waits its turn."""

Plan = Callable[[int], Awaitable[list[Ask]]]
"""At most so many pages that are worth asking for; fewer where the others depend on answers that are not there."""


async def ordered_answers(batch: Batch, plan: Plan) -> AsyncGenerator[list[tuple[Ask, Any]], None]:
    """Yield pack by pack what was asked for with its answer, or the VkFault it failed with, in the order of asking.

    A pack is sent when it is full; one that is not only when nothing is under
    way whose answer could fill it. Ends when nothing is under way and `plan`
    has nothing more to ask for.

    Raises:
        VkFault: a request failed in a way that is not about one call.
    """
    under_way: deque[tuple[list[Ask], asyncio.Task[list[Any]]]] = deque()
    waiting: list[Ask] = []
    try:
        while True:
            while len(under_way) < batch.token_count + BESIDE_TOKENS:
                capacity = batch.capacity
                waiting = [ask for ask in waiting if ask.is_wanted]
                waiting += await plan(capacity - len(waiting)) if len(waiting) < capacity else []
                if not waiting or (under_way and len(waiting) < capacity):
                    break
                asks, waiting = waiting[:capacity], waiting[capacity:]
                under_way.append((asks, asyncio.create_task(batch.answers([ask.call for ask in asks]))))
            if not under_way:
                return
            asks, task = under_way[0]
            answers = await task
            under_way.popleft()
            yield list(zip(asks, answers, strict=True))
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)


def next_asks(walks: Iterable[Walk], most: int) -> list[Ask]:
    """Return up to `most` pages that walks are worth asking for, the first walk's first, and note that they are."""
    asks: list[Ask] = []
    for walk in walks:
        while len(asks) < most and (ask := walk.next_ask()):
            walk.note(ask)
            asks.append(ask)
    return asks
