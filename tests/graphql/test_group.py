"""`group`, `groups`: communities by their names, and lists of them."""

import base64
import json

import pytest

from app.resources import Resources
from tests.conftest import Api, Wall, write_wall
from tests.graphql.conftest import gid

GROUP = """
query ($id: ID, $vkId: BigInt, $screenName: String) {
  group(id: $id, vkId: $vkId, screenName: $screenName) { id vkId screenName name vkUrl postCount commentCount isClosed }
}"""
GROUPS = """
query ($first: Int, $after: String, $last: Int, $before: String, $filter: GroupFilter, $orderBy: GroupOrder! = ADDED) {
  groups(first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) {
    totalCount
    nodes { name }
    edges { cursor node { vkId } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}"""


@pytest.mark.parametrize(
    "name", [{"id": gid("Group", -1)}, {"vkId": 1}, {"vkId": -1}, {"screenName": "GROUP1"}], ids=str
)
async def test_group_by_each_of_its_names(api: Api, wall: Wall, name: dict[str, object]) -> None:
    found = (await api.execute(GROUP, **name))["group"]
    assert found == {
        "id": gid("Group", wall.owner_id),
        "vkId": 1,
        "screenName": "group1",
        "name": "Group 1",
        "vkUrl": "https://vk.com/group1",
        "postCount": 3,
        "commentCount": 12,
        "isClosed": False,
    }


@pytest.mark.parametrize("name", [{"id": gid("Group", -7)}, {"vkId": 7}, {"screenName": "nobody"}], ids=str)
async def test_group_that_was_not_added(api: Api, wall: Wall, name: dict[str, object]) -> None:
    assert wall.owner_id == -1
    assert (await api.execute(GROUP, **name))["group"] is None


@pytest.mark.parametrize("names", [{}, {"vkId": 1, "screenName": "group1"}], ids=["none", "two"])
async def test_group_needs_exactly_one_name(api: Api, names: dict[str, object]) -> None:
    error = await api.fail(GROUP, **names)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    assert error["extensions"]["fields"] == [
        {"path": "id", "message": "exactly one of id, vkId and screenName must be given"}
    ]


async def test_group_by_the_id_of_something_else(api: Api) -> None:
    error = await api.fail(GROUP, id=gid("Post", -1, 1))
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    assert "is the id of a Post" in error["message"]


async def test_groups_page_by_page_in_both_directions(api: Api, resources: Resources) -> None:
    for number in range(1, 6):
        await write_wall(resources, -number, posts_count=1, comments_per_post=1)
    newest_first = ["Group 5", "Group 4", "Group 3", "Group 2", "Group 1"]

    forwards: list[str] = []
    after = None
    while True:
        page = (await api.execute(GROUPS, first=2, after=after))["groups"]
        forwards += [node["name"] for node in page["nodes"]]
        assert page["totalCount"] == 5
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert forwards == newest_first

    last = (await api.execute(GROUPS, last=2))["groups"]
    assert [node["name"] for node in last["nodes"]] == newest_first[3:]
    assert last["pageInfo"]["hasPreviousPage"]
    before = (await api.execute(GROUPS, last=2, before=last["pageInfo"]["startCursor"]))["groups"]
    assert [node["name"] for node in before["nodes"]] == newest_first[1:3]
    assert before["pageInfo"]["hasNextPage"]


async def test_groups_by_name_and_by_part_of_it(api: Api, resources: Resources) -> None:
    for number in (3, 1, 2):
        await write_wall(resources, -number, posts_count=0)
    by_name = (await api.execute(GROUPS, orderBy="NAME"))["groups"]
    assert [node["name"] for node in by_name["nodes"]] == ["Group 1", "Group 2", "Group 3"]
    second = (await api.execute(GROUPS, orderBy="NAME", after=by_name["edges"][0]["cursor"]))["groups"]
    assert [node["name"] for node in second["nodes"]] == ["Group 2", "Group 3"]
    assert [edge["node"]["vkId"] for edge in second["edges"]] == [2, 3]
    found = (await api.execute(GROUPS, filter={"search": "OUP 2"}))["groups"]
    assert [node["name"] for node in found["nodes"]] == ["Group 2"]
    assert found["totalCount"] == 1
    nothing = (await api.execute(GROUPS, filter={"search": "%"}))["groups"]
    assert nothing["nodes"] == []
    assert nothing["pageInfo"] == {
        "hasNextPage": False,
        "hasPreviousPage": False,
        "startCursor": None,
        "endCursor": None,
    }


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"first": 1, "last": 1}, "first"),
        ({"first": 501}, "first"),
        ({"first": -1}, "first"),
        ({"last": 501}, "last"),
        ({"after": "nonsense"}, "after"),
        ({"before": "bnVsbA"}, "before"),
    ],
    ids=str,
)
async def test_groups_with_invalid_paging(api: Api, arguments: dict[str, object], path: str) -> None:
    error = await api.fail(GROUPS, **arguments)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    assert [field["path"] for field in error["extensions"]["fields"]] == [path]


async def test_groups_with_the_cursor_of_another_ordering(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    cursor = (await api.execute(GROUPS, orderBy="NAME"))["groups"]["edges"][0]["cursor"]
    error = await api.fail(GROUPS, orderBy="ADDED", after=cursor)
    assert error["extensions"]["fields"] == [{"path": "after", "message": "is not a cursor of this ordering"}]


async def test_groups_with_no_page_at_all(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    page = (await api.execute(GROUPS, first=0))["groups"]
    assert page["nodes"] == []
    assert page["totalCount"] == 1


@pytest.mark.parametrize(
    "values",
    [["NAME", "a", True], ["NAME", "a", 1.5], ["NAME", "a", 1 << 63], ["NAME", "a"], ["NAME", "a", None], {"NAME": 1}],
    ids=str,
)
async def test_groups_with_a_forged_cursor(api: Api, values: object) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    error = await api.fail(GROUPS, orderBy="NAME", after=cursor)
    assert error["extensions"]["fields"] == [{"path": "after", "message": "is not a cursor of this ordering"}]
