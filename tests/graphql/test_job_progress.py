"""`jobProgress`: the messages to subscribers of a job."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest
import websockets
from websockets.asyncio.client import connect

from app.feeds import base, job_feed
from app.jobs.follow import JobUpdate, follow
from app.jobs.queue import cancel
from app.notifications import job_topic
from app.resources import Resources
from app.store import jobs
from schema import job_progress
from tests.conftest import Api, Simulator, Socket, until
from tests.graphql.conftest import MakeJob, gid

FOLLOW = """
subscription ($jobId: ID!, $afterSeq: Int) {
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
    ... on SubscriberTooSlowError { limit }
    ... on Error { code message }
  }
}"""
START = """
mutation ($id: ID!) { startCollection(input: {groupIds: [$id]}) { ... on StartCollectionSuccess { job { id } } } }"""
ADD = """mutation { addGroups(input: {references: ["1"]}) { ... on AddGroupsSuccess { addedCount } } }"""


async def messages_of(api: Api, job_id: str, after_seq: int | None = 0) -> list[dict[str, Any]]:
    """Return all messages until the job has ended."""
    return [message["jobProgress"] async for message in api.subscribe(FOLLOW, jobId=job_id, afterSeq=after_seq)]


async def collect(api: Api, before: Callable[[], object] = lambda: None) -> str:
    """Add the simulated community, call `before`, start its collection and return the job's id."""
    await api.execute(ADD)
    before()
    return str((await api.execute(START, id=gid("Group", -1)))["startCollection"]["job"]["id"])


async def test_follow_a_collection_to_its_end(vk_api: Api, simulator: Simulator) -> None:
    job_id = await collect(vk_api, before=lambda: simulator.control(hold=True))
    following = asyncio.create_task(messages_of(vk_api, job_id))
    await until(lambda: simulator.control()["waiting"])
    simulator.control(hold=False)
    messages = await following
    events = [message["event"] for message in messages if message["event"]]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [(event["kind"], event["facts"]) for event in events] == [
        ("STATE_CHANGED", {"state": "QUEUED", "reason": "REQUESTED"}),
        ("STATE_CHANGED", {"state": "RUNNING", "reason": "CLAIMED", "attempt": 1, "worker": ANY}),
        ("STAGE_CHANGED", {"stage": "listing posts"}),
        ("STAGE_CHANGED", {"stage": "reading comments"}),
        ("STAGE_CHANGED", {"stage": "done"}),
        ("STATE_CHANGED", {"state": "SUCCEEDED", "reason": "DONE"}),
    ]
    # a tick has the number of the last event
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
    everything = [message["seq"] for message in await messages_of(vk_api, job_id) if message["event"]]
    rest = [message["event"]["seq"] for message in await messages_of(vk_api, job_id, everything[2])]
    assert rest == everything[3:]


async def test_follow_a_job_that_ended_long_ago(vk_api: Api) -> None:
    job_id = await collect(vk_api)
    last = (await messages_of(vk_api, job_id))[-1]["seq"]
    [message] = await messages_of(vk_api, job_id, last)
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
    messages = await messages_of(
        vk_api, str((await vk_api.execute(START, id=gid("Group", -1)))["startCollection"]["job"]["id"])
    )
    events = [message["event"]["kind"] for message in messages if message["event"]]
    assert "GROUP_FAILED" in events
    job = messages[-1]["job"]
    assert job["state"] == "FAILED"
    assert job["failure"]["code"] == "VK_REQUEST_REFUSED"
    assert job["failure"]["facts"] == {"vkCode": 100, "method": "wall.get"}


async def test_follow_a_job_that_does_not_exist(api: Api) -> None:
    [message] = await messages_of(api, gid("Job", 99))
    assert message["__typename"] == "JobNotFoundError"
    assert message["id"] == gid("Job", 99)


async def test_follow_an_id_of_another_type(api: Api) -> None:
    [message] = await messages_of(api, gid("Group", -1))
    assert message["__typename"] == "ValidationFailedError"
    assert message["fields"] == [{"path": "jobId"}]


