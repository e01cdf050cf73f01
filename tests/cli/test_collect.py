"""`vk-comments collect` in a separate process, against a running server."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import StringIO
from signal import SIGINT
from typing import Any

import pytest
from rich.console import Console

from app.background import open_worker
from app.cli.client import START_COLLECTION, Client, RequestFailed
from app.cli.collect import collect as collect_groups
from app.resources import Resources, open_resources
from tests.conftest import Api, MakeSettings, Simulator, serve, stored_comments, until
from tests.processes import environment
from tests.timeouts import WAIT_SECONDS

CANCEL = """mutation ($jobId: ID!) { cancelJob(input: {jobId: $jobId}) { __typename } }"""
JOBS = "{ jobs { nodes { id state } } }"


@dataclass(frozen=True)
class Result:
    """The output and the exit code of a command."""

    code: int
    output: str
    errors: str


async def begin(api: Api, *arguments: str, **variables: str) -> Process:
    """Start `vk-comments collect`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli", "collect", *arguments, "--server", api.url),
        env=environment(**variables),
        stdout=PIPE,
        stderr=PIPE,
    )


async def end(process: Process) -> Result:
    """Wait for its end."""
    output, errors = await process.communicate()
    return Result(process.returncode or 0, output.decode(), errors.decode())


async def collect(api: Api, *arguments: str, **variables: str) -> Result:
    """Run it to its end."""
    return await end(await begin(api, *arguments, **variables))


async def job(api: Api, state: str = "RUNNING") -> dict[str, str]:
    """Wait for the job that a command has started."""

    async def find() -> dict[str, str] | None:
        nodes: list[dict[str, str]] = (await api.execute(JOBS))["jobs"]["nodes"]
        return next((node for node in nodes if node["state"] == state), None)

    found: dict[str, str] = await until(find)
    return found


async def test_collections(vk_api: Api, simulator: Simulator, vk_resources: Resources) -> None:
    first = await collect(vk_api, "https://vk.com/club1")
    assert (first.code, first.errors) == (0, "")
    assert first.output.startswith("Started a collection of Кофейня «Тёплый полдень».\n")
    assert "400/400 100%" in first.output
    assert first.output.endswith("400 comments of 6 posts read, 400 of them new. VK received 4 requests.\n")
    assert await stored_comments(vk_resources) == simulator.truth()

    second = await collect(vk_api, "1")
    assert second.output.endswith(
        "the comment count of no post has changed since it was read."
        " VK received 1 request; 8 calls were skipped because nothing had changed.\n"
    )

    whole = await collect(vk_api, "1", "--full", "--max-posts", "2", "--since", "2026-03-02")
    assert "of 2 posts read, 0 of them new. VK received " in whole.output

    history = simulator.history()
    leaf = next(key for key, facts in history.items() if facts["deleted"] is None)
    simulator.control(edit_comment={"group_id": 1, "comment_id": leaf, "text": "другое"})
    edited = await collect(vk_api, "1", "--full")
    assert "0 of them new, 1 edited. VK received " in edited.output


async def test_unknown_references(vk_api: Api) -> None:
    wrong = await collect(vk_api, "vk com")
    assert (wrong.code, wrong.output) == (1, "")
    assert wrong.errors.startswith("error: ")
    assert wrong.errors.count("\n") == 1
    unknown = await collect(vk_api, "999999")
    assert (unknown.code, unknown.errors.count("\n")) == (1, 1)


async def test_vk_is_unavailable(vk_api: Api, simulator: Simulator) -> None:
    simulator.control(faults=[{"http": 500, "times": 100}])
    result = await collect(vk_api, "1")
    assert (result.code, result.errors.count("\n")) == (1, 1)
    assert result.errors.startswith("error: ")


@pytest.fixture
async def full_api(make_settings: MakeSettings, simulate: Callable[..., Simulator]) -> AsyncIterator[Api]:
    """Serve the API with a queue limit of one job, and without a worker."""
    settings = make_settings(vk_api_url=simulate(groups=2).url, queue_limit=1)
    async with open_resources(settings) as resources:
        async for served in serve(resources):
            yield served


async def test_the_queue_is_full(full_api: Api) -> None:
    waiting = await begin(full_api, "1")
    await job(full_api, "QUEUED")
    full = await collect(full_api, "2")
    assert full.code == 1
    assert full.errors == "error: 1 jobs are waiting, which is the limit. Try again later.\n"
    waiting.send_signal(SIGINT)
    await end(waiting)


async def test_a_post_that_cannot_be_read(vk_api: Api, simulator: Simulator) -> None:
    closed = min(simulator.truth())
    simulator.control(close_comments={"group_id": 1, "post_id": closed})
    result = await collect(vk_api, "1")
    assert result.code == 0
    assert f"Post -1_{closed} could not be read to the end." in result.output
    assert "of 5 posts read" in result.output
    assert "1 posts could not be read. VK received " in result.output


@asynccontextmanager
async def held_job(api: Api, simulator: Simulator) -> AsyncIterator[tuple[Process, str]]:
    """Yield a command that follows a job which waits for VK, and the job's id."""
    # after the community has been added, which takes at most two requests
    simulator.control(delay_ms=50)
    process = await begin(api, "1")
    job_id = (await job(api))["id"]
    simulator.control(hold=True)
    yield process, job_id
    simulator.control(hold=False)


