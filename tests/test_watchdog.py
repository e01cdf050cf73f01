"""A blocked event loop is detected, logged and counted while it is blocked, with the place in the code."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app import watchdog
from app.watchdog import watching_loop
from tests.conftest import until
from tests.timeouts import WAIT_SECONDS


def blocked_times() -> float:
    return REGISTRY.get_sample_value("vk_comments_loop_blocked_total") or 0.0


def block_until(condition: Any) -> None:
    """Block the event loop until a condition is true, like a handler that computes."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


async def test_a_blocked_loop_is_logged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ASK_SECONDS", 0.01)
    before = blocked_times()
    with capture_logs() as logs, watching_loop(0.05):
        block_until(lambda: logs)
        [blocked] = logs
        assert blocked["event"] == "loop_blocked"
        assert any("block_until" in place for place in blocked["where"])
        assert blocked_times() == before + 1
        await until(lambda: len(logs) > 1)
    # on a slow machine it may have been blocked again meanwhile
    assert blocked_times() == before + [line["event"] for line in logs].count("loop_blocked")
    assert logs[1]["event"] == "loop_goes_on"
    assert logs[1]["blocked_seconds"] > 0


async def test_a_responsive_loop_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ASK_SECONDS", 0.001)
    asked_at: list[float] = []

    def monotonic() -> float:
        asked_at.append(time.monotonic())
        return asked_at[-1]

    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=monotonic))
    before = blocked_times()
    with capture_logs() as logs, watching_loop(WAIT_SECONDS):
        watcher = next(thread for thread in threading.enumerate() if thread.name == "watchdog")
        # the watchdog reads the clock before it asks, and asks again only when the loop has answered
        await until(lambda: len(asked_at) > 3)
    await until(lambda: not watcher.is_alive())
    assert logs == []
    assert blocked_times() == before


async def test_a_loop_that_is_blocked_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "ASK_SECONDS", 0.01)
    with capture_logs() as logs:
        with watching_loop(0.05):
            watcher = next(thread for thread in threading.enumerate() if thread.name == "watchdog")
            block_until(lambda: logs)
        block_until(lambda: not watcher.is_alive())
    assert not watcher.is_alive()
