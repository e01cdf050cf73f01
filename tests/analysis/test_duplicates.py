"""Near-duplicate texts: their bands, and groups of them."""

import random

import pytest

from app.analysis.contacts import contacts_of
from app.analysis.duplicates import BANDS, MOST_COMPARED, bands_of, near_duplicates

SPAM = "Работа на дому, зарплата каждую неделю, подробности у меня на странице"
WORDS = [f"слово{chr(0x430 + first)}{chr(0x430 + second)}" for first in range(32) for second in range(32)]


def bands(text: str) -> tuple[int, ...]:
    return tuple(bands_of(contacts_of(text).rest))


@pytest.mark.parametrize(
    "same",
    [
        f"{SPAM}!!! 🔥🔥",
        SPAM.upper(),
        f"[id5|Иван], {SPAM} vk.com/x 8 916 123-45-67",
        SPAM.replace("а", "a"),
        f"1. {SPAM} 100500",
        f"{SPAM.partition(', ')[2]} {SPAM.partition(', ')[0]}",
    ],
)
def test_what_spammers_vary_makes_no_difference(same: str) -> None:
    assert bands(same) == bands(SPAM)
    assert len(bands(SPAM)) == BANDS


@pytest.mark.parametrize("short", ["", "👍", "Спасибо большое", "с днём рождения", "а б в г д е ж", "да " * 3])
def test_short_texts_have_none(short: str) -> None:
    assert bands_of(short) == []


def test_one_word_again_and_again() -> None:
    assert len(bands_of("купите " * 6)) == BANDS


def test_bands_are_the_same_in_every_process_and_version() -> None:
    assert bands(SPAM)[:2] == (1433574420454506932, 203788184709567356)


@pytest.mark.parametrize(
    ("different", "least", "most"), [(0, 1.0, 1.0), (1, 0.9, 1.0), (4, 0.4, 0.95), (14, 0.0, 0.05)]
)
def test_how_often_they_are_found(different: int, least: float, most: float) -> None:
    """Of texts of 40 words, of which so many differ: similarities of 1, 0.95, 0.82 and 0.48."""
    dice = random.Random(1)  # noqa: S311 - no secret
    found = 0
    for _ in range(200):
        words = dice.sample(WORDS, 40 + different)
        one, other = " ".join(words[:40]), " ".join(words[different:])
        found += len(near_duplicates(list(dict.fromkeys([bands(one), bands(other)])))) == 1
    assert least <= found / 200 <= most


def test_groups_hang_together_by_way_of_others() -> None:
    first = tuple(range(8))
    second = (0, 1, 2, *range(13, 18))
    third = (*range(20, 25), 15, 16, 17)
    alone = (0, 1, *range(30, 36))
    groups = near_duplicates([first, third, alone, second])
    assert sorted(map(sorted, groups)) == [[first, second, third], [alone]]
    assert near_duplicates([]) == []


def test_many_that_share_a_band() -> None:
    many = [(1, 2, 3, *range(10 * number, 10 * number + 5)) for number in range(1, 3 * MOST_COMPARED)]
    assert [len(group) for group in near_duplicates(many)] == [len(many)]