async def test_a_cancelled_collection(vk_api: Api, simulator: Simulator) -> None:
    async with held_job(vk_api, simulator) as (process, job_id):
        await vk_api.execute(CANCEL, jobId=job_id)
        result = await end(process)
    assert result.code == 1
    assert result.errors == "error: The collection is CANCELLED.\n"


async def test_a_failed_collection(vk_api: Api, simulator: Simulator) -> None:
    async with held_job(vk_api, simulator) as (process, _):
        simulator.control(revoke="a-token-of-nobody", hold=False)
        result = await end(process)
    assert result.code == 1
    assert result.errors.startswith("error: The collection is FAILED. ")


async def test_ctrl_c_does_not_affect_the_job(vk_api: Api, simulator: Simulator) -> None:
    async with held_job(vk_api, simulator) as (process, job_id):
        process.send_signal(SIGINT)
        async with asyncio.timeout(WAIT_SECONDS):
            result = await end(process)
        assert result.code == 130
        assert "Traceback" not in result.errors
        assert (await job(vk_api))["id"] == job_id


# other jobs have the communities


@pytest.fixture
async def idle(make_settings: MakeSettings, simulate: Callable[..., Simulator]) -> AsyncIterator[tuple[Api, Resources]]:
    """Serve the API with two simulated communities and without a worker, so that jobs wait."""
    async with open_resources(make_settings(vk_api_url=simulate(groups=2).url)) as resources:
        async for served in serve(resources):
            yield served, resources


@asynccontextmanager
async def collected_already(api: Api, *references: str) -> AsyncIterator[str]:
    """Yield the id of another client's job."""
    other = await begin(api, *references)
    yield (await job(api, "QUEUED"))["id"]
    await end(other)


async def line(process: Process) -> str:
    """Wait for the next line of a command's output."""
    assert process.stdout
    async with asyncio.timeout(WAIT_SECONDS):
        return (await process.stdout.readline()).decode().rstrip()


async def test_a_collection_starts_after_a_running_one(idle: tuple[Api, Resources]) -> None:
    api, resources = idle
    async with collected_already(api, "1"):
        two = await begin(api, "1", "2", "--full", "--max-posts", "2")
        said = await line(two)
        async with open_worker(resources, 1):
            result = await end(two)
    assert said.endswith(" is being collected already: following that first.")
    name = said.removesuffix(" is being collected already: following that first.")
    assert (result.code, result.errors) == (0, "")
    assert f"\nStarted a collection of {name}, " in result.output
    assert "of 4 posts read" in result.output
    assert await stored_comments(resources, -2)


async def test_the_running_collection_is_cancelled(idle: tuple[Api, Resources]) -> None:
    api, resources = idle
    async with collected_already(api, "1", "2") as job_id:
        two = await begin(api, "2", "1")
        assert (await line(two)).endswith(" are being collected already: following that first.")
        await api.execute(CANCEL, jobId=job_id)
        async with open_worker(resources, 1):
            result = await end(two)
    assert result.code == 0
    assert "That job is CANCELLED.\nStarted a collection of " in result.output
    assert await stored_comments(resources, -2)


class BusyClient(Client):
    """A client whose communities other jobs always have."""

    async def execute(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job that has the community."""
        assert (query, variables["input"]["groupIds"]) == (START_COLLECTION, ["a"])
        named = [{"id": "a", "name": "A [b]"}, {"id": "b", "name": "B"}]
        job = {"id": "other", "kind": "COLLECT_COMMENTS", "groups": named}
        return {"startCollection": {"__typename": "JobAlreadyRunningError", "job": job}}

    async def follow(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """End at once."""
        assert job_id == "other"
        progress = {"done": 0, "total": 0, "stage": None, "message": None, "ratePerSecond": None, "etaSeconds": None}
        yield {"event": None, "job": {"state": "SUCCEEDED", "progress": progress}}


async def test_other_jobs_always_have_the_communities() -> None:
    shown = StringIO()
    with pytest.raises(RequestFailed, match="Jobs of others came first 20 times, so nothing was started"):
        await collect_groups(BusyClient("http://none"), Console(file=shown), [{"id": "a", "name": "A [b]"}])
    assert shown.getvalue().count("A [b] is being collected already: following that first.\n") == 20


@pytest.fixture
async def locked_api(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[Api]:
    """Serve the API only to clients with a key."""
    settings = make_settings(
        vk_api_url=simulator.url, auth="keys", api_keys=("the-right-key-1234", "also-the-right-key")
    )
    async with open_resources(settings) as resources, open_worker(resources, 1):
        async for served in serve(resources):
            yield served


async def test_api_key(locked_api: Api) -> None:
    without = await collect(locked_api, "1")
    wrong = await collect(locked_api, "1", "--api-key", "wrong")
    assert (without.code, wrong.code) == (1, 1)
    assert without.errors.startswith("error: ")
    assert "wrong" not in wrong.errors.removeprefix("error: ").replace("wrong API key", "")
    assert (await collect(locked_api, "1", "--api-key", "the-right-key-1234")).code == 0
    assert (await collect(locked_api, "1", VK_COMMENTS_API_KEY="also-the-right-key")).code == 0
