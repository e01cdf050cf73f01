import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from prometheus_client import REGISTRY
from redis.asyncio.client import PubSub
from sqlalchemy import text
from structlog.testing import capture_logs

from app import notifications as notifications_module
from app.db.engine import open_database
from app.notifications import (
    CANCELLATIONS,
    JOBS,
    Notifications,
    Wake,
    end_tasks,
    job_of,
    job_topic,
    open_notifications,
    topic_of,
)
from app.resources import Resources
from tests.conftest import MakeSettings, until
from tests.timeouts import WAIT_SECONDS
from tests.valkey import Valkey, running_valkey

TOPIC = job_topic(7)


@pytest.fixture(autouse=True)
def _reconnect_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications_module, "RECONNECT_SECONDS", 0.01)


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@asynccontextmanager
async def process_of(make_settings: MakeSettings, **overrides: object) -> AsyncIterator[Notifications]:
    """Open one process's pool and notifications."""
    settings = make_settings(**overrides)
    assert settings.database_url
    async with (
        open_database(settings, settings.database_url.get_secret_value()) as database,
        open_notifications(settings, database) as notifications,
    ):
        await until(lambda: notifications.is_listening)
        yield notifications


@pytest.fixture
async def two(make_settings: MakeSettings) -> AsyncIterator[tuple[Notifications, Notifications]]:
    """Open two processes without Redis."""
    async with process_of(make_settings) as one, process_of(make_settings) as other:
        yield one, other


async def subscribers(notifications: Notifications) -> int:
    assert notifications.redis
    [(_, number)] = await notifications.redis.pubsub_numsub(notifications.channel)
    return int(number)


@pytest.fixture
async def two_with_redis(
    make_settings: MakeSettings, valkey: Valkey
) -> AsyncIterator[tuple[Notifications, Notifications]]:
    """Open two processes that share a Redis, and wait until both listen to it."""
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(process_of(make_settings, redis_url=valkey.url)) for _ in range(2)
        ]

        async def both_listen() -> bool:
            return await subscribers(one) == 2

        await until(both_listen)
        yield one, other


def foreign() -> float:
    """Return how many messages of other programs this process has counted."""
    return REGISTRY.get_sample_value("vk_comments_foreign_events_total") or 0.0


