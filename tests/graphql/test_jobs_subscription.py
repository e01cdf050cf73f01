"""`jobs` as a subscription: the messages to subscribers of all jobs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.actions.add_groups import add_groups
from app.actions.start_collection import start_collection
from app.background import open_worker
from app.db.tables import jobs as table
from app.feeds import all_jobs_feed
from app.jobs.follow import follow_all
from app.jobs.queue import cancel
from app.notifications import job_topic
from app.resources import Resources, open_resources
from app.store.jobs import JobConditions
from schema import job_progress
from tests.conftest import Api, MakeSettings, Simulator, serve, until
from tests.graphql.conftest import MakeJob, gid
from tests.timeouts import WAIT_SECONDS

FOLLOW = """
subscription ($filter: JobFilter) {
  jobs(filter: $filter) {
    __typename
    ... on JobChanged { isMatching job { id state kind progress { done } groups { name } } }
    ... on SubscriberTooSlowError { limit }
    ... on Error { code message }
  }
}"""
PROGRESS = """
subscription ($jobId: ID!, $afterSeq: Int!) {
  jobProgress(jobId: $jobId, afterSeq: $afterSeq) { ... on JobProgress { seq event { seq } job { state } } }
}"""
Messages = AsyncGenerator[dict[str, Any]]


def subscribe(api: Api, **filter: Any) -> Any:
    """Subscribe to all jobs, or to those that match a filter, while the block lasts."""
    return aclosing(api.client.subscribe(FOLLOW, {"filter": filter or None}))


async def receive(messages: Messages) -> dict[str, Any]:
    """Return the next message."""
    async with asyncio.timeout(WAIT_SECONDS):
        message: dict[str, Any] = (await anext(messages))["jobs"]
    assert message["__typename"] == "JobChanged", message
    return message


async def receive_until(messages: Messages, state: str) -> list[dict[str, Any]]:
    """Return messages up to the first one about a job in this state."""
    received: list[dict[str, Any]] = []
    while not received or received[-1]["job"]["state"] != state:
        received.append(await receive(messages))
    return received


async def test_first_all_unfinished_jobs_then_changes(api: Api, make_job: MakeJob, resources: Resources) -> None:
    ended = await make_job(-1)
    await cancel(resources, ended)
    ids = [await make_job(-2), await make_job(-3)]
    async with subscribe(api) as messages:
        assert [await receive(messages) for _ in ids] == [
            {
                "__typename": "JobChanged",
                "isMatching": True,
                "job": {
                    "id": gid("Job", job_id),
                    "state": "QUEUED",
                    "kind": "COLLECT_COMMENTS",
                    "progress": {"done": 0},
                    "groups": [{"name": f"Group {job_id}"}],
                },
            }
            for job_id in ids
        ]
        await cancel(resources, ids[1])
        change = await receive(messages)
        assert (change["job"]["id"], change["job"]["state"]) == (gid("Job", ids[1]), "CANCELLED")
        assert change["isMatching"]


async def test_a_job_that_leaves_the_filter(api: Api, make_job: MakeJob, resources: Resources) -> None:
    job_id = await make_job()
    async with (
        subscribe(api, states=["QUEUED", "RUNNING"]) as unfinished,
        subscribe(api, kinds=["COLLECT_COMMENTS"], states=["CANCELLED"]) as cancelled,
        subscribe(api, kinds=[]) as none,
    ):
        assert (await receive(unfinished))["isMatching"]
        waiting = [asyncio.ensure_future(anext(messages)) for messages in (cancelled, none)]
        # all have subscribed; two of them have no message
        await until(lambda: REGISTRY.get_sample_value("vk_comments_job_subscribers", {"subscription": "jobs"}) == 3)
        await cancel(resources, job_id)
        left = await receive(unfinished)
        assert (left["job"]["state"], left["isMatching"]) == ("CANCELLED", False)
        entered = (await waiting[0])["jobs"]
        assert (entered["job"]["state"], entered["isMatching"]) == ("CANCELLED", True)
        assert not waiting[1].done()
        waiting[1].cancel()
        await asyncio.wait(waiting)


@pytest.fixture
async def web_processes(make_settings: MakeSettings) -> AsyncIterator[list[Api]]:
    """Serve the API from two processes' resources on one database, both without a worker."""
    async with AsyncExitStack() as stack:
        served = []
        for _ in range(2):
            resources = await stack.enter_async_context(open_resources(make_settings()))
            server = serve(resources)
            stack.push_async_callback(anext, server, None)
            served.append(await anext(server))
        yield served


