"""No transaction is open during a keyword search: it may take seconds, in another process."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from app.actions.add_groups import add_groups
from app.actions.change_keywords import RequestedKeyword, add_keywords, remove_keywords
from app.actions.start_collection import start_collection
from app.analysis.keywords import Keyword, Positions
from app.background import open_worker
from app.jobs.queue import cancel
from app.resources import Resources
from app.store.collections import begin_collection
from app.store.comments import upsert_comments
from app.work.matching import search_texts as matching
from app.work.matching.known_keywords import KnownKeywords, SearchOutdated
from tests.conftest import stored_comments
from tests.jobs.conftest import collect, counts, ended
from tests.jobs.matching import comments_with, expected, matches, open_walls, store


class Held:
    """A search that waits until it is released."""

    def __init__(self) -> None:
        self.began, self.released = asyncio.Event(), asyncio.Event()

    async def search(self, selected: tuple[Keyword, ...], texts: Sequence[str]) -> dict[int, Positions]:
        """Wait, then search."""
        self.began.set()
        await self.released.wait()
        return await matching.search_texts(selected, texts)


async def open_transactions(resources: Resources) -> int:
    connection = await asyncpg.connect(resources.database.dsn)
    try:
        found: int = await connection.fetchval("""
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'
        """)
        return found
    finally:
        await connection.close()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    made = Held()
    for module in ("known_keywords", "match_keywords"):
        monkeypatch.setattr(f"app.work.matching.{module}.search_texts", made.search)
    return made


async def test_a_collection_can_be_cancelled_while_it_searches(vk_resources: Resources, held: Held) -> None:
    await add_groups(vk_resources, ["1"])
    async with open_worker(vk_resources, 1):
        await add_keywords(vk_resources, [RequestedKeyword("и")])
        row = await start_collection(vk_resources, owner_ids=[-1])
        await held.began.wait()
        assert await open_transactions(vk_resources) == 0
        await cancel(vk_resources, row.id)
        assert (await ended(vk_resources, row.id)).state == "CANCELLED"
    assert await stored_comments(vk_resources) == {}


async def test_keywords_that_change_during_a_search_are_searched_again(vk_resources: Resources, held: Held) -> None:
    await add_groups(vk_resources, ["1"])
    async with open_worker(vk_resources, 2):
        await add_keywords(vk_resources, [RequestedKeyword("и")])
        row = await start_collection(vk_resources, owner_ids=[-1])
        await held.began.wait()
        second = await add_keywords(vk_resources, [RequestedKeyword("в"), RequestedKeyword("на")])
        held.released.set()
        assert (await ended(vk_resources, row.id)).state == "SUCCEEDED"
        if second.job:
            await ended(vk_resources, second.job.id)
    found = await matches(vk_resources)
    assert len(found) > 0
    assert found == await expected(vk_resources)


async def test_no_transaction_is_open_while_stored_comments_are_searched(vk_resources: Resources, held: Held) -> None:
    async with open_worker(vk_resources, 2):
        counts(await collect(vk_resources))
        addition = await add_keywords(vk_resources, [RequestedKeyword("и")])
        assert addition.job
        await held.began.wait()
        assert await open_transactions(vk_resources) == 0
        # comments that are stored meanwhile are searched before anything is written
        async with vk_resources.database.transaction() as connection:
            await connection.exec_driver_sql("UPDATE comments SET text = 'и снова' WHERE NOT is_deleted")
        held.released.set()
        assert (await ended(vk_resources, addition.job.id)).state == "SUCCEEDED"
    found: dict[Any, Any] = await matches(vk_resources)
    assert found == await expected(vk_resources) != {}


async def test_a_keyword_that_is_removed_during_a_search_matches_nothing(vk_resources: Resources, held: Held) -> None:
    """No later job would delete its matches: when it was removed, it had none."""
    async with open_worker(vk_resources, 2):
        counts(await collect(vk_resources))
        addition = await add_keywords(vk_resources, [RequestedKeyword("и")])
        assert addition.job
        await held.began.wait()
        assert await remove_keywords(vk_resources, [addition.outcomes[0].keyword_id or 0]) == (1, None)
        held.released.set()
        assert (await ended(vk_resources, addition.job.id)).state == "SUCCEEDED"
    assert await matches(vk_resources) == {}


async def test_a_text_that_was_stored_before_the_search_and_not_after_it(resources: Resources) -> None:
    """It was not searched, because it was stored already; meanwhile another collection has stored another text."""
    await open_walls(resources, [-1])
    await store(resources, comments_with(["банк"]))
    await add_keywords(resources, [RequestedKeyword("банк")])
    known = KnownKeywords()
    await known.search(resources.database, comments_with(["банк"]))
    await store(resources, comments_with(["люди"]))
    async with resources.database.transaction() as connection:
        stored = await upsert_comments(connection, comments_with(["банк"]), await begin_collection(connection))
        with pytest.raises(SearchOutdated):
            await known.write_matches(connection, stored)
