"""Queue entries without the rows of their jobs: lost entries, orphans, ageing, positions."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, text

from app.resources import Resources
from app.store import entries
from tests.store.rows import values_of
from tests.store.test_jobs import change, insert


async def add_entry(resources: Resources, entry_id: int, **values: Any) -> None:
    """Write a queue entry as PgQueuer does; `age` is the number of seconds since its last update."""
    facts = {"priority": 0, "status": "queued", "entrypoint": "collect_comments", "age": 0, "wait": 0, **values}
    statement = text("""
        INSERT INTO pgqueuer (id, priority, status, entrypoint, updated, execute_after)
        VALUES (:id, :priority, CAST(:status AS pgqueuer_status), :entrypoint,
                now() - make_interval(secs => :age), now() + make_interval(secs => :wait))
    """)
    async with resources.database.transaction() as connection:
        await connection.execute(statement, {"id": entry_id, **facts})


async def priorities(resources: Resources) -> dict[int, int]:
    async with resources.database.connect() as connection:
        return {row.id: row.priority for row in await connection.execute(text("SELECT id, priority FROM pgqueuer"))}


async def test_lost_jobs(resources: Resources) -> None:
    lost, stands, fresh, cancelled, ended, silent = [(await insert(resources)).id for _ in range(6)]
    async with resources.database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO pgqueuer (id, priority, status, entrypoint) VALUES (901, 0, 'queued', 'any')")
        )
        await connection.execute(text("UPDATE jobs SET queued_at = now() - interval '1 hour', queue_id = 900"))
    await change(resources, stands, queue_id=901)
    await change(resources, fresh, heartbeat_at=func.now())
    await change(resources, cancelled, cancel_requested_at=func.now())
    await change(resources, ended, state="SUCCEEDED")
    long_ago = func.now() - timedelta(seconds=31)
    await change(resources, silent, state="RUNNING", queue_id=None, heartbeat_at=long_ago)
    async with resources.database.transaction() as mine, resources.database.transaction() as others:
        found = await entries.lost_jobs(mine, 30)
        # the cancelled one, too: the worker that claims it ends it
        assert [values_of(row) for row in found] == [
            (number, "collect_comments", 1) for number in (lost, cancelled, silent)
        ]
        assert await entries.lost_jobs(others, 30) == []  # they are locked
    async with resources.database.transaction() as connection:
        assert [row.id for row in await entries.lost_jobs(connection, 60)] == [lost, cancelled]


async def test_entries_without_an_unfinished_job_are_removed(resources: Resources) -> None:
    ended = await insert(resources, state="FAILED", queue_id=1)
    waits = await insert(resources, queue_id=2)
    assert ended.id != waits.id
    for number in (1, 2):
        await add_entry(resources, number, age=60)
    await add_entry(resources, 3, age=60)
    await add_entry(resources, 4, age=10)
    await add_entry(resources, 5, age=60, status="picked")
    await add_entry(resources, 6, age=60, entrypoint="of another program")
    async with resources.database.transaction() as connection:
        assert await entries.drop_orphans(connection, ["collect_comments"], 30) == 2
        assert await entries.drop_orphans(connection, ["collect_comments"], 30) == 0
    assert sorted(await priorities(resources)) == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("priority", "waited", "raised"),
    [
        (0, 599, 0),
        (0, 601, 10),
        (0, 1_201, 20),
        (0, 86_400, 20),
        (10, 599, 10),
        (10, 601, 20),
        (10, 86_400, 20),
        (20, 86_400, 20),
        (30, 86_400, 30),
    ],
)
async def test_waiting_raises_the_priority_at_most_to_high(
    resources: Resources, priority: int, waited: float, raised: int
) -> None:
    await insert(resources, priority=priority, queue_id=1, enqueued_at=func.now() - timedelta(seconds=waited))
    await add_entry(resources, 1, priority=priority)
    async with resources.database.transaction() as connection:
        assert await entries.raise_waiting(connection, 600, 10, 20) == (raised != priority)
        assert await entries.raise_waiting(connection, 600, 10, 20) == 0
    assert await priorities(resources) == {1: raised}


async def test_only_waiting_jobs_are_raised(resources: Resources) -> None:
    long_ago = func.now() - timedelta(days=1)
    await insert(resources, priority=0, queue_id=1, enqueued_at=long_ago, state="RUNNING")
    await insert(resources, priority=0, queue_id=2, enqueued_at=long_ago)
    await add_entry(resources, 1)
    await add_entry(resources, 2, status="picked")
    async with resources.database.transaction() as connection:
        assert await entries.raise_waiting(connection, 600, 10, 20) == 0


async def test_jobs_of_dead_workers_get_the_highest_priority(resources: Resources) -> None:
    """The age counts from the first missed heartbeat; jobs of live workers and queued jobs are unchanged."""
    for number, status in ((1, "picked"), (2, "picked"), (3, "queued")):
        await insert(resources, priority=0, queue_id=number, state="RUNNING")
        await add_entry(resources, number, status=status)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE pgqueuer SET heartbeat = now() - interval '11 seconds' WHERE id <> 2"))
        assert await entries.raise_abandoned(connection, 10, 40) == 1
        assert await entries.raise_abandoned(connection, 10, 40) == 0
    assert await priorities(resources) == {1: 40, 2: 0, 3: 0}


async def test_positions_in_the_queue(resources: Resources) -> None:
    low, high, later, runs, without = [
        (await insert(resources, queue_id=number, state=state)).id
        for number, state in ((1, "QUEUED"), (2, "QUEUED"), (3, "QUEUED"), (4, "RUNNING"), (None, "QUEUED"))
    ]
    await add_entry(resources, 1)
    await add_entry(resources, 2, priority=20)
    await add_entry(resources, 3, priority=30, wait=60)
    await add_entry(resources, 4, status="picked", priority=30)
    async with resources.database.connect() as connection:
        found = await entries.queue_positions_by_job(
            connection, [(number,) for number in (low, high, later, runs, without)]
        )
    assert {key[0]: row.position for key, row in found.items()} == {high: 1, low: 2, later: 3}
    assert found[low,].not_before is None
    assert found[later,].not_before is not None


async def test_old_log_rows_are_deleted(resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            text("""INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint)
                    SELECT now() - make_interval(hours => hours), 1, 'successful', 0, 'any'
                      FROM unnest(ARRAY[1, 23, 25]) AS hours""")
        )
        await connection.execute(
            text("""INSERT INTO pgqueuer_statistics (created, count, status, priority, entrypoint)
                    SELECT now() - make_interval(hours => hours), 1, 'successful', 0, 'any'
                      FROM unnest(ARRAY[1, 25, 49]) AS hours""")
        )
        await entries.delete_old_log(connection, log_days=1, statistics_days=2)
        left = [
            await connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - constant names
            for table in ("pgqueuer_log", "pgqueuer_statistics")
        ]
    assert left == [2, 2]
