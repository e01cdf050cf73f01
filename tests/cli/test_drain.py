"""A server that is stopped by SIGTERM lets other servers take over first."""

import asyncio
import signal

import httpx2
import orjson
import websockets
from websockets.asyncio.client import connect

from app.cli.client import JOB_PROGRESS, Client
from app.work.kinds import JobKind
from tests.cli.conftest import MakeEnvironment
from tests.cli.test_serving import start_job, state_of
from tests.conftest import Simulator
from tests.conftest import until as until_async
from tests.processes import Command, started
from tests.timeouts import WAIT_SECONDS


async def readiness(server_url: str) -> tuple[int, str]:
    """Return the response of /health/ready."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        reply = await http.get(f"{server_url}/health/ready")
    return reply.status_code, reply.json()["status"]


async def close_code(url: str, job_id: str, is_following: asyncio.Event) -> int:
    """Follow a job on a socket until the server closes it, and return the close code."""
    protocol = websockets.Subprotocol("graphql-transport-ws")
    async with connect(f"{url.replace('http', 'ws')}/graphql", subprotocols=[protocol], proxy=None) as socket:
        await socket.send(orjson.dumps({"type": "connection_init"}).decode())
        payload = {"query": JOB_PROGRESS, "variables": {"jobId": job_id, "afterSeq": 0}}
        await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": payload}).decode())
        while True:
            try:
                message = orjson.loads(await socket.recv())
            except websockets.ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else 0
            if message["type"] == "next":
                is_following.set()


async def running_job(server: Command, simulator: Simulator) -> str:
    """Start a collection that VK keeps waiting, and return the job's id."""
    simulator.control(delay_ms=20)
    job_id = await start_job(Client(server.url()))
    simulator.control(hold=True)
    await until_async(lambda: simulator.control()["waiting"])
    return job_id


async def test_drain(vk_env: MakeEnvironment, simulator: Simulator) -> None:
    with started("serve", env=vk_env(WORKERS=0)) as other, started("serve", env=vk_env(DRAIN_SECONDS=60)) as server:
        url = server.url()
        job_id = await running_job(server, simulator)
        is_following = asyncio.Event()
        closing = asyncio.create_task(close_code(url, job_id, is_following))
        await is_following.wait()
        assert await readiness(url) == (200, "ready")

        server.popen.send_signal(signal.SIGTERM)
        client = Client(other.url())
        # readiness fails first, and the job returns to the queue; requests and sockets continue meanwhile
        await until_async(lambda: _fails(url))
        await until_async(lambda: _is_queued(client, job_id))
        assert await state_of(Client(url), job_id) == "QUEUED"
        assert not closing.done()

        # a second signal skips the rest of the minute
        assert await asyncio.to_thread(server.interrupt) == 0
        assert await closing == 1012
        assert "Traceback" not in server.output()

        simulator.control(hold=False, delay_ms=0)
        with started("worker", env=vk_env()):
            messages = [message async for message in client.follow(job_id)]
        assert messages[-1]["job"]["state"] == "SUCCEEDED"
    reasons = [message["event"]["message"] for message in messages if message["event"]]
    assert "The job waits for a worker: its worker was stopped." in reasons


async def _fails(url: str) -> bool:
    return await readiness(url) == (503, "draining")


async def _is_queued(client: Client, job_id: str) -> bool:
    return await state_of(client, job_id) == "QUEUED"


async def test_sigterm_ends_by_itself(vk_env: MakeEnvironment) -> None:
    with started("serve", env=vk_env(DRAIN_SECONDS=0.5)) as server:
        url = server.url()
        server.popen.send_signal(signal.SIGTERM)
        await until_async(lambda: _fails(url))
        assert await asyncio.to_thread(server.popen.wait, WAIT_SECONDS) == 0


async def test_a_worker_of_some_kinds_with_metrics(vk_env: MakeEnvironment, simulator: Simulator) -> None:
    arguments = ("--kinds", "collect_comments", "--metrics-port", "0")
    with started("serve", env=vk_env(WORKERS=0)) as server, started("worker", *arguments, env=vk_env()) as worker:
        assert worker.event("working")["kinds"] == ["collect_comments"]
        client = Client(server.url())
        job_id = await start_job(client)
        assert [message["job"]["state"] async for message in client.follow(job_id)][-1] == "SUCCEEDED"
        async with httpx2.AsyncClient(trust_env=False) as http:
            url = f"http://127.0.0.1:{worker.event('metrics')['port']}/metrics"

            async def knows_of_all() -> bool:
                return "vk_comments_living_workers 1.0" in (await http.get(url)).text

            await until_async(knows_of_all)
            text = (await http.get(url)).text
            of_all = (await http.get(f"{server.url()}/metrics")).text
        assert 'vk_comments_job_run_seconds_count{kind="collect_comments",state="SUCCEEDED"} 1.0' in text
        assert 'vk_comments_job_waiting_seconds_count{kind="collect_comments"} 1.0' in text
        assert "vk_comments_living_workers 1.0" in of_all
        assert worker.interrupt() == 0
    assert simulator.control()["requests"]


def test_a_kind_that_does_not_exist(vk_env: MakeEnvironment) -> None:
    with started("worker", "--kinds", "collect_everything", env=vk_env()) as worker:
        assert worker.popen.wait(WAIT_SECONDS) == 1
        known = ", ".join(kind.value for kind in JobKind)
        assert f"--kinds: 'collect_everything' is not a kind of job. The kinds are {known}." in worker.output()


def test_a_port_of_metrics_that_is_in_use(vk_env: MakeEnvironment) -> None:
    with started("serve", env=vk_env(WORKERS=0)) as server:
        port = server.event("serving")["port"]
        with started("worker", "--metrics-port", str(port), env=vk_env()) as worker:
            assert worker.popen.wait(WAIT_SECONDS) == 1
            assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another" in worker.output()
