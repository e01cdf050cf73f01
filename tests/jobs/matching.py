"""Stores comments with given texts as a collection does, and computes their expected keyword matches."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import text

from app.actions.change_keywords import RequestedKeyword, add_keywords
from app.analysis.keywords import KeywordMatching, Matcher
from app.resources import Resources
from app.store import keywords
from app.store.collections import begin_collection
from app.store.comments import upsert_comments
from app.store.groups import upsert_groups
from app.store.locks import lock_walls
from app.store.posts import upsert_posts
from app.wall import VkComment, VkGroup
from app.work.matching.known_keywords import KnownKeywords, SearchOutdated
from app.work.matching.search_texts import as_keywords
from tests.jobs.conftest import ended
from tests.store.rows import comment, post

MONTH_SECONDS = 31 * 86_400


async def open_walls(resources: Resources, owner_ids: Iterable[int]) -> None:
    """Store communities with one post each."""
    async with resources.database.transaction() as connection:
        for owner_id in owner_ids:
            await upsert_groups(connection, [VkGroup(-owner_id, f"g{-owner_id}", f"G {-owner_id}")])
            await upsert_posts(connection, [post(1, owner_id=owner_id)])


def comments_with(texts: Sequence[str], owner_id: int = -1, first_id: int = 2) -> list[VkComment]:
    """Return comments with these texts, each one month later than the previous one."""
    return [
        comment(first_id + place, words, owner_id=owner_id, date=1_772_323_200 + place % 5 * MONTH_SECONDS)
        for place, words in enumerate(texts)
    ]


async def store(resources: Resources, found: Sequence[VkComment], known: KnownKeywords | None = None) -> None:
    """Store comments and their keyword matches, as a collection does."""
    known = known or KnownKeywords()
    is_stored = False
    while not is_stored:
        await known.search(resources.database, found)
        with suppress(SearchOutdated):
            async with resources.database.transaction() as connection:
                await lock_walls(connection, {each.owner_id for each in found})
                stored = await upsert_comments(connection, found, await begin_collection(connection))
                await known.write_matches(connection, stored)
            is_stored = True


async def add(resources: Resources, *phrases: str, matching: KeywordMatching = KeywordMatching.WORD_FORMS) -> list[int]:
    """Add keywords, wait until stored comments are matched, and return the keywords' ids."""
    addition = await add_keywords(resources, [RequestedKeyword(phrase, matching) for phrase in phrases])
    if addition.job:
        assert (await ended(resources, addition.job.id)).state == "SUCCEEDED"
    return [outcome.keyword_id or 0 for outcome in addition.outcomes]


async def matches(resources: Resources) -> dict[tuple[int, int, int], list[int]]:
    """Return the stored matches: (owner id, comment id, keyword id) -> positions."""
    async with resources.database.connect() as connection:
        rows = await connection.execute(
            text("SELECT owner_id, comment_id, keyword_id, positions FROM comment_keywords")
        )
        return {(row.owner_id, row.comment_id, row.keyword_id): row.positions for row in rows}


async def expected(resources: Resources) -> dict[tuple[int, int, int], list[int]]:
    """Return the matches of active keywords in all stored comments, computed from scratch."""
    async with resources.database.connect() as connection:
        active = await keywords.active_keywords(connection, None)
        rows = (await connection.execute(text("SELECT owner_id, id, text FROM comments"))).all()
    found = Matcher(as_keywords(active.rows)).match([row.text for row in rows])
    return {
        (rows[number].owner_id, rows[number].id, keyword_id): places
        for number, positions in found.items()
        for keyword_id, places in positions.items()
    }


async def counts_are_right(resources: Resources) -> None:
    """Compare the stored counts of keywords with counts of all matches."""
    counted: dict[int, tuple[int, int]] = {}
    for (_, _, keyword_id), positions in (await matches(resources)).items():
        comments, places = counted.get(keyword_id, (0, 0))
        counted[keyword_id] = comments + 1, places + len(positions) // 2
    async with resources.database.connect() as connection:
        ids = (await connection.execute(text("SELECT DISTINCT keyword_id FROM keyword_months"))).scalars()
        kept = await keywords.match_counts(connection, [(keyword_id,) for keyword_id in ids])
    sums: dict[int, Any] = {key[0]: (row.comments, row.matches) for key, row in kept.items() if row.comments}
    assert sums == counted
