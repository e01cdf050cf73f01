"""Searches texts for keywords without blocking the event loop."""

import asyncio
import pickle
from collections.abc import Sequence
from functools import lru_cache

from app.analysis.keywords import Keyword, KeywordMatching, Positions, matches_of
from app.jobs.offload import in_process
from app.store.rows import ActiveKeywordRow

FEW_TEXTS = 500
"""Up to this many texts are searched in a thread of this process, because starting another process takes longer."""
FEW_KEYWORDS = 200
"""A matcher of up to this many keywords is built in milliseconds; building one of thousands blocks this process."""


def as_keywords(rows: Sequence[ActiveKeywordRow]) -> tuple[Keyword, ...]:
    """Convert rows to keywords."""
    return tuple(Keyword(row.id, row.phrase, KeywordMatching(row.matching)) for row in rows)


async def search_texts(selected: tuple[Keyword, ...], texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts for keywords. Return index of a text -> its matches; texts without matches are absent.

    Raises:
        ProcessDied: the process that searches died.
    """
    if len(texts) <= FEW_TEXTS and len(selected) <= FEW_KEYWORDS:
        return await asyncio.to_thread(matches_of, selected, texts)
    return await in_process(search_pickled, pickled(selected), texts)


# pickled once and cached: pickling thousands of keywords takes longer than searching most texts


@lru_cache(maxsize=4)
def pickled(selected: tuple[Keyword, ...]) -> bytes:
    """Return keywords pickled for another process."""
    return pickle.dumps(selected)


@lru_cache(maxsize=4)
def _unpickled(data: bytes) -> tuple[Keyword, ...]:
    selected: tuple[Keyword, ...] = pickle.loads(data)  # noqa: S301 - only data that `pickled` returned
    return selected


def search_pickled(selected: bytes, texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts in another process, which caches the last keywords."""
    return matches_of(_unpickled(selected), texts)
