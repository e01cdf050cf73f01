"""`node` and `nodes`: any object by its global id."""

import pytest

from schema.node import split_global_id
from tests.conftest import Api, Wall
from tests.graphql.conftest import MakeJob, gid

NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


@pytest.mark.parametrize(
    ("type_name", "key"), [("Group", (-1,)), ("Post", (-1, 1)), ("Comment", (-1, 2)), ("Author", (100,))]
)
async def test_node_of_each_type(api: Api, wall: Wall, type_name: str, key: tuple[int, ...]) -> None:
    assert wall.owner_id == -1
    node_id = gid(type_name, *key)
    assert (await api.execute(NODE, id=node_id))["node"] == {"__typename": type_name, "id": node_id}


async def test_node_of_a_job(api: Api, make_job: MakeJob) -> None:
    node_id = gid("Job", await make_job())
    assert (await api.execute(NODE, id=node_id))["node"] == {"__typename": "Job", "id": node_id}


async def test_node_that_does_not_exist(api: Api) -> None:
    assert (await api.execute(NODE, id=gid("Comment", -1, 2)))["node"] is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        "R3JvdXA6LTE6",
        gid("Group", -1) + "=",
        gid("Group", -1) + "!",
        gid("Group", -1, 1),
        gid("Unknown", 1),
        gid("Post", 1, 1 << 63),
    ],
)
async def test_node_with_an_invalid_id(api: Api, value: str) -> None:
    error = await api.fail(NODE, id=value)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
    assert error["extensions"]["fields"][0]["path"] == "id"


async def test_nodes_keep_their_order_and_their_gaps(api: Api, wall: Wall) -> None:
    assert wall.owner_id == -1
    ids = [gid("Post", -1, 1), gid("Group", -9), gid("Comment", -1, 3), gid("Post", -1, 1)]
    found = await api.execute("query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=ids)
    assert [node and node["id"] for node in found["nodes"]] == [ids[0], None, ids[2], ids[3]]


async def test_the_number_of_nodes_is_limited(api: Api) -> None:
    error = await api.fail("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[gid("Group", -1)] * 501)
    assert error["extensions"]["fields"] == [{"path": "ids", "message": "must contain at most 500 ids"}]


def test_global_id_round_trip() -> None:
    assert split_global_id(gid("Comment", -5_000_000_000, 7)) == ("Comment", (-5_000_000_000, 7))
