"""Collections that are disturbed, and one that is large."""

import asyncio
from collections.abc import Callable

import psutil

from app.cli.client import READ_COMMENTS
from tests.acceptance.conftest import Person, StartSimulator, in_the_middle, stored
from tests.processes import started

CANCEL = "mutation ($jobId: ID!) { cancelJob(input: {jobId: $jobId}) { __typename } }"
MEGABYTE = 1024 * 1024
MakeEnvironment = Callable[..., dict[str, str]]


async def test_a_killed_server_goes_on_where_it_was(
    start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str
) -> None:
    simulator = start_simulator(posts=20, comments=6_000)
    simulator.control(delay_ms=20)
    env = server_environment(simulator)
    with started("serve", env=env) as server:
        person = Person.of(server)
        job_id = await person.start()
        await in_the_middle(simulator, person, job_id, 1_000)
        server.kill()
    half = await stored(database_url)
    assert 1_000 <= sum(map(len, half.values())) < 6_000

    simulator.control(hold=False, reset=True, delay_ms=0)
    with started("serve", env=env) as server:
        person.client = Person.of(server).client
        job = await person.follow_to_the_end(job_id)
        assert job["state"] == "SUCCEEDED"
        assert await stored(database_url) == simulator.truth()
        assert person.seqs == list(range(1, len(person.seqs) + 1))
        requests = simulator.control()["requests"]

        simulator.control(reset=True)
        anew = Person(person.client)
        await anew.follow_to_the_end(await anew.start(full=True))
        assert requests < simulator.control()["requests"]
        assert server.interrupt() == 0


async def test_cancel(start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str) -> None:
    simulator = start_simulator(posts=20, comments=6_000)
    simulator.control(delay_ms=20)
    with started("serve", env=server_environment(simulator)) as server:
        person = Person.of(server)
        job_id = await person.start()
        await in_the_middle(simulator, person, job_id, 1_000)

        ending = asyncio.create_task(person.follow_to_the_end(job_id))
        await person.client.execute(CANCEL, {"jobId": job_id})
        assert (await ending)["state"] == "CANCELLED"

        kept = await stored(database_url)
        truth = simulator.truth()
        assert 1_000 <= sum(map(len, kept.values())) < 6_000
        assert all(set(ids) <= set(truth[post_id]) for post_id, ids in kept.items())
        assert person.seqs == list(range(1, len(person.seqs) + 1))

        simulator.control(hold=False, delay_ms=0)
        later = Person(person.client)
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
        person = Person.of(server)
        job_id = await person.start()
        await in_the_middle(simulator, person, job_id, 1_000)
        ending = asyncio.create_task(person.follow_to_the_end(job_id))
        await person.client.execute(CANCEL, {"jobId": job_id})
        assert (await ending)["state"] == "CANCELLED"


async def test_memory_and_answers_during_a_large_collection(
    start_simulator: StartSimulator, server_environment: MakeEnvironment, database_url: str
) -> None:
    simulator = start_simulator(posts=60, comments=30_000)
    await asyncio.to_thread(simulator.truth)  # the world is made at the first look
    with started("serve", env=server_environment(simulator)) as server:
        person = Person.of(server)
        process = psutil.Process(server.popen.pid)
        largest = answers = 0
        group_id = await person.add_group()
        ending = asyncio.create_task(person.follow_to_the_end(await person.start()))
        while not ending.done():
            await person.client.execute(READ_COMMENTS, {"groupIds": [group_id], "first": 100})
            answers += 1
            largest = max(largest, process.memory_info().rss)
        assert (await ending)["state"] == "SUCCEEDED"
        assert largest < 200 * MEGABYTE
        assert answers > 5  # a collection that blocked the server would leave it no time for any
    assert await stored(database_url) == simulator.truth()
