"""Collections that are interrupted, and a large one."""

import asyncio
from collections.abc import Callable

import psutil

from app.cli.client import READ_COMMENTS
from tests.acceptance.conftest import ApiUser, StartSimulator, hold_at, stored
from tests.processes import started

CANCEL = "mutation ($jobId: ID!) { cancelJob(input: {jobId: $jobId}) { __typename } }"
MEGABYTE = 1024 * 1024
MakeEnvironment = Callable[..., dict[str, str]]


async def test_a_killed_server_resumes_its_job(
    start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str
) -> None:
    simulator = start_simulator(posts=20, comments=6_000)
    simulator.control(delay_ms=20)
    env = server_environment(simulator)
    with started("serve", env=env) as server:
        user = ApiUser.of(server)
        job_id = await user.start()
        await hold_at(simulator, user, job_id, 1_000)
        server.kill()
    half = await stored(database_url)
    assert 1_000 <= sum(map(len, half.values())) < 6_000

    simulator.control(hold=False, reset=True, delay_ms=0)
    with started("serve", env=env) as server:
        user.client = ApiUser.of(server).client
        job = await user.follow_to_the_end(job_id)
        assert job["state"] == "SUCCEEDED"
        assert await stored(database_url) == simulator.truth()
        assert user.seqs == list(range(1, len(user.seqs) + 1))
        requests = simulator.control()["requests"]

        simulator.control(reset=True)
        second_user = ApiUser(user.client)
        await second_user.follow_to_the_end(await second_user.start(full=True))
        assert requests < simulator.control()["requests"]
        assert server.interrupt() == 0


async def test_cancel(start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str) -> None:
    simulator = start_simulator(posts=20, comments=6_000)
    simulator.control(delay_ms=20)
    with started("serve", env=server_environment(simulator)) as server:
        user = ApiUser.of(server)
        job_id = await user.start()
        await hold_at(simulator, user, job_id, 1_000)

        ending = asyncio.create_task(user.follow_to_the_end(job_id))
        await user.client.execute(CANCEL, {"jobId": job_id})
        assert (await ending)["state"] == "CANCELLED"

        kept = await stored(database_url)
        truth = simulator.truth()
        assert 1_000 <= sum(map(len, kept.values())) < 6_000
        assert all(set(ids) <= set(truth[post_id]) for post_id, ids in kept.items())
        assert user.seqs == list(range(1, len(user.seqs) + 1))

        simulator.control(hold=False, delay_ms=0)
        later = ApiUser(user.client)
        job = await later.follow_to_the_end(await later.start())
        assert job["state"] == "SUCCEEDED"
        assert await stored(database_url) == truth


async def test_cancel_a_job_that_another_process_runs(
    start_simulator: StartSimulator, server_environment: MakeEnvironment
) -> None:
    simulator = start_simulator(posts=20, comments=6_000)
    simulator.control(delay_ms=20)
    env = server_environment(simulator, WORKERS=0)
    with started("serve", env=env) as server, started("worker", env=env):
        user = ApiUser.of(server)
        job_id = await user.start()
        await hold_at(simulator, user, job_id, 1_000)
        ending = asyncio.create_task(user.follow_to_the_end(job_id))
        await user.client.execute(CANCEL, {"jobId": job_id})
        assert (await ending)["state"] == "CANCELLED"


async def test_memory_and_answers_during_a_large_collection(
    start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str
) -> None:
    simulator = start_simulator(posts=60, comments=30_000)
    await asyncio.to_thread(simulator.truth)  # the world is generated on first use
    with started("serve", env=server_environment(simulator)) as server:
        user = ApiUser.of(server)
        process = psutil.Process(server.popen.pid)
        largest = answers = 0
        group_id = await user.add_group()
        ending = asyncio.create_task(user.follow_to_the_end(await user.start()))
        while not ending.done():
            await user.client.execute(READ_COMMENTS, {"groupIds": [group_id], "first": 100})
            answers += 1
            largest = max(largest, process.memory_info().rss)
        assert (await ending)["state"] == "SUCCEEDED"
        assert largest < 200 * MEGABYTE
        assert answers > 5  # a collection that blocks the server would leave no time for answers
    assert await stored(database_url) == simulator.truth()
