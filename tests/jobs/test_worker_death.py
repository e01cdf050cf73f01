"""A worker whose own task ends unexpectedly, and the names of workers."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from app.background import make_worker, open_worker
from app.health import HealthStatus
from app.jobs.watch import Watch
from app.jobs.worker import Worker
from app.resources import Resources
from tests.conftest import serve, until


async def _runs_out_of_memory(_: Watch) -> None:
    raise MemoryError


async def _is_cancelled(_: Watch | Worker) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("owner", "task", "end", "reason"),
    [
        (Watch, "run", _runs_out_of_memory, "MemoryError"),
        (Watch, "run", _is_cancelled, "CancelledError"),
        (Worker, "_consume", _is_cancelled, "CancelledError"),  # any other exception only restarts the queue
    ],
)
async def test_a_worker_that_dies_is_reported(
    resources: Resources,
    monkeypatch: pytest.MonkeyPatch,
    owner: type[Watch] | type[Worker],
    task: str,
    end: Callable[[Any], Awaitable[None]],
    reason: str,
) -> None:
    monkeypatch.setattr(owner, task, end)
    with capture_logs() as logged:
        async with open_worker(resources, 1):
            await until(resources.health.worker_died.is_set)
            async for api in serve(resources):
                async with httpx2.AsyncClient(base_url=api.url) as http:
                    answer = await http.get("/health")
                shown: dict[str, Any] = await api.execute("{ health { status components { name status detail } } }")
    assert (answer.status_code, answer.json()["status"]) == (503, "UNHEALTHY")
    [component] = [each for each in shown["health"]["components"] if each["name"] == "workers"]
    assert component["status"] == "UNHEALTHY"
    assert component["detail"].startswith(f"the worker of this process has died ({reason}, see the log)")
    assert [line["log_level"] for line in logged if line["event"] == "worker_died"] == ["critical"]


async def test_a_stopped_worker_has_not_died(resources: Resources) -> None:
    async with open_worker(resources, 1) as stop:
        await stop()
        report = await resources.health.report()
    assert not resources.health.worker_died.is_set()
    [component] = [each for each in report.components if each.name == "workers"]
    assert component.status is HealthStatus.DEGRADED  # no worker is left in any process


def test_names_of_workers_are_unique(resources: Resources) -> None:
    names = {make_worker(resources, 1).name for _ in range(100)}
    assert len(names) == 100
    assert all(re.fullmatch(r"[^:]+:\d+:[0-9a-f]{8}", name) for name in names)
