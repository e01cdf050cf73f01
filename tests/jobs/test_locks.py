"""Each transaction that writes rows of a wall, a wave or keywords holds the lock for them, in one order.

Triggers of these tests reject a write without its lock. So a missing lock is
detected without concurrency, whichever job writes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.actions.change_groups import start_removal
from app.actions.change_keywords import RequestedKeyword, add_keywords, remove_keywords, update_keyword
from app.actions.mark_comments import mark_comments, remove_comments
from app.actions.start_analysis import start_analysis
from app.analysis.keywords import KeywordMatching
from app.background import open_worker
from app.resources import Resources
from app.store.comment_conditions import CommentConditions
from app.store.comment_marks import Marks
from tests.conftest import Simulator
from tests.jobs.conftest import collect, counts, ended
from tests.jobs.matching import add, comments_with, open_walls, store
from tests.jobs.test_analyze_comments import copies
from tests.locks import advisory_locks, hash_of, held, until_it_waits

SPAM = "Работа на дому, зарплата каждую неделю, подробности у меня на странице"

_FUNCTIONS = """
    CREATE FUNCTION require_lock(name text, seed bigint, needed text) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF NOT EXISTS (
            SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND mode ~ needed
               AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(name, seed)) THEN
            RAISE EXCEPTION 'written without the lock %, %', name, seed;
        END IF;
    END $$;
    CREATE FUNCTION require_wall_lock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM require_lock('wall', coalesce(NEW.owner_id, OLD.owner_id), 'Exclusive');
        RETURN coalesce(NEW, OLD);
    END $$;
    CREATE FUNCTION require_named_lock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM require_lock(TG_ARGV[0], 0, TG_ARGV[1]);
        RETURN coalesce(NEW, OLD);
    END $$;
