"""This file plays faults that a test has written down: errors, broken replies, delays, and a held server."""

import asyncio
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault for the next `times` requests (or calls inside execute, when `inner`) that name `method`, or for any.

    With `http` the reply is an HTML page with that HTTP status (200 gives a body that is no JSON), else VK's error
    `code` in VK's envelope with `message`, or with VK's usual one.
    """

    code: int = 10
    http: int | None = None
    method: str | None = None
    times: int = 1
    inner: bool = False
    message: str | None = None


class FaultQueue:
    """Faults in the order they will be played; each is gone when it was played often enough."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    @property
    def waiting(self) -> tuple[Fault, ...]:
        """What is still to be played, the next one first."""
        return tuple(self._waiting)

    def replace(self, faults: list[Fault]) -> None:
        """Forget what waits and play these."""
        self._waiting = [fault for fault in faults if fault.times > 0]

    def take(self, method: str, *, inner: bool = False) -> Fault | None:
        """The first waiting fault that fits this call, once less to be played; None where none fits."""
        for place, fault in enumerate(self._waiting):
            if fault.inner == inner and fault.method in (None, method):
                self._waiting[place : place + 1] = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
                return fault
        return None


class Brake:
    """Slows requests down or holds them until released; `waiting` is how many are held right now."""

    def __init__(self) -> None:
        self.delay_ms = 0
        self.waiting = 0
        self._free = asyncio.Event()
        self._free.set()

    @property
    def held(self) -> bool:
        """Whether requests wait to be released."""
        return not self._free.is_set()

    def hold(self, *, held: bool) -> None:
        """Hold all following requests, or release all that wait."""
        if held:
            self._free.clear()
        else:
            self._free.set()

    async def wait(self) -> None:
        """Wait until released, then as long as every reply is to take."""
        self.waiting += 1
        try:
            await self._free.wait()
        finally:
            self.waiting -= 1
        if self.delay_ms:
            await asyncio.sleep(self.delay_ms / 1000)