async def payloads(notifications: Notifications, topic: str) -> list[str]:
    """Publish, and return the payloads of NOTIFY up to a marker of the test."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    connection = await notifications.database.listen()
    await connection.add_listener(notifications.channel, lambda *message: heard.put_nowait(str(message[-1])))
    await notifications.publish(topic)
    await connection.execute("SELECT pg_notify($1, 'mark')", notifications.channel)
    found = []
    while (text := await heard.get()) != "mark":
        found.append(text)
    await connection.close()
    return found


async def end_listeners(notifications: Notifications) -> None:
    connection = await asyncpg.connect(notifications.database.dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid != pg_backend_pid()"
        " AND datname = current_database()"
    )
    await connection.close()


# within a process


async def test_a_wake_is_kept_until_the_next_wait() -> None:
    wake = Wake()
    assert not await wake.wait(0)
    wake.wake()
    wake.wake()
    assert await wake.wait(0)
    assert not await wake.wait(0)


async def test_a_wake_ends_a_wait() -> None:
    wake = Wake()
    waiting = asyncio.create_task(wake.wait(WAIT_SECONDS))
    await asyncio.sleep(0)
    wake.wake()
    assert await waiting


def test_only_listeners_of_the_topic_wake(two: tuple[Notifications, Notifications]) -> None:
    notifications, _ = two
    with (
        notifications.subscribe(TOPIC) as mine,
        notifications.subscribe(TOPIC) as also,
        notifications.subscribe(CANCELLATIONS) as others,
    ):
        notifications.wake(TOPIC)
        notifications.wake("unknown")
        assert [wake._flag.is_set() for wake in (mine, also, others)] == [True, True, False]  # noqa: SLF001 - waiting would reset it
    assert not notifications._listeners  # noqa: SLF001 - nothing is left


async def test_an_accumulator_returns_the_notified_topics(two: tuple[Notifications, Notifications]) -> None:
    notifications, _ = two
    with notifications.subscribe_prefix(JOBS, limit=2) as accumulator:
        for topic in (TOPIC, TOPIC, CANCELLATIONS, job_topic(8)):
            notifications.wake(topic)
        assert await accumulator.wait(0)
        assert accumulator.take() == {TOPIC, job_topic(8)}
        assert accumulator.take() == set()
        assert not await accumulator.wait(0)
    assert not notifications._accumulators  # noqa: SLF001 - nothing is left


async def test_an_accumulator_drops_excess_and_unknown_topics(two: tuple[Notifications, Notifications]) -> None:
    notifications, _ = two
    with notifications.subscribe_prefix(JOBS, limit=2) as accumulator:
        for number in range(4):
            notifications.wake(job_topic(number))
        assert accumulator.take() is None
        notifications.wake_all()
        notifications.wake(TOPIC)
        assert await accumulator.wait(0)
        assert accumulator.take() is None
        notifications.wake(TOPIC)
        assert [job_of(topic) for topic in accumulator.take() or ()] == [7]


# by PostgreSQL


async def test_a_notification_reaches_other_processes(two: tuple[Notifications, Notifications]) -> None:
    one, other = two
    with one.subscribe(TOPIC) as own, other.subscribe(TOPIC) as remote, other.subscribe(CANCELLATIONS) as other_topic:
        await own.wait(0)
        await remote.wait(0)
        await other_topic.wait(0)
        await one.publish(TOPIC)
        assert await remote.wait(WAIT_SECONDS)
        assert await own.wait(WAIT_SECONDS)
        assert not await other_topic.wait(0)


async def test_a_lost_connection_is_reopened(two: tuple[Notifications, Notifications]) -> None:
    one, other = two
    with other.subscribe(TOPIC) as remote, other.subscribe(CANCELLATIONS) as other_topic:
        await remote.wait(0)
        await other_topic.wait(0)
        await end_listeners(one)
        # missed notifications are unknown, so all listeners are woken
        assert await remote.wait(WAIT_SECONDS)
        assert await other_topic.wait(WAIT_SECONDS)
        await until(lambda: other.is_listening)
        await one.publish(TOPIC)
        assert await remote.wait(WAIT_SECONDS)


async def test_listeners_are_woken_once_the_connection_listens(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier notifications are lost: a listener that had read even before would miss the change for good."""
    was_woken: list[bool] = []
    listen = asyncpg.Connection.add_listener

    async def noted(self: Any, *arguments: Any) -> None:
        was_woken.append(await wake.wait(0))
        await listen(self, *arguments)

    async with process_of(make_settings) as notifications:
        with notifications.subscribe(TOPIC) as wake:
            monkeypatch.setattr(asyncpg.Connection, "add_listener", noted)
            await end_listeners(notifications)
            assert await wake.wait(WAIT_SECONDS)
    assert was_woken == [False]


async def test_without_postgresql(make_settings: MakeSettings) -> None:
    settings = make_settings(database_url="postgresql://nobody@127.0.0.1:9/nothing")
    async with (
        open_database(settings, "postgresql://nobody@127.0.0.1:9/nothing") as database,
        open_notifications(settings, database) as notifications,
    ):
        with notifications.subscribe(TOPIC) as own, capture_logs() as logged:
            await notifications.publish(TOPIC)
            assert await own.wait(0)
        assert not notifications.is_listening
    assert logged == [{"event": "event_lost", "topic": TOPIC, "log_level": "warning"}]


FOREIGN = [
    "",
    "nonsense",
    "job:",
    "job:x",
    "job:-1",
    "job:1.5",
    "job: 1",
    "job:007",
    "job:１",
    f"job:{2**63}",
    "job:9" * 1000,
]


@pytest.mark.parametrize("payload", [*FOREIGN, b"\xff\xfe", b"job:\xff", b""], ids=lambda payload: repr(payload)[:20])
def test_a_foreign_payload_is_not_a_topic(payload: str | bytes) -> None:
    assert topic_of(payload) is None


@pytest.mark.parametrize("topic", [TOPIC, job_topic(0), job_topic(2**63 - 1), CANCELLATIONS])
def test_a_payload_of_this_system_is_a_topic(topic: str) -> None:
    assert topic_of(topic) == topic_of(topic.encode()) == topic