"""
_OF_WALLS = ("posts", "comments", "comment_features", "comment_bands", "comment_keywords")
_OF_WAVES = ("waves", "wave_bands")


async def refuse_writes_without_locks(resources: Resources) -> None:
    """Make PostgreSQL reject writes without locks."""
    each = "BEFORE INSERT OR UPDATE OR DELETE ON"
    statements = [f"{part.strip()} END $$" for part in _FUNCTIONS.split("END $$;") if part.strip()]
    statements += [
        f"CREATE TRIGGER needs_wall {each} {table} FOR EACH ROW EXECUTE FUNCTION require_wall_lock()"
        for table in _OF_WALLS
    ]
    statements += [
        f"CREATE TRIGGER needs_waves {each} {table} FOR EACH ROW EXECUTE FUNCTION require_named_lock('waves', 'Ex')"
        for table in _OF_WAVES
    ]
    statements += [
        """
        CREATE TRIGGER needs_waves BEFORE UPDATE OF wave_id ON comment_features
           FOR EACH ROW EXECUTE FUNCTION require_named_lock('waves', 'Exclusive')
        """,
        f"""
        CREATE TRIGGER needs_keywords {each} keywords
           FOR EACH ROW EXECUTE FUNCTION require_named_lock('keywords', 'Exclusive')
        """,
        # the trigger of a removed comment deletes its matches, whatever the keywords are
        f"""
        CREATE TRIGGER needs_keywords {each} comment_keywords
           FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION require_named_lock('keywords', 'Share|Exclusive')
        """,
    ]
    async with resources.database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement.replace(":", r"\:")))


async def done(resources: Resources, job: Any) -> None:
    """Wait for the end of a job, which must succeed."""
    row = await ended(resources, job.id)
    assert row.state == "SUCCEEDED", row.failure


async def test_a_write_without_its_lock_is_refused(resources: Resources) -> None:
    await open_walls(resources, [-1])
    await store(resources, comments_with(["банк"]))
    await refuse_writes_without_locks(resources)
    for statement in ("UPDATE comments SET like_count = 5", "INSERT INTO keywords (phrase) VALUES ('x')"):
        with pytest.raises(Exception, match="written without the lock"):
            async with resources.database.transaction() as connection:
                await connection.execute(text(statement))


@pytest.mark.usefixtures("worker")
async def test_collections_lock_the_walls_that_they_write(vk_resources: Resources, simulator: Simulator) -> None:
    await refuse_writes_without_locks(vk_resources)
    await add(vk_resources, "и", "не", matching=KeywordMatching.SUBSTRING)
    counts(await collect(vk_resources))
    simulator.control(delete_post={"group_id": 1, "post_id": min(simulator.truth())})
    simulator.control(delete_comment={"group_id": 1, "comment_id": max(simulator.truth()[max(simulator.truth())])})
    assert counts(await collect(vk_resources))["deleted_comments"] > 0
    counts(await collect(vk_resources, full=True))
    gone = max(simulator.truth())
    simulator.control(delete_post={"group_id": 1, "post_id": gone})
    counts(await collect(vk_resources, owner_ids=[], post_urls=[f"wall-1_{gone}"]))


async def test_changes_of_keywords_lock_the_walls_that_they_write(resources: Resources) -> None:
    await open_walls(resources, [-1, -2])
    for owner_id in (-1, -2):
        await store(resources, comments_with(["Новый банк", "банками и банком", "люди"], owner_id))
    await refuse_writes_without_locks(resources)
    async with open_worker(resources, 1):
        bank, people = await add(resources, "банк", "люди")
        _, job = await update_keyword(resources, bank, {"phrase": "новый"})
        await done(resources, job)
        await update_keyword(resources, people, {"is_active": False})
        _, job = await update_keyword(resources, people, {"phrase": "человек"})
        await done(resources, job)
        _, job = await remove_keywords(resources, [bank])
        await done(resources, job)


async def with_waves(resources: Resources) -> None:
    """Store a wave of two walls, and one of the first wall alone."""
    await open_walls(resources, [-1, -2])
    for owner_id in (-1, -2):
        await store(resources, copies(*[SPAM] * 4, owner_id=owner_id))
    own = "Продам гараж в центре города недорого, звоните в любое время"
    await store(resources, copies(*[own] * 4, first_id=200))


async def test_an_analysis_locks_waves_and_walls(resources: Resources) -> None:
    await with_waves(resources)
    await refuse_writes_without_locks(resources)
    async with open_worker(resources, 1):
        await done(resources, await start_analysis(resources))
        # a wave that ends
        await store(resources, copies(*["Спасибо"] * 3, first_id=200))
        await done(resources, await start_analysis(resources))
        await done(resources, await start_analysis(resources, full=True))


async def test_a_removal_locks_waves_and_the_walls_that_they_are_on(resources: Resources) -> None:
    await with_waves(resources)
    # without these two comments, the rest of the common wave on the second wall is too small for a wave
    await remove_comments(resources, [(-2, 100), (-2, 101)])
    async with open_worker(resources, 1):
        await done(resources, await start_analysis(resources))
        await refuse_writes_without_locks(resources)
        await done(resources, await start_removal(resources, [-1]))


async def test_marking_locks_walls(resources: Resources) -> None:
    await open_walls(resources, [-1])
    await store(resources, comments_with(["один", "два", "три"]))
    await refuse_writes_without_locks(resources)
    assert (await mark_comments(resources, [(-1, 2)], Marks(viewed=True))).count == 1
    assert (await mark_comments(resources, CommentConditions(owner_ids=(-1,)), Marks(archived=True))).count == 3
    assert (await remove_comments(resources, [(-1, 3)])).count == 1


# the lock order: waves, walls, keywords


async def _remove(resources: Resources) -> None:
    await done(resources, await start_removal(resources, [-1]))


async def _analyze(resources: Resources) -> None:
    await done(resources, await start_analysis(resources))


@pytest.mark.parametrize("work", [_remove, _analyze])
async def test_waves_are_locked_before_walls(
    resources: Resources, work: Callable[[Resources], Awaitable[None]]
) -> None:
    """The holder of the lock of waves waits for walls, so the holder of a wall must not wait for the waves."""
    await with_waves(resources)
    async with open_worker(resources, 1):
        if work is _remove:
            await _analyze(resources)
        async with held(resources, "SELECT pg_advisory_xact_lock(hashtextextended('waves', 0))") as holder:
            task = asyncio.ensure_future(work(resources))
            pid = await until_it_waits(resources, holder, task)
            walls = {await hash_of(resources, "wall", owner_id) for owner_id in (-1, -2)}
            assert not walls & await advisory_locks(resources, pid)
        await task


async def test_walls_are_locked_before_keywords(resources: Resources) -> None:
    """Otherwise a reader of keywords could wait for a wall whose holder waits behind a change of keywords."""
    await open_walls(resources, [-1])
    await store(resources, comments_with(["один", "два", "три"]))
    statement = "SELECT pg_advisory_xact_lock(hashtextextended('keywords', 0))"
    wall = await hash_of(resources, "wall", -1)
    addition = await add_keywords(resources, [RequestedKeyword("два")])
    assert addition.job
    async with held(resources, statement) as holder, open_worker(resources, 1):
        task = asyncio.ensure_future(done(resources, addition.job))
        assert wall in await advisory_locks(resources, await until_it_waits(resources, holder, task))
        await holder.rollback()
        await task
    _, job = await remove_keywords(resources, [addition.outcomes[0].keyword_id or 0])
    async with held(resources, statement) as holder, open_worker(resources, 1):
        task = asyncio.ensure_future(done(resources, job))
        assert wall in await advisory_locks(resources, await until_it_waits(resources, holder, task))
        await holder.rollback()
        await task
