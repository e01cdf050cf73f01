"""Commands that run until they are stopped: they serve, stop in time, and leave no process."""

import asyncio
import errno
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from app.cli import processes
from app.cli.client import ADD_GROUPS, JOB_PROGRESS, START_COLLECTION, Client
from app.cli.processes import free_port, running
from app.errors import StartFailed
from app.jobs import worker
from tests.cli.conftest import MakeEnvironment
from tests.conftest import Simulator
from tests.conftest import until as until_async
from tests.processes import environment, gone, started, until
from tests.timeouts import WAIT_SECONDS


async def start_job(client: Client) -> str:
    """Start a collection of the simulated community and return the job's id."""
    added = await client.execute(ADD_GROUPS, {"references": ["1"]})
    group_id = added["addGroups"]["outcomes"][0]["group"]["id"]
    answer = await client.execute(START_COLLECTION, {"input": {"groupIds": [group_id]}})
    return str(answer["startCollection"]["job"]["id"])


async def state_of(client: Client, job_id: str) -> str:
    """Return a job's state."""
    answer = await client.execute("query ($id: ID!) { job(id: $id) { state } }", {"id": job_id})
    return str(answer["job"]["state"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_stopped(env: MakeEnvironment, number: int) -> None:
    with started("serve", env=env()) as server:
        url = server.url()
        assert httpx2.get(f"{url}/health/ready").json() == {"status": "ready"}
        assert server.interrupt(number) == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_serve_with_the_embedded_database(data_dir: Path) -> None:
    with started("serve", env=environment(DATA_DIR=data_dir, PORT=0, LOG_FORMAT="json")) as server:
        assert httpx2.get(f"{server.url()}/health/ready").status_code == 200
        assert "postgres" in {process.name() for process in server.family()}
        assert server.interrupt() == 0


async def test_serve_stops_while_a_client_follows_a_job(vk_env: MakeEnvironment, simulator: Simulator) -> None:
    with started("serve", env=vk_env()) as server:
        client = Client(server.url())
        simulator.control(delay_ms=50)
        job_id = await start_job(client)
        simulator.control(hold=True)
        messages = client.subscribe(JOB_PROGRESS, {"jobId": job_id, "afterSeq": 0})
        await anext(messages)
        await until_async(lambda: simulator.control()["waiting"])
        assert await asyncio.to_thread(server.interrupt) == 0
        await messages.aclose()
        assert "Traceback" not in server.output()
    simulator.control(hold=False, delay_ms=0)
    with started("serve", env=vk_env()) as server:
        client = Client(server.url())
        assert [message["job"]["state"] async for message in client.follow(job_id)][-1] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("arguments", "variables", "concurrency"),
    [((), {}, 10), ((), {"WORKERS": 3}, 3), ((), {"WORKERS": 0}, 10), (("--concurrency", "1"), {"WORKERS": 3}, 1)],
)
async def test_worker_runs_the_jobs_of_a_server_without_workers(
    vk_env: MakeEnvironment, arguments: tuple[str, ...], variables: dict[str, int], concurrency: int
) -> None:
    with started("serve", env=vk_env(WORKERS=0)) as server:
        client = Client(server.url())
        job_id = await start_job(client)
        assert await state_of(client, job_id) == "QUEUED"
        with started("worker", *arguments, env=vk_env(**variables)) as worker:
            assert worker.event("working")["concurrency"] == concurrency
            assert [message["job"]["state"] async for message in client.follow(job_id)][-1] == "SUCCEEDED"
            assert worker.interrupt() == 0
        assert server.interrupt() == 0


WITHOUT_LUCK = """
import sys
from app.cli import main
from app.jobs.watch import Watch

async def fail(self):
    raise RuntimeError("a bug")

Watch.run = fail
sys.argv = ["vk-comments", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_ends_with_its_worker(env: MakeEnvironment, command: str) -> None:
    result = subprocess.run(  # noqa: S603 - a constant command
        [sys.executable, "-c", WITHOUT_LUCK, command],
        env=env(WORKERS=1),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.rstrip().endswith(
        "error: The worker has died (RuntimeError, see the log). Start the process again."
    )
    assert "worker_died" in result.stderr
    assert "a bug" in result.stderr


def test_simulate_vk(env: MakeEnvironment) -> None:
    arguments = ("--port", "0", "--groups", "2", "--posts", "3", "--comments", "50", "--seed", "7", "--rps", "0")
    with started("simulate-vk", *arguments, env=env()) as simulator:
        url = simulator.event("simulating")["url"]
        control = httpx2.get(f"{url}/_control").json()
        sizes = {name: control["options"][name] for name in ("groups", "posts", "comments", "seed", "rps")}
        assert sizes == {"groups": 2, "posts": 3, "comments": 50, "seed": 7, "rps": 0}
        truth = httpx2.get(f"{url}/_truth/2").json()["comments"]
        assert (len(truth), sum(map(len, truth.values()))) == (3, 50)
        assert simulator.interrupt() == 0


# child processes of a command


async def test_a_process_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.processes.START_SECONDS", 0.0)
    log = tmp_path / "log"
    with pytest.raises(StartFailed, match=f"does not answer. See {log}"):
        async with running(["simulate-vk", "--port", "0"], {}, log, "http://127.0.0.1:9/"):
            pass


async def test_a_process_without_output(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StartFailed, match=f"The process ended without output. See {log}"):
        async with running(["schema", "-o", str(tmp_path / "schema")], {}, log, "http://127.0.0.1:9/"):
            pass


def test_a_process_has_more_time_to_stop_than_its_jobs() -> None:
    # the worker has one more second to end
    assert processes.STOP_SECONDS >= worker.STOP_SECONDS + 1


async def test_a_process_that_does_not_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_port: Callable[[], int]
) -> None:
    monkeypatch.setattr("app.cli.processes.STOP_SECONDS", 0.2)
    port = unused_port()
    url = f"http://127.0.0.1:{port}/_control"
    async with running(["simulate-vk", "--port", str(port)], {}, tmp_path / "log", url) as process:
        psutil.Process(process.pid).suspend()
    assert process.returncode == -signal.SIGKILL


def test_no_port_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    class BusySocket(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr("app.cli.processes.socket.socket", BusySocket)
    with pytest.raises(StartFailed, match=r"The ports 8000 to 8099 are all in use\. Set PORT to a free one\."):
        free_port(8000)


def test_children_end_with_a_demo_that_is_killed(data_dir: Path, unused_port: Callable[[], int]) -> None:
    env = environment(DATA_DIR=data_dir, PORT=unused_port())
    with started("demo", "--comments", "100", env=env) as demo:
        demo.prints("Press Ctrl-C to stop.")
        family = demo.family()
        assert {"postgres"} < {process.name() for process in family}
        demo.kill()
        assert gone(family)
    # the file that it leaves does not mislead the next one
    assert (data_dir / "demo.json").exists()
    with started("demo", "--once", "--comments", "100", env=env) as demo:
        assert until(lambda: demo.popen.poll() is not None)
        assert demo.popen.returncode == 0
        assert "Nothing to read: " in demo.output()


def test_demo_ends_when_its_simulator_does(data_dir: Path, unused_port: Callable[[], int]) -> None:
    env = environment(DATA_DIR=data_dir, PORT=unused_port())
    with started("demo", "--comments", "100", env=env) as demo:
        demo.prints("Press Ctrl-C to stop.")
        family = demo.family()
        [simulator] = [process for process in family if "simulate-vk" in process.cmdline()]
        simulator.kill()
        assert demo.popen.wait(WAIT_SECONDS) == 1
        assert gone(family)
        assert "The server or the simulator has ended." in demo.output()
