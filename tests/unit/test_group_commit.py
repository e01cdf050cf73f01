"""Items of concurrent callers are processed as one batch, and one failing item does not affect the others."""

import asyncio
from collections.abc import Sequence

import pytest

from app.errors import ServiceUnavailable
from app.jobs.group_commit import GroupCommit


class Doubles:
    """Doubles numbers, records its batches, and fails for anything else."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.has_begun = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.is_away = False

    async def __call__(self, items: Sequence[int]) -> list[int]:
        """Double all of them."""
        self.batches.append(list(items))
        self.has_begun.set()
        await self.may_go_on.wait()
        if self.is_away:
            raise ServiceUnavailable("PostgreSQL")
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [2 * item for item in items]


async def test_concurrent_items_form_a_batch() -> None:
    doubles = Doubles()
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    assert await asyncio.gather(*(together(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert await together(7) == 14
    assert doubles.batches == [[0, 1, 2, 3, 4], [7]]


async def test_items_that_arrive_meanwhile_form_the_next_batch() -> None:
    doubles = Doubles()
    together = GroupCommit(doubles)
    first = asyncio.create_task(together(1))
    await doubles.has_begun.wait()
    others = asyncio.gather(together(2), together(3))
    doubles.may_go_on.set()
    assert await first == 2
    assert list(await others) == [4, 6]
    assert doubles.batches == [[1], [2, 3]]


async def test_a_failing_item_does_not_affect_others() -> None:
    doubles = Doubles()
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    answers = await asyncio.gather(*(together(number) for number in (1, -2, 3)), return_exceptions=True)
    assert answers[::2] == [2, 6]
    assert isinstance(answers[1], ValueError)
    assert doubles.batches == [[1, -2, 3], [1], [-2], [3]]


async def test_an_unavailable_service_fails_all_items() -> None:
    doubles = Doubles()
    doubles.is_away = True
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    answers = await asyncio.gather(together(1), together(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ServiceUnavailable] * 2
    assert doubles.batches == [[1, 2]]


@pytest.mark.parametrize("is_away", [False, True], ids=["done", "failed"])
async def test_a_cancelled_item_is_skipped(*, is_away: bool) -> None:
    doubles = Doubles()
    together = GroupCommit(doubles)
    leaves, stays = asyncio.create_task(together(1)), asyncio.create_task(together(2))
    await doubles.has_begun.wait()
    leaves.cancel()
    await asyncio.wait({leaves})
    doubles.is_away = is_away
    doubles.may_go_on.set()
    if is_away:
        with pytest.raises(ServiceUnavailable):
            await stays
    else:
        assert await stays == 4
