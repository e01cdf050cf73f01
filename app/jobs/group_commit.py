"""Runs items that arrive concurrently as one batch (group commit)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Collects items while a batch is running; they form the next batch.

    An item that arrives while no batch is running does not wait. `run_batch` returns
    one result per item, in their order. If a batch fails, each of its items is run
    again by itself, so that one failing item does not fail the others; if
    PostgreSQL is unavailable, all of them fail at once.
    """

    def __init__(self, run_batch: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> None:
        self._run_batch = run_batch
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Run an item and return its result, or raise its exception."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run_all())
        return await future

    async def _run_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # let the tasks that are ready now add their items to this batch
            batch, self._waiting = self._waiting, []
            await self._settle(batch)

    async def _settle(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._run_batch([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - the callers get whatever it is
            if len(batch) > 1 and not isinstance(error, ServiceUnavailable):
                for item in batch:
                    await self._settle([item])
            else:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():  # a cancelled caller no longer waits
                    future.set_result(result)
