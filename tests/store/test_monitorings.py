from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, text

from app.db.tables import jobs as jobs_table
from app.db.tables import monitorings as table
from app.resources import Resources
from app.store import jobs, monitorings
from app.store.groups import upsert_groups
from app.store.keyset import Page
from app.wall import VkGroup
from tests.conftest import statements
from tests.store.rows import read, values_of

HOUR = 3600
DEFAULTS = {"is_enabled": False, "interval_seconds": HOUR, "priority": 0}


async def insert(resources: Resources, *owner_ids: int, due: str = "-1 second", **values: Any) -> None:
    """Write communities with an hourly monitoring; `due` is the time of their next run, from now."""
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(-owner_id, f"g{owner_id}", "") for owner_id in owner_ids])
        next_run_at = func.now() + text(f"interval '{due}'")
        for owner_id in owner_ids:
            row = {**DEFAULTS, "is_enabled": True, "next_run_at": next_run_at, "owner_id": owner_id, **values}
            await connection.execute(table.insert().values(**row))


async def insert_job(resources: Resources, state: str = "QUEUED") -> int:
    async with resources.database.transaction() as connection:
        values = {"kind": "any", "arguments": {}, "priority": 0, "max_attempts": 1, "timeout_seconds": 1.0}
        return int((await jobs.insert_job(connection, {**values, "state": state})).id)


async def claim_due(resources: Resources, limit: int = 1000) -> list[int]:
    async with resources.database.transaction() as connection:
        return [row.owner_id for row in await monitorings.claim_due(connection, limit)]


async def rows(resources: Resources) -> dict[int, dict[str, Any]]:
    return {owner_id: row for (owner_id,), row in (await read(resources, table)).items()}


async def now(resources: Resources) -> datetime:
    async with resources.database.connect() as connection:
        return await jobs.current_time(connection)


# settings


async def test_monitorings_by_key(resources: Resources) -> None:
    await insert(resources, -1, -2)
    async with resources.database.connect() as connection:
        found = await monitorings.monitorings_by_key(connection, [(-2,), (-3,), (-1,)])
    assert {key: row.owner_id for key, row in found.items()} == {(-1,): -1, (-2,): -2}


async def test_the_first_lock_writes_the_defaults(resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(1, "g1", "")])
        first = await monitorings.lock_monitoring(connection, -1, DEFAULTS)
        assert (first.is_enabled, first.interval_seconds, first.priority, first.next_run_at) == (False, HOUR, 0, None)
        assert first.now == await jobs.current_time(connection)
        written = await monitorings.write_monitoring(connection, -1, {"interval_seconds": 60, "priority": 20})
        assert (written.interval_seconds, written.priority) == (60, 20)
        again = await monitorings.lock_monitoring(connection, -1, DEFAULTS)
    assert (again.is_enabled, again.interval_seconds, again.priority) == (False, 60, 20)


async def test_a_monitoring_is_deleted_with_its_community(resources: Resources) -> None:
    await insert(resources, -1, -2)
    async with resources.database.transaction() as connection:
        await connection.execute(text("DELETE FROM groups WHERE owner_id = -1"))
    assert list(await rows(resources)) == [-2]


# claiming due communities


async def test_only_due_communities_are_claimed(resources: Resources) -> None:
    await insert(resources, -1, due="-1 second")
    await insert(resources, -2, due="1 minute")
    await insert(resources, -3, is_enabled=False, next_run_at=None)
    assert await claim_due(resources) == [-1]
    assert await claim_due(resources) == []


async def test_missed_runs_are_one_run(resources: Resources) -> None:
    await insert(resources, -1, due="-3 days")
    assert await claim_due(resources) == [-1]
    assert await claim_due(resources) == []
    assert (await rows(resources))[-1]["next_run_at"] > await now(resources)


async def test_the_longest_due_are_claimed_first(resources: Resources) -> None:
    for minutes, owner_id in enumerate((-4, -1, -3, -2), start=1):
        await insert(resources, owner_id, due=f"-{minutes} minutes")
    assert sorted(await claim_due(resources, 2)) == [-3, -2]
    assert sorted(await claim_due(resources, 1)) == [-1]
    assert await claim_due(resources) == [-4]


async def test_communities_that_were_due_together_drift_apart(resources: Resources) -> None:
    owner_ids = [-number for number in range(1, 401)]
    await insert(resources, *owner_ids)
    with statements(resources) as seen:
        assert sorted(await claim_due(resources)) == sorted(owner_ids)
    assert len(seen) == 1
    waits = [(row["next_run_at"] - await now(resources)).total_seconds() for row in (await rows(resources)).values()]
    assert all(0.89 * HOUR < wait < 1.11 * HOUR for wait in waits)
    assert max(waits) - min(waits) > 0.15 * HOUR
    assert abs(sum(waits) / len(waits) - HOUR) < 0.03 * HOUR


async def test_concurrent_claims_return_different_communities(resources: Resources) -> None:
    await insert(resources, -1, -2, -3)
    async with resources.database.transaction() as mine, resources.database.transaction() as others:
        first = await monitorings.claim_due(mine, 2)
        second = await monitorings.claim_due(others, 10)
    assert (len(first), len(second)) == (2, 1)
    assert {row.owner_id for row in [*first, *second]} == {-1, -2, -3}


