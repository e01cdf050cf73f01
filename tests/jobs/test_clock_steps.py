"""Collections and the queue while PostgreSQL's clock is set back or forward."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.jobs.database_clock import DatabaseClock
from app.jobs.running_job import RunningJob
from app.resources import Resources, open_resources
from app.store.clock_steps import correct_future_times
from app.store.tokens import add_tokens, reserve_slot
from tests.clocks import SteppingClock, stepping_clock
from tests.conftest import MakeSettings, Simulator, stored_comments, until
from tests.jobs.conftest import counts, ended, queue_job, working
from tests.jobs.test_collect_anything import stored

STEPS = [-15.0, -3600.0, 3600.0, -86_400.0]


@pytest.fixture
async def clock(vk_resources: Resources) -> SteppingClock:
    return await stepping_clock(vk_resources)


@pytest.fixture
async def world(simulate: Callable[..., Simulator]) -> Simulator:
    return simulate(posts=5, comments=300)


@pytest.fixture
def simulator(world: Simulator) -> Simulator:
    return world


async def collect_while(
    resources: Resources, simulator: Simulator, clock: SteppingClock, seconds: float, **arguments: Any
) -> Any:
    """Start a collection, step the clock after its first VK request, and return its row at its end."""
    await add_groups(resources, ["1"])
    simulator.control(hold=True)
    row = await start_collection(resources, owner_ids=[-1], **arguments)

    async def has_requested() -> bool:
        return bool(await asyncio.to_thread(lambda: simulator.control()["waiting"]))

    async with open_worker(resources, 1):
        await until(has_requested)
        await clock.step(seconds)
        simulator.control(hold=False)
        return await ended(resources, row.id)


@pytest.mark.parametrize("seconds", STEPS)
async def test_stored_times_do_not_depend_on_the_clock(
    vk_resources: Resources, world: Simulator, clock: SteppingClock, seconds: float
) -> None:
    first = counts(await collect_while(vk_resources, world, clock, seconds))
    expected = {key: ids for key, ids in world.truth().items() if ids}
    assert await stored_comments(vk_resources) == expected
    assert first["new_comments"] == sum(map(len, expected.values()))
    again = counts(await collect_while(vk_resources, world, clock, seconds, full=True))
    assert (again["deleted_comments"], again["new_comments"], again["changed_comments"]) == (0, 0, 0)
    rows = await stored(vk_resources, 1)
    assert all(row["changed_at"] is None for row in rows.values())


async def test_deleted_comments_are_marked_whatever_the_clock_shows(
    vk_resources: Resources, world: Simulator, clock: SteppingClock
) -> None:
    counts(await collect_while(vk_resources, world, clock, 0.0))
    leaf = max(comment_id for ids in world.truth().values() for comment_id in ids)
    world.control(delete_comment={"group_id": 1, "comment_id": leaf})
    await clock.step(-3600)
    assert counts(await collect_while(vk_resources, world, clock, -15.0))["deleted_comments"] >= 1
    assert (await stored(vk_resources, 1))[leaf]["is_deleted"]


@pytest.mark.parametrize("seconds", STEPS)
async def test_a_slot_is_waited_for_as_long_as_the_limit_requires(
    vk_resources: Resources, clock: SteppingClock, seconds: float
) -> None:
    async def wait_seconds() -> float:
        async with vk_resources.database.transaction() as connection:
            slot = await reserve_slot(connection, ["t"], 60.0, 1, executes=False)
        assert slot
        return slot.wait_seconds

    async with vk_resources.database.transaction() as connection:
        await add_tokens(connection, ["t"])
    assert await wait_seconds() == pytest.approx(0, abs=20)
    assert await wait_seconds() == pytest.approx(60, abs=20)
    await clock.step(seconds)
    if seconds < 0:
        # two slots of a minute are reserved, whatever the clock shows
        assert await wait_seconds() == pytest.approx(120, abs=20)
        assert await wait_seconds() == pytest.approx(180, abs=20)
    else:
        assert await wait_seconds() == pytest.approx(0, abs=20)


async def test_a_queued_job_is_claimed_after_a_step_back(vk_resources: Resources, clock: SteppingClock) -> None:
    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {"groups": 0, "posts": 0, "failed_posts": 0, "comments": 0, "new_comments": 0}

    job_id = await queue_job(vk_resources)
    await clock.step(-3600)
    async with working(vk_resources, handler):
        assert (await ended(vk_resources, job_id)).state == "SUCCEEDED"
        # also with a worker that is already running
        await clock.step(-86_400)
        assert (await ended(vk_resources, await queue_job(vk_resources, -2))).state == "SUCCEEDED"


async def test_a_job_of_a_dead_worker_is_rescued_after_a_step_back(
    make_settings: MakeSettings, simulator: Simulator
) -> None:
    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {"groups": 0, "posts": 0, "failed_posts": 0, "comments": 0, "new_comments": 0}

    settings = make_settings(vk_api_url=simulator.url, job_heartbeat_timeout_seconds=1)
    async with open_resources(settings) as opened:
        clock = await stepping_clock(opened)
        job_id = await queue_job(opened)
        connection = await asyncpg.connect(opened.database.dsn)
        await connection.execute(
            "UPDATE pgqueuer SET status = 'picked', queue_manager_id = gen_random_uuid(), heartbeat = now()"
        )
        await connection.execute(
            "UPDATE jobs SET state = 'RUNNING', epoch = 1, attempts = 1, worker = 'dead', heartbeat_at = now()"
        )
        await connection.close()
        await clock.step(-3600)
        async with working(opened, handler):
            row = await ended(opened, job_id)
        assert (row.state, row.epoch) == ("SUCCEEDED", 2)


@pytest.fixture
async def connection(vk_resources: Resources) -> AsyncIterator["asyncpg.Connection[Any]"]:
    opened = await asyncpg.connect(vk_resources.database.dsn)
    yield opened
    await opened.close()


async def test_times_in_the_future_are_corrected_and_waits_are_kept(
    vk_resources: Resources, connection: "asyncpg.Connection[Any]"
) -> None:
    job_id = await queue_job(vk_resources)
    await connection.execute("""
        UPDATE pgqueuer SET updated = now() + interval '1 hour', execute_after = now() + interval '65 minutes';
        UPDATE jobs SET queued_at = now() + interval '1 hour', started_at = now() + interval '1 hour';
        INSERT INTO workers (name, concurrency, kinds, seen_at) VALUES ('w', 1, '[]', now() + interval '1 hour');
        INSERT INTO monitorings (owner_id, is_enabled, interval_seconds, priority, next_run_at)
        VALUES (-1, true, 600, 0, now() + interval '1 hour');
        INSERT INTO tokens (fingerprint, blocked_until)
        VALUES ('long', now() + interval '1 day'), ('short', now() + interval '1 minute'), ('for good', 'infinity');
        INSERT INTO pgqueuer_schedules (expression, entrypoint, next_run, updated, status)
        VALUES ('* * * * *', 'test', now() + interval '1 hour', now() + interval '1 hour', 'queued');
    """)
    async with vk_resources.database.transaction() as writing:
        assert await correct_future_times(writing, 300, 3600) == 6
    async with vk_resources.database.transaction() as writing:
        assert await correct_future_times(writing, 300, 3600) == 0
    row = await connection.fetchrow("""
        SELECT (SELECT extract(epoch FROM execute_after - now()) FROM pgqueuer)::int AS entry,
               (SELECT extract(epoch FROM queued_at - now()) FROM jobs)::int AS queued,
               (SELECT started_at <= now() FROM jobs) AS started,
               (SELECT seen_at <= now() FROM workers) AS seen,
               (SELECT extract(epoch FROM next_run_at - now()) FROM monitorings)::int AS monitoring,
               (SELECT extract(epoch FROM blocked_until - now()) FROM tokens WHERE fingerprint = 'long')::int AS long,
               (SELECT extract(epoch FROM blocked_until - now()) FROM tokens WHERE fingerprint = 'short')::int AS short,
               (SELECT blocked_until = 'infinity' FROM tokens WHERE fingerprint = 'for good') AS good,
               (SELECT next_run <= now() FROM pgqueuer_schedules WHERE entrypoint = 'test') AS schedule
    """)
    assert row
    facts = dict(row)
    seconds = {name: facts.pop(name) for name in ("entry", "queued", "monitoring", "long", "short")}
    # the rest of correct waits: five minutes, and those that no wait exceeds
    expected = {"entry": 300, "queued": 300, "monitoring": 600, "long": 3600, "short": 60}
    assert seconds == pytest.approx(expected, abs=30)
    assert set(facts.values()) == {True}
    assert job_id


async def test_an_entry_that_was_picked_is_corrected(
    vk_resources: Resources, connection: "asyncpg.Connection[Any]"
) -> None:
    await queue_job(vk_resources)
    await connection.execute("""
        UPDATE pgqueuer SET status = 'picked', heartbeat = now() + interval '1 hour';
        UPDATE pgqueuer SET execute_after = now() + interval '1 hour'
    """)
    async with vk_resources.database.transaction() as writing:
        assert await correct_future_times(writing, 300, 3600) == 1
    assert await connection.fetchval("SELECT greatest(heartbeat, execute_after) <= now() FROM pgqueuer")


NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("shown_seconds", "passed_seconds", "was_set_back"),
    [(3, 3, False), (2.1, 3, False), (1.9, 3, True), (-3600, 3, True), (3600, 3, False), (0, 0, False)],
)
def test_a_step_back_is_detected(shown_seconds: float, passed_seconds: float, *, was_set_back: bool) -> None:
    clock = DatabaseClock()
    assert clock.was_set_back(NOW, 100.0)
    clock.note(NOW, 100.0)
    now = NOW + timedelta(seconds=shown_seconds)
    assert clock.was_set_back(now, 100.0 + passed_seconds) is was_set_back
