from collections.abc import Callable
from pathlib import Path

import pytest

from tests import processes
from tests.conftest import TOKEN, Simulator

MakeEnvironment = Callable[..., dict[str, str]]


@pytest.fixture
def env(database_url: str, tmp_path: Path) -> MakeEnvironment:
    """Return a function that makes the environment of a server on the test's database; its arguments override it."""

    def make(**variables: object) -> dict[str, str]:
        defaults = {"DATABASE_URL": database_url, "DATA_DIR": tmp_path, "PORT": 0, "LOG_FORMAT": "json"}
        return processes.environment(**{**defaults, **variables})

    return make


@pytest.fixture
def vk_env(env: MakeEnvironment, simulator: Simulator) -> MakeEnvironment:
    """Do the same with the simulated VK."""

    def make(**variables: object) -> dict[str, str]:
        defaults = {"VK_API_URL": simulator.url, "VK_TOKENS": TOKEN, "VK_REQUESTS_PER_SECOND": 10_000}
        return env(**{**defaults, **variables})

    return make
