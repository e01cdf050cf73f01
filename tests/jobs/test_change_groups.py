"""Jobs on communities: refresh and removal."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from app.actions.add_groups import add_groups
from app.actions.change_groups import start_refresh, start_removal
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.db import tables
from app.errors import JobAlreadyRunning
from app.job_states import JobState
from app.jobs.queue import cancel
from app.resources import Resources
from app.store import comment_marks, groups, posts
from app.wall import VkGroup
from app.work.groups import refresh_groups, remove_groups
from tests.conftest import Simulator, statements, write_wall
from tests.jobs.conftest import collect, counts, ended, in_state, read_job

DERIVED = (
    "comments", "posts", "comment_search", "comment_keywords", "comment_features", "comment_hours", "author_months",
    "post_stats", "keyword_months", "language_months", "term_months", "wall_versions", "removed_comments",
    "monitorings", "job_groups",
)  # fmt: skip


async def row_counts(resources: Resources, owner_id: int) -> dict[str, int]:
    """Return the number of rows of a wall per table, for tables with any."""
    found = {}
    async with resources.database.connect() as connection:
        for name in DERIVED:
            table = getattr(tables, name)
            count = select(func.count()).select_from(table).where(table.c.owner_id == owner_id)
            if number := await connection.scalar(count):
                found[name] = number
    return found


async def _store_results(resources: Resources, owner_id: int) -> None:
    """Store features and matches of a comment, a removed comment, and a monitoring."""
    values: dict[str, Any] = {"owner": owner_id}
    async with resources.database.transaction() as connection:
        for statement in (
            "INSERT INTO comment_keywords VALUES (:owner, 2, 1, now(), '{0,1}')",
            """INSERT INTO comment_features (owner_id, comment_id, published_at, language, term_ids, links, phones,
                                             mention_ids, mood)
               VALUES (:owner, 2, now(), 'ru', '{1}', '{}', '{}', '{}', 0)""",
            "INSERT INTO removed_comments (owner_id, id) VALUES (:owner, 99)",
            "INSERT INTO monitorings (owner_id, is_enabled, interval_seconds, priority) VALUES (:owner, false, 60, 0)",
        ):
            await connection.execute(text(statement), values)


@pytest.mark.usefixtures("worker")
async def test_a_removed_community_leaves_no_rows(vk_resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remove_groups, "BATCH", 5)
    for owner_id in (-1, -2, -3):
        await write_wall(vk_resources, owner_id)
        await _store_results(vk_resources, owner_id)
    before = await row_counts(vk_resources, -2)
    assert set(before) == set(DERIVED) - {"job_groups"}
    row = await ended(vk_resources, (await start_removal(vk_resources, [-3, -1, -3])).id)
    assert counts(row) == {"groups": 2, "comments": 24}
    assert (row.done, row.total) == (24, 24)
    for owner_id, expected in ((-1, {}), (-2, before), (-3, {})):
        assert await row_counts(vk_resources, owner_id) == expected
    async with vk_resources.database.connect() as connection:
        assert await groups.owner_ids_after(connection, None, 9, None) == [-2]


async def test_a_removal_resumes_after_a_crash(vk_resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancelled removal leaves posts that the next collection reads again."""
    monkeypatch.setattr(remove_groups, "BATCH", 5)
    await write_wall(vk_resources, -1)
    async with vk_resources.database.transaction() as connection:
        await connection.execute(update(tables.posts).values(collected_count=4))
    reached, go_on = asyncio.Event(), asyncio.Event()
    forget = posts.forget_collected

    async def wait(*arguments: Any) -> None:
        await forget(*arguments)
        reached.set()
        await go_on.wait()

    monkeypatch.setattr(posts, "forget_collected", wait)
    job_id = (await start_removal(vk_resources, [-1])).id
    async with open_worker(vk_resources, 1):
        await reached.wait()
        with pytest.raises(JobAlreadyRunning):
            await start_collection(vk_resources, owner_ids=[-1])
    # stopped during its first step, which is rolled back
    assert (await read_job(vk_resources, job_id)).state == JobState.QUEUED.value
    assert (await row_counts(vk_resources, -1))["comments"] == 12
    reached.clear()
    go_on.set()
    async with open_worker(vk_resources, 1):
        assert counts(await ended(vk_resources, job_id)) == {"groups": 1, "comments": 12}
    assert await row_counts(vk_resources, -1) == {}


