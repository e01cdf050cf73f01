"""Fairness turns: of many subscribers that are ready at once, a few proceed at a time."""

import asyncio
from collections import deque

TURNS = 30
"""How many messages are produced before other tasks of the process can run: one takes about 0.3 ms."""


class Turns:
    """Lets subscribers proceed a few at a time: a thousand at once would block the event loop for other tasks."""

    def __init__(self) -> None:
        self._left = TURNS
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait for a fairness turn, first come, first served."""
        loop = asyncio.get_running_loop()
        if self._left == TURNS:
            loop.call_soon(self._renew)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waiting = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _renew(self) -> None:
        self._left = TURNS
        while self._left and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():  # it was cancelled
                waiting.set_result(None)
                self._left -= 1
        if self._left < TURNS:
            asyncio.get_running_loop().call_soon(self._renew)
