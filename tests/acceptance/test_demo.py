"""The demo as a person runs it: one command, everything real but VK."""

from pathlib import Path

import httpx2
import pytest

from app.cli.processes import free_port
from app.db.embedded import embedded_postgres
from app.simulator import SimulatorOptions
from app.simulator.world import World
from tests.acceptance.conftest import stored
from tests.processes import environment, gone, run, started, unmeasured


def truth(comments: int) -> dict[int, list[int]]:
    """Return what the demo's community has: post id -> ids of its comments and replies, where there are any."""
    wall = World(SimulatorOptions(posts=60, comments=comments, seed=1)).wall(1)
    assert wall
    return {int(post_id): ids for post_id, ids in wall.truth().items() if ids}


@pytest.mark.parametrize("comments", [1_000, 30_000])
async def test_demo_collects_everything(data_dir: Path, comments: int) -> None:
    env = environment(DATA_DIR=data_dir, PORT=free_port())
    result = run("demo", "--once", "--comments", str(comments), env=unmeasured(env) if comments > 1_000 else env)
    assert (result.returncode, result.stderr) == (0, "")
    assert f"{comments:,} of them new." in result.stdout
    assert "The most liked of " in result.stdout
    assert not (data_dir / "demo.json").exists()
    with embedded_postgres(data_dir) as postgres:
        assert await stored(postgres.url) == truth(comments)


def test_a_second_demo_follows_the_live_one(data_dir: Path) -> None:
    port = free_port()
    env = environment(DATA_DIR=data_dir, PORT=port)
    with started("demo", "--comments", "500", env=env) as demo:
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
    later = run("demo", "--once", "--comments", "500", env=env)
    assert later.returncode == 0
    assert "Nothing to read: " in later.stdout


def test_the_demo_has_its_own_rules(data_dir: Path) -> None:
    keys = "key-of-a-client-1"
    env = environment(DATA_DIR=data_dir, PORT=free_port(), HOST="0.0.0.0", AUTH="keys", API_KEYS=keys, WORKERS=0)  # noqa: S104
    result = run("demo", "--once", "--comments", "100", env=env)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("variables", [{}, {"PORT": ""}])
def test_the_demo_takes_the_next_free_port(data_dir: Path, variables: dict[str, str]) -> None:
    port = free_port(8000)
    with started("demo", "--comments", "100", env=environment(DATA_DIR=data_dir, **variables)) as one:
        one.prints("Press Ctrl-C to stop.")
        assert f"http://127.0.0.1:{port}/graphql" in one.output()
        elsewhere = environment(DATA_DIR=data_dir.parent / "other", **variables)
        other = run("demo", "--once", "--comments", "100", env=elsewhere)
        assert other.returncode == 0
        assert "Port 8000 is in use; taking 80" in other.stdout


def test_the_demo_takes_any_port(data_dir: Path) -> None:
    result = run("demo", "--once", "--comments", "100", env=environment(DATA_DIR=data_dir, PORT=0))
    assert (result.returncode, result.stderr) == (0, "")
    assert "in use" not in result.stdout
    assert "100 of them new." in result.stdout


def test_ctrl_c_in_the_middle_of_the_collection(data_dir: Path) -> None:
    with started("demo", env=environment(DATA_DIR=data_dir, PORT=free_port())) as demo:
        demo.prints("Collecting the comments of ")
        assert "postgres" in {process.name() for process in demo.family()}
        assert demo.interrupt() == 0
        assert "Traceback" not in demo.output()


def test_ctrl_c_while_it_starts(data_dir: Path) -> None:
    with started("demo", env=environment(DATA_DIR=data_dir, PORT=free_port())) as demo:
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
