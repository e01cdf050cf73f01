from typing import Any

import pytest

from simulator.people import FIRST_GUEST_ID
from tests.simulator.vk import OWNER, Vk


async def all_items(vk: Vk, **sent: object) -> list[Any]:
    """Return all people who like it."""
    found: list[Any] = []
    while True:
        page = await vk.answer("likes.getList", owner_id=OWNER, count=50, offset=len(found), **sent)
        found += page["items"]
        if not page["items"]:
            assert len(found) == page["count"]
            return found


async def test_likers_of_a_post(vk: Vk) -> None:
    post = (await vk.answer("wall.get", owner_id=OWNER, count=1))["items"][0]
    likes = await all_items(vk, type="post", item_id=post["id"])
    assert len(set(likes)) == len(likes) == post["likes"]["count"]
    copies = await all_items(vk, type="post", item_id=post["id"], filter="copies")
    assert len(copies) == post["reposts"]["count"]
    assert set(copies) < set(likes)
    assert len((await vk.answer("likes.getList", type="post", owner_id=OWNER, item_id=post["id"]))["items"]) == min(
        100, len(likes)
    )
    friends = await vk.answer("likes.getList", type="post", owner_id=OWNER, item_id=post["id"], friends_only=1)
    assert friends == {"count": 0, "items": []}


async def test_likers_of_a_comment(vk: Vk) -> None:
    items = (await vk.comments(await vk.fullest_post(), count=100, need_likes=1))["items"]
    liked = max((item for item in items if "deleted" not in item), key=lambda item: item["likes"]["count"])
    likes = await all_items(vk, type="comment", item_id=liked["id"])
    assert len(set(likes)) == liked["likes"]["count"] > 5
    extended = await all_items(vk, type="comment", item_id=liked["id"], extended=1)
    assert [profile["id"] for profile in extended] == likes
    assert {profile["type"] for profile in extended} == {"profile"}
    assert (await vk.answer("users.get", user_ids=likes[0]))[0]["first_name"] == extended[0]["first_name"]


async def test_objects_that_cannot_be_liked(vk: Vk) -> None:
    answer = (232, "Reaction can not be applied to the object")
    post_id = await vk.fullest_post()
    items = (await vk.comments(post_id, count=100))["items"]
    live = next(item for item in items if item["thread"]["count"] and "deleted" not in item)
    await vk.control(delete_comment={"group_id": 1, "comment_id": live["id"]})
    assert await vk.refusal("likes.getList", type="comment", owner_id=OWNER, item_id=live["id"]) == answer
    assert await vk.refusal("likes.getList", type="photo", owner_id=OWNER, item_id=1) == answer


@pytest.mark.parametrize(("owner_id", "code"), [(-FIRST_GUEST_ID - 4, 15), (-FIRST_GUEST_ID - 7, 19)])
async def test_likes_on_walls_that_are_not_visible(vk: Vk, owner_id: int, code: int) -> None:
    assert (await vk.refusal("likes.getList", type="post", owner_id=owner_id, item_id=1))[0] == code