async def test_two_web_processes_follow_a_job_of_a_third(
    web_processes: list[Api], make_settings: MakeSettings, simulator: Simulator
) -> None:
    settings = make_settings(vk_api_url=simulator.url)
    async with open_resources(settings) as resources, AsyncExitStack() as stack:
        await add_groups(resources, ["1"])
        simulator.control(hold=True)
        job_id = (await start_collection(resources, owner_ids=[-1])).id
        followers = [await stack.enter_async_context(subscribe(api)) for api in web_processes]
        for messages in followers:
            assert (await receive(messages))["job"]["id"] == gid("Job", job_id)
        await stack.enter_async_context(open_worker(resources, 2))
        for messages in followers:
            await receive_until(messages, "RUNNING")
        simulator.control(hold=False)
        for messages in followers:
            received = await receive_until(messages, "SUCCEEDED")
            assert received[-1]["job"]["progress"]["done"] == 400
            done = [message["job"]["progress"]["done"] for message in received]
            assert done == sorted(done)


async def test_a_subscriber_that_is_too_slow(
    api: Api, make_job: MakeJob, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = 3
    ids = [await make_job(-1 - number) for number in range(kept + 1)]
    is_open, may_go_on = asyncio.Event(), asyncio.Event()

    async def as_through_a_full_socket(*arguments: Any) -> AsyncGenerator[Any]:
        async with aclosing(follow_all(*arguments)) as changes:
            for _ in ids:
                yield await anext(changes)
            is_open.set()
            await may_go_on.wait()
            async for change in changes:
                yield change

    monkeypatch.setattr(job_progress, "follow_all", as_through_a_full_socket)
    async with subscribe(api) as messages, aclosing(follow_all(resources, JobConditions())) as witness:
        for _ in ids:
            await receive(messages)
            await anext(witness)
        waiting = asyncio.ensure_future(anext(messages))
        await is_open.wait()
        monkeypatch.setattr(all_jobs_feed, "JOBS_KEPT", kept)
        for done in (1, 2, 3):
            async with resources.notifications.publish_on_commit([job_topic(job_id) for job_id in ids]) as connection:
                await connection.execute(table.update().values(done=done))
            for _ in ids:
                assert (await anext(witness)).job.done == done
        may_go_on.set()
        last = (await waiting)["jobs"]
        assert (last["__typename"], last["limit"]) == ("SubscriberTooSlowError", kept)
        assert last["code"] == "SUBSCRIBER_TOO_SLOW"
        with pytest.raises(StopAsyncIteration):
            await anext(messages)


async def test_a_client_of_one_job_resumes_at_another_web_process(
    web_processes: list[Api], make_settings: MakeSettings, simulator: Simulator
) -> None:
    async with open_resources(make_settings(vk_api_url=simulator.url)) as resources:
        await add_groups(resources, ["1"])
        simulator.control(hold=True)
        job_id = (await start_collection(resources, owner_ids=[-1])).id
        known = [0]
        state = ""
        async with open_worker(resources, 2):
            for place in range(100):
                variables = {"jobId": gid("Job", job_id), "afterSeq": known[-1]}
                async with aclosing(web_processes[place % 2].client.subscribe(PROGRESS, variables)) as messages:
                    # one message, then to the other process
                    message = (await anext(messages))["jobProgress"]
                simulator.control(hold=False)
                state = message["job"]["state"]
                known += [message["event"]["seq"]] if message["event"] else []
                if state == "SUCCEEDED" and not message["event"]:
                    break
    assert state == "SUCCEEDED"
    assert known == list(range(len(known)))
    assert known[-1] >= 5
