"""Keeps several packs of calls in flight, so that VK works on the next pack while the last answers are being stored."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from app.vk.batch import Batch
from app.vk.pager import Pager, PageRequest
from app.vk.wire import Answer

EXTRA_PACKS = 2
"""How many more packs than tokens are in flight: while one waits for its slot, one travels and one is being stored."""

Plan = Callable[[int], Awaitable[list[PageRequest]]]
"""Returns at most so many pages to request; fewer if the others depend on answers that have not arrived."""


async def ordered_answers(batch: Batch, plan: Plan) -> AsyncGenerator[list[tuple[PageRequest, Answer]], None]:
    """Yield, pack by pack and in the order of the requests, each page request with its answer or its VkFault.

    A pack is sent when it is full; a partial pack only if nothing is in flight
    whose answer could fill it. Ends when nothing is in flight and `plan` returns no
    more requests.

    Raises:
        VkFault: a request failed for a reason that does not concern a single call.
    """
    in_flight: deque[tuple[list[PageRequest], asyncio.Task[list[Answer]]]] = deque()
    waiting: list[PageRequest] = []
    try:
        while True:
            while len(in_flight) < batch.token_count + EXTRA_PACKS:
                capacity = batch.capacity
                waiting = [page_request for page_request in waiting if page_request.is_wanted]
                waiting += await plan(capacity - len(waiting)) if len(waiting) < capacity else []
                if not waiting or (in_flight and len(waiting) < capacity):
                    break
                page_requests, waiting = waiting[:capacity], waiting[capacity:]
                in_flight.append(
                    (
                        page_requests,
                        asyncio.create_task(batch.answers([page_request.call for page_request in page_requests])),
                    )
                )
            if not in_flight:
                return
            page_requests, task = in_flight[0]
            answers = await task
            in_flight.popleft()
            yield list(zip(page_requests, answers, strict=True))
    finally:
        for _, task in in_flight:
            task.cancel()
        await asyncio.gather(*(task for _, task in in_flight), return_exceptions=True)


def next_requests(pagers: Iterable[Pager], most: int) -> list[PageRequest]:
    """Return up to `most` pages to request, those of the first pagers first, and mark them as requested."""
    page_requests: list[PageRequest] = []
    for pager in pagers:
        while len(page_requests) < most and (page_request := pager.next_request()):
            pager.note(page_request)
            page_requests.append(page_request)
    return page_requests