async def test_two_operations_on_one_socket_are_not_answered_from_a_cache(
    api: Api, make_job: MakeJob, resources: Resources
) -> None:
    """Loaders exist as long as the socket, so they must not cache."""
    job_id = await make_job()
    query = "query ($id: ID!) { job(id: $id) { state } }"
    states = []
    async with api.socket() as socket:
        states.append(await socket.execute("1", query, id=gid("Job", job_id)))
        await cancel(resources, job_id)
        states.append(await socket.execute("2", query, id=gid("Job", job_id)))
    assert [state["job"]["state"] for state in states] == ["QUEUED", "CANCELLED"]


@pytest.mark.parametrize("after_seq", [None, 0])
async def test_follow_from_the_beginning(
    api: Api, resources: Resources, make_job: MakeJob, after_seq: int | None
) -> None:
    job_id = await make_job()
    await cancel(resources, job_id)
    assert [message["seq"] for message in await messages_of(api, gid("Job", job_id), after_seq)] == [1, 2]


@pytest.mark.parametrize("after_seq", [-1, 2, 999])
async def test_follow_from_a_future_event(api: Api, make_job: MakeJob, after_seq: int) -> None:
    [message] = await messages_of(api, gid("Job", await make_job()), after_seq)
    assert message["__typename"] == "ValidationFailedError"
    assert message["fields"] == [{"path": "afterSeq"}]


async def test_a_client_that_does_not_read_costs_no_memory_and_gets_an_error(
    api: Api, resources: Resources, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = 20
    monkeypatch.setattr(job_feed, "EVENTS_KEPT", kept)
    monkeypatch.setattr(base, "TICK_SECONDS", 0.01)
    job_id = await make_job()
    pulled: list[int] = []

    async def noted(*arguments: Any) -> AsyncGenerator[JobUpdate]:
        async with aclosing(follow(*arguments)) as changes:
            async for change in changes:
                pulled.append(change.seq)
                yield change

    monkeypatch.setattr(job_progress, "follow", noted)
    address = urlsplit(api.url)
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.connect((address.hostname, address.port))
    protocol = websockets.Subprotocol("graphql-transport-ws")
    async with connect(
        f"ws://{address.netloc}/graphql", sock=narrow, subprotocols=[protocol], compression=None, max_queue=1
    ) as connection:
        await connection.send(json.dumps({"type": "connection_init"}))
        await connection.recv()
        payload = {"query": FOLLOW, "variables": {"jobId": gid("Job", job_id)}}
        await connection.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        await until(lambda: pulled)
        written = 1
        while written - pulled[-1] < 5:
            written = await write_large_event(resources, job_id)
        # from here on nothing gets through: messages that are not requested are not made, so they cannot accumulate
        last = pulled[-1]
        for _ in range(2 * kept):
            written = await write_large_event(resources, job_id)
        assert pulled[-1] == last
        assert len(resources.feeds._by_job[job_id].events) == kept  # noqa: SLF001 - the stored events
        messages = [json.loads(text) async for text in until_complete(Socket(connection))]
    *earlier, dropped = [message["payload"]["data"]["jobProgress"] for message in messages]
    assert [message["event"]["seq"] for message in earlier if message["event"]] == list(range(1, last + 1))
    assert dropped["__typename"] == "SubscriberTooSlowError"
    assert (dropped["limit"], dropped["code"]) == (kept, "SUBSCRIBER_TOO_SLOW")
    async with aclosing(api.client.subscribe(FOLLOW, {"jobId": gid("Job", job_id), "afterSeq": last})) as rest:
        assert [(await anext(rest))["jobProgress"]["seq"] for _ in range(written - last)] == list(
            range(last + 1, written + 1)
        )


async def write_large_event(resources: Resources, job_id: int) -> int:
    """Write an event that fills the buffers between server and client, wait until it was read; return its number."""
    async with resources.notifications.publish_on_commit([job_topic(job_id)]) as connection:
        facts = {"noise": secrets.token_hex(50_000)}
        seq = await jobs.add_event(connection, job_id, "POST_FAILED", "event", facts)
    await until(lambda: resources.feeds._by_job[job_id].last_seq == seq)  # noqa: SLF001 - the feed has read it
    return seq


async def until_complete(opened: Socket) -> AsyncGenerator[str]:
    """Yield the messages of the only operation of a socket."""
    while json.loads(text := str(await opened.connection.recv()))["type"] != "complete":
        yield text
