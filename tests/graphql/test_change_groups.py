"""`updateGroup`, `refreshGroups`, `removeGroups`: each member of their unions."""

from typing import Any

import pytest

from app.resources import Resources, open_resources
from tests.conftest import Api, MakeSettings, serve, write_wall
from tests.graphql.conftest import MakeJob, gid

ERRORS = """... on Error { code message } ... on GroupNotFoundError { id } ... on QueueFullError { limit }
  ... on JobAlreadyRunningError { job { id } } ... on ValidationFailedError { fields { path message } }
  ... on ServiceUnavailableError { service }"""
UPDATE = f"""mutation ($input: UpdateGroupInput!) {{ updateGroup(input: $input) {{ __typename
  ... on UpdateGroupSuccess {{ group {{ note labels }} }} {
    ERRORS.replace("... on QueueFullError { limit }", "").replace("... on JobAlreadyRunningError { job { id } }", "")
} }} }}"""
REFRESH = f"""mutation ($input: RefreshGroupsInput!) {{ refreshGroups(input: $input) {{ __typename
  ... on RefreshGroupsSuccess {{ job {{ id kind groups {{ id }} }} }}
  {ERRORS.replace("... on JobAlreadyRunningError { job { id } }", "")} }} }}"""
REMOVE = f"""mutation ($input: RemoveGroupsInput!) {{ removeGroups(input: $input) {{ __typename
  ... on RemoveGroupsSuccess {{ job {{ id kind groups {{ id }} }} }} {ERRORS} }} }}"""
ENDED = """subscription ($id: ID!) { jobProgress(jobId: $id) { ... on JobProgress { job { state result {
  ... on RefreshResult { groupCount changedCount missingCount }
  ... on RemovalResult { groupCount commentCount } } } } } }"""
MALFORMED = {"path": "groupIds.0", "message": "'x' is not an id of this server"}


async def change(api: Api, mutation: str, **arguments: Any) -> dict[str, Any]:
    """Execute one of the mutations and return its answer."""
    [answer] = (await api.execute(mutation, input=arguments)).values()
    return dict(answer)


async def last_of(api: Api, job_id: str) -> dict[str, Any]:
    """Return the last message about a job."""
    job: dict[str, Any] = {}
    async for message in api.subscribe(ENDED, id=job_id):
        job = message["jobProgress"]["job"]
    return job


@pytest.mark.usefixtures("wall")
async def test_update(api: Api) -> None:
    group_id = gid("Group", -1)
    steps: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"note": " Ours "}, {"note": "Ours", "labels": []}),
        ({"labels": ["shop", " the  city ", "shop"]}, {"note": "Ours", "labels": ["shop", "the city"]}),
        ({}, {"note": "Ours", "labels": ["shop", "the city"]}),
        ({"note": None, "labels": None}, {"note": None, "labels": []}),
    ]
    for arguments, group in steps:
        answer = await change(api, UPDATE, groupId=group_id, **arguments)
        assert answer == {"__typename": "UpdateGroupSuccess", "group": group}
    wrong: list[tuple[dict[str, Any], list[str]]] = [
        ({"note": "x" * 2001, "labels": ["", "x" * 51, "a\x00"]}, ["note", "labels.0", "labels.1", "labels.2"]),
        ({"labels": [str(number) for number in range(21)]}, ["labels"]),
        ({"groupId": "x"}, ["groupId"]),
    ]
    for arguments, paths in wrong:
        answer = await change(api, UPDATE, **{"groupId": group_id, **arguments})
        assert [field["path"] for field in answer["fields"]] == paths
    answer = await change(api, UPDATE, groupId=gid("Group", -9), note="x")
    assert (answer["__typename"], answer["id"]) == ("GroupNotFoundError", gid("Group", -9))


async def test_refresh_and_remove(vk_api: Api, vk_resources: Resources) -> None:
    await write_wall(vk_resources)
    ids = [gid("Group", -1)]
    started = await change(vk_api, REFRESH, groupIds=ids)
    assert (started["__typename"], started["job"]["kind"]) == ("RefreshGroupsSuccess", "REFRESH_GROUPS")
    assert started["job"]["groups"] == [{"id": ids[0]}]
    assert await last_of(vk_api, started["job"]["id"]) == {
        "state": "SUCCEEDED",
        "result": {"groupCount": 1, "changedCount": 1, "missingCount": 0},
    }
    everything = await change(vk_api, REFRESH)
    assert (await last_of(vk_api, everything["job"]["id"]))["result"]["changedCount"] == 0
    started = await change(vk_api, REMOVE, groupIds=ids)
    assert (started["__typename"], started["job"]["kind"]) == ("RemoveGroupsSuccess", "REMOVE_GROUPS")
    assert await last_of(vk_api, started["job"]["id"]) == {
        "state": "SUCCEEDED",
        "result": {"groupCount": 1, "commentCount": 12},
    }
    assert (await vk_api.execute("{ groups { totalCount } }"))["groups"] == {"totalCount": 0}


@pytest.mark.parametrize("mutation", [REFRESH, REMOVE], ids=["refresh", "remove"])
async def test_invalid_arguments(api: Api, mutation: str) -> None:
    few = {"path": "groupIds", "message": "must contain between 1 and 10000 ids"}
    assert (await change(api, mutation, groupIds=[]))["fields"] == [few]
    assert (await change(api, mutation, groupIds=["x"]))["fields"] == [MALFORMED]
    answer = await change(api, mutation, groupIds=[gid("Group", -9)])
    assert (answer["__typename"], answer["id"]) == ("GroupNotFoundError", gid("Group", -9))


async def test_remove_a_community_that_is_being_collected(api: Api, make_job: MakeJob) -> None:
    job_id = await make_job()
    answer = await change(api, REMOVE, groupIds=[gid("Group", -1)])
    assert (answer["__typename"], answer["job"]) == ("JobAlreadyRunningError", {"id": gid("Job", job_id)})


async def test_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as resources:
        await write_wall(resources)
        async for api in serve(resources):
            ids = [gid("Group", -1)]
            assert (await change(api, REFRESH, groupIds=ids))["__typename"] == "RefreshGroupsSuccess"
            for mutation in (REFRESH, REMOVE):
                answer = await change(api, mutation, groupIds=ids)
                assert (answer["__typename"], answer["limit"]) == ("QueueFullError", 1)


async def test_without_postgresql(api_without_postgresql: Api) -> None:
    group_id = gid("Group", -1)
    arguments: list[tuple[str, dict[str, Any]]] = [
        (UPDATE, {"groupId": group_id}), (REFRESH, {"groupIds": [group_id]}), (REMOVE, {"groupIds": [group_id]})
    ]  # fmt: skip
    for mutation, wish in arguments:
        answer = await change(api_without_postgresql, mutation, **wish)
        assert (answer["__typename"], answer["service"]) == ("ServiceUnavailableError", "PostgreSQL")
