"""Near-duplicate texts: their bands, and their clusters."""

import random

import pytest

from app.analysis.contacts import contacts_of
from app.analysis.duplicates import BANDS, bands_of, near_duplicates

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
def test_typical_variations_of_spam_have_equal_bands(same: str) -> None:
    assert bands(same) == bands(SPAM)
    assert len(bands(SPAM)) == BANDS


@pytest.mark.parametrize("short", ["", "👍", "Спасибо большое", "с днём рождения", "а б в г д е ж", "да " * 3])
def test_short_texts_have_no_bands(short: str) -> None:
    assert bands_of(short) == []


def test_one_repeated_word() -> None:
    assert len(bands_of("купите " * 6)) == BANDS


def test_bands_are_the_same_in_every_process_and_version() -> None:
    assert bands(SPAM)[:2] == (6748252604742119829, -7889494529997938561)


@pytest.mark.parametrize(
    ("different", "least", "most"), [(0, 1.0, 1.0), (1, 0.9, 1.0), (4, 0.4, 0.95), (14, 0.0, 0.05)]
)
def test_the_probability_of_detection(different: int, least: float, most: float) -> None:
    """Texts of 40 words that differ in this many: similarities of 1, 0.95, 0.82 and 0.48."""
    dice = random.Random(1)  # noqa: S311 - not a secret
    found = 0
    for _ in range(200):
        words = dice.sample(WORDS, 40 + different)
        one, other = " ".join(words[:40]), " ".join(words[different:])
        found += len(near_duplicates({1: bands(one), 2: bands(other)})) == 1
    assert least <= found / 200 <= most


def test_clusters_are_transitive() -> None:
    bands_by_key = {"a": (1, 2), "b": (5, 6), "c": (9,), "d": (2, 5), "e": (), "f": (6, 7), "g": (9, 9)}
    groups = near_duplicates(bands_by_key)
    assert sorted(map(sorted, groups)) == [["a", "b", "d", "f"], ["c", "g"], ["e"]]
    assert near_duplicates({}) == []


def test_a_large_cluster() -> None:
    assert [len(group) for group in near_duplicates({key: (key, key + 1) for key in range(100_000)})] == [100_000]
