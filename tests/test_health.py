from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from app import health as health_module
from app.db.engine import open_database
from app.health import ComponentHealth, HealthCheck, HealthReport, HealthStatus
from app.notifications import open_notifications
from app.resources import Resources, open_resources
from app.store.workers import write_heartbeat
from app.vk.wire import VkFault, groups_by_id
from tests.conftest import MakeSettings, Simulator, until
from tests.jobs.conftest import queue_job
from tests.valkey import Valkey, running_valkey

HEALTHY, DEGRADED, UNHEALTHY = HealthStatus
NOBODY = "postgresql://nobody@127.0.0.1:9/nothing"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@asynccontextmanager
async def opened(make_settings: MakeSettings, **overrides: object) -> AsyncIterator[Resources]:
    """Open a process that already listens, on a database that a worker serves."""
    async with open_resources(make_settings(**overrides)) as resources:
        async with resources.database.transaction() as connection:
            await write_heartbeat(connection, "host:1", 4, ["collect_comments"])
        await until(lambda: resources.notifications.is_listening)
        yield resources


def component(report: HealthReport, name: str) -> ComponentHealth:
    [found] = [each for each in report.components if each.name == name]
    return found


async def test_everything_is_healthy(make_settings: MakeSettings, valkey: Valkey, simulator: Simulator) -> None:
    async with opened(make_settings, redis_url=valkey.url, vk_api_url=simulator.url) as resources:
        await resources.vk.call(groups_by_id(["1"]))
        report = await resources.health.report()
    assert report.status is HEALTHY
    assert [(each.name, each.status, each.detail) for each in report.components] == [
        ("postgresql", HEALTHY, "answers"),
        ("redis", HEALTHY, "answers"),
        ("workers", HEALTHY, "1 alive"),
        ("notifications", HEALTHY, "listening"),
        ("vk", HEALTHY, "1 of 1 token(s) ready"),
    ]
    assert [each.latency_ms is not None for each in report.components] == [True, True, False, False, False]
    assert 0 < report.uptime_seconds < 600
    assert report.version


async def test_without_redis_it_is_not_checked(make_settings: MakeSettings) -> None:
    async with opened(make_settings) as resources:
        report = await resources.health.report()
    assert [each.name for each in report.components] == ["postgresql", "workers", "notifications", "vk"]
    assert report.status is HEALTHY


async def test_no_worker_is_alive(make_settings: MakeSettings) -> None:
    async with opened(make_settings, job_heartbeat_timeout_seconds=5) as resources:
        async with resources.database.transaction() as connection:
            await connection.execute(text("UPDATE workers SET seen_at = now() - interval '6 seconds'"))
        report = await resources.health.report()
    assert report.status is DEGRADED
    assert component(report, "workers").detail == "none is alive, so jobs only wait"


async def test_redis_stops_and_restarts(make_settings: MakeSettings, valkey: Valkey) -> None:
    async with opened(make_settings, redis_url=valkey.url) as resources:
        valkey.kill()
        report = await resources.health.report()
        assert (report.status, component(report, "redis").status) == (DEGRADED, DEGRADED)
        assert component(report, "redis").detail.startswith("cannot be reached (")
        assert component(report, "redis").latency_ms is None
        valkey.start()
        assert (await resources.health.report()).status is HEALTHY


