"""`cancelJob` and `retryJob`: each member of their unions."""

import pytest
from sqlalchemy import text

from app.jobs.queue import NewJob, cancel, enqueue
from app.resources import Resources, open_resources
from app.store import groups
from app.work.groups.remove_groups import REMOVE_GROUPS, RemovalRequest
from tests.conftest import Api, MakeSettings, serve
from tests.graphql.conftest import MakeJob, gid
from tests.jobs.conftest import queue_job

CANCEL = """
mutation ($jobId: ID!) {
  cancelJob(input: {jobId: $jobId}) {
    __typename
    ... on CancelJobSuccess { job { state cancelRequestedAt finishedAt events { nodes { seq kind message facts } } } }
    ... on JobStateConflictError { state }
    ... on JobNotFoundError { id }
    ... on Error { code message }
  }
}"""
RETRY = """
mutation ($jobId: ID!) {
  retryJob(input: {jobId: $jobId}) {
    __typename
    ... on RetryJobSuccess { job { state attempts cancelRequestedAt finishedAt } }
    ... on JobStateConflictError { state }
    ... on JobAlreadyRunningError { job { id } }
    ... on QueueFullError { limit }
    ... on JobNotFoundError { id }
    ... on GroupNotFoundError { id }
    ... on Error { code message }
  }
}"""
MUTATIONS = {"cancelJob": CANCEL, "retryJob": RETRY}


async def test_cancel_a_waiting_job(api: Api, make_job: MakeJob) -> None:
    job_id = await make_job()
    answer = (await api.execute(CANCEL, jobId=gid("Job", job_id)))["cancelJob"]
    assert answer["__typename"] == "CancelJobSuccess"
    assert answer["job"]["state"] == "CANCELLED"
    assert answer["job"]["finishedAt"] == answer["job"]["cancelRequestedAt"] is not None
    assert answer["job"]["events"]["nodes"] == [
        {
            "seq": 1,
            "kind": "STATE_CHANGED",
            "message": "The job waits for a worker: a client requested it.",
            "facts": {"state": "QUEUED", "reason": "REQUESTED"},
        },
        {
            "seq": 2,
            "kind": "STATE_CHANGED",
            "message": "The job was cancelled: a client requested the cancellation.",
            "facts": {"state": "CANCELLED", "reason": "CANCEL_REQUESTED"},
        },
    ]


async def test_a_second_cancel_keeps_the_time_of_the_first(api: Api, make_job: MakeJob, resources: Resources) -> None:
    job_id = await make_job()
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET state = 'RUNNING', started_at = now()"))
    answers = [(await api.execute(CANCEL, jobId=gid("Job", job_id)))["cancelJob"] for _ in range(3)]
    assert {answer["__typename"] for answer in answers} == {"CancelJobSuccess"}
    [first] = {answer["job"]["cancelRequestedAt"] for answer in answers}
    assert first is not None


async def test_cancel_a_job_that_has_ended(api: Api, make_job: MakeJob) -> None:
    job_id = gid("Job", await make_job())
    await api.execute(CANCEL, jobId=job_id)
    answer = (await api.execute(CANCEL, jobId=job_id))["cancelJob"]
    assert answer["__typename"] == "JobStateConflictError"
    assert answer["state"] == "CANCELLED"
    assert answer["message"] == "Job 1 is CANCELLED and cannot be cancelled."


async def test_retry_a_cancelled_job(api: Api, make_job: MakeJob) -> None:
    job_id = gid("Job", await make_job())
    await api.execute(CANCEL, jobId=job_id)
    answer = (await api.execute(RETRY, jobId=job_id))["retryJob"]
    assert answer["__typename"] == "RetryJobSuccess"
    assert answer["job"] == {"state": "QUEUED", "attempts": 0, "cancelRequestedAt": None, "finishedAt": None}


async def test_retry_a_queued_job(api: Api, make_job: MakeJob) -> None:
    answer = (await api.execute(RETRY, jobId=gid("Job", await make_job())))["retryJob"]
    assert answer["__typename"] == "JobStateConflictError"
    assert answer["state"] == "QUEUED"


async def test_retry_a_job_whose_community_is_busy(api: Api, make_job: MakeJob) -> None:
    first = gid("Job", await make_job())
    await api.execute(CANCEL, jobId=first)
    second = gid("Job", await make_job())
    answer = (await api.execute(RETRY, jobId=first))["retryJob"]
    assert answer["__typename"] == "JobAlreadyRunningError"
    assert answer["job"] == {"id": second}


async def test_retry_a_job_whose_community_was_removed(api: Api, resources: Resources, make_job: MakeJob) -> None:
    """A collection needs it; a removal continues with the others."""
    first = gid("Job", await make_job())
    await api.execute(CANCEL, jobId=first)
    await make_job(-2)
    async with resources.database.transaction() as connection:
        await groups.delete_group(connection, -1)
        new = NewJob(REMOVE_GROUPS, RemovalRequest((-3,)))
        removal = await enqueue(connection, resources, new)
    assert removal.claims == [-3]
    answer = (await api.execute(RETRY, jobId=first))["retryJob"]
    assert answer == {
        "__typename": "GroupNotFoundError",
        "id": gid("Group", -1),
        "code": "GROUP_NOT_FOUND",
        "message": "Community 1 has not been added.",
    }
    assert (await api.execute("query ($id: ID!) {job: node(id: $id) {... on Job {state}}}", id=first))["job"] == {
        "state": "CANCELLED"
    }
    removal_id = gid("Job", removal.id)
    await api.execute(CANCEL, jobId=removal_id)
    assert (await api.execute(RETRY, jobId=removal_id))["retryJob"]["__typename"] == "RetryJobSuccess"


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_job_that_does_not_exist(api: Api, name: str) -> None:
    answer = (await api.execute(MUTATIONS[name], jobId=gid("Job", 99)))[name]
    assert answer["__typename"] == "JobNotFoundError"
    assert answer["id"] == gid("Job", 99)
    assert answer["code"] == "JOB_NOT_FOUND"


@pytest.mark.parametrize("name", MUTATIONS)
async def test_an_id_of_another_type(api: Api, name: str) -> None:
    answer = (await api.execute(MUTATIONS[name], jobId=gid("Group", -1)))[name]
    assert answer["__typename"] == "ValidationFailedError"


async def test_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    for name, mutation in MUTATIONS.items():
        answer = (await api_without_postgresql.execute(mutation, jobId=gid("Job", 1)))[name]
        assert answer["__typename"] == "ServiceUnavailableError"


async def test_retry_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        first = await queue_job(opened, -1)
        await cancel(opened, first)
        await queue_job(opened, -2)
        async for api in serve(opened):
            answer = (await api.execute(RETRY, jobId=gid("Job", first)))["retryJob"]
    assert answer["__typename"] == "QueueFullError"
    assert answer["limit"] == 1
