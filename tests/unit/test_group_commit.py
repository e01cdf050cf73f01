"""What many ask for at the same time is done in one go, and nobody suffers from another's item."""

import asyncio
from collections.abc import Sequence

import pytest

from app.errors import ServiceUnavailable
from app.jobs.group_commit import GroupCommit


class Doubles:
    """Doubles numbers, notes how they came, and fails for what is not one."""

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


async def test_those_that_come_together_are_done_together() -> None:
    doubles = Doubles()
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    assert await asyncio.gather(*(together(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert await together(7) == 14
    assert doubles.batches == [[0, 1, 2, 3, 4], [7]]


async def test_who_comes_meanwhile_shares_the_next_one() -> None:
    doubles = Doubles()
    together = GroupCommit(doubles)
    first = asyncio.create_task(together(1))
    await doubles.has_begun.wait()
    others = asyncio.gather(together(2), together(3))
    doubles.may_go_on.set()
    assert await first == 2
    assert list(await others) == [4, 6]
    assert doubles.batches == [[1], [2, 3]]


async def test_one_that_fails_does_not_take_others_along() -> None:
    doubles = Doubles()
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    answers = await asyncio.gather(*(together(number) for number in (1, -2, 3)), return_exceptions=True)
    assert answers[::2] == [2, 6]
    assert isinstance(answers[1], ValueError)
    assert doubles.batches == [[1, -2, 3], [1], [-2], [3]]


async def test_what_is_away_is_away_for_all() -> None:
    doubles = Doubles()
    doubles.is_away = True
    doubles.may_go_on.set()
    together = GroupCommit(doubles)
    answers = await asyncio.gather(together(1), together(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ServiceUnavailable] * 2
    assert doubles.batches == [[1, 2]]


@pytest.mark.parametrize("is_away", [False, True], ids=["done", "failed"])
async def test_who_was_cancelled_meanwhile_is_left_out(*, is_away: bool) -> None:
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
