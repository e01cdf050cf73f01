import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func

from app.db.tables import job_events, job_groups
from app.db.tables import jobs as table
from app.errors import JobAlreadyRunning
from app.job_states import JobEventKind, JobState
from app.resources import Resources
from app.store import jobs
from app.store.groups import upsert_groups
from app.store.jobs import JobConditions
from app.store.keyset import Page
from app.store.rows import ClaimedJobRow, JobRow
from app.wall import VkGroup
from tests.conftest import has_lock_waiter, statements, until
from tests.store.rows import read

VALUES: dict[str, Any] = {
    "kind": "collect_comments",
    "arguments": {"owner_ids": [-1]},
    "priority": 1,
    "max_attempts": 5,
    "timeout_seconds": 60.0,
}


async def insert(resources: Resources, **values: Any) -> JobRow:
    async with resources.database.transaction() as connection:
        row = await jobs.insert_job(connection, {**VALUES, **values})
        if "queue_id" not in values:
            await jobs.write_queue_id(connection, row.id, 1_000 + row.id)
        return await jobs.job_by_id(connection, row.id) or row


async def claim_job(resources: Resources, job_id: int, epoch: int = 0, worker: str = "me") -> ClaimedJobRow | None:
    async with resources.database.transaction() as connection:
        events = {
            state: {"message": state.value, "reason": state.value} for state in (JobState.QUEUED, JobState.RUNNING)
        }
        taken = await jobs.claim_jobs(connection, {1_000 + job_id: job_id}, worker, events)
    assert all(row.epoch == epoch + 1 for row in taken)
    return next(iter(taken), None)


async def change(resources: Resources, job_id: int, **values: Any) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(table.update().where(table.c.id == job_id).values(**values))


# reading


async def test_a_new_job(resources: Resources) -> None:
    row = await insert(resources)
    assert (row.state, row.done, row.total, row.attempts, row.epoch, row.last_seq) == ("QUEUED", 0, None, 0, 0, 0)
    assert row.arguments == {"owner_ids": [-1]}
    async with resources.database.connect() as connection:
        assert await jobs.job_by_id(connection, row.id) == row
        assert await jobs.job_by_id(connection, row.id + 1) is None
        assert await jobs.jobs_by_key(connection, [(row.id,), (row.id + 1,)]) == {(row.id,): row}


@pytest.mark.parametrize(
    ("conditions", "places"),
    [
        (JobConditions(), [2, 1, 0]),
        (JobConditions(kinds=("other",)), [2]),
        (JobConditions(states=(JobState.QUEUED, JobState.FAILED)), [2, 0]),
        (JobConditions(kinds=("collect_comments",), states=(JobState.RUNNING,)), [1]),
        (JobConditions(states=()), []),
    ],
)
async def test_conditions(resources: Resources, conditions: JobConditions, places: list[int]) -> None:
    rows = [await insert(resources), await insert(resources, state="RUNNING"), await insert(resources, kind="other")]
    async with resources.database.connect() as connection:
        page = await jobs.jobs_page(connection, conditions, Page(jobs.NEWEST, 10))
        assert await jobs.count_jobs(connection, conditions) == len(places)
    assert [row.id for row in page.rows] == [rows[place].id for place in places]
    # the conditions in Python select the same rows as those in SQL
    assert [row.id for row in reversed(rows) if conditions.matches(row)] == [row.id for row in page.rows]


# events


async def test_events_are_counted_without_gaps(resources: Resources) -> None:
    first, second = await insert(resources), await insert(resources)

    async def add(job_id: int, number: int) -> int:
        async with resources.database.transaction() as connection:
            return await jobs.add_event(
                connection, job_id, JobEventKind.STAGE_CHANGED, f"event {number}", {"number": number}
            )

    seqs = await asyncio.gather(*(add(first.id, number) for number in range(8)), add(second.id, 0))
    assert sorted(seqs[:-1]) == list(range(1, 9))
    assert seqs[-1] == 1
    async with resources.database.connect() as connection:
        rest = await jobs.events_after(connection, first.id, 5, 2)
        keys = [(first.id,), (second.id,), (0,)]
        pages = await jobs.events_by_job(connection, keys, None, Page(jobs.BY_SEQ, 3))
        counts = await jobs.count_events_by_job(connection, keys, None)
    assert [event.seq for event in rest] == [6, 7]
    assert rest[0].message == f"event {rest[0].facts['number']}"
    assert {key: [row.seq for row in page.rows] for key, page in pages.items()} == {
        (first.id,): [1, 2, 3],
        (second.id,): [1],
    }
    assert counts == {(first.id,): 8, (second.id,): 1}


