import pytest

from simulator import DEMO_SCREEN_NAME
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID, Person, Population
from tests.simulator.vk import OWNER, SMALL, Vk

PARAMETER = "One of the parameters specified was missing or invalid: "
MEMBERS, DISABLED, CLOSED, BANNED = (-FIRST_GUEST_ID - number for number in (4, 5, 6, 7))
POPULATION = Population(SMALL)


def first_person(*, deactivated: str = "", is_closed: bool = False) -> Person:
    """Return the first person of this kind."""
    everybody = (POPULATION.person(POPULATION.person_id(number)) for number in range(POPULATION.size))
    return next(
        person for person in everybody if person and (person.deactivated, person.is_closed) == (deactivated, is_closed)
    )


async def all_items(vk: Vk, post_id: int, page: int) -> list[int]:
    """Return all ids of a post, as a careful collector reads them."""
    found: list[int] = []
    offset = 0
    while True:
        answer = await vk.comments(post_id, offset=offset, count=page, thread_items_count=10)
        for top in answer["items"]:
            found += [top["id"], *(reply["id"] for reply in top["thread"]["items"])]
            for start in range(10, top["thread"]["count"], page):
                rest = await vk.comments(post_id, comment_id=top["id"], offset=start, count=page)
                found += [reply["id"] for reply in rest["items"]]
        offset += page
        if offset >= answer["current_level_count"]:
            return found


@pytest.mark.parametrize("page", [7, 100])
async def test_paging_returns_exactly_the_truth(vk: Vk, page: int) -> None:
    truth = await vk.truth()
    assert sum(len(ids) for ids in truth.values()) == 900
    posts = await vk.answer("wall.get", owner_id=OWNER, count=100)
    assert {post["id"]: post["comments"]["count"] for post in posts["items"]} == {
        post_id: len(ids) for post_id, ids in truth.items()
    }
    for post_id, ids in truth.items():
        assert sorted(await all_items(vk, post_id, page)) == ids