async def test_foreign_notifications_wake_no_listener(two: tuple[Notifications, Notifications]) -> None:
    one, other = two
    before = foreign()
    connection = await asyncpg.connect(one.database.dsn)
    with one.subscribe(TOPIC) as own, other.subscribe_prefix(JOBS, limit=5) as accumulator:
        for payload in FOREIGN:
            await connection.execute("SELECT pg_notify($1, $2)", other.channel, payload)
        await one.publish(TOPIC)  # notifications arrive in the order in which they were sent
        assert await accumulator.wait(WAIT_SECONDS)
        assert accumulator.take() == {TOPIC}
        assert await own.wait(WAIT_SECONDS)
    await connection.close()
    assert foreign() - before == 2 * len(FOREIGN)  # both processes listen


async def test_tasks_that_lose_a_cancellation_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications_module, "CANCEL_AGAIN_SECONDS", 0.01)
    lost: list[int] = []

    async def lose(times: int) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(lost) == times:
                    raise
                lost.append(times)

    tasks = [asyncio.create_task(lose(2))]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert lost == [2, 2]
    assert all(task.cancelled() for task in tasks)


# by Redis


async def test_a_notification_is_sent_by_redis_only(two_with_redis: tuple[Notifications, Notifications]) -> None:
    one, other = two_with_redis
    with one.subscribe(TOPIC) as own, other.subscribe(TOPIC) as remote:
        await own.wait(0)
        await remote.wait(0)
        assert await payloads(one, TOPIC) == []
        assert await remote.wait(WAIT_SECONDS)
        assert await own.wait(WAIT_SECONDS)


async def test_redis_publishes_after_the_commit(two_with_redis: tuple[Notifications, Notifications]) -> None:
    one, other = two_with_redis
    with other.subscribe(TOPIC) as remote:
        await remote.wait(0)
        async with one.publish_on_commit([TOPIC]):
            assert not await remote.wait(0)
        assert await remote.wait(WAIT_SECONDS)


async def test_redis_is_killed_and_restarts(
    two_with_redis: tuple[Notifications, Notifications], valkey: Valkey
) -> None:
    one, other = two_with_redis
    with other.subscribe(TOPIC) as remote, capture_logs() as logged:
        valkey.kill()
        for _ in range(3):
            await remote.wait(0)
            assert await payloads(one, TOPIC) == [TOPIC]
            assert await remote.wait(WAIT_SECONDS)
        await until(lambda: not (one.redis_is_up or other.redis_is_up))

        valkey.start()
        await until(lambda: one.redis_is_up and other.redis_is_up)
        assert await subscribers(one) == 2
        await until(lambda: time.monotonic() > one._redis_again_at)  # noqa: SLF001 - Redis is not used until this time
        await remote.wait(0)
        assert await payloads(one, TOPIC) == []
        assert await remote.wait(WAIT_SECONDS)
    assert [line["event"] for line in logged].count("redis_lost") <= 1


