from typing import Any

import pytest

from simulator import SimulatorOptions
from simulator.discussions import ALBUM_SIZE, FIRST_MEDIA_ID, TOPIC_SIZES
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID
from tests.simulator.vk import OWNER, SMALL, Vk

CLOSED_VIDEO = FIRST_MEDIA_ID + ALBUM_SIZE - 1
MEMBERS_ONLY, BANNED = FIRST_GUEST_ID + 4, FIRST_GUEST_ID + 7


async def all_items(vk: Vk, method: str, count: int, /, **sent: object) -> list[dict[str, Any]]:
    """Return all comments of one level."""
    found: list[dict[str, Any]] = []
    while True:
        page = await vk.answer(method, count=count, offset=len(found), **sent)
        found += page["items"]
        if len(found) >= page.get("current_level_count", page["count"]):
            return found


async def test_paging_through_a_board(vk: Vk) -> None:
    topics = (await vk.answer("board.getTopics", group_id=1, order=-2))["items"]
    assert sorted(topic["comments"] for topic in topics) == sorted(TOPIC_SIZES)
    ids: set[int] = set()
    for topic in topics:
        comments = await all_items(vk, "board.getComments", 100, group_id=1, topic_id=topic["id"])
        assert [comment["id"] for comment in comments] == sorted({comment["id"] for comment in comments})
        assert len(comments) == topic["comments"]
        assert (topic["created_by"], topic["updated_by"]) == (comments[0]["from_id"], comments[-1]["from_id"])
        assert topic["created"] <= comments[0]["date"] <= comments[-1]["date"] == topic["updated"]
        assert all("thread" not in comment and "post_id" not in comment for comment in comments)
        ids |= {topic["id"], *(comment["id"] for comment in comments)}
    assert len(ids) == len(topics) + sum(TOPIC_SIZES)


async def test_a_page_of_a_topic(vk: Vk) -> None:
    topic = max((await vk.answer("board.getTopics", group_id=1))["items"], key=lambda each: each["comments"])

    async def page(**sent: object) -> Any:
        return await vk.answer("board.getComments", group_id=1, topic_id=topic["id"], **sent)

    everything = (await page(count=100))["items"]
    assert len(everything) == 100
    assert (await page())["items"] == everything[:20]
    assert (await page(count=0))["items"] == []
    assert [each["id"] for each in (await page(sort="desc", offset=topic["comments"] - 2))["items"]] == [
        everything[1]["id"],
        everything[0]["id"],
    ]
    started = await page(start_comment_id=everything[9]["id"], offset=-2, count=3, extended=1, need_likes=1)
    assert started["real_offset"] == 7
    assert [each["id"] for each in started["items"]] == [each["id"] for each in everything[7:10]]
    assert all("likes" in each for each in started["items"])
    assert {author["id"] for author in (*started["profiles"], *started["groups"])} == {
        abs(each["from_id"]) for each in started["items"]
    }


async def test_orders_of_topics(vk: Vk) -> None:
    async def order(number: int) -> list[dict[str, Any]]:
        return list((await vk.answer("board.getTopics", group_id=1, order=number))["items"])

    for number, key in ((1, "updated"), (2, "id"), (-1, "updated"), (-2, "id")):
        topics = await order(number)
        assert [topic["is_fixed"] for topic in topics] == [1] + [0] * 7
        values = [topic[key] for topic in topics[1:]]
        assert values == sorted(values, reverse=number > 0)
    assert await order(0) == await order(1)
    assert sum(topic["is_closed"] for topic in await order(0)) == 1


async def test_named_topics_and_pages_of_topics(vk: Vk) -> None:
    topics = (await vk.answer("board.getTopics", group_id=1))["items"]
    named = f"{topics[3]['id']},x,0,{topics[1]['id']}"
    returned = await vk.answer("board.getTopics", group_id=1, topic_ids=named, count=1, offset=5, extended=1)
    assert returned["items"] == [topics[3], topics[1]]
    authors = {author["id"] for author in (*returned["profiles"], *returned["groups"])}
    assert authors == {abs(topic[name]) for topic in returned["items"] for name in ("created_by", "updated_by")}
    page = await vk.answer("board.getTopics", group_id=1, count=2, offset=1)
    assert (page["count"], page["items"]) == (8, topics[1:3])
    assert await vk.answer("board.getTopics", group_id=FIRST_GUEST_ID) == {
        "count": 0, "items": [], "default_order": 1, "can_add_topics": 0,
    }  # fmt: skip


async def test_previews_of_topics(vk: Vk) -> None:
    topics = (await vk.answer("board.getTopics", group_id=1, preview=1, preview_length=0))["items"]
    topic = max(topics, key=lambda each: len(each["first_comment"]))
    page = await vk.answer("board.getComments", group_id=1, topic_id=topic["id"], count=1)
    assert topic["first_comment"] == page["items"][0]["text"]
    cut = await vk.answer("board.getTopics", group_id=1, topic_ids=topic["id"], preview=1, preview_length=10)
    assert cut["items"][0]["first_comment"] == topic["first_comment"][:10] + "..."
    last = (await vk.answer("board.getTopics", group_id=1, topic_ids=topic["id"], preview=2, preview_length=0))[
        "items"
    ][0]
    newest = await vk.answer("board.getComments", group_id=1, topic_id=topic["id"], count=1, sort="desc")
    assert last["last_comment"] == newest["items"][0]["text"]
    assert "first_comment" not in last


@pytest.mark.parametrize(
    ("group_id", "code"), [(MEMBERS_ONLY, 15), (BANNED, 19), (FIRST_GUEST_ID + 5, 15), (FIRST_GUEST_ID, 15)]
)
async def test_boards_that_are_not_visible(vk: Vk, group_id: int, code: int) -> None:
    assert (await vk.refusal("board.getComments", group_id=group_id, topic_id=1))[0] == code