async def test_counts_of_levels(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    answer = await vk.comments(post_id, count=100, thread_items_count=3)
    assert answer["count"] == len((await vk.truth())[post_id])
    assert answer["current_level_count"] < answer["count"]
    threads = [item["thread"] for item in answer["items"]]
    assert all(len(thread["items"]) == min(3, thread["count"]) for thread in threads)
    top = max(answer["items"], key=lambda item: item["thread"]["count"])
    thread = await vk.comments(post_id, comment_id=top["id"], count=100)
    assert thread["count"] == thread["current_level_count"] == top["thread"]["count"] > 3
    assert all(reply["parents_stack"] == [top["id"]] and "thread" not in reply for reply in thread["items"])
    assert (await vk.comments(post_id, count=1))["items"][0]["thread"]["items"] == []


async def test_orders_and_offsets(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    ids = [item["id"] for item in (await vk.comments(post_id, count=100))["items"]]
    level = (await vk.comments(post_id, count=0))["current_level_count"]
    assert ids == sorted(ids)
    assert len(ids) == 100
    assert len((await vk.comments(post_id))["items"]) == 10
    assert len((await vk.comments(post_id, count=5000))["items"]) == 100
    assert (await vk.comments(post_id, count=0))["items"] == []

    async def page(**parameters: object) -> list[int]:
        return [item["id"] for item in (await vk.comments(post_id, **parameters))["items"]]

    assert await page(offset=3, count=2) == ids[3:5]
    assert await page(offset=level) == []
    assert await page(offset=-3, count=2) == ids[:2]
    newest = await page(sort="desc", count=100)
    assert newest == sorted(newest, reverse=True)
    assert await page(sort="desc", offset=level - 2) == ids[1::-1]
    smart = (await vk.comments(post_id, sort="smart", count=100, need_likes=1))["items"]
    likes = [item.get("likes", {"count": 0})["count"] for item in smart if "deleted" not in item]
    assert likes == sorted(likes, reverse=True)


async def test_start_comment(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    items = (await vk.comments(post_id, count=100, thread_items_count=1))["items"]
    ids = [item["id"] for item in items]

    async def page(**parameters: object) -> tuple[int, list[int]]:
        answer = await vk.comments(post_id, **parameters)
        return answer["real_offset"], [item["id"] for item in answer["items"]]

    assert await page(start_comment_id=ids[20], count=3) == (20, ids[20:23])
    assert await page(start_comment_id=ids[20], offset=-5, count=3) == (15, ids[15:18])
    assert await page(start_comment_id=ids[2], offset=-5, count=3) == (0, ids[:3])
    assert await page(start_comment_id=ids[20] + 1, count=1) == (21, ids[21:22])
    assert (await page(start_comment_id=ids[20], sort="desc", count=3))[1] == ids[20:17:-1]
    place, top = next((place, item) for place, item in enumerate(items) if item["thread"]["count"])
    reply = top["thread"]["items"][0]["id"]
    assert (await page(start_comment_id=reply, count=1)) == (place, [top["id"]])
    assert (await page(start_comment_id=reply, comment_id=top["id"], count=1)) == (0, [reply])
    smart = (await vk.comments(post_id, sort="smart", count=9))["items"]
    assert (await page(start_comment_id=smart[7]["id"], sort="smart", count=1)) == (7, [smart[7]["id"]])
    assert (await page(start_comment_id=10**9, sort="smart", count=1)) == (0, [smart[0]["id"]])


async def test_a_thread_that_is_gone_is_empty(vk: Vk) -> None:
    first, second = list(await vk.truth())[:2]
    assert (await vk.comments(first, comment_id=10**6))["current_level_count"] == 0
    other = (await vk.comments(second, count=1))["items"][0]["id"]
    assert (await vk.comments(first, comment_id=other))["items"] == []


async def test_texts_are_whole_unless_cut(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    whole = [item.get("text", "") for item in (await vk.comments(post_id, count=100))["items"]]
    cut = [item.get("text", "") for item in (await vk.comments(post_id, count=100, preview_length=20))["items"]]
    assert max(map(len, whole)) > 90
    assert cut == [text if len(text) <= 20 else text[:20] + "..." for text in whole]


async def test_extended_lists_each_author_once(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    answer = await vk.comments(post_id, count=100, thread_items_count=10, extended=1, fields="status,members_count")
    shown = [*answer["items"], *(reply for top in answer["items"] for reply in top["thread"]["items"])]
    authors = {item["from_id"] for item in shown if "deleted" not in item}
    profiles = [profile["id"] for profile in answer["profiles"]]
    groups = [-group["id"] for group in answer["groups"]]
    assert sorted(profiles + groups) == sorted(authors)
    assert OWNER in groups
    assert answer["post_author_id"] == OWNER
    live = [profile for profile in answer["profiles"] if "deactivated" not in profile]
    assert all({"screen_name", "photo_50", "photo_100", "sex", "status"} <= profile.keys() for profile in live)
    assert "members_count" in answer["groups"][0]


async def test_wall_lists_the_pinned_post_first(vk: Vk) -> None:
    answer = await vk.answer("wall.get", owner_id=OWNER)
    ids = [post["id"] for post in answer["items"]]
    assert answer["count"] == len(ids) == 12
    assert ids[1:] == sorted(ids[1:], reverse=True)
    assert ids[0] not in {max(ids), min(ids)}
    assert [post.get("is_pinned") for post in answer["items"]] == [1] + [None] * 11
    assert await vk.answer("wall.get", domain=DEMO_SCREEN_NAME) == answer
    page = await vk.answer("wall.get", owner_id=OWNER, offset=2, count=3)
    assert [post["id"] for post in page["items"]] == ids[2:5]


async def test_wall_filters(vk: Vk) -> None:
    vk = Vk(type(SMALL)(groups=1, posts=30, comments=60, rps=0))
    async with vk.http:
        counts = {
            chosen: (await vk.answer("wall.get", owner_id=OWNER, filter=chosen))["count"]
            for chosen in ("all", "owner", "others", "suggests")
        }
        assert counts == {"all": 30, "owner": 29, "others": 1, "suggests": 0}
        others = await vk.answer("wall.get", owner_id=OWNER, filter="others", extended=1)
        assert others["items"][0]["from_id"] == others["profiles"][0]["id"]
        whole = await vk.answer("wall.get", owner_id=OWNER, count=100, extended=1)
        repost = next(post for post in whole["items"] if "copy_history" in post)
        assert -repost["copy_history"][0]["owner_id"] in {group["id"] for group in whole["groups"]}
        posts = f"{OWNER}_{repost['id']}"
        bare = await vk.answer("wall.getById", posts=posts, copy_history_depth=0)
        assert "copy_history" not in bare["items"][0]


async def test_posts_by_id(vk: Vk) -> None:
    first, second = list(await vk.truth())[:2]
    posts = f"-1_{second}, -1_{first}_key,-1_0,-9_1,x,{MEMBERS}_1,{first_person().id}_1"
    answer = await vk.answer("wall.getById", posts=posts, extended=1)
    assert [post["id"] for post in answer["items"]] == [second, first]
    assert [group["id"] for group in answer["groups"]] == [1]
    assert await vk.answer("wall.getById", posts=f"-1_{first}", v="5.81") == answer["items"][1:]


async def test_posts_found_by_words(vk: Vk) -> None:
    posts = (await vk.answer("wall.get", owner_id=OWNER, count=100))["items"]
    word = max((word for post in posts for word in post["text"].split()), key=len)
    found = await vk.answer("wall.search", owner_id=OWNER, query=f"{word.upper()} {word[:3]}")
    expected = sorted((post["id"] for post in posts if word.casefold() in post["text"].casefold()), reverse=True)
    assert [post["id"] for post in found["items"]] == expected
    assert found["count"] == len(expected)
    both = await vk.answer("wall.search", domain="club1", query=f"{word} никто_так_не_пишет")
    assert both == {"count": 0, "items": []}
    assert await vk.answer("wall.search", owner_id=OWNER) == {"count": 0, "items": []}
    own = await vk.answer("wall.search", owner_id=OWNER, query="а", owners_only=1, count=5, extended=1)
    assert {post["from_id"] for post in own["items"]} == {OWNER}
    rest = await vk.answer("wall.search", owner_id=OWNER, query="а", owners_only=1, offset=5)
    assert len(own["items"]) + len(rest["items"]) == own["count"]
    assert [group["id"] for group in own["groups"]][:1] == [1]
    assert (await vk.refusal("wall.search", owner_id=DISABLED, query="а"))[0] == 15


async def test_one_comment(vk: Vk) -> None:
    items = (await vk.comments(await vk.fullest_post(), count=100, thread_items_count=1, need_likes=1))["items"]
    top = next(item for item in items if item["thread"]["count"] and "deleted" not in item)
    reply = top["thread"].pop("items")[0]
    returned = await vk.answer("wall.getComment", owner_id=OWNER, comment_id=top["id"], extended=1)
    assert returned["items"] == [{**top, "thread": {**top["thread"], "items": []}}]
    assert {author["id"] for author in (*returned["profiles"], *returned["groups"])} == {abs(top["from_id"])}
    assert returned["post_author_id"] == OWNER
    assert (await vk.answer("wall.getComment", owner_id=OWNER, comment_id=reply["id"]))["items"] == [reply]
    missing = (15, "Access denied: comment was not found check comment_id param")
    assert await vk.refusal("wall.getComment", owner_id=OWNER, comment_id=10**6) == missing
    assert await vk.refusal("wall.getComment", owner_id=first_person().id, comment_id=1) == missing
    await vk.control(close_comments={"group_id": 1, "post_id": top["post_id"]})
    assert (await vk.refusal("wall.getComment", owner_id=OWNER, comment_id=top["id"]))[0] == 212


async def test_groups_by_id_and_name(vk: Vk) -> None:
    answer = await vk.answer(
        "groups.getById", group_ids=f"{DEMO_SCREEN_NAME},club2,public1,77", fields="members_count,description"
    )
    assert [group["id"] for group in answer["groups"]] == [1, 2, 1]
    assert answer["profiles"] == []
    assert answer["groups"][0]["members_count"] > 0
    old = await vk.answer("groups.getById", group_id=1, v="5.92")
    assert old[0]["screen_name"] == DEMO_SCREEN_NAME
    banned = await vk.answer("groups.getById", group_id=-BANNED, fields="members_count")
    assert banned["groups"][0]["deactivated"] == "banned"


async def test_users(vk: Vk) -> None:
    live, deleted, banned = first_person(), first_person(deactivated="deleted"), first_person(deactivated="banned")
    sent = f"{live.id},id{deleted.id},{banned.id},{live.id},1"
    answer = await vk.answer("users.get", user_ids=sent, fields="sex,city,photo_200")
    assert [user["id"] for user in answer] == [live.id, deleted.id, banned.id]
    assert (answer[0]["first_name"], answer[0]["last_name"]) == (live.first_name, live.last_name)
    assert (answer[1]["first_name"], answer[1]["deactivated"]) == ("DELETED", "deleted")
    assert (answer[2]["first_name"], answer[2]["deactivated"]) == (banned.first_name, "banned")
    assert {"sex", "city", "photo_200"} <= answer[0].keys()
    assert "screen_name" not in answer[0]


async def test_screen_names(vk: Vk) -> None:
    resolved = await vk.answer("utils.resolveScreenName", screen_name=DEMO_SCREEN_NAME)
    assert resolved == {"type": "page", "object_id": 1, "group_id": 1}
    person = first_person()
    resolved = await vk.answer("utils.resolveScreenName", screen_name=person.screen_name)
    assert resolved == {"type": "user", "object_id": person.id}
    assert await vk.refusal("utils.resolveScreenName", screen_name="nobody_7") == (104, "Not found")


@pytest.mark.parametrize(
    ("owner_id", "refusal"),
    [
        (MEMBERS, (15, "Access denied: this wall available only for community members")),
        (DISABLED, (15, "Access denied: wall is disabled")),
        (BANNED, (19, "Content blocked")),
        (-77, (100, PARAMETER + "owner_id is invalid")),
        (1, (100, PARAMETER + "owner_id is invalid")),
        (first_person(deactivated="deleted").id, (18, "User was deleted or banned")),
        (first_person(is_closed=True).id, (30, "This profile is private")),
    ],
)
async def test_walls_that_are_not_visible(vk: Vk, owner_id: int, refusal: tuple[int, str]) -> None:
    assert await vk.refusal("wall.get", owner_id=owner_id) == refusal
    assert await vk.refusal("wall.getComments", owner_id=owner_id, post_id=1) == refusal


async def test_walls_without_posts(vk: Vk) -> None:
    for owner_id in (first_person().id, -FIRST_GUEST_ID):
        assert await vk.answer("wall.get", owner_id=owner_id) == {"count": 0, "items": []}
        assert (await vk.refusal("wall.getComments", owner_id=owner_id, post_id=1))[0] == 15


async def test_a_post_with_comments_closed(vk: Vk) -> None:
    post = (await vk.answer("wall.get", owner_id=CLOSED))["items"][0]
    assert post["comments"]["can_post"] == 0
    assert await vk.refusal("wall.getComments", owner_id=CLOSED, post_id=post["id"]) == (
        212,
        "Access to post comments denied",
    )


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("wall.get", {}, "owner_id is undefined"),
        ("wall.get", {"owner_id": "x"}, "owner_id not integer"),
        ("wall.get", {"owner_id": "1" * 30}, "owner_id not integer"),
        ("wall.get", {"domain": "nobody"}, "domain is invalid"),
        ("wall.get", {"owner_id": -1, "count": -1}, "count should be greater or equal to 0"),
        ("wall.get", {"owner_id": -1, "offset": -1}, "offset should be greater or equal to 0"),
        ("wall.get", {"owner_id": -1, "filter": "best"}, "filter is invalid"),
        ("wall.getById", {}, "posts is undefined"),
        ("wall.getById", {"posts": ",".join(["-1_1"] * 101)}, "posts should contain less or equal to 100 items"),
        ("wall.getComments", {"post_id": 1}, "owner_id is undefined"),
        ("wall.getComments", {"owner_id": -1}, "post_id is undefined"),
        ("wall.getComments", {"owner_id": -1, "post_id": -1}, "post_id should be greater or equal to 0"),
        ("wall.getComments", {"owner_id": -1, "post_id": 1, "sort": "best"}, "sort is invalid"),
        (
            "wall.getComments",
            {"owner_id": -1, "post_id": 1, "thread_items_count": 11},
            "thread_items_count should be less or equal to 10",
        ),
        ("users.get", {"name_case": "best"}, "name_case is invalid"),
        ("wall.getComment", {"owner_id": -1}, "comment_id is undefined"),
        ("wall.getComment", {"comment_id": 1}, "owner_id is undefined"),
        ("wall.search", {"query": "x"}, "owner_id is undefined"),
        ("wall.search", {"owner_id": -1, "count": -1}, "count should be greater or equal to 0"),
        ("wall.search", {"owner_id": -1, "query": "x" * 9001}, "query should be less or equal to 9000 letters"),
        ("groups.search", {}, "q is undefined"),
        ("groups.search", {"q": "x", "type": "best"}, "type is invalid"),
        ("groups.search", {"q": "x", "sort": 7}, "sort should be less or equal to 6"),
        ("groups.getMembers", {}, "group_id is undefined"),
        ("groups.getMembers", {"group_id": 1, "sort": "best"}, "sort is invalid"),
        ("groups.getMembers", {"group_id": 1, "filter": "best"}, "filter is invalid"),
        ("board.getTopics", {}, "group_id is undefined"),
        ("board.getTopics", {"group_id": -1}, "group_id should be greater or equal to 1"),
        ("board.getTopics", {"group_id": 77}, "group_id is invalid"),
        ("board.getTopics", {"group_id": 1, "order": 3}, "order should be less or equal to 2"),
        ("board.getTopics", {"group_id": 1, "preview": 3}, "preview should be less or equal to 2"),
        (
            "board.getTopics",
            {"group_id": 1, "topic_ids": ",".join("1" * 101)},
            "topic_ids should contain less or equal to 100 items",
        ),
        ("board.getComments", {"group_id": 1}, "topic_id is undefined"),
        ("photos.getComments", {"owner_id": -1}, "photo_id is undefined"),
        ("photos.getComments", {"photo_id": 1}, "owner_id is undefined"),
        ("video.getComments", {"owner_id": -1}, "video_id is undefined"),
        ("likes.getList", {}, "type is undefined"),
        ("likes.getList", {"type": "best"}, "type is invalid"),
        ("likes.getList", {"type": "post", "owner_id": -1}, "item_id is undefined"),
        ("likes.getList", {"type": "post", "item_id": 1}, "owner_id is undefined"),
        ("likes.getList", {"type": "post", "owner_id": -1, "item_id": 0}, "object not found"),
        ("likes.getList", {"type": "comment", "owner_id": 1_700_000_000, "item_id": 1}, "object not found"),
        ("likes.getList", {"type": "post", "filter": "best"}, "filter is invalid"),
        ("users.get", {"user_ids": ",".join(["1"] * 1001)}, "user_ids should contain less or equal to 1000 items"),
        ("groups.getById", {}, "group_id is undefined"),
        ("groups.getById", {"group_ids": "nobody"}, "group_ids is invalid"),
        ("utils.resolveScreenName", {}, "screen_name is undefined"),
    ],
)
async def test_invalid_parameters(vk: Vk, method: str, parameters: dict[str, object], words: str) -> None:
    assert await vk.refusal(method, **parameters) == (100, PARAMETER + words)


async def test_ids_that_do_not_exist(vk: Vk) -> None:
    assert await vk.refusal("users.get", user_ids=f"1,{FIRST_PERSON_ID + 1},,durov_x") == (113, "Invalid user id")
