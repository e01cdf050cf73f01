"""`startCollection`: each member of its union, and its input."""

import pytest

from app.resources import Resources, open_resources
from tests.conftest import Api, MakeSettings, Wall, serve, write_wall
from tests.graphql.conftest import MakeJob, gid

START = """
mutation ($input: StartCollectionInput!) {
  startCollection(input: $input) {
    __typename
    ... on StartCollectionSuccess {
      job {
        id kind state priority attempts maxAttempts timeoutSeconds
        groups { vkId } failure { message } result { __typename }
      }
    }
    ... on JobAlreadyRunningError { job { id } }
    ... on GroupNotFoundError { id }
    ... on ValidationFailedError { fields { path message } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code message }
  }
}"""


async def start(api: Api, **arguments: object) -> dict[str, object]:
    """Start a collection and return the answer."""
    answer: dict[str, object] = (await api.execute(START, input=arguments))["startCollection"]
    return answer


async def test_start_collection_queues_one_job(api: Api, resources: Resources) -> None:
    for number in (1, 2):
        await write_wall(resources, -number, posts_count=1)
    answer = await start(
        api,
        groupIds=[gid("Group", -1), gid("Group", -2), gid("Group", -1)],
        priority="HIGH",
        timeoutSeconds=60,
        since="2026-01-01T00:00:00Z",
        maxPostsPerGroup=5,
        full=True,
    )
    assert answer["__typename"] == "StartCollectionSuccess"
    assert answer["job"] == {
        "id": gid("Job", 1),
        "kind": "COLLECT_COMMENTS",
        "state": "QUEUED",
        "priority": "HIGH",
        "attempts": 0,
        "maxAttempts": 5,
        "timeoutSeconds": 60.0,
        "groups": [{"vkId": 1}, {"vkId": 2}],
        "failure": None,
        "result": None,
    }


async def test_start_collection_of_a_busy_community_starts_nothing(api: Api, resources: Resources) -> None:
    for number in (1, 2):
        await write_wall(resources, -number, posts_count=1)
    first = await start(api, groupIds=[gid("Group", -1)])
    assert first["__typename"] == "StartCollectionSuccess"
    both = await start(api, groupIds=[gid("Group", -2), gid("Group", -1)])
    assert both["__typename"] == "JobAlreadyRunningError"
    assert both["code"] == "JOB_ALREADY_RUNNING"
    assert both["job"] == {"id": gid("Job", 1)}
    # the other community was not claimed either
    assert (await start(api, groupIds=[gid("Group", -2)]))["__typename"] == "StartCollectionSuccess"
    assert (await api.execute("{ jobs { totalCount } }"))["jobs"]["totalCount"] == 2


async def test_start_collection_of_single_posts(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    answer = await start(api, postUrls=["https://vk.com/wall-1_1", "vk.ru/club1?w=wall-1_6", "wall-1_1"])
    assert answer["__typename"] == "StartCollectionSuccess"


async def test_start_collection_of_an_unknown_community(api: Api) -> None:
    answer = await start(api, groupIds=[gid("Group", -9)])
    assert answer["__typename"] == "GroupNotFoundError"
    assert answer["code"] == "GROUP_NOT_FOUND"
    assert answer["id"] == gid("Group", -9)
    posts = await start(api, postUrls=["https://vk.com/wall-9_1"])
    assert posts["__typename"] == "GroupNotFoundError"


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({}, "groupIds"),
        ({"groupIds": ["nonsense"]}, "groupIds.0"),
        ({"groupIds": [gid("Post", -1, 1)]}, "groupIds.0"),
        ({"groupIds": [gid("Group", -number) for number in range(1, 1002)]}, "groupIds"),
        ({"postUrls": ["https://vk.com/wall-1_1", "https://vk.com/id1"]}, "postUrls.1"),
        ({"postUrls": [f"wall-1_{number}" for number in range(1, 10_002)]}, "postUrls"),
        ({"groupIds": [gid("Group", -1)], "maxPostsPerGroup": 0}, "maxPostsPerGroup"),
        ({"groupIds": [gid("Group", -1)], "timeoutSeconds": 0}, "timeoutSeconds"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_start_collection_with_invalid_input(
    api: Api, wall: Wall, arguments: dict[str, object], path: str
) -> None:
    assert wall.owner_id == -1
    answer = await start(api, **arguments)
    assert answer["__typename"] == "ValidationFailedError"
    assert isinstance(answer["fields"], list)
    assert [field["path"] for field in answer["fields"]] == [path]


async def test_start_collection_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        for number in (1, 2):
            await write_wall(opened, -number, posts_count=1)
        async for api in serve(opened):
            assert (await start(api, groupIds=[gid("Group", -1)]))["__typename"] == "StartCollectionSuccess"
            answer = await start(api, groupIds=[gid("Group", -2)])
    assert answer["__typename"] == "QueueFullError"
    assert answer["limit"] == 1


async def test_start_collection_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    answer = await start(api_without_postgresql, groupIds=[gid("Group", -1)])
    assert answer["__typename"] == "ServiceUnavailableError"
    assert answer["service"] == "PostgreSQL"


async def test_jobs_filtered_and_ordered(api: Api, make_job: MakeJob) -> None:
    first, second = await make_job(-1), await make_job(-2)
    query = """query ($filter: JobFilter, $orderBy: JobOrder! = NEWEST) {
        jobs(filter: $filter, orderBy: $orderBy) { totalCount nodes { id } } }"""

    async def ids(**variables: object) -> list[str]:
        page = (await api.execute(query, **variables))["jobs"]
        assert page["totalCount"] == len(page["nodes"])
        return [node["id"] for node in page["nodes"]]

    newest = [gid("Job", second), gid("Job", first)]
    assert await ids() == newest
    assert await ids(orderBy="OLDEST") == newest[::-1]
    assert await ids(filter={"states": ["QUEUED"], "kinds": ["COLLECT_COMMENTS"]}) == newest
    assert await ids(filter={"states": ["FAILED", "SUCCEEDED"]}) == []
