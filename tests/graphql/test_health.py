"""`health` as query and subscription, and the HTTP endpoints of health."""

import asyncio
from contextlib import aclosing

import asyncpg
import httpx2
import pytest

from app.resources import Resources, open_resources
from app.vk.wire import VkUnavailable
from tests.conftest import Api, MakeSettings, Simulator, serve, statements
from tests.timeouts import WAIT_SECONDS


@pytest.fixture(autouse=True)
async def registered_worker(database_url: str) -> None:
    """Register a worker of another process."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO workers (name, concurrency, kinds) VALUES ('host:1', 4, '[]')")
    await connection.close()


HEALTH = "{ health { status version uptimeSeconds components { name status latencyMs detail } } }"
FOLLOW = """
subscription ($interval: Float! = 300) {
  health(intervalSeconds: $interval) {
    __typename
    ... on Health { status components { name status detail } }
    ... on ValidationFailedError { code fields { path message } }
  }
}"""


async def test_health_of_a_working_server(vk_api: Api) -> None:
    health = (await vk_api.execute(HEALTH))["health"]
    assert health["status"] == "HEALTHY"
    assert health["version"] == "0.1.0"
    assert health["uptimeSeconds"] > 0
    assert {part["name"]: part["status"] for part in health["components"]} == {
        "postgresql": "HEALTHY",
        "workers": "HEALTHY",
        "notifications": "HEALTHY",
        "vk": "HEALTHY",
    }


async def test_health_sends_each_change_at_once(api: Api, resources: Resources) -> None:
    async with aclosing(api.client.subscribe(FOLLOW, {})) as messages:
        first = (await anext(messages))["health"]
        assert first["status"] == "HEALTHY"
        resources.vk._note(VkUnavailable("VK is away."))  # noqa: SLF001 - as if a request had just failed
        async with asyncio.timeout(WAIT_SECONDS):
            second = (await anext(messages))["health"]
    assert second["status"] == "DEGRADED"
    assert {"name": "vk", "status": "DEGRADED", "detail": "VK is away."} in second["components"]


async def test_health_sends_heartbeats_when_nothing_changes(api: Api) -> None:
    async with aclosing(api.client.subscribe(FOLLOW, {"interval": 0.2})) as messages, asyncio.timeout(WAIT_SECONDS):
        states = [(await anext(messages))["health"]["status"] for _ in range(3)]
    assert states == ["HEALTHY"] * 3


@pytest.mark.parametrize("interval", [0.1, 301])
async def test_health_with_an_invalid_interval(api: Api, interval: float) -> None:
    [message] = [message async for message in api.subscribe(FOLLOW, interval=interval)]
    assert message["health"] == {
        "__typename": "ValidationFailedError",
        "code": "VALIDATION_FAILED",
        "fields": [{"path": "intervalSeconds", "message": "must be between 0.2 and 300"}],
    }


async def test_endpoints_of_a_working_server(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        health, live, ready, metrics = [
            await http.get(path) for path in ("/health", "/health/live", "/health/ready", "/metrics")
        ]
    assert health.status_code == 200
    assert health.json()["status"] == "HEALTHY"
    assert [part["name"] for part in health.json()["components"]] == ["postgresql", "workers", "notifications", "vk"]
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert 'vk_comments_database_connections{state="in_use"}' in metrics.text


async def test_endpoints_without_postgresql(api_without_postgresql: Api) -> None:
    async with httpx2.AsyncClient(base_url=api_without_postgresql.url, timeout=WAIT_SECONDS) as http:
        health, live, ready = [await http.get(path) for path in ("/health", "/health/live", "/health/ready")]
    assert health.status_code == 503
    assert health.json()["status"] == "UNHEALTHY"
    assert health.json()["components"][0]["detail"] == "cannot be reached (ServiceUnavailable)"
    assert live.status_code == 200
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready"})
    query = await api_without_postgresql.execute(HEALTH)
    assert query["health"]["status"] == "UNHEALTHY"


async def test_health_without_a_vk_token(make_settings: MakeSettings, simulator: Simulator) -> None:
    async with open_resources(make_settings(vk_api_url=simulator.url, vk_tokens=())) as opened:
        async for api in serve(opened):
            health = (await api.execute(HEALTH))["health"]
    assert health["status"] == "DEGRADED"
    assert health["components"][-1]["detail"] == "no token is configured: set VK_TOKENS"


async def test_many_subscribers_share_a_check(api: Api, resources: Resources) -> None:
    with statements(resources) as seen:
        await asyncio.gather(*(resources.health.latest(60) for _ in range(50)))
    assert len(seen) == 6  # the connection, a write in three statements, the tokens, and the workers
    async with aclosing(api.client.subscribe(FOLLOW, {})) as messages:
        assert (await anext(messages))["health"]["status"] == "HEALTHY"
