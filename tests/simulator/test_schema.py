import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator import SimulatorOptions
from simulator.people import FIRST_GUEST_ID
from tests.simulator.vk import Vk
from tests.vk_schema import SCHEMA, VkSchema

SAMPLES = SCHEMA.parent / "samples"
FIELDS = "members_count,description,activity,status,city,verified,wall,sex,photo_200,domain,followers_count,online"


@pytest.fixture
async def vk() -> Vk:
    """Return a world with all contents that comments and posts can have."""
    return Vk(SimulatorOptions(posts=30, comments=1_200, rps=0))


def comments_of(answer: Any) -> Iterator[dict[str, Any]]:
    for item in answer["items"]:
        yield item
        yield from item.get("thread", {}).get("items", [])


async def test_comments(vk: Vk, schema: VkSchema, schema_with_stubs: VkSchema) -> None:
    seen: set[str] = set()
    stubs = 0
    for post_id in await vk.truth():
        for extended in (0, 1):
            kind = "extendedResponse" if extended else "response"
            reply = await vk.reply(
                "wall.getComments", owner_id=-1, post_id=post_id, count=100, thread_items_count=10,
                need_likes=1, extended=extended, fields=FIELDS,
            )  # fmt: skip
            assert schema_with_stubs.violations("wall.getComments", reply, kind) == []
            stubs += sum(item.get("deleted", False) for item in comments_of(reply["response"]))
            for item in comments_of(reply["response"]):
                seen |= item.keys() | {attachment["type"] for attachment in item.get("attachments", ())}
            reply["response"]["items"] = [item for item in reply["response"]["items"] if "deleted" not in item]
            assert schema.violations("wall.getComments", reply, kind) == []
    assert {"photo", "sticker", "link", "reply_to_user", "deleted"} <= seen
    assert stubs


async def test_walls(vk: Vk, schema: VkSchema) -> None:
    assert schema.violations("wall.get", await vk.reply("wall.get", owner_id=-1, count=100)) == []
    reply = await vk.reply("wall.get", owner_id=-1, count=100, extended=1, fields=FIELDS)
    assert schema.violations("wall.get", reply, "extendedResponse") == []
    assert {"copy_history", "edited", "is_pinned"} <= {key for post in reply["response"]["items"] for key in post}
    posts = ",".join(f"-1_{post_id}" for post_id in await vk.truth())
    assert schema.violations("wall.getById", await vk.reply("wall.getById", posts=posts)) == []
    reply = await vk.reply("wall.getById", posts=posts, extended=1)
    assert schema.violations("wall.getById", reply, "extendedResponse") == []


async def test_groups_and_people(vk: Vk, schema: VkSchema) -> None:
    group_ids = ",".join(str(group_id) for group_id in (1, *range(FIRST_GUEST_ID, FIRST_GUEST_ID + 8)))
    reply = await vk.reply("groups.getById", group_ids=group_ids, fields=FIELDS)
    assert len(reply["response"]["groups"]) == 9
    assert schema.violations("groups.getById", reply) == []
    ids = ",".join(str(1_700_000_000 + 3 * number) for number in range(700))
    reply = await vk.reply("users.get", user_ids=ids, fields=FIELDS)
    assert {"deleted", "banned"} <= {user.get("deactivated") for user in reply["response"]}
    assert schema.violations("users.get", reply) == []
    for name in ("club1", "id1700000000"):
        reply = await vk.reply("utils.resolveScreenName", screen_name=name)
        assert schema.violations("utils.resolveScreenName", reply) == []


async def test_execute(vk: Vk, schema: VkSchema) -> None:
    reply = await vk.reply("execute", code='return {"wall": API.wall.get({"owner_id":-1})};')
    assert schema.violations("execute", reply) == []
    assert schema.violations("wall.get", {"response": reply["response"]["wall"]}) == []


def test_a_recorded_reply_is_valid(schema: VkSchema) -> None:
    reply = json.loads((SAMPLES / "vknet" / "Video_GetComments_WithLikes.json").read_text(encoding="utf-8"))
    assert schema.violations("wall.getComments", reply) == []


def test_a_recorded_stub_is_valid_only_where_allowed(schema: VkSchema, schema_with_stubs: VkSchema) -> None:
    reply = json.loads((SAMPLES / "vknet" / "Wall_GetComments802.json").read_text(encoding="utf-8"))
    assert len(schema.violations("wall.getComments", reply)) == 2
    assert schema_with_stubs.violations("wall.getComments", reply) == []


def test_an_invalid_reply_is_detected(schema: VkSchema) -> None:
    found = schema.violations("wall.get", {"response": {"count": "1", "items": [{"id": 1}]}})
    assert len(found) == 2
    assert found[0].startswith("response/")


async def test_an_error_has_the_shape_of_recorded_ones(vk: Vk) -> None:
    returned = (await vk.reply("wall.getComments", owner_id=-1, post_id=0))["error"]
    recorded = json.loads((SAMPLES / "errors" / "15.json").read_text(encoding="utf-8"))["error"]
    assert returned.keys() == recorded.keys()
    assert all(entry.keys() == {"key", "value"} for entry in returned["request_params"])
    assert all(isinstance(entry["value"], str) for entry in returned["request_params"])
