"""Does at once what many ask for at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Gathers what is asked for one by one while `do` is busy, and gives it to `do` in one go when it is free.

    Whoever asks while it is free does not wait. `do` returns a result for each
    item, in their order. Where it fails for something in the batch, it is tried
    for each item by itself, so that nobody suffers from another's item.
    """

    def __init__(self, do: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._do = do
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Have something done and return its result, or raise what it has raised."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._do_all())
        return await answer

    async def _do_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # those that are ready in this turn of the loop come along
            batch, self._waiting = self._waiting, []
            await self._do_batch(batch)

    async def _do_batch(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._do([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            if len(batch) > 1 and not isinstance(error, ServiceUnavailable):
                for one in batch:
                    await self._do_batch([one])
            else:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
        else:
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():  # who was cancelled meanwhile does not listen any more
                    answer.set_result(result)