@pytest.mark.parametrize("photo_id", [FIRST_MEDIA_ID, FIRST_MEDIA_ID + 1])
async def test_paging_through_a_photo(vk: Vk, photo_id: int) -> None:
    comments = await all_items(vk, "photos.getComments", 7, owner_id=OWNER, photo_id=photo_id)
    assert comments
    assert [comment["id"] for comment in comments] == sorted({comment["id"] for comment in comments})
    assert {comment["pid"] for comment in comments} == {photo_id}
    assert not {"thread", "post_id", "parents_stack"} & {name for comment in comments for name in comment}
    newest = await vk.answer("photos.getComments", owner_id=OWNER, photo_id=photo_id, sort="desc", count=1)
    assert newest["items"] == comments[-1:]


async def test_photos_that_posts_show_have_comments(vk: Vk) -> None:
    posts = (await vk.answer("wall.get", owner_id=OWNER, count=100))["items"]
    photos = [each["photo"] for post in posts for each in post["attachments"] if each["type"] == "photo"]
    assert photos
    for photo in photos:
        returned = await vk.answer("photos.getComments", owner_id=photo["owner_id"], photo_id=photo["id"], extended=1)
        assert returned["count"] > 0
        assert len(returned["profiles"]) + len(returned["groups"]) > 0


async def test_paging_through_a_video(vk: Vk) -> None:
    sent = {"owner_id": OWNER, "video_id": FIRST_MEDIA_ID}
    first = await vk.answer("video.getComments", **sent)
    tops = await all_items(vk, "video.getComments", 100, **sent, thread_items_count=10, need_likes=1)
    assert len(tops) == first["current_level_count"] < first["count"]
    assert first["items"] == [
        {name: value for name, value in top.items() if name != "likes"} | {"thread": {**top["thread"], "items": []}}
        for top in tops[:20]
    ]
    threads = [top for top in tops if top["thread"]["count"]]
    assert len(threads) == 3
    replies = []
    for top in threads:
        found = await all_items(vk, "video.getComments", 4, **sent, comment_id=top["id"])
        assert len(found) == top["thread"]["count"]
        assert all(reply["parents_stack"] == [top["id"]] and reply["video_id"] == FIRST_MEDIA_ID for reply in found)
        assert [reply["id"] for reply in top["thread"]["items"]] == [reply["id"] for reply in found[:10]]
        replies += found
    assert len(tops) + len(replies) == first["count"]
    interest = (await vk.answer("video.getComments", **sent, sort="interest", need_likes=1, count=100))["items"]
    likes = [comment["likes"]["count"] for comment in interest]
    assert likes == sorted(likes, reverse=True)
    started = await vk.answer("video.getComments", **sent, start_comment_id=tops[4]["id"], count=1, extended=1)
    assert (started["real_offset"], started["items"][0]["id"]) == (4, tops[4]["id"])


@pytest.mark.parametrize(
    ("method", "sent", "refusal"),
    [
        (
            "video.getComments",
            {"owner_id": OWNER, "video_id": CLOSED_VIDEO},
            (801, "Comments for this video are closed"),
        ),
        (
            "video.getComments",
            {"owner_id": OWNER, "video_id": 1},
            (15, "Access denied: video was not found check video_id param"),
        ),
        (
            "photos.getComments",
            {"owner_id": OWNER, "photo_id": FIRST_MEDIA_ID + ALBUM_SIZE},
            (15, "Access denied: photo was not found check photo_id param"),
        ),
        (
            "photos.getComments",
            {"owner_id": -BANNED, "photo_id": FIRST_MEDIA_ID},
            (19, "Content blocked"),
        ),
        (
            "board.getComments",
            {"group_id": 1, "topic_id": 0},
            (15, "Access denied: topic was not found check topic_id param"),
        ),
    ],
)
async def test_discussions_that_do_not_exist(
    vk: Vk, method: str, sent: dict[str, object], refusal: tuple[int, str]
) -> None:
    assert await vk.refusal(method, **sent) == refusal


async def test_people_have_no_photos(vk: Vk) -> None:
    persons = [FIRST_PERSON_ID + 3 * number for number in range(6)]
    codes = {(await vk.refusal("photos.getComments", owner_id=person, photo_id=1))[0] for person in persons}
    assert 15 in codes
    assert codes <= {15, 18, 30}


async def test_discussions_do_not_depend_on_earlier_requests(vk: Vk) -> None:
    other = Vk(SMALL)
    async with other.http:
        await vk.answer("photos.getComments", owner_id=OWNER, photo_id=FIRST_MEDIA_ID)
        sent = {"owner_id": OWNER, "video_id": FIRST_MEDIA_ID + 2, "count": 100}
        assert await vk.answer("video.getComments", **sent) == await other.answer("video.getComments", **sent)
        await vk.answer("board.getTopics", group_id=2)
        topics = await vk.answer("board.getTopics", group_id=1, preview=2)
        assert topics == await other.answer("board.getTopics", group_id=1, preview=2)


async def test_photos_of_new_posts() -> None:
    vk = Vk(SimulatorOptions(posts=3, comments=9, rps=0))
    async with vk.http:
        found = set()
        await vk.control(churn={"posts": 2, "limit": 40})
        while (await vk.http.get("/_control")).json()["changes"].get("posts", 0) < 40:
            post = (await vk.answer("wall.get", owner_id=OWNER, count=2))["items"][1]
            for photo in (each["photo"] for each in post["attachments"] if each["type"] == "photo"):
                found.add(photo["id"])
                returned = await vk.answer("photos.getComments", owner_id=OWNER, photo_id=photo["id"])
                assert returned["count"] > 0
        assert len(found) > 1
