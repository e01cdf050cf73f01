"""Feeds: one reader for all subscribers of a process, bounded memory, no missed and no repeated event."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from app.errors import JobNotFound, ServiceUnavailable, SubscriberTooSlow, ValidationFailed
from app.feeds import JobChange, JobFeeds, all_jobs_feed, base, job_feed, turns
from app.job_states import JobState
from app.jobs.follow import JobUpdate, follow, follow_all
from app.jobs.queue import cancel, retry
from app.notifications import Wake, job_topic
from app.resources import Resources, open_resources
from app.store import jobs
from app.store.jobs import JobConditions
from tests.conftest import MakeSettings, statements, until
from tests.jobs.conftest import queue_job
from tests.timeouts import WAIT_SECONDS

EVERYTHING = JobConditions()


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(base, "RETRY_SECONDS", 0.01)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, _no_pauses: None) -> int:
    """Limit the stored events and jobs to this number, and read fewer at a time."""
    kept = 10
    monkeypatch.setattr(job_feed, "EVENTS_KEPT", kept)
    monkeypatch.setattr(all_jobs_feed, "JOBS_KEPT", kept)
    monkeypatch.setattr(job_feed, "EVENTS_AT_ONCE", 3)
    return kept


@pytest.fixture
async def writer(make_settings: MakeSettings) -> AsyncIterator[Resources]:
    """Open a second process, which writes the data that `resources` reads."""
    async with open_resources(make_settings()) as opened:
        yield opened


async def add_events(writer: Resources, job_id: int, count: int, *, publishes: bool = True) -> None:
    """Write events of a job in one transaction."""
    async with writer.notifications.publish_on_commit([job_topic(job_id)] if publishes else []) as connection:
        for _ in range(count):
            await jobs.add_event(connection, job_id, "POST_FAILED", "event", {})


async def execute(resources: Resources, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(resources.database.dsn)
    await connection.execute(statement, *values)
    await connection.close()


async def cut(resources: Resources) -> None:
    """Cut all connections to the database."""
    await execute(
        resources,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


async def seqs(changes: AsyncGenerator[JobUpdate], last: int | None = None) -> list[int]:
    """Return the numbers of the received events, up to this one or to the end."""
    found = []
    async with aclosing(changes):
        async for change in changes:
            if change.event:
                assert change.job.last_seq >= change.event.seq == change.seq
                found.append(change.seq)
            if change.seq == last:
                break
    return found


async def next_change(changes: AsyncGenerator[Any]) -> Any:
    """Return the next change."""
    async with asyncio.timeout(WAIT_SECONDS):
        return await anext(changes)


async def receive_all_changes(changes: AsyncGenerator[Any], received: list[Any] | None = None) -> None:
    """Receive all changes, and append them to the list if it is given."""
    async for change in changes:
        if received is not None:
            received.append(change)


async def change_to_state(changes: AsyncGenerator[JobChange], job_id: int, state: str) -> JobChange:
    """Return the next change in which a job is in this state."""
    while True:
        change: JobChange = await next_change(changes)
        if (change.job.id, change.job.state) == (job_id, state):
            return change


@asynccontextmanager
async def following(*subscriptions: AsyncGenerator[Any]) -> AsyncIterator[None]:
    """End subscriptions at the end of the block."""
    async with AsyncExitStack() as stack:
        for subscription in subscriptions:
            await stack.enter_async_context(aclosing(subscription))
        yield


def metric(name: str, subscription: str) -> float:
    return REGISTRY.get_sample_value(name, {"subscription": subscription}) or 0.0


def subscribers(subscription: str) -> float:
    return metric("vk_comments_job_subscribers", subscription)


@contextmanager
def dropped(subscription: str, count: int = 1) -> Iterator[None]:
    """Check that this many subscribers are dropped in the block."""
    name = "vk_comments_job_subscribers_dropped_total"
    before = metric(name, subscription)
    yield
    assert metric(name, subscription) - before == count


def is_idle(resources: Resources) -> bool:
    feeds = resources.feeds
    return not (feeds._tasks or feeds._by_job or feeds._all)  # noqa: SLF001 - nothing may be left


# one reader


async def test_a_hundred_subscribers_cost_one_reader(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    received: list[list[int]] = [[] for _ in range(100)]

    async def collect(place: int) -> None:
        async for change in follow(resources, job_id, 0):
            received[place].append(change.seq)

    started = time.monotonic()
    with statements(resources) as seen:
        tasks = [asyncio.create_task(collect(place)) for place in range(100)]
        await until(lambda: all(received))
        assert subscribers("jobProgress") == 100
        assert len(resources.feeds._tasks) == 1  # noqa: SLF001 - one task for all
        for _ in range(5):
            await add_events(writer, job_id, 3)
        await cancel(writer, job_id)
        await asyncio.gather(*tasks)
    assert all(list(dict.fromkeys(numbers)) == list(range(1, 18)) for numbers in received)
    # the row and its events, at most five times per second, as for a single subscriber
    looks = (time.monotonic() - started) / base.TICK_SECONDS + 1
    assert len(seen) <= 2 * looks
    assert subscribers("jobProgress") == 0


async def test_a_hundred_subscribers_of_all_jobs_cost_one_reader(resources: Resources, writer: Resources) -> None:
    ids = [await queue_job(writer, -owner) for owner in (1, 2, 3)]
    received: list[dict[int, str]] = [{} for _ in range(100)]

    async def collect(place: int) -> None:
        async for change in follow_all(resources, EVERYTHING):
            received[place][change.job.id] = change.job.state
            if set(received[place].values()) == {"CANCELLED"}:
                return

    started = time.monotonic()
    with statements(resources) as seen:
        tasks = [asyncio.create_task(collect(place)) for place in range(100)]
        await until(lambda: all(len(states) == 3 for states in received))
        assert subscribers("jobs") == 100
        for job_id in ids:
            await cancel(writer, job_id)
        await asyncio.gather(*tasks)
    # one statement per read; two for the first read and after a reconnect, which read everything
    assert len(seen) <= (time.monotonic() - started) / base.TICK_SECONDS + 1 + 3
    assert subscribers("jobs") == 0


async def test_a_foreign_notification_ends_no_feed(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    changes = follow_all(resources, EVERYTHING)
    async with following(changes):
        await change_to_state(changes, job_id, "QUEUED")
        for payload in ("job:nonsense", f"job:{2**70}", "job:-1", "\U0001f600" * 100):
            await execute(writer, "SELECT pg_notify($1, $2)", resources.notifications.channel, payload)
        await cancel(writer, job_id)
        await change_to_state(changes, job_id, "CANCELLED")


async def test_a_former_subscriber_of_all_jobs_receives_no_more_changes(resources: Resources) -> None:
    async with resources.feeds.follow_all(EVERYTHING) as subscriber:
        feed = resources.feeds._all  # noqa: SLF001 - no public attribute shows its subscribers
        assert feed
        assert feed.subscribers == {subscriber}
    assert feed.subscribers == set()


async def test_a_feed_ends_when_its_last_subscriber_has_left(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    assert is_idle(resources)
    before = asyncio.all_tasks()
    one, other, all_jobs = follow(resources, job_id, 0), follow(resources, job_id, 0), follow_all(resources, EVERYTHING)
    for changes in (one, other, all_jobs):
        await next_change(changes)
    await one.aclose()
    assert not is_idle(resources)
    await other.aclose()
    await all_jobs.aclose()
    await until(lambda: is_idle(resources))
    assert asyncio.all_tasks() == before


async def test_a_subscriber_that_comes_soon_after_gets_the_same_feed(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    with resources.feeds.follow_job(job_id) as first:
        await first.newest()
    with resources.feeds.follow_job(job_id) as second:
        await second.newest()
        assert second is first


async def test_a_process_that_closes_ends_its_feeds(make_settings: MakeSettings, writer: Resources) -> None:
    job_id = await queue_job(writer)
    before = asyncio.all_tasks()
    async with open_resources(make_settings()) as resources:
        changes = follow(resources, job_id, 0)
        await next_change(changes)
    assert asyncio.all_tasks() == before
    await changes.aclose()


async def test_a_bug_in_a_feed_reaches_all_subscribers(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    one, other, all_jobs = follow(resources, job_id, 0), follow(resources, job_id, 0), follow_all(resources, EVERYTHING)
    async with following(one, other, all_jobs):
        for changes in (one, other, all_jobs):
            await next_change(changes)
        await execute(resources, "ALTER TABLE jobs RENAME COLUMN stage TO other")
        await writer.notifications.publish(job_topic(job_id))
        for changes in (one, other, all_jobs):
            with pytest.raises(DBAPIError, match="stage"):
                await receive_all_changes(changes)
    await until(lambda: is_idle(resources))
    with pytest.raises(DBAPIError, match="stage"):
        await anext(follow(resources, job_id, 0))
    await until(lambda: is_idle(resources))
    await execute(resources, "ALTER TABLE jobs RENAME COLUMN other TO stage")
    assert await seqs(follow(resources, job_id, 0), 1) == [1]


async def test_a_subscriber_that_leaves_during_the_fairness_turn_of_others(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "TURNS", 2)
    feeds = JobFeeds(resources.database, resources.notifications)
    order: list[int] = []

    async def receive(place: int) -> None:
        await feeds.turn()
        order.append(place)

    tasks = [asyncio.create_task(receive(place)) for place in range(7)]
    await asyncio.sleep(0)
    assert order == [0, 1]
    tasks[3].cancel()
    await asyncio.wait(tasks)
    assert order == [0, 1, 2, 4, 5, 6]


# one job


@pytest.mark.usefixtures("few")
async def test_catching_up_while_events_are_written(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    await add_events(writer, job_id, 99)
    subscribed = [asyncio.create_task(seqs(follow(resources, job_id, seq))) for seq in (0, 0, 42, 95, 100)]
    for number in range(30):
        await add_events(writer, job_id, 1 + number % 5)
    await cancel(writer, job_id)
    last = 100 + 90 + 1
    received = await asyncio.gather(*subscribed)
    assert received == [list(range(seq + 1, last + 1)) for seq in (0, 0, 42, 95, 100)]


async def test_a_slow_subscriber_is_dropped_and_resumes(resources: Resources, writer: Resources, few: int) -> None:
    job_id = await queue_job(writer)
    slow, fast = follow(resources, job_id, 0), follow(resources, job_id, 0)
    async with following(slow, fast):
        assert (await next_change(slow)).seq == 1
        in_time = asyncio.create_task(seqs(fast, 51))
        for _ in range(10):
            await add_events(writer, job_id, few // 2)
        assert await in_time == list(range(1, 52))
        await until(lambda: len(resources.feeds._by_job[job_id].events) == few)  # noqa: SLF001 - no more are stored
        with dropped("jobProgress"), pytest.raises(SubscriberTooSlow) as caught:
            await anext(slow)
        assert caught.value.limit == few
    assert await seqs(follow(resources, job_id, 1), 51) == list(range(2, 52))


async def test_many_events_at_once_drop_no_subscriber(resources: Resources, writer: Resources, few: int) -> None:
    job_id = await queue_job(writer)
    changes = follow(resources, job_id, 0)
    assert (await next_change(changes)).seq == 1
    await add_events(writer, job_id, 10 * few)
    assert await seqs(changes, 10 * few + 1) == list(range(2, 10 * few + 2))


async def test_progress_is_conflated(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    changes = follow(resources, job_id, 1)
    async with following(changes):
        assert (await next_change(changes)).job.done == 0
        for done in range(1, 100):
            async with writer.notifications.publish_on_commit([job_topic(job_id)]) as connection:
                await jobs.write_progress(connection, job_id, {"done": done})
        received: list[int] = []
        started = time.monotonic()
        while not received or received[-1] < 99:
            received.append((await next_change(changes)).job.done)
        assert len(received) <= (time.monotonic() - started) / base.TICK_SECONDS + 2
    assert received == sorted(set(received))


async def test_heartbeats_are_not_changes(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    changes, all_jobs = follow(resources, job_id, 1), follow_all(resources, EVERYTHING)
    async with following(changes, all_jobs):
        for each in (changes, all_jobs):
            await next_change(each)
        one, any_job = asyncio.ensure_future(anext(changes)), asyncio.ensure_future(anext(all_jobs))
        for _ in range(3):
            async with writer.notifications.publish_on_commit([job_topic(job_id)]) as connection:
                await jobs.write_progress(connection, job_id, {"checkpoint": {"at": 1}})
            await resources.feeds._by_job[job_id].newest()  # noqa: SLF001 - the feed has read
        assert not one.done()
        assert not any_job.done()
        await cancel(writer, job_id)
        assert (await one).job.state == (await any_job).job.state == "CANCELLED"


async def test_an_event_that_this_process_has_not_read_yet(resources: Resources, writer: Resources) -> None:
    """A client that comes from another process may know more events than the feed of this one."""
    job_id = await queue_job(writer)
    changes, later = follow(resources, job_id, 0), follow(resources, job_id, 3)
    async with following(changes, later):
        await next_change(changes)
        await add_events(writer, job_id, 2, publishes=False)
        assert (await next_change(later)).seq == 3
    with pytest.raises(ValidationFailed):
        await anext(follow(resources, job_id, 4))


@pytest.mark.usefixtures("_no_pauses")
async def test_a_notification_is_lost(resources: Resources, writer: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LOOK_SECONDS", 0.05)
    job_id = await queue_job(writer)
    changes, all_jobs = follow(resources, job_id, 1), follow_all(resources, EVERYTHING)
    async with following(changes, all_jobs):
        await next_change(changes)
        await next_change(all_jobs)
        monkeypatch.setattr("app.jobs.queue.job_topic", lambda _: "somewhere else")
        await cancel(writer, job_id)
        assert await seqs(changes) == [2]
        assert (await change_to_state(all_jobs, job_id, "CANCELLED")).is_matching


@pytest.mark.usefixtures("few")
async def test_connections_are_cut_meanwhile(
    resources: Resources, writer: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.notifications.RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(base, "LOOK_SECONDS", 0.05)
    job_id, other_id = await queue_job(writer, -1), await queue_job(writer, -2)
    await add_events(writer, job_id, 98)
    changes, late, all_jobs = (
        follow(resources, job_id, 0),
        follow(resources, job_id, 99),
        follow_all(resources, EVERYTHING),
    )
    async with following(late, all_jobs):
        assert (await next_change(changes)).seq == 1
        assert (await next_change(late)).seq == 99
        assert [(await next_change(all_jobs)).job.id for _ in range(2)] == [job_id, other_id]
        await cut(resources)
        catching_up = asyncio.create_task(seqs(changes, 100))
        # changes without a listener: one in both, and a job that is created and removed
        await execute(resources, "UPDATE jobs SET done = 5 WHERE id = $1", job_id)
        await execute(
            resources,
            "INSERT INTO jobs (kind, arguments, priority, max_attempts, timeout_seconds, state, finished_at)"
            " VALUES ('collect_comments', '{}', 0, 1, 1, 'SUCCEEDED', now())",
        )
        assert await change_to_state(all_jobs, other_id + 1, "SUCCEEDED")
        await cut(resources)
        await execute(resources, "UPDATE jobs SET last_seq = 100 WHERE id = $1", job_id)
        await execute(
            resources,
            "INSERT INTO job_events (job_id, seq, kind, message, facts) VALUES ($1, 100, 'POST_FAILED', '', '{}')",
            job_id,
        )
        assert await seqs(late, 100) == [100]
        assert await catching_up == list(range(2, 101))


@pytest.mark.usefixtures("few")
async def test_older_events_are_read_again_after_a_failure(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    await add_events(writer, job_id, 49)
    changes = follow(resources, job_id, 0)

    async def has_failed() -> bool:
        await execute(
            resources,
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        return any(line["event"] == "follow_delayed" for line in logs)

    async with following(changes):
        assert (await next_change(changes)).seq == 1
        with capture_logs() as logs:
            async with writer.database.transaction() as connection:
                await connection.execute(text("LOCK TABLE job_events"))
                rest = asyncio.create_task(seqs(changes, 50))
                await until(has_failed)
        assert await rest == list(range(2, 51))


@pytest.mark.usefixtures("few")
async def test_a_job_is_removed_meanwhile(resources: Resources, writer: Resources) -> None:
    job_id = await queue_job(writer)
    await add_events(writer, job_id, 49)
    catching_up, joined = follow(resources, job_id, 0), follow(resources, job_id, 45)
    async with following(catching_up, joined):
        assert (await next_change(catching_up)).seq == 1
        assert (await next_change(joined)).seq == 46
        await execute(resources, "DELETE FROM jobs WHERE id = $1", job_id)
        await writer.notifications.publish(job_topic(job_id))
        received: list[JobUpdate] = []
        with pytest.raises(JobNotFound):
            await receive_all_changes(joined, received)
        assert [change.seq for change in received] == [47, 48, 49, 50]
        with pytest.raises(JobNotFound):
            await receive_all_changes(catching_up)


class Readers:
    """Three subscribers of one job, each at its own pace; a dropped one subscribes again."""

    def __init__(self, resources: Resources, job_id: int) -> None:
        self.received: list[list[int]] = [[], [], []]
        self.written = 1
        self._resources = resources
        self._job_id = job_id
        self._changes = [follow(resources, job_id, 0) for _ in self.received]

    async def write(self, count: int) -> None:
        """Write events."""
        await add_events(self._resources, self._job_id, count)
        self.written += count

    async def look(self, _: int) -> None:
        """Make the feed read, whether or not a subscriber receives."""
        with self._resources.feeds.follow_job(self._job_id) as feed:
            await feed.newest()
            assert len(feed.events) <= job_feed.EVENTS_KEPT

    async def resubscribe(self, place: int) -> None:
        """Subscribe again with the last known event."""
        await self._changes[place].aclose()
        self._changes[place] = follow(self._resources, self._job_id, (self.received[place] or [0])[-1])

    async def receive(self, place: int, count: int = 1) -> None:
        """Receive some messages, as long as an event is outstanding."""
        numbers = self.received[place]
        for _ in range(count):
            if numbers[-1:] != [self.written]:
                try:
                    change = await next_change(self._changes[place])
                except SubscriberTooSlow:
                    await self.resubscribe(place)
                else:
                    numbers += [change.seq] if change.event else []

    async def receive_many(self, place: int) -> None:
        """Receive several messages."""
        await self.receive(place, 8)

    async def receive_all(self) -> None:
        """Receive the rest, and unsubscribe."""
        for place, numbers in enumerate(self.received):
            while numbers[-1:] != [self.written]:
                await self.receive(place)
            await self._changes[place].aclose()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(Readers.write), st.integers(1, 12)),
        st.tuples(st.sampled_from([Readers.receive, Readers.receive_many, Readers.resubscribe]), st.integers(0, 2)),
        st.tuples(st.just(Readers.look), st.just(0)),
    ),
    max_size=25,
)


@pytest.mark.usefixtures("few")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_in_any_order_no_event_is_missed_or_repeated(
    resources: Resources, steps: list[tuple[Callable[[Readers, int], Awaitable[None]], int]]
) -> None:
    job_id = await queue_job(resources)
    readers = Readers(resources, job_id)
    for step, number in steps:
        await step(readers, number)
    await readers.receive_all()
    assert readers.received == [list(range(1, readers.written + 1))] * 3
    await cancel(resources, job_id)
    await until(lambda: is_idle(resources))


# all jobs


async def test_first_the_unfinished_jobs_then_changes(resources: Resources, writer: Resources) -> None:
    ended_id = await queue_job(writer, -1)
    await cancel(writer, ended_id)
    first_id, second_id = await queue_job(writer, -2), await queue_job(writer, -3)
    changes = follow_all(resources, EVERYTHING)
    async with following(changes):
        assert [await next_change(changes) for _ in range(2)] == [
            (row, True) for row in (await rows_of(resources, first_id, second_id))
        ]
        await cancel(writer, second_id)
        assert (await change_to_state(changes, second_id, "CANCELLED")).is_matching
        third_id = await queue_job(writer, -4)
        await writer.notifications.publish(job_topic(third_id))
        assert (await change_to_state(changes, third_id, "QUEUED")).is_matching


async def rows_of(resources: Resources, *ids: int) -> list[Any]:
    async with resources.database.connect() as connection:
        return sorted(await jobs.followed_jobs(connection, ids), key=lambda row: int(row.id))


async def test_a_job_that_changes_before_it_was_received(resources: Resources, writer: Resources) -> None:
    first_id, second_id = await queue_job(writer, -1), await queue_job(writer, -2)
    slow, fast = follow_all(resources, EVERYTHING), follow_all(resources, EVERYTHING)
    async with following(slow, fast):
        assert (await next_change(slow)).job.id == first_id
        for _ in range(2):
            await next_change(fast)
        await cancel(writer, second_id)
        await change_to_state(fast, second_id, "CANCELLED")
        change = await next_change(slow)
        assert (change.job.id, change.job.state) == (second_id, "CANCELLED")


@pytest.mark.usefixtures("_no_pauses")
async def test_a_job_that_leaves_the_filter_is_sent_once_more(resources: Resources, writer: Resources) -> None:
    job_id, other_id = await queue_job(writer, -1), await queue_job(writer, -2)
    queued = follow_all(resources, JobConditions(states=(JobState.QUEUED,)))
    cancelled = follow_all(resources, JobConditions(states=(JobState.CANCELLED,)))
    others = follow_all(resources, JobConditions(kinds=("other",)))
    async with following(queued, cancelled, others):
        assert [(await next_change(queued)).job.id for _ in range(2)] == [job_id, other_id]
        waiting = [asyncio.ensure_future(anext(each)) for each in (cancelled, others)]
        await cancel(writer, job_id)
        left = await next_change(queued)
        assert (left.job.id, left.job.state, left.is_matching) == (job_id, "CANCELLED", False)
        entered = await waiting[0]
        assert (entered.job.id, entered.is_matching) == (job_id, True)
        await retry(writer, job_id)
        assert (await change_to_state(queued, job_id, "QUEUED")).is_matching
        assert not (await change_to_state(cancelled, job_id, "QUEUED")).is_matching
        assert not waiting[1].done()
        await queue_job(writer, -3)  # the job never matches the filter
        waiting[1].cancel()
        await asyncio.wait(waiting)


async def test_a_job_that_ended_before_the_subscription_is_retried(resources: Resources, writer: Resources) -> None:
    """A client may have read it in a list, and show it."""
    job_id = await queue_job(writer, -1)
    await cancel(writer, job_id)
    await execute(writer, "UPDATE jobs SET finished_at = finished_at - interval '1 day'")
    marker_id = await queue_job(writer, -2)
    cancelled = follow_all(resources, JobConditions(states=(JobState.CANCELLED,)))
    everything = follow_all(resources, EVERYTHING)
    async with following(cancelled, everything):
        assert (await next_change(everything)).job.id == marker_id
        waiting = asyncio.ensure_future(anext(cancelled))
        await until(lambda: subscribers("jobs") == 2)
        await retry(writer, job_id)
        left = await waiting
        assert (left.job.id, left.job.state, left.is_matching) == (job_id, "QUEUED", False)


async def test_a_slow_subscriber_of_all_jobs(resources: Resources, writer: Resources, few: int) -> None:
    ids = [await queue_job(writer, -1 - number) for number in range(2 * few)]
    slow, fast = follow_all(resources, EVERYTHING), follow_all(resources, EVERYTHING)
    async with following(slow, fast):
        # unfinished jobs are sent at any pace, however many they are
        for changes in (slow, fast):
            assert [(await next_change(changes)).job.id for _ in ids] == ids
        with dropped("jobs"):
            for job_id in ids:
                await cancel(writer, job_id)
                await change_to_state(fast, job_id, "CANCELLED")
            with pytest.raises(SubscriberTooSlow) as caught:
                await anext(slow)
        assert caught.value.limit == few
        feed = resources.feeds._all  # noqa: SLF001 - the number of stored changes
        assert feed
        assert not feed.rows


async def test_changes_of_one_job_are_conflated(resources: Resources, writer: Resources, few: int) -> None:
    job_id = await queue_job(writer)
    slow, fast = follow_all(resources, EVERYTHING), follow_all(resources, EVERYTHING)
    async with following(slow, fast):
        for changes in (slow, fast):
            await next_change(changes)
        for done in range(1, 2 * few + 1):
            async with writer.notifications.publish_on_commit([job_topic(job_id)]) as connection:
                await jobs.write_progress(connection, job_id, {"done": done})
            assert (await next_change(fast)).job.done == done
        assert (await next_change(slow)).job.done == 2 * few


async def test_more_topics_than_are_accumulated(resources: Resources, writer: Resources, few: int) -> None:
    """All are read in one statement. A subscriber that keeps up receives all, though the backlog exceeds the limit."""
    ids = [await queue_job(writer, -1 - number) for number in range(2 * few)]
    slow, fast = follow_all(resources, EVERYTHING), follow_all(resources, EVERYTHING)

    async def make_progress(job_id: int, done: int) -> None:
        async with writer.notifications.publish_on_commit([job_topic(job_id)]) as connection:
            await jobs.write_progress(connection, job_id, {"done": done})
        assert (await next_change(fast)).job.done == done

    async with following(slow, fast):
        for _ in ids:
            await next_change(slow)
            await next_change(fast)
        await execute(writer, "UPDATE jobs SET done = id")
        for job_id in ids:
            resources.notifications.wake(job_topic(job_id))
        assert {(change.job.id, change.job.done) for change in [await next_change(fast) for _ in ids]} == {
            (job_id, job_id) for job_id in ids
        }
        for _ in range(few // 2):
            await next_change(slow)
        await make_progress(ids[0], 1_001)
        await next_change(slow)
        with dropped("jobs"):
            for done in (1_002, 1_003):
                await make_progress(ids[0], done)
            with pytest.raises(SubscriberTooSlow):
                await next_change(slow)


async def test_many_jobs_that_ended_recently_are_sent_once(
    resources: Resources, writer: Resources, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(base, "LOOK_SECONDS", 0.05)
    changes = follow_all(resources, EVERYTHING)
    received: list[JobChange] = []

    def have_arrived(count: int) -> bool:
        return len(received) >= count

    await queue_job(writer)
    async with following(changes):
        await next_change(changes)
        receiving = asyncio.create_task(receive_all_changes(changes, received))
        for number in range(1, 6):
            await execute(
                writer,
                "INSERT INTO jobs (kind, arguments, priority, max_attempts, timeout_seconds, state, finished_at)"
                " SELECT 'collect_comments', '{}', 0, 1, 1, 'SUCCEEDED', now() FROM generate_series(1, $1)",
                few // 2,
            )
            await until(partial(have_arrived, number * few // 2))
        feed = resources.feeds._all  # noqa: SLF001 - the stored jobs
        assert feed
        looks = feed._done  # noqa: SLF001 - each read reads everything
        await until(lambda: feed._done > looks + 3)  # noqa: SLF001 - no public attribute shows the stored jobs
        assert len({change.job.id for change in received}) == len(received) == 5 * few // 2
        assert len(feed._ended) == len(received)  # noqa: SLF001 - no public attribute shows the stored jobs
        # they are forgotten when they are no longer read
        monkeypatch.setattr(all_jobs_feed, "SETTLING", timedelta(0))
        await until(lambda: len(feed._ended) == few)  # noqa: SLF001 - no public attribute shows the stored jobs
        assert len(received) == 5 * few // 2
        receiving.cancel()
        await asyncio.wait({receiving})


async def test_jobs_that_are_removed(
    resources: Resources, writer: Resources, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(base, "LOOK_SECONDS", 0.05)
    ids = [await queue_job(writer, -1 - number) for number in range(few)]
    changes = follow_all(resources, EVERYTHING)
    async with following(changes):
        assert (await next_change(changes)).job.id == ids[0]
        await execute(writer, "DELETE FROM jobs WHERE id < $1", ids[-1])
        feed = resources.feeds._all  # noqa: SLF001 - the stored jobs
        assert feed
        await until(lambda: [*feed.rows] == ids[-1:])
        assert (await next_change(changes)).job.id == ids[-1]


# the order of a feed's actions


class _Probe(base.Feed):
    """A feed that records whether it listened at each read, and whose reads fail as often as configured."""

    def __init__(self, resources: Resources, failures: int = 0) -> None:
        super().__init__(resources.database)
        self.listened: list[bool] = []
        self._listens = False
        self._failures = failures

    @contextmanager
    def listening(self) -> Iterator[Wake]:
        self._listens = True
        yield Wake()
        self._listens = False

    async def look(self, _: AsyncConnection, *, is_timeout: bool) -> None:
        assert not is_timeout
        self.listened.append(self._listens)
        if len(self.listened) <= self._failures:
            raise ServiceUnavailable("PostgreSQL")


@pytest.mark.usefixtures("_no_pauses")
@pytest.mark.parametrize("failures", [0, 2])
async def test_a_feed_listens_before_it_reads(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    """A change between the two is noticed; a failed read is repeated, even if nothing changes."""
    monkeypatch.setattr(base, "LOOK_SECONDS", 2 * WAIT_SECONDS)
    probe = _Probe(resources, failures)
    with probe.followed():
        running = asyncio.create_task(probe.run())
        async with asyncio.timeout(WAIT_SECONDS):
            await probe.looked(failures + 1)
    await running
    assert probe.listened == [True] * (failures + 1)


@pytest.mark.usefixtures("_no_pauses")
async def test_an_event_comes_with_an_equally_new_row(
    resources: Resources, writer: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that happens after the row and before its events are read."""
    job_id = await queue_job(resources)
    events_after = jobs.events_after
    more = iter([1])

    async def with_another_one(*arguments: Any) -> Any:
        for _ in more:
            await add_events(writer, job_id, 1)
        return await events_after(*arguments)

    monkeypatch.setattr(jobs, "events_after", with_another_one)
    async with aclosing(follow(resources, job_id, 0)) as changes:
        async for change in changes:
            assert change.seq <= change.job.last_seq
            if change.seq == 2:
                break
