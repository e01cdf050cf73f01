"""Finds texts that are nearly the same, as those of spam waves are: by MinHash, in numbers that a table can hold.

A text is the set of its words, folded, without digits, punctuation, emoji, links, phones and mentions: what spammers
vary. For each of 32 hash functions the least hash of its words is taken; four of these together are a band. That one
band of two texts is equal is as likely as the fourth power of their similarity, the share of the words that both have
in all that either has. Two texts are near-duplicates if at least 3 of their 8 bands are equal. So with equal words
they always are, at a similarity of 0.9 in 98 of 100 cases, at 0.8 in 70, at 0.5 in one.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_128
from struct import Struct
from typing import Final

from app.analysis.folding import fold

BANDS: Final = 8
ROWS: Final = 4
"""Hashes in a band."""
LEAST_EQUAL: Final = 3
"""So many bands of near-duplicates are equal."""
FEWEST_WORDS: Final = 5
FEWEST_LETTERS: Final = 30
"""Shorter texts are alike by chance, or by habit: `с днём рождения`."""

MOST_COMPARED: Final = 100
"""With so many others that have a band a text is compared: where there are more, they hang together anyway."""

_HASHES: Final = Struct(f"<{BANDS * ROWS}H")
_BANDS: Final = Struct(f"<{BANDS}q")
_WORD: Final = re.compile(r"[^\W\d_]+")

Bands = tuple[int, ...]
"""The bands of one text."""


def bands_of(text: str) -> list[int]:
    """Return the bands of a text without contacts; none of a short one.

    They are signed 64-bit integers, and the same in every process.
    """
    words = _WORD.findall(fold(text).text)
    if len(words) < FEWEST_WORDS or sum(map(len, words)) < FEWEST_LETTERS:
        return []
    # the first word twice, as map wants to compare
    least = map(min, *map(_hashes, {*words}), _hashes(words[0]))
    return list(_BANDS.unpack(_HASHES.pack(*least)))


@lru_cache(maxsize=30_000)
def _hashes(word: str) -> tuple[int, ...]:
    return _HASHES.unpack(shake_128(word.encode("utf-8", "surrogatepass")).digest(_HASHES.size))


def near_duplicates(distinct: Sequence[Bands]) -> list[list[Bands]]:
    """Group bands that differ by near-duplicates, direct ones or by way of others; what has none is a group itself."""
    groups = Groups()
    for one, other in _near(distinct):
        groups.join(one, other)
    found: dict[Bands, list[Bands]] = defaultdict(list)
    for bands in distinct:
        found[groups.leader(bands)].append(bands)
    return list(found.values())


def _near(distinct: Sequence[Bands]) -> list[tuple[Bands, Bands]]:
    by_band: dict[int, list[Bands]] = defaultdict(list)
    for bands in distinct:
        for band in bands:
            by_band[band].append(bands)
    equal = Counter(
        (some[place], other)
        for some in by_band.values()
        for place in range(len(some))
        for other in some[place + 1 : place + 1 + MOST_COMPARED]
    )
    return [pair for pair, count in equal.items() if count >= LEAST_EQUAL]


class Groups(dict[Bands, Bands]):
    """Who belongs together: member -> another member of its group, up to the leader, who is not in it."""

    def leader(self, member: Bands) -> Bands:
        """Return who stands for the group of a member."""
        leader = member
        while (next_one := self.get(leader)) is not None:
            leader = next_one
        while member != leader:
            self[member], member = leader, self[member]
        return leader

    def join(self, one: Bands, other: Bands) -> None:
        """Make one group of those of two members."""
        first, second = self.leader(one), self.leader(other)
        if first != second:
            self[second] = first
