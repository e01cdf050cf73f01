"""Parameters have the limits of VK's schema, and errors have VK's wording."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from simulator.discussions import FIRST_MEDIA_ID, Discussions
from simulator.methods import METHODS
from simulator.world import World
from tests.simulator.vk import SMALL, Vk
from tests.vk_schema import SCHEMA

WALL = World(SMALL).wall(1)
assert WALL is not None
TOPIC = next(iter(Discussions(World(SMALL)).board(WALL.community)))
# The required parameters of each method, so that only one parameter at a time is invalid.
NEEDED: dict[str, dict[str, Any]] = {
    "board.getComments": {"group_id": 1, "topic_id": TOPIC},
    "board.getTopics": {"group_id": 1},
    "groups.getById": {"group_id": 1},
    "groups.getMembers": {"group_id": 1},
    "groups.search": {"q": "о"},
    "likes.getList": {"type": "post", "owner_id": -1, "item_id": 1},
    "photos.getComments": {"owner_id": -1, "photo_id": FIRST_MEDIA_ID},
    "users.get": {"user_ids": "1700000000"},
    "utils.resolveScreenName": {"screen_name": "club1"},
    "video.getComments": {"owner_id": -1, "video_id": FIRST_MEDIA_ID},
    "wall.get": {"owner_id": -1},
    "wall.getById": {"posts": "-1_1"},
    "wall.getComment": {"owner_id": -1, "comment_id": 1},
    "wall.getComments": {"owner_id": -1, "post_id": 1},
    "wall.search": {"owner_id": -1, "query": "о"},
}
# Parameters that no answer depends on: grammatical case, access keys of open objects, and friends, of which none exist.
NOT_READ = {"from_group_id", "access_key", "skip_own", "page_url"}


def parameters() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each parameter of the simulator's methods in the schema."""
    for path in sorted(SCHEMA.rglob("methods.json")):
        for method in json.loads(path.read_text(encoding="utf-8"))["methods"]:
            if method["name"] in METHODS:
                yield from ((method["name"], each) for each in method.get("parameters", ()))


def wrong() -> Iterator[tuple[str, str, Any, str]]:
    """Yield method, parameter, an invalid value, and its error."""
    for method, returned in parameters():
        name = returned["name"]
        if name in NOT_READ:
            continue
        if returned["type"] == "integer":
            yield method, name, "x", f"{name} not integer"
        if "minimum" in returned:
            yield method, name, returned["minimum"] - 1, f"{name} should be greater or equal to {returned['minimum']}"
        if "maximum" in returned:
            yield method, name, returned["maximum"] + 1, f"{name} should be less or equal to {returned['maximum']}"
        if returned["type"] == "string" and "enum" in returned:
            yield method, name, "nothing", f"{name} is invalid"
        if returned.get("required"):
            yield method, name, "", f"{name} is undefined"


def test_all_methods_are_tested() -> None:
    assert NEEDED.keys() == METHODS.keys()
    assert {method for method, *_ in parameters()} == METHODS.keys()


@pytest.mark.parametrize(("method", "name", "value", "words"), [*wrong()])
async def test_an_invalid_value(vk: Vk, method: str, name: str, value: object, words: str) -> None:
    sent = NEEDED[method] | {name: value}
    assert await vk.refusal(method, **sent) == (
        100,
        f"One of the parameters specified was missing or invalid: {words}",
    )


@pytest.mark.parametrize("method", ["wall.get", "wall.getComments"])
async def test_a_count_that_only_the_description_limits_is_cut(vk: Vk, method: str) -> None:
    sent = NEEDED[method] | ({"post_id": await vk.fullest_post()} if method == "wall.getComments" else {})
    assert await vk.answer(method, **sent, count=5000) == await vk.answer(method, **sent, count=100)
