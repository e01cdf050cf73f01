"""Searches texts for keywords off the event loop."""

import asyncio
import pickle
from collections.abc import Sequence
from functools import lru_cache

from app.analysis.keywords import Keyword, KeywordMatching, Positions, matches_of
from app.jobs.offload import in_process
from app.store.keyset import StoredRow

FEW_TEXTS = 500
"""So few are searched in a thread of this process: another one takes longer to start."""
FEW_KEYWORDS = 200
"""A matcher of so few is made in some milliseconds; while one of thousands is made, nothing else goes on here."""


def as_keywords(rows: Sequence[StoredRow]) -> tuple[Keyword, ...]:
    """Make keywords of their rows."""
    return tuple(Keyword(row.id, row.phrase, KeywordMatching(row.matching)) for row in rows)


async def search_texts(wanted: tuple[Keyword, ...], texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts for keywords: number of a text -> its matches; texts without any are absent.

    Raises:
        ProcessDied: the process that searches ended meanwhile.
    """
    if len(texts) <= FEW_TEXTS and len(wanted) <= FEW_KEYWORDS:
        return await asyncio.to_thread(matches_of, wanted, texts)
    return await in_process(search_packed, packed(wanted), texts)


# pickled once for all calls: thousands of keywords take longer to be pickled than most texts to be searched


@lru_cache(maxsize=4)
def packed(wanted: tuple[Keyword, ...]) -> bytes:
    """Return keywords as another process takes them."""
    return pickle.dumps(wanted)


@lru_cache(maxsize=4)
def _unpacked(data: bytes) -> tuple[Keyword, ...]:
    wanted: tuple[Keyword, ...] = pickle.loads(data)  # noqa: S301 - from `packed`
    return wanted


def search_packed(wanted: bytes, texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts in another process; the last keywords are kept there."""
    return matches_of(_unpacked(wanted), texts)