async def test_a_collection_completes_after_a_cancelled_removal(
    vk_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove_groups, "BATCH", 100)
    async with open_worker(vk_resources, 2):
        first = counts(await collect(vk_resources))
        before = await row_counts(vk_resources, -1)
        delete = comment_marks.delete
        done: list[int] = []

        async def delete_and_cancel(connection: Any, keys: Any) -> None:
            await delete(connection, keys)
            done.append(len(keys))
            if len(done) == 1:
                cancellations.append(asyncio.create_task(cancel(vk_resources, job_id)))

        cancellations: list[asyncio.Task[Any]] = []
        monkeypatch.setattr(comment_marks, "delete", delete_and_cancel)
        job_id = (await start_removal(vk_resources, [-1])).id
        await in_state(vk_resources, job_id, JobState.CANCELLED)
        assert 0 < (await row_counts(vk_resources, -1))["comments"] < before["comments"]
        again = counts(await collect(vk_resources))
        assert again["new_comments"] == before["comments"] - (first["new_comments"] - sum(done))
    assert (await row_counts(vk_resources, -1))["comments"] == before["comments"]


DELETED_BY_THE_START = """
CREATE FUNCTION delete_groups() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM groups; RETURN NULL; END $$;
CREATE TRIGGER late AFTER UPDATE OF state ON jobs
   FOR EACH ROW WHEN (NEW.state = 'RUNNING') EXECUTE FUNCTION delete_groups();
"""


@pytest.mark.usefixtures("worker")
async def test_a_community_that_is_removed_before_its_post_is_collected(
    vk_resources: Resources, simulator: Simulator
) -> None:
    await add_groups(vk_resources, ["1"])
    async with vk_resources.database.transaction() as connection:
        for statement in DELETED_BY_THE_START.strip().split(";\n"):
            await connection.execute(text(statement.rstrip(";")))
    url = f"https://vk.com/wall-1_{min(simulator.truth())}"
    row = await ended(vk_resources, (await start_collection(vk_resources, owner_ids=[], post_urls=[url])).id)
    assert (row.state, row.failure["code"]) == ("FAILED", "GROUP_NOT_FOUND")


@pytest.mark.usefixtures("worker")
async def test_refresh(vk_resources: Resources, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """What VK returns of a community is stored; a community that VK does not return is unchanged."""
    monkeypatch.setattr(refresh_groups, "BATCH", 1)
    await add_groups(vk_resources, ["1"])
    async with vk_resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(777, "gone", "Gone")])
        before = (await groups.groups_by_key(connection, [(-1,)]))[-1,]
        await connection.execute(update(tables.groups).values(name="Old", note="mine"))
    assert simulator.control()
    row = await ended(vk_resources, (await start_refresh(vk_resources, None)).id)
    assert counts(row) == {"groups": 2, "changed": 1, "missing": 1}
    assert (row.done, row.total) == (2, 2)
    async with vk_resources.database.connect() as connection:
        found = await groups.groups_by_key(connection, [(-1,), (-777,)])
    assert (found[-1,].name, found[-1,].note, found[-777,].name) == (before.name, "mine", "Old")
    row = await ended(vk_resources, (await start_refresh(vk_resources, [-1])).id)
    assert counts(row) == {"groups": 1, "changed": 0, "missing": 0}


@pytest.mark.usefixtures("worker")
async def test_a_large_wall_is_removed_in_small_statements(
    vk_resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement for all posts would exceed the statement timeout."""
    monkeypatch.setattr(remove_groups, "BATCH", 5)
    await write_wall(vk_resources, -1, posts_count=23, comments_per_post=1)
    with statements(vk_resources) as seen:
        assert counts(await ended(vk_resources, (await start_removal(vk_resources, [-1])).id))["comments"] == 23
    assert len([statement for statement in seen.texts if "DELETE FROM posts" in statement]) >= 23 / 5
    assert await row_counts(vk_resources, -1) == {}
