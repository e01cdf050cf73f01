"""`Group.monitoring`, `monitoring`, `setMonitoring` and `runMonitoring`: each member of their unions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.actions.set_monitoring import run_monitoring, set_monitoring
from app.job_states import JobPriority
from app.jobs.running_job import RunningJob
from app.resources import Resources, open_resources
from app.vk.wire import VkTokenRejected
from tests.conftest import Api, MakeSettings, Wall, serve, statements, write_wall
from tests.graphql.conftest import MakeJob, gid
from tests.jobs.conftest import ended, queue_job, working

GROUP = """
query ($id: ID!) {
  group(id: $id) {
    monitoring {
      isEnabled intervalMinutes priority nextRunAt lastRunAt lastState
      lastResult { __typename ... on CollectionResult { commentCount } }
      lastError { __typename code message ... on JobFailure { facts } }
      lastJob { id state }
      group { id }
    }
  }
}"""
SET = """
mutation ($input: SetMonitoringInput!) {
  setMonitoring(input: $input) {
    __typename
    ... on SetMonitoringSuccess {
      monitoring { isEnabled intervalMinutes priority nextRunAt lastJob { id } group { vkId monitoring { isEnabled } } }
    }
    ... on GroupNotFoundError { id }
    ... on ValidationFailedError { fields { path message } }
    ... on ServiceUnavailableError { service }
    ... on Error { code message }
  }
}"""
RUN = """
mutation ($id: ID!) {
  runMonitoring(input: {groupId: $id}) {
    __typename
    ... on RunMonitoringSuccess {
      job { id state priority groups { id } }
      monitoring { isEnabled nextRunAt lastJob { id } }
    }
    ... on GroupNotFoundError { id }
    ... on ValidationFailedError { fields { path } }
    ... on JobAlreadyRunningError { job { id } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code message }
  }
}"""
OVERVIEW = """
query ($first: Int, $after: String, $last: Int, $before: String) {
  monitoring {
    enabledCount dueCount runningCount failingCount nextRunAt
    monitorings(first: $first, after: $after, last: $last, before: $before) {
      totalCount
      nodes { group { vkId } nextRunAt }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}"""


async def set_(api: Api, **arguments: object) -> dict[str, Any]:
    """Set a monitoring and return the answer."""
    answer: dict[str, Any] = (await api.execute(SET, input={"groupId": gid("Group", -1), **arguments}))["setMonitoring"]
    return answer


async def run(api: Api, group_id: str = gid("Group", -1)) -> dict[str, Any]:
    """Run a monitoring and return the answer."""
    answer: dict[str, Any] = (await api.execute(RUN, id=group_id))["runMonitoring"]
    return answer


async def of_group(api: Api, owner_id: int = -1) -> dict[str, Any]:
    """Return the monitoring of a community."""
    found: dict[str, Any] = (await api.execute(GROUP, id=gid("Group", owner_id)))["group"]["monitoring"]
    return found


async def fails(_: RunningJob[Any, Any]) -> dict[str, Any]:
    """Fail because VK accepts no token."""
    raise VkTokenRejected("VK accepts no token.")


async def succeeds(_: RunningJob[Any, Any]) -> dict[str, Any]:
    """Return a result with seven comments."""
    return {"groups": 1, "posts": 1, "failed_posts": 0, "comments": 7, "new_comments": 7}


# reading


async def test_a_community_without_monitoring_has_the_defaults(api: Api, wall: Wall) -> None:
    assert await of_group(api, wall.owner_id) == {
        "isEnabled": False,
        "intervalMinutes": 60,
        "priority": "LOW",
        "nextRunAt": None,
        "lastRunAt": None,
        "lastState": None,
        "lastResult": None,
        "lastError": None,
        "lastJob": None,
        "group": {"id": gid("Group", wall.owner_id)},
    }


async def test_results_of_the_last_runs(api: Api, resources: Resources, wall: Wall) -> None:
    assert wall.owner_id == -1
    await run(api)
    waiting = await of_group(api)
    assert (waiting["lastJob"], waiting["lastState"]) == ({"id": gid("Job", 1), "state": "QUEUED"}, None)
    async with working(resources, succeeds):
        first = await ended(resources, 1)
    done = await of_group(api)
    assert (done["lastState"], done["lastError"]) == ("SUCCEEDED", None)
    assert done["lastResult"] == {"__typename": "CollectionResult", "commentCount": 7}
    assert datetime.fromisoformat(done["lastRunAt"]) == first.finished_at
    await run(api)
    async with working(resources, fails):
        await ended(resources, 2)
    failed = await of_group(api)
    assert failed["lastState"] == "FAILED"
    assert failed["lastJob"] == {"id": gid("Job", 2), "state": "FAILED"}
    assert failed["lastError"] == {
        "__typename": "JobFailure",
        "code": "VK_TOKEN",
        "message": "VK accepts no token.",
        "facts": {"vkCode": None, "method": None},
    }
    assert failed["lastResult"] == done["lastResult"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("monitoring { isEnabled }", 2),
        ("monitoring { lastJob { state } }", 3),
        ("monitoring { group { monitoring { intervalMinutes } } }", 4),
    ],
)
async def test_statements_of_monitorings(api: Api, resources: Resources, fields: str, expected: int) -> None:
    for number in range(1, 51):
        await write_wall(resources, -number, posts_count=0)
        if number % 5:  # the others have no monitoring
            await run_monitoring(resources, -number)
    for size in (1, 50):
        with statements(resources) as seen:
            # from the end, as the community that was added first has a job
            found = await api.execute(f"{{ groups(last: {size}) {{ nodes {{ id {fields} }} }} }}")
        assert len(found["groups"]["nodes"]) == size
        assert len(seen) == expected


async def test_the_empty_overview(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    found = (await api.execute(OVERVIEW))["monitoring"]
    empty = {"hasNextPage": False, "hasPreviousPage": False, "startCursor": None, "endCursor": None}
    assert found == {
        "enabledCount": 0,
        "dueCount": 0,
        "runningCount": 0,
        "failingCount": 0,
        "nextRunAt": None,
        "monitorings": {"totalCount": 0, "nodes": [], "pageInfo": empty},
    }


async def test_the_overview(api: Api, resources: Resources) -> None:
    for number in range(1, 6):
        await write_wall(resources, -number, posts_count=0)
    await run_monitoring(resources, -5)  # it is not enabled, so it is not in the list
    for number, hours in ((1, 5), (2, 3), (3, 4), (4, 2)):
        await set_monitoring(resources, -number, enabled=True, interval_minutes=60 * hours)
        await run_monitoring(resources, -number)
    first = (await api.execute(OVERVIEW, first=3))["monitoring"]
    page = first["monitorings"]
    assert [node["group"]["vkId"] for node in page["nodes"]] == [4, 2, 3]
    assert (first["enabledCount"], first["dueCount"], page["totalCount"]) == (4, 0, 4)
    assert first["nextRunAt"] == page["nodes"][0]["nextRunAt"]
    assert page["pageInfo"]["hasNextPage"]
    rest = (await api.execute(OVERVIEW, first=3, after=page["pageInfo"]["endCursor"]))["monitoring"]["monitorings"]
    assert [node["group"]["vkId"] for node in rest["nodes"]] == [1]
    back = (await api.execute(OVERVIEW, last=2, before=rest["pageInfo"]["startCursor"]))["monitoring"]["monitorings"]
    assert [node["group"]["vkId"] for node in back["nodes"]] == [2, 3]


async def test_the_counts_of_the_overview(api: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.actions.set_monitoring.LONGEST_FIRST_WAIT_SECONDS", 0.0)
    for number in (1, 2, 3):
        await write_wall(resources, -number, posts_count=0)
        await set_monitoring(resources, -number, enabled=True)
    for number in (1, 2):
        await run_monitoring(resources, -number)
    counts = "{ monitoring { enabledCount dueCount runningCount failingCount } }"
    assert (await api.execute(counts))["monitoring"] == {
        "enabledCount": 3,
        "dueCount": 1,
        "runningCount": 2,
        "failingCount": 0,
    }
    await set_monitoring(resources, -3, enabled=False)  # otherwise the worker's schedule would start it
    async with working(resources, fails):
        await ended(resources, 1)
        await ended(resources, 2)
    await set_monitoring(resources, -2, enabled=False)
    await set_monitoring(resources, -3, enabled=True)
    assert (await api.execute(counts))["monitoring"] == {
        "enabledCount": 2,
        "dueCount": 1,
        "runningCount": 0,
        "failingCount": 1,
    }


async def test_the_overview_with_invalid_paging(api: Api) -> None:
    error = await api.fail(OVERVIEW, first=501)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"


# setMonitoring


async def test_set_monitoring(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    answer = await set_(api, enabled=True, intervalMinutes=5, priority="HIGH")
    assert answer["__typename"] == "SetMonitoringSuccess"
    monitoring = answer["monitoring"]
    until_next = datetime.fromisoformat(monitoring.pop("nextRunAt")) - datetime.now(UTC)
    assert timedelta(seconds=-10) < until_next < timedelta(seconds=31)
    assert monitoring == {
        "isEnabled": True,
        "intervalMinutes": 5,
        "priority": "HIGH",
        "lastJob": None,
        "group": {"vkId": 1, "monitoring": {"isEnabled": True}},
    }
    off = (await set_(api, enabled=False))["monitoring"]
    assert (off["isEnabled"], off["nextRunAt"], off["intervalMinutes"], off["priority"]) == (False, None, 5, "HIGH")


async def test_set_monitoring_of_an_unknown_community(api: Api) -> None:
    answer = await set_(api, enabled=True)
    assert answer["__typename"] == "GroupNotFoundError"
    assert answer["code"] == "GROUP_NOT_FOUND"
    assert answer["id"] == gid("Group", -1)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"intervalMinutes": 0}, "intervalMinutes"),
        ({"intervalMinutes": 43_201}, "intervalMinutes"),
        ({"groupId": "nonsense"}, "groupId"),
        ({"groupId": gid("Job", 1)}, "groupId"),
    ],
    ids=str,
)
async def test_set_monitoring_with_invalid_input(api: Api, wall: Wall, arguments: dict[str, object], path: str) -> None:
    assert wall.owner_id == -1
    answer = await set_(api, **arguments)
    assert answer["__typename"] == "ValidationFailedError"
    assert [field["path"] for field in answer["fields"]] == [path]


async def test_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    for answer in (await set_(api_without_postgresql, enabled=True), await run(api_without_postgresql)):
        assert answer["__typename"] == "ServiceUnavailableError"
        assert answer["service"] == "PostgreSQL"


# runMonitoring


async def test_run_monitoring(api: Api, resources: Resources, wall: Wall) -> None:
    await set_monitoring(resources, wall.owner_id, enabled=True, interval_minutes=30, priority=JobPriority.HIGH)
    answer = await run(api)
    assert answer["__typename"] == "RunMonitoringSuccess"
    assert answer["job"] == {
        "id": gid("Job", 1),
        "state": "QUEUED",
        "priority": "HIGH",
        "groups": [{"id": gid("Group", -1)}],
    }
    until_next = datetime.fromisoformat(answer["monitoring"].pop("nextRunAt")) - datetime.now(UTC)
    assert timedelta(minutes=29) < until_next < timedelta(minutes=31)
    assert answer["monitoring"] == {"isEnabled": True, "lastJob": {"id": gid("Job", 1)}}


async def test_run_monitoring_of_an_unknown_community(api: Api) -> None:
    answer = await run(api, gid("Group", -9))
    assert answer["__typename"] == "GroupNotFoundError"
    assert answer["id"] == gid("Group", -9)


async def test_run_monitoring_of_an_id_of_another_type(api: Api) -> None:
    answer = await run(api, gid("Post", -1, 1))
    assert answer["__typename"] == "ValidationFailedError"
    assert answer["fields"] == [{"path": "groupId"}]


async def test_run_monitoring_of_a_busy_community(api: Api, make_job: MakeJob) -> None:
    busy = await make_job()
    answer = await run(api)
    assert answer["__typename"] == "JobAlreadyRunningError"
    assert answer["job"] == {"id": gid("Job", busy)}


async def test_run_monitoring_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        await queue_job(opened, -2)
        await write_wall(opened, -1, posts_count=0)
        async for api in serve(opened):
            answer = await run(api)
    assert answer["__typename"] == "QueueFullError"
    assert answer["limit"] == 1
