"""The demo as a user runs it: one command, with real components except VK."""

import re
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from app.db.embedded import embedded_postgres
from simulator import SimulatorOptions
from simulator.world import World
from tests.acceptance.conftest import stored
from tests.processes import environment, gone, run, started, unmeasured

UnusedPort = Callable[[], int]


def truth(comments: int) -> dict[int, list[int]]:
    """Return post id -> ids of its comments and replies in the demo's community; posts without comments are absent."""
    wall = World(SimulatorOptions(posts=60, comments=comments, seed=1)).wall(1)
    assert wall
    return {int(post_id): ids for post_id, ids in wall.truth().items() if ids}


@pytest.mark.parametrize("comments", [1_000, 30_000])
async def test_demo_collects_everything(data_dir: Path, unused_port: UnusedPort, comments: int) -> None:
    env = environment(DATA_DIR=data_dir, PORT=unused_port())
    result = run("demo", "--once", "--comments", str(comments), env=unmeasured(env) if comments > 1_000 else env)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{comments:,} of them new." in result.stdout
    assert "The most liked of " in result.stdout
    assert not (data_dir / "demo.json").exists()
    with embedded_postgres(data_dir) as postgres:
        assert await stored(postgres.url) == truth(comments)


def test_a_second_demo_follows_the_live_one(data_dir: Path, unused_port: UnusedPort) -> None:
    port = unused_port()
    env = environment(DATA_DIR=data_dir, PORT=port)
    with started("demo", "--comments", "500", env=unmeasured(env)) as demo:
        demo.prints("Press Ctrl-C to stop.")
        url = f"http://127.0.0.1:{port}"
        assert f"{url}/graphql" in demo.output()
        assert httpx2.get(f"{url}/health/ready").status_code == 200

        second = run("demo", env=env)
        assert second.returncode == 0
        assert second.stdout.startswith(f"A demo is running at {url} already: following that one.")
        assert "Nothing to read: " in second.stdout
        assert httpx2.get(f"{url}/health/ready").status_code == 200

        assert demo.interrupt() == 0
        assert demo.output().endswith("Stopped.\n")
    later = run("demo", "--once", "--comments", "500", env=unmeasured(env))
    assert later.returncode == 0
    assert "Nothing to read: " in later.stdout


def test_the_demo_has_its_own_rules(data_dir: Path, unused_port: UnusedPort) -> None:
    keys = "key-of-a-client-1"
    env = environment(DATA_DIR=data_dir, PORT=unused_port(), HOST="0.0.0.0", AUTH="keys", API_KEYS=keys, WORKERS=0)  # noqa: S104 - the demo is tested with a server that listens on all interfaces
    result = run("demo", "--once", "--comments", "100", env=unmeasured(env))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_demo_takes_the_next_free_port(data_dir: Path) -> None:
    """Occupy the demo's default port, unless another program has it: only one test may do this."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 8000)))
        env = unmeasured(environment(DATA_DIR=data_dir.parent / "one"))
        result = run("demo", "--once", "--comments", "100", env=env)
        assert (result.returncode, result.stderr) == (0, "")
        assert re.search("Port 8000 is in use; using 80[0-9][0-9]", result.stdout)
        with started("demo", env=environment(DATA_DIR=data_dir.parent / "other", PORT="")) as demo:
            demo.prints("Port 8000 is in use; using 80")
            assert demo.interrupt() == 0


def test_the_demo_takes_any_port(data_dir: Path) -> None:
    result = run("demo", "--once", "--comments", "100", env=unmeasured(environment(DATA_DIR=data_dir, PORT=0)))
    assert (result.returncode, result.stderr) == (0, "")
    assert "in use" not in result.stdout
    assert "100 of them new." in result.stdout


def test_ctrl_c_in_the_middle_of_the_collection(data_dir: Path, unused_port: UnusedPort) -> None:
    with started("demo", env=environment(DATA_DIR=data_dir, PORT=unused_port())) as demo:
        demo.prints("Collecting the comments of ")
        assert "postgres" in {process.name() for process in demo.family()}
        assert demo.interrupt() == 0
        assert "Traceback" not in demo.output()


def test_ctrl_c_while_it_starts(data_dir: Path, unused_port: UnusedPort) -> None:
    with started("demo", env=environment(DATA_DIR=data_dir, PORT=unused_port())) as demo:
        while len(demo.family()) < 3:  # itself, the simulator, the server
            pass
        assert demo.interrupt() == 0


def test_a_killed_database_is_reported(data_dir: Path) -> None:
    env = environment(DATA_DIR=data_dir, PORT=0, LOG_FORMAT="json")
    with started("serve", env=env) as server:
        url = server.url()
        [postmaster] = [
            process
            for process in server.family()
            if process.name() == "postgres" and process.ppid() == server.popen.pid
        ]
        backends = postmaster.children()
        postmaster.kill()
        assert gone(backends)
        ready, health = httpx2.get(f"{url}/health/ready"), httpx2.get(f"{url}/health")
        assert (ready.status_code, ready.json()) == (503, {"status": "not ready"})
        assert (health.status_code, health.json()["status"]) == (503, "UNHEALTHY")
        states = {part["name"]: part["status"] for part in health.json()["components"]}
        assert states["postgresql"] == "UNHEALTHY"
        assert httpx2.get(f"{url}/health/live").status_code == 200
        assert server.interrupt() == 0
