"""`jobProgress`: what followers of a job are told."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from unittest.mock import ANY

import pytest

from app.jobs.queue import cancel
from app.resources import Resources
from tests.conftest import Api, Simulator, until
from tests.graphql.conftest import MakeJob, gid

FOLLOW = """
subscription ($jobId: ID!, $afterSeq: Int! = 0) {
  jobProgress(jobId: $jobId, afterSeq: $afterSeq) {
    __typename
    ... on JobProgress {
      seq
      event { seq at kind message facts }
      job { state progress { done total stage message ratePerSecond etaSeconds percent }
            result { ... on CollectionResult {
              groupCount postCount failedPostCount commentCount newCommentCount changedCommentCount deletedCommentCount
              requestCount callCount savedCallCount } }
            failure { code message ... on JobFailure { facts } } }
    }
    ... on JobNotFoundError { id }
    ... on ValidationFailedError { fields { path } }
    ... on Error { code message }
  }
}"""
START = """
mutation ($id: ID!) { startCollection(input: {groupIds: [$id]}) { ... on StartCollectionSuccess { job { id } } } }"""
ADD = """mutation { addGroups(input: {references: ["1"]}) { ... on AddGroupsSuccess { addedCount } } }"""


async def told(api: Api, job_id: str, after_seq: int = 0) -> list[dict[str, Any]]:
    """Return everything that a follower is told until the job has ended."""
    return [message["jobProgress"] async for message in api.subscribe(FOLLOW, jobId=job_id, afterSeq=after_seq)]


async def collect(api: Api, before: Callable[[], object] = lambda: None) -> str:
    """Add the simulated community, do something `before` its collection, start that and return the job's id."""
    await api.execute(ADD)
    before()
    return str((await api.execute(START, id=gid("Group", -1)))["startCollection"]["job"]["id"])


async def test_follow_a_collection_to_its_end(vk_api: Api, simulator: Simulator) -> None:
    job_id = await collect(vk_api, before=lambda: simulator.control(hold=True))
    following = asyncio.create_task(told(vk_api, job_id))
    await until(lambda: simulator.control()["waiting"])
    simulator.control(hold=False)
    messages = await following
    events = [message["event"] for message in messages if message["event"]]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [(event["kind"], event["facts"]) for event in events] == [
        ("STATE_CHANGED", {"state": "QUEUED", "reason": "REQUESTED"}),
        ("STATE_CHANGED", {"state": "RUNNING", "reason": "TAKEN", "attempt": 1, "worker": ANY}),
        ("STAGE_CHANGED", {"stage": "listing posts"}),
        ("STAGE_CHANGED", {"stage": "reading comments"}),
        ("STAGE_CHANGED", {"stage": "done"}),
        ("STATE_CHANGED", {"state": "SUCCEEDED", "reason": "DONE"}),
    ]
    # a tick carries the last event's number
    last = 0
    for message in messages:
        last = message["event"]["seq"] if message["event"] else last
        assert message["seq"] == last
    job = messages[-1]["job"]
    assert job["state"] == "SUCCEEDED"
    assert job["failure"] is None
    assert job["progress"] == {
        "done": 400,
        "total": 400,
        "stage": "done",
        "message": None,
        "ratePerSecond": None,
        "etaSeconds": None,
        "percent": 100.0,
    }
    assert job["result"] == {
        "groupCount": 1,
        "postCount": 6,
        "failedPostCount": 0,
        "commentCount": 400,
        "newCommentCount": 400,
        "changedCommentCount": 0,
        "deletedCommentCount": 0,
        "requestCount": 4,
        "callCount": 9,
        "savedCallCount": 0,
    }


async def test_follow_from_the_last_known_event(vk_api: Api) -> None:
    job_id = await collect(vk_api)
    everything = [message["seq"] for message in await told(vk_api, job_id) if message["event"]]
    rest = [message["event"]["seq"] for message in await told(vk_api, job_id, everything[2])]
    assert rest == everything[3:]


async def test_follow_a_job_that_ended_long_ago(vk_api: Api) -> None:
    job_id = await collect(vk_api)
    last = (await told(vk_api, job_id))[-1]["seq"]
    [message] = await told(vk_api, job_id, last)
    assert message["event"] is None
    assert message["seq"] == last
    assert message["job"]["state"] == "SUCCEEDED"


async def test_follow_a_waiting_job_until_it_is_cancelled(api: Api, resources: Resources, make_job: MakeJob) -> None:
    job_id = await make_job()
    async with aclosing(api.client.subscribe(FOLLOW, {"jobId": gid("Job", job_id)})) as messages:
        first = (await anext(messages))["jobProgress"]
        assert first["event"]["facts"]["state"] == "QUEUED"
        assert first["job"]["progress"]["percent"] is None
        await cancel(resources, job_id)
        rest = [message["jobProgress"] async for message in messages]
    assert rest[-1]["event"]["facts"]["state"] == "CANCELLED"
    assert rest[-1]["job"]["state"] == "CANCELLED"


async def test_follow_a_job_that_fails(vk_api: Api, simulator: Simulator) -> None:
    await vk_api.execute(ADD)
    simulator.control(faults=[{"code": 100, "times": 1}])
    messages = await told(
        vk_api, str((await vk_api.execute(START, id=gid("Group", -1)))["startCollection"]["job"]["id"])
    )
    events = [message["event"]["kind"] for message in messages if message["event"]]
    assert "GROUP_FAILED" in events
    job = messages[-1]["job"]
    assert job["state"] == "FAILED"
    assert job["failure"]["code"] == "VK_REQUEST_REFUSED"
    assert job["failure"]["facts"] == {"vkCode": 100, "method": "wall.get"}


async def test_follow_a_job_that_does_not_exist(api: Api) -> None:
    [message] = await told(api, gid("Job", 99))
    assert message["__typename"] == "JobNotFoundError"
    assert message["id"] == gid("Job", 99)


async def test_follow_something_that_is_no_job(api: Api) -> None:
    [message] = await told(api, gid("Group", -1))
    assert message["__typename"] == "ValidationFailedError"
    assert message["fields"] == [{"path": "jobId"}]


async def test_two_operations_on_one_socket_are_not_answered_from_memory(
    api: Api, make_job: MakeJob, resources: Resources
) -> None:
    """Loaders live as long as the socket, so they may not remember."""
    job_id = await make_job()
    query = "query ($id: ID!) { job(id: $id) { state } }"
    states = []
    async with api.socket() as socket:
        states.append(await socket.execute("1", query, id=gid("Job", job_id)))
        await cancel(resources, job_id)
        states.append(await socket.execute("2", query, id=gid("Job", job_id)))
    assert [state["job"]["state"] for state in states] == ["QUEUED", "CANCELLED"]


@pytest.mark.parametrize("after_seq", [-1, 2, 999])
async def test_follow_from_an_event_that_has_not_been(api: Api, make_job: MakeJob, after_seq: int) -> None:
    [message] = await told(api, gid("Job", await make_job()), after_seq)
    assert message["__typename"] == "ValidationFailedError"
    assert message["fields"] == [{"path": "afterSeq"}]