async def test_redis_hangs(
    two_with_redis: tuple[Notifications, Notifications], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_with_redis
    monkeypatch.setattr(notifications_module, "REDIS_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(notifications_module, "RECONNECT_SECONDS", 10 * WAIT_SECONDS)
    with other.subscribe(TOPIC) as remote, capture_logs() as logged, valkey.frozen():
        await remote.wait(0)
        assert await payloads(one, TOPIC) == [TOPIC]
        assert await remote.wait(WAIT_SECONDS)
        # Redis is not used for a while: a request to it would wait until the end of the test
        monkeypatch.setattr(notifications_module, "REDIS_TIMEOUT_SECONDS", 10 * WAIT_SECONDS)
        async with asyncio.timeout(WAIT_SECONDS):
            await one.publish(TOPIC)
        assert await remote.wait(WAIT_SECONDS)
    assert [line["event"] for line in logged] == ["redis_lost"]
    assert not one.redis_is_up


async def test_redis_never_ran(make_settings: MakeSettings) -> None:
    async with (
        process_of(make_settings, redis_url="redis://127.0.0.1:9") as one,
        process_of(make_settings, redis_url="redis://127.0.0.1:9") as other,
    ):
        with other.subscribe(TOPIC) as remote:
            assert await payloads(one, TOPIC) == [TOPIC]
            assert await remote.wait(WAIT_SECONDS)
        await until(lambda: not other.redis_is_up)


async def test_a_missed_notification_of_redis(two_with_redis: tuple[Notifications, Notifications]) -> None:
    """A reconnect wakes all listeners, because missed notifications are unknown."""
    one, other = two_with_redis
    with other.subscribe(TOPIC) as remote:
        await remote.wait(0)
        assert one.redis
        await one.redis.client_kill_filter(_type="pubsub")
        assert await remote.wait(WAIT_SECONDS)
        await until(lambda: other.redis_is_up)


async def test_listeners_are_woken_once_redis_has_subscribed_them(
    make_settings: MakeSettings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_woken: list[bool] = []
    handle = PubSub.handle_message

    async def noted(self: Any, response: Any, ignore_subscribe_messages: bool = False) -> Any:  # noqa: FBT001, FBT002 - its signature
        was_woken.append(await wake.wait(0))
        return await handle(self, response, ignore_subscribe_messages)  # type: ignore[no-untyped-call] # redis has no types for it

    async with process_of(make_settings, redis_url=valkey.url) as notifications:

        async def listens() -> bool:
            return await subscribers(notifications) == 1

        await until(listens)
        assert notifications.redis
        before = foreign()
        await notifications.redis.publish(notifications.channel, "nonsense")
        await until(lambda: foreign() > before)  # it has processed all earlier answers of Redis
        with notifications.subscribe(TOPIC) as wake:
            monkeypatch.setattr(PubSub, "handle_message", noted)
            await notifications.redis.client_kill_filter(_type="pubsub")
            assert await wake.wait(WAIT_SECONDS)
    assert was_woken == [False]


async def test_foreign_messages_in_redis_wake_no_listener(two_with_redis: tuple[Notifications, Notifications]) -> None:
    one, other = two_with_redis
    assert one.redis
    with other.subscribe_prefix(JOBS, limit=5) as accumulator:
        payloads: list[str | bytes] = [*FOREIGN, b"\xff\xfe", b"job:\xff"]
        for payload in payloads:
            await one.redis.publish(other.channel, payload)
        await one.publish(TOPIC)
        assert await accumulator.wait(WAIT_SECONDS)
        assert accumulator.take() == {TOPIC}
        assert other.redis_is_up
        assert await subscribers(one) == 2


async def test_deployments_that_share_a_redis(make_settings: MakeSettings, valkey: Valkey) -> None:
    first = {"redis_url": valkey.url, "channel_prefix": "first"}
    second = {"redis_url": valkey.url, "channel_prefix": "second"}
    async with (
        process_of(make_settings, **first) as one,
        process_of(make_settings, **first) as other,
        process_of(make_settings, **second) as other_deployment,
    ):

        async def all_listen() -> bool:
            return (await subscribers(one), await subscribers(other_deployment)) == (2, 1)

        await until(all_listen)
        with (
            other.subscribe(TOPIC) as remote,
            other_deployment.subscribe(TOPIC) as far,
            other_deployment.subscribe(CANCELLATIONS) as end,
        ):
            for wake in (remote, far, end):
                await wake.wait(0)
            await one.publish(TOPIC)
            assert await remote.wait(WAIT_SECONDS)
            assert await payloads(one, TOPIC) == []
            await other_deployment.publish(CANCELLATIONS)  # it follows everything that was sent before
            assert await end.wait(WAIT_SECONDS)
            assert not await far.wait(0)


@pytest.mark.parametrize("redis_url", [None, "redis://127.0.0.1:9"])
async def test_the_prefix_equals_that_of_notify(make_settings: MakeSettings, redis_url: str | None) -> None:
    async with process_of(make_settings, redis_url=redis_url, channel_prefix="staging:1") as notifications:
        assert notifications.channel == "staging:1_events"
        with notifications.subscribe(TOPIC) as own:
            await own.wait(0)
            assert await payloads(notifications, TOPIC) == [TOPIC]
            assert await own.wait(WAIT_SECONDS)


async def test_redis_publishes_only_committed_changes(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """A woken listener reads PostgreSQL at once, and would not yet find the change there."""
    found: list[bool] = []

    async def publish(_: str) -> None:
        async with resources.database.connect() as connection:
            found.append(bool(await connection.scalar(text("SELECT count(*) FROM tokens WHERE fingerprint = 'a'"))))

    monkeypatch.setattr(resources.notifications, "_redis_may_be_up", lambda: True)
    monkeypatch.setattr(resources.notifications, "publish", publish)
    async with resources.notifications.publish_on_commit([TOPIC]) as connection:
        await connection.execute(text("INSERT INTO tokens (fingerprint) VALUES ('a')"))
    assert found == [True]
