"""A worker writes a heartbeat file while it can work, and `vk-comments worker --check` reads it."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from app.cli import alive
from app.errors import ServiceUnavailable
from app.health import ComponentHealth, HealthCheck, HealthStatus
from app.resources import Resources
from tests.cli.conftest import MakeEnvironment
from tests.conftest import until as until_async
from tests.conftest import with_database
from tests.processes import Command, run, started, until

LONG_AGO = 1_000_000_000


def check_output(env: dict[str, str]) -> str:
    """Return the error output of the check."""
    result = run("worker", "--check", env=env)
    assert (result.returncode, result.stdout) == ((1, "") if result.stderr else (0, ""))
    assert result.stderr.count("\n") == (1 if result.stderr else 0)
    return result.stderr.removeprefix("error: ").rstrip("\n")


def make_old(heartbeat: Path) -> None:
    """Make a heartbeat file an old one."""
    os.utime(heartbeat, (LONG_AGO, LONG_AGO))


def is_fresh(heartbeat: Path) -> bool:
    """Return whether a heartbeat file has been touched since it was made old."""
    return heartbeat.exists() and heartbeat.stat().st_mtime > LONG_AGO


def test_a_worker_that_works_hangs_and_stops(env: MakeEnvironment, tmp_path: Path) -> None:
    variables, heartbeat = env(DATA_DIR=tmp_path / "new"), tmp_path / "new" / alive.HEARTBEAT_FILE
    assert check_output(variables) == f"No worker runs on {tmp_path}/new: No such file or directory."
    with started("worker", env=variables) as worker:
        until(lambda: is_fresh(heartbeat))
        assert check_output(variables) == ""
        make_old(heartbeat)
        until(lambda: is_fresh(heartbeat))
        worker.popen.send_signal(signal.SIGSTOP)
        make_old(heartbeat)
        assert check_output(variables).startswith(f"The worker on {tmp_path}/new has written no heartbeat for ")
        worker.popen.send_signal(signal.SIGCONT)
        until(lambda: is_fresh(heartbeat))
        assert worker.interrupt() == 0
    assert not heartbeat.exists()


@asynccontextmanager
async def no_connections(url: str) -> AsyncIterator[None]:
    """Make a database reject connections, and close the existing ones."""
    name = url.partition("?")[0].rpartition("/")[2]
    connection = await asyncpg.connect(with_database(url, "postgres"))
    try:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    finally:
        await connection.close()


def pauses(worker: Command) -> int:
    """Return how often a worker has logged that it writes no heartbeat."""
    return worker.output().count('"no_sign_of_life"')


async def test_a_worker_without_its_database(env: MakeEnvironment, database_url: str, tmp_path: Path) -> None:
    variables, heartbeat = env(), tmp_path / alive.HEARTBEAT_FILE
    with started("worker", env=variables) as worker:
        await until_async(lambda: is_fresh(heartbeat))
        async with no_connections(database_url):
            await until_async(lambda: pauses(worker))
            make_old(heartbeat)
            before = pauses(worker)
            await until_async(lambda: pauses(worker) > before)
            assert not is_fresh(heartbeat)
            assert "PostgreSQL cannot be reached" in worker.event("no_sign_of_life")["reason"]
            assert "has written no heartbeat for" in check_output(variables)
        await until_async(lambda: is_fresh(heartbeat))
        assert worker.interrupt() == 0


def test_a_heartbeat_file_that_cannot_be_written(env: MakeEnvironment, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    variables = env(DATA_DIR=file)
    with started("worker", env=variables) as worker:
        assert f"File exists: '{file}'" in worker.event("no_sign_of_life")["reason"]
        assert check_output(variables) == f"No worker runs on {file}: Not a directory."
        assert worker.interrupt() == 0


class Recovering(HealthCheck):
    """A health check that reports PostgreSQL as unavailable, then as too slow, and then its real state."""

    async def postgresql(self) -> ComponentHealth:
        """Check PostgreSQL."""
        if not ANSWERS:
            return await HealthCheck.postgresql(self)
        answer = ANSWERS.pop()
        if answer:
            return ComponentHealth("postgresql", answer, None, "cannot be reached")
        raise ServiceUnavailable("PostgreSQL")


ANSWERS: list[HealthStatus | None] = []


async def test_heartbeats_resume_once_the_database_is_available(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "HEARTBEAT_SECONDS", 0.0)
    ANSWERS[:] = [None, HealthStatus.UNHEALTHY]
    seen = resources.health
    health = Recovering(seen.database, seen.notifications, seen.vk, seen.started)
    async with alive.heartbeat_file(resources.settings, health):
        await until_async(lambda: is_fresh(resources.settings.data_dir / alive.HEARTBEAT_FILE))
        assert ANSWERS == []
        alive.require_alive(resources.settings)
    with pytest.raises(alive.NotAlive, match="No worker runs on "):
        alive.require_alive(resources.settings)