async def test_an_event_that_is_rolled_back_leaves_no_gap(resources: Resources) -> None:
    job_id = (await insert(resources)).id

    async def fail() -> None:
        async with resources.database.transaction() as connection:
            await jobs.add_event(connection, job_id, JobEventKind.STAGE_CHANGED, "lost", {})
            raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way"):
        await fail()
    async with resources.database.transaction() as connection:
        assert await jobs.add_event(connection, job_id, JobEventKind.STAGE_CHANGED, "kept", {}) == 1
    assert [row["message"] for row in (await read(resources, job_events)).values()] == ["kept"]


# communities


@pytest.fixture
async def communities(resources: Resources) -> Resources:
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(number, f"club{number}", "") for number in range(1, 9)])
    return resources


async def claim(resources: Resources, job_id: int, *owner_ids: int) -> None:
    async with resources.database.transaction() as connection:
        await jobs.claim_groups(connection, job_id, owner_ids)


async def test_communities_are_claimed_until_they_are_released(communities: Resources) -> None:
    first, second = (await insert(communities)).id, (await insert(communities)).id
    await claim(communities, first, -2, -1)
    with pytest.raises(JobAlreadyRunning) as caught:
        await claim(communities, second, -3, -1)
    assert (caught.value.job_id, caught.value.vk_owner_id) == (first, -1)
    assert set(await read(communities, job_groups)) == {(-1,), (-2,)}
    await claim(communities, second, -3)
    async with communities.database.transaction() as connection:
        await jobs.release_groups(connection, [first])
    await claim(communities, second, -1)
    assert {key: row["job_id"] for key, row in (await read(communities, job_groups)).items()} == {
        (-1,): second,
        (-3,): second,
    }


async def test_only_existing_communities_are_claimed(communities: Resources) -> None:
    job_id = (await insert(communities)).id
    async with communities.database.transaction() as connection:
        assert await jobs.claim_groups(connection, job_id, [-1, -99, -98, -2]) == {-1, -2}
        assert await jobs.claim_groups(connection, job_id, [-99]) == set()
    assert set(await read(communities, job_groups)) == {(-1,), (-2,)}


async def test_many_jobs_claim_concurrently(communities: Resources) -> None:
    """In opposite orders and overlapping: one job gets all of its communities, none gets a part, without a deadlock."""
    ids = [(await insert(communities)).id for _ in range(6)]
    owners = [[-number for number in range(1, 9)][:: 1 if place % 2 else -1] for place in range(6)]
    results = await asyncio.gather(
        *(claim(communities, job_id, *mine) for job_id, mine in zip(ids, owners, strict=True)), return_exceptions=True
    )
    [winner] = [job_id for job_id, result in zip(ids, results, strict=True) if result is None]
    losers = [result for result in results if result is not None]
    assert [type(loser) for loser in losers] == [JobAlreadyRunning] * 5
    assert {loser.job_id for loser in losers if isinstance(loser, JobAlreadyRunning)} == {winner}
    assert {row["job_id"] for row in (await read(communities, job_groups)).values()} == {winner}


async def test_a_claim_waits_for_one_that_is_rolled_back(communities: Resources) -> None:
    first, second = (await insert(communities)).id, (await insert(communities)).id
    async with communities.database.connect() as connection:  # never commits
        await jobs.claim_groups(connection, first, [-1])
        waiting = asyncio.create_task(claim(communities, second, -1))
        await until(lambda: has_lock_waiter(communities.database.dsn))
    await waiting
    assert [row["job_id"] for row in (await read(communities, job_groups)).values()] == [second]


# transitions and fences


async def test_a_transition_is_checked_against_the_former_state(resources: Resources) -> None:
    job_id = (await insert(resources)).id
    async with resources.database.transaction() as connection:
        moved = await jobs.move_job(connection, job_id, former=(JobState.QUEUED,), values={"state": "CANCELLED"})
        assert moved
        assert moved.state == "CANCELLED"
        assert (
            await jobs.move_job(
                connection, job_id, former=(JobState.QUEUED, JobState.RUNNING), values={"state": "FAILED"}
            )
            is None
        )
    assert (await read(resources, table))[(job_id,)]["state"] == "CANCELLED"


async def test_of_many_workers_one_claims_a_job(resources: Resources) -> None:
    job_id = (await insert(resources, failure={"code": "VK_UNAVAILABLE"})).id

    async def claim_queued() -> Sequence[ClaimedJobRow]:
        async with resources.database.transaction() as connection:
            events = {JobState.QUEUED: {"message": "Taken.", "reason": "CLAIMED"}}
            return await jobs.claim_jobs(connection, {1_000 + job_id: job_id}, "me", events)

    [row] = [row for rows in await asyncio.gather(*(claim_queued() for _ in range(6))) for row in rows]
    assert (row.state, row.epoch, row.attempts, row.worker, row.failure) == ("RUNNING", 1, 1, "me", None)
    assert row.started_at == row.heartbeat_at is not None