async def test_redis_hangs(make_settings: MakeSettings, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(make_settings, redis_url=valkey.url) as resources:
        monkeypatch.setattr(health_module, "LONGEST_ANSWER_SECONDS", 0.1)
        with valkey.frozen():
            report = await resources.health.report()
    assert component(report, "redis").status is DEGRADED


async def test_postgresql_is_unavailable(make_settings: MakeSettings, resources: Resources) -> None:
    settings = make_settings(database_url=NOBODY)
    async with open_database(settings, NOBODY) as database, open_notifications(settings, database) as events:
        check = HealthCheck(database, events, resources.vk, resources.health.started)
        report = await check.report()
        assert await check.tokens() == []
    assert report.status is UNHEALTHY
    assert component(report, "postgresql") == ComponentHealth(
        "postgresql", UNHEALTHY, None, "cannot be reached (ServiceUnavailable)"
    )
    assert component(report, "notifications") == ComponentHealth(
        "notifications", DEGRADED, None, "not connected; trying again"
    )
    assert component(report, "vk").detail == "1 token(s)"


async def test_postgresql_rejects_connections(make_settings: MakeSettings, resources: Resources) -> None:
    url = resources.database.dsn.replace("/t_", "/no_")
    async with open_database(make_settings(), url) as database:
        check = HealthCheck(database, resources.notifications, resources.vk, 0.0)
        found = await check.postgresql()
    assert (found.status, found.detail) == (UNHEALTHY, "cannot be reached (DBAPIError)")


async def test_postgresql_is_too_slow(
    make_settings: MakeSettings, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "LONGEST_ANSWER_SECONDS", 0.05)
    settings = make_settings(database_pool_size=1, database_pool_overflow=0)
    async with open_database(settings, resources.database.dsn) as database, database.connect() as connection:
        await connection.execute(text("SELECT 1"))
        check = HealthCheck(database, resources.notifications, resources.vk, 0.0)
        assert (await check.postgresql()).status is UNHEALTHY


@pytest.mark.parametrize("table", ["workers", "tokens"])
async def test_a_query_takes_longer_than_its_limit(
    make_settings: MakeSettings, resources: Resources, table: str
) -> None:
    async with (
        open_resources(make_settings(database_statement_timeout_seconds=2)) as slow,
        resources.database.transaction() as other,
    ):
        await other.execute(text(f"LOCK {table} IN ACCESS EXCLUSIVE MODE"))
        report = await slow.health.report()
        await slow.health.measure()
    assert component(report, "postgresql").status is HEALTHY
    assert component(report, "workers").status is DEGRADED


async def test_unfinished_jobs_are_measured(resources: Resources) -> None:
    await queue_job(resources)
    await resources.health.measure()
    labels = {"kind": "collect_comments", "state": "QUEUED"}
    assert REGISTRY.get_sample_value("vk_comments_unfinished_jobs", labels) == 1


async def test_no_token_is_configured(make_settings: MakeSettings) -> None:
    async with opened(make_settings, vk_tokens=()) as resources:
        report = await resources.health.report()
    assert component(report, "vk") == ComponentHealth("vk", DEGRADED, None, "no token is configured: set VK_TOKENS")


@pytest.mark.parametrize(
    ("fault", "status", "detail"),
    [
        ({"code": 10}, DEGRADED, "VK: Internal server error: Unknown error, try later (error 10)"),
        ({"http": 500}, DEGRADED, "VK answered with HTTP 500."),
        ({"code": 5}, DEGRADED, "no token is left: VK: User authorization failed: no access_token"),
        ({"code": 15}, HEALTHY, "1 of 1 token(s) ready"),
    ],
)
async def test_the_last_answer_of_vk(
    vk_resources: Resources, simulator: Simulator, fault: dict[str, int], status: HealthStatus, detail: str
) -> None:
    simulator.control(faults=[{**fault, "times": 6}])
    with pytest.raises(VkFault):
        await vk_resources.vk.call(groups_by_id(["1"]))
    found = component(await vk_resources.health.report(), "vk")
    assert found.status is status
    assert found.detail.startswith(detail)


async def test_vk_answers_again(vk_resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 10, "times": 6}])
    with pytest.raises(VkFault):
        await vk_resources.vk.call(groups_by_id(["1"]))
    await vk_resources.vk.call(groups_by_id(["1"]))
    assert component(await vk_resources.health.report(), "vk").status is HEALTHY


async def test_another_process_had_its_last_token_rejected(make_settings: MakeSettings, simulator: Simulator) -> None:
    settings = make_settings(vk_api_url=simulator.url)
    async with open_resources(settings) as first, open_resources(settings) as second:
        simulator.control(faults=[{"code": 14}])
        with pytest.raises(VkFault):
            await first.vk.call(groups_by_id(["1"]))
        found = component(await second.health.report(), "vk")
    assert (found.status, found.detail) == (DEGRADED, "no token is left: VK: Captcha needed (error 14)")