async def test_a_returned_community_is_due_as_before(resources: Resources) -> None:
    await insert(resources, -1, -2, -3, priority=10)
    before = await rows(resources)
    async with resources.database.transaction() as connection:
        due = {row.owner_id: row.due_at for row in await monitorings.claim_due(connection, 10) if row.priority == 10}
        assert due == {owner_id: row["next_run_at"] for owner_id, row in before.items()}
        del due[-2]
        await monitorings.make_due_again(connection, due)
        await monitorings.make_due_again(connection, {})
    after = await rows(resources)
    assert {owner_id for owner_id in after if after[owner_id] == before[owner_id]} == {-1, -3}


# results


async def test_the_jobs_of_monitorings(resources: Resources) -> None:
    await insert(resources, -1, -2, -3)
    one, two = await insert_job(resources), await insert_job(resources)
    async with resources.database.transaction() as connection:
        await monitorings.note_jobs(connection, {-1: one, -3: two})
        await monitorings.note_jobs(connection, {})
    assert {owner_id: row["job_id"] for owner_id, row in (await rows(resources)).items()} == {
        -1: one,
        -2: None,
        -3: two,
    }


@pytest.mark.parametrize(
    ("state", "result", "failure", "expected"),
    [
        ("SUCCEEDED", {"posts": 2}, None, ({"posts": 2}, None)),
        ("FAILED", None, {"code": "VK_TOKEN"}, ({"posts": 1}, {"code": "VK_TOKEN"})),
        ("CANCELLED", None, None, ({"posts": 1}, None)),
    ],
)
async def test_the_end_of_a_job(
    resources: Resources, state: str, result: Mapping[str, Any] | None, failure: Mapping[str, Any] | None, expected: Any
) -> None:
    job_id = await insert_job(resources)
    await insert(resources, -1, job_id=job_id, last_result={"posts": 1}, last_failure={"code": "INTERNAL"})
    await insert(resources, -2)
    async with resources.database.transaction() as connection:
        at = await jobs.current_time(connection)
        ended = {"state": state, "result": result, "failure": failure, "finished_at": at}
        await connection.execute(jobs_table.update().where(jobs_table.c.id == job_id).values(**ended))
        await monitorings.note_ends(connection, [job_id])
        nulls = text("SELECT owner_id FROM monitorings WHERE last_failure IS NULL ORDER BY 1 DESC")
        assert list(await connection.scalars(nulls)) == ([-2] if failure else [-1, -2])
    found = await rows(resources)
    assert (found[-1]["last_state"], found[-1]["last_run_at"]) == (state, at)
    assert (found[-1]["last_result"], found[-1]["last_failure"]) == expected
    assert found[-2]["last_state"] is None


async def test_the_result_of_a_removed_job_is_kept(resources: Resources) -> None:
    job_id = await insert_job(resources, "SUCCEEDED")
    await insert(resources, -1, job_id=job_id, last_state="SUCCEEDED")
    async with resources.database.transaction() as connection:
        await connection.execute(jobs_table.delete())
    assert ((row := (await rows(resources))[-1])["job_id"], row["last_state"]) == (None, "SUCCEEDED")


# the overview


async def test_the_overview(resources: Resources) -> None:
    async with resources.database.connect() as connection:
        assert values_of(await monitorings.overview(connection)) == (0, 0, 0, None, 0)
    jobs_by_state = {state: await insert_job(resources, state) for state in ("QUEUED", "RUNNING", "FAILED")}
    await insert(resources, -1, due="-1 hour", last_state="FAILED", job_id=jobs_by_state["FAILED"])
    await insert(resources, -2, due="1 hour", job_id=jobs_by_state["RUNNING"])
    await insert(resources, -3, due="2 hours", last_state="FAILED", job_id=jobs_by_state["QUEUED"])
    await insert(resources, -4, due="3 hours", last_state="SUCCEEDED")
    ran_by_hand = await insert_job(resources)
    await insert(resources, -5, is_enabled=False, next_run_at=None, last_state="FAILED", job_id=ran_by_hand)
    with statements(resources) as seen:
        async with resources.database.connect() as connection:
            found = await monitorings.overview(connection)
    assert len(seen) == 1
    assert (found.enabled, found.due, found.failing, found.running) == (4, 1, 2, 3)
    assert found.next_run_at == (await rows(resources))[-1]["next_run_at"]


async def test_pages_of_enabled_monitorings(resources: Resources) -> None:
    for hours, owner_id in enumerate((-3, -1, -2), start=1):
        await insert(resources, owner_id, due=f"{hours} hours")
    await insert(resources, -4, is_enabled=False, next_run_at=None)
    async with resources.database.connect() as connection:
        first = await monitorings.monitorings_page(connection, None, Page(monitorings.NEXT_RUN, 2))
        after = (first.rows[-1].next_run_at, first.rows[-1].owner_id)
        rest = await monitorings.monitorings_page(connection, None, Page(monitorings.NEXT_RUN, 2, after=after))
        assert await monitorings.count_monitorings(connection, None) == 3
    assert [row.owner_id for row in first.rows] == [-3, -1]
    assert first.has_next
    assert [row.owner_id for row in rest.rows] == [-2]
    earlier, later = after[0], rest.rows[0].next_run_at
    assert earlier is not None
    assert later is not None
    assert later - earlier > timedelta(minutes=59)