async def test_a_job_that_is_claimed_again_keeps_its_start(resources: Resources) -> None:
    job_id = (await insert(resources)).id
    first, second = await claim_job(resources, job_id), await claim_job(resources, job_id, 1, "other")
    assert first
    assert second
    assert (second.epoch, second.attempts, second.worker) == (2, 2, "other")
    assert second.started_at == first.started_at
    assert second.heartbeat_at > first.heartbeat_at


async def test_a_worker_that_lost_its_lease_cannot_write(resources: Resources) -> None:
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    await claim_job(resources, job_id, 1, "other")
    before = await read(resources, table)
    async with resources.database.transaction() as connection:
        assert await jobs.lock_job(connection, job_id, 1) is None
        values = {"state": "SUCCEEDED"}
        assert await jobs.move_job(connection, job_id, former=(JobState.RUNNING,), epoch=1, values=values) is None
        assert await jobs.write_heartbeats(connection, [(job_id, 1)]) == {(job_id, 1)}
    assert await read(resources, table) == before


async def test_the_worker_of_a_job_writes(resources: Resources) -> None:
    job_id = (await insert(resources)).id
    taken = await claim_job(resources, job_id)
    assert taken
    async with resources.database.transaction() as connection:
        locked = await jobs.lock_job(connection, job_id, 1)
        assert locked is not None
        assert locked.cancel_requested_at is None
        await jobs.write_progress(connection, job_id, {"done": 2**40, "checkpoint": {"after_id": 2**40}})
        await jobs.write_queue_id(connection, job_id, 77)
    row = (await read(resources, table))[(job_id,)]
    assert (row["done"], row["checkpoint"], row["queue_id"]) == (2**40, {"after_id": 2**40}, 77)
    assert row["heartbeat_at"] > taken.heartbeat_at


async def test_a_job_that_is_being_written_is_not_claimed(resources: Resources) -> None:
    """Another transaction does not wait: it may hold the job's queue entry, for which the writer may wait."""
    job_id = (await insert(resources)).id
    await claim_job(resources, job_id)
    async with resources.database.transaction() as connection:
        assert await jobs.lock_job(connection, job_id, 1)
        assert await claim_job(resources, job_id, 1, "other") is None
        await jobs.write_progress(connection, job_id, {"done": 5})
    taken = await claim_job(resources, job_id, 1, "other")
    assert taken
    assert (taken.done, taken.epoch) == (5, 2)


async def test_one_statement_writes_all_heartbeats(resources: Resources) -> None:
    ids = [(await insert(resources)).id for _ in range(3)]
    for job_id in ids:
        await claim_job(resources, job_id)
    before = await read(resources, table)
    async with resources.database.transaction() as connection:
        with statements(resources) as seen:
            assert await jobs.write_heartbeats(connection, [(ids[0], 1), (ids[1], 1), (ids[2], 9)]) == {(ids[2], 9)}
    after = await read(resources, table)
    assert len(seen) == 1
    assert [after[job_id,]["heartbeat_at"] > before[job_id,]["heartbeat_at"] for job_id in ids] == [True, True, False]


async def test_a_job_that_is_being_written_does_not_block_other_heartbeats(resources: Resources) -> None:
    ids = [(await insert(resources)).id for _ in range(2)]
    for job_id in ids:
        await claim_job(resources, job_id)
    before = await read(resources, table)
    async with resources.database.transaction() as writing, resources.database.transaction() as beating:
        assert await jobs.lock_job(writing, ids[0], 1)
        assert await jobs.write_heartbeats(beating, [(job_id, 1) for job_id in ids]) == set()
    after = await read(resources, table)
    assert [after[job_id,]["heartbeat_at"] > before[job_id,]["heartbeat_at"] for job_id in ids] == [False, True]


async def test_cancelled_jobs(resources: Resources) -> None:
    ids = [(await insert(resources)).id for _ in range(3)]
    await change(resources, ids[1], cancel_requested_at=func.now())
    async with resources.database.connect() as connection:
        assert await jobs.cancelled_among(connection, ids) == {ids[1]}
        assert await jobs.cancelled_among(connection, [ids[0]]) == set()
        assert await jobs.cancelled_among(connection, []) == set()


# removed jobs


async def test_a_job_that_is_being_retried_is_not_removed(resources: Resources) -> None:
    """Neither one that is queued again at this moment, nor one that was queued between the check and the removal."""
    ended = [(await insert(resources, state="FAILED", finished_at=func.now())).id for _ in range(2)]
    async with resources.database.transaction() as retrying:
        await jobs.move_job(
            retrying, ended[0], former=(JobState.FAILED,), values={"state": "QUEUED", "finished_at": None}
        )
        async with resources.database.transaction() as removing:
            assert await jobs.remove_finished(removing, None, 10) == 1
    assert set(await read(resources, table)) == {(ended[0],)}
