"""The possible properties of walls: each by option and by control."""

import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatorOptions
from simulator.attachments import COMMENT_KINDS, POST_KINDS
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID
from simulator.render import CommentForm, post_json
from simulator.strange_texts import LONGEST_TEXT, is_strange, strange_text, with_lone_surrogates
from simulator.world import World
from tests.simulator.vk import Vk
from tests.vk_schema import VkSchema

CLOSED = (15, "Access denied: this wall available only for community members")
STATES = [
    ("members", CLOSED, {"is_closed": 1}),
    ("private", CLOSED, {"is_closed": 2}),
    ("disabled", (15, "Access denied: wall is disabled"), {"is_closed": 0}),
    ("deleted", (15, "Access denied: group was deleted"), {"deactivated": "deleted"}),
    ("banned", (19, "Content blocked"), {"deactivated": "banned"}),
]


async def world(**options: Any) -> AsyncIterator[Vk]:
    made = Vk(SimulatorOptions(**{"posts": 12, "comments": 600, "rps": 0, **options}))
    async with made.http:
        yield made


async def shown(vk: Vk, post_id: int, **parameters: object) -> list[dict[str, Any]]:
    """Return the first hundred comments of a post with the first replies to each."""
    page = await vk.comments(post_id, count=100, thread_items_count=10, **parameters)
    return [each for top in page["items"] for each in (top, *top["thread"]["items"])]


@pytest.mark.parametrize(("state", "refusal", "facts"), STATES)
async def test_walls_that_are_closed_to_readers(state: str, refusal: tuple[int, str], facts: dict[str, object]) -> None:
    async for vk in world(groups=2, walls={1: state}):
        for method in ("wall.get", "wall.getComments"):
            assert await vk.refusal(method, owner_id=-1, post_id=1) == refusal
        group = (await vk.answer("groups.getById", group_id=1))["groups"][0]
        assert group.items() >= facts.items()
        assert (await vk.answer("wall.get", owner_id=-2))["count"] == 12
        returned = (await vk.http.get("/_control")).json()["options"]["walls"]
        assert returned == {"1": state}
        await vk.control(wall={"group_id": 1, "state": "open"})
        assert (await vk.answer("wall.get", owner_id=-1))["count"] == 12
        await vk.control(wall={"group_id": 1, "state": state})
        assert await vk.refusal("wall.get", owner_id=-1) == refusal


async def test_comments_closed_under_all_posts() -> None:
    async for vk in world(walls={1: "comments closed"}):
        posts = (await vk.answer("wall.get", owner_id=-1))["items"]
        assert len(posts) == 12
        assert {(post["comments"]["count"], post["comments"]["can_post"]) for post in posts} == {(0, 0)}
        assert (await vk.refusal("wall.getComments", owner_id=-1, post_id=posts[0]["id"]))[0] == 212
    async for vk in world():
        await vk.control(wall={"group_id": 1, "state": "comments closed"})
        post_id = await vk.fullest_post()
        assert (await vk.refusal("wall.getComments", owner_id=-1, post_id=post_id))[0] == 212
        await vk.control(open_comments={"group_id": 1, "post_id": post_id})
        assert (await vk.comments(post_id))["count"] > 10


async def test_some_posts_with_comments_closed() -> None:
    async for vk in world(posts=40, closed_posts_share=0.5):
        posts = (await vk.answer("wall.get", owner_id=-1, count=100))["items"]
        closed = [post for post in posts if not post["comments"]["can_post"]]
        assert 10 < len(closed) < 30
        assert {post["comments"]["count"] for post in closed} == {0}
        assert sum(post["comments"]["count"] for post in posts) == 600


async def test_the_pinned_post() -> None:
    async for vk in world(pinned=False):
        posts = (await vk.answer("wall.get", owner_id=-1))["items"]
        assert not any("is_pinned" in post for post in posts)
        oldest = posts[-1]["id"]
        for chosen, first in ((oldest, oldest), (posts[3]["id"], posts[3]["id"]), (0, posts[0]["id"])):
            await vk.control(pin_post={"group_id": 1, "post_id": chosen})
            items = (await vk.answer("wall.get", owner_id=-1))["items"]
            assert items[0]["id"] == first
            assert [post["id"] for post in items if "is_pinned" in post] == ([chosen] if chosen else [])


@pytest.mark.parametrize(
    ("options", "biggest", "thread"),
    [
        ({"biggest_post_share": 0.9}, 540, None),
        ({"biggest_post_share": 0.9, "longest_thread": 300}, 540, 300),
        ({"biggest_post_share": 0.5, "longest_thread": 5000}, 300, 299),
        ({"posts": 1, "biggest_post_share": 0.5, "longest_thread": 400}, 600, 400),
        ({"biggest_post_share": 1.0, "longest_thread": 599}, 600, 599),
    ],
)
def test_a_big_post_and_a_long_thread(options: dict[str, Any], biggest: int, thread: int | None) -> None:
    made = SimulatorOptions(**{"posts": 12, "comments": 600, "rps": 0, **options})
    wall = World(made).wall(1)
    assert wall is not None
    assert len(wall.comments) == 600
    post = max(wall.posts.values(), key=lambda each: each.comment_count)
    assert post.comment_count == biggest == len([*post.all_comments()])
    longest = max(post.comments, key=lambda top: len(top.replies))
    if thread is not None:
        assert len(longest.replies) == thread
        if thread > 100:
            assert sum(reply.answers not in {None, longest} for reply in longest.replies) > thread / 2
    for reply in longest.replies:
        assert reply.answers is None or (reply.answers.id < reply.id and reply.answers.date <= reply.date)


async def test_paging_through_a_thread_of_thousands() -> None:
    async for vk in world(posts=3, comments=4_000, biggest_post_share=0.9, longest_thread=3_000):
        post_id = await vk.fullest_post()
        page = (await vk.comments(post_id, count=100))["items"]
        longest = max(page, key=lambda top: top["thread"]["count"])
        assert longest["thread"]["count"] == 3_000
        last = await vk.comments(post_id, comment_id=longest["id"], offset=2_950, count=100)
        assert len(last["items"]) == 50
        assert {reply["parents_stack"][0] for reply in last["items"]} == {longest["id"]}


async def test_chosen_authors(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    order = {"group_id": 1, "post_id": post_id, "count": 2}
    for author in (-2, FIRST_PERSON_ID + 3):
        ids = (await vk.control(add_comments={**order, "from_id": author}))["added"]
        items = (await vk.comments(post_id, start_comment_id=ids[0], count=2))["items"]
        assert [item["from_id"] for item in items] == [author] * 2


async def test_an_author_is_deleted_while_a_client_reads(vk: Vk) -> None:
    person_id = FIRST_PERSON_ID + 3
    post_id = await vk.fullest_post()
    await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 1, "from_id": person_id})

    async def author() -> dict[str, Any]:
        page = await vk.comments(post_id, sort="desc", count=1, extended=1, fields="status")
        return dict(page["profiles"][0])

    before = await author()
    assert before["first_name"] != "DELETED"
    await vk.control(person={"person_id": person_id, "state": "deleted"})
    assert (await author()).items() >= {"first_name": "DELETED", "deactivated": "deleted"}.items()
    await vk.control(person={"person_id": person_id, "state": "banned"})
    assert (await author()).items() >= {"first_name": before["first_name"], "deactivated": "banned"}.items()
    await vk.control(person={"person_id": person_id, "state": ""})
    assert await author() == before


async def test_a_community_that_writes_is_banned_while_a_client_reads(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 1, "from_id": -FIRST_GUEST_ID})
    states = []
    for state in ("open", "banned", "deleted"):
        await vk.control(wall={"group_id": FIRST_GUEST_ID, "state": state})
        page = await vk.comments(post_id, sort="desc", count=1, extended=1)
        states.append(page["groups"][0].get("deactivated"))
    assert states == [None, "banned", "deleted"]


async def test_donut_posts(schema: VkSchema) -> None:
    async for vk in world(donut_share=0.5, rich=0.5):
        reply = await vk.reply("wall.get", owner_id=-1, count=100)
        assert schema.violations("wall.get", reply) == []
        posts = reply["response"]["items"]
        paid = [post for post in posts if post["donut"]["is_donut"]]
        assert 2 < len(paid) < 10
        for post in posts:
            is_paid = post in paid
            assert ("placeholder" in post["donut"]) == ("donut" in post["comments"]) == is_paid
            assert bool(post["text"]) is not is_paid
            assert not (is_paid and post["attachments"])
        post_id = max(paid, key=lambda post: int(post["comments"]["count"]))["id"]
        reply = await vk.reply("wall.getComments", owner_id=-1, post_id=post_id, count=100)
        reply["response"]["items"] = [item for item in reply["response"]["items"] if "deleted" not in item]
        assert schema.violations("wall.getComments", reply) == []
        history = await vk.history()
        hidden = 0
        for item in reply["response"]["items"]:
            assert item["text"] == history[item["id"]]["text"]
            if "placeholder" in item["donut"]:
                hidden += 1
                assert item["donut"]["is_don"] is True
                assert (item["text"], "attachments" in item) == ("", False)
        assert 0 < hidden < len(reply["response"]["items"])


async def test_a_post_is_restricted_to_donuts_and_opened_again(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    before = await vk.history()
    await vk.control(donut_post={"group_id": 1, "post_id": post_id})
    hidden = [item["id"] for item in await shown(vk, post_id) if "placeholder" in item.get("donut", {})]
    assert len(hidden) > 20
    during = await vk.history()
    for comment_id in hidden:
        text = before[comment_id]["text"]
        assert during[comment_id]["texts"] == ([text, ""] if text else [""])
    await vk.control(edit_comment={"group_id": 1, "comment_id": hidden[0], "text": "видно позже"})
    assert (await vk.history())[hidden[0]]["text"] == ""
    await vk.control(donut_post={"group_id": 1, "post_id": post_id, "donut": False})
    after = await vk.history()
    assert after[hidden[0]]["text"] == "видно позже"
    assert all(after[each]["text"] == before[each]["text"] for each in hidden[1:])
    assert not any("donut" in item for item in await shown(vk, post_id))


async def test_attachments_of_all_kinds(schema: VkSchema, schema_with_stubs: VkSchema) -> None:
    definition = "wall/objects.json#/definitions/wall_comment_attachment"
    async for vk in world(posts=60, comments=500, rich=1.0):
        reply = await vk.reply("wall.get", owner_id=-1, count=100)
        assert schema.violations("wall.get", reply) == []
        on_posts = {each["type"] for post in reply["response"]["items"] for each in post["attachments"]}
        assert on_posts == set(POST_KINDS)
        items = []
        for post in reply["response"]["items"]:
            page = await vk.reply("wall.getComments", owner_id=-1, post_id=post["id"], count=100, thread_items_count=10)
            assert schema_with_stubs.violations("wall.getComments", page) == []
            items += [each for top in page["response"]["items"] for each in (top, *top["thread"]["items"])]
        live = [item for item in items if "deleted" not in item]
        assert all(len(item["attachments"]) in {1, 5} for item in live)
        found = [attachment for item in live for attachment in item["attachments"]]
        assert {each["type"] for each in found} == {
            kind.removeprefix("graffiti_").removeprefix("voice_") for kind in COMMENT_KINDS
        } - {"several"}
        assert all(schema.definition_violations(definition, attachment) == [] for attachment in found)
        previews = {kind for each in found if each["type"] == "doc" for kind in each["doc"].get("preview", {})}
        assert previews == {"graffiti", "audio_msg"}
        wordless = [item for item in live if item["attachments"][0]["type"] in {"sticker", "graffiti"}]
        assert wordless
        assert not any(item["text"] for item in wordless)


async def test_an_attachment_that_is_added_and_removed(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    (comment_id,) = (await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 1}))["added"]
    for kind, seen in (("voice_doc", ["doc"]), ("several", ["photo", "photo", "video", "doc", "audio"]), ("", [])):
        await vk.control(attach={"group_id": 1, "comment_id": comment_id, "kind": kind})
        item = (await vk.comments(post_id, start_comment_id=comment_id, count=1))["items"][0]
        assert [each["type"] for each in item.get("attachments", [])] == seen


async def test_posts_added_while_collecting(vk: Vk) -> None:
    added = (await vk.control(add_posts={"group_id": 1, "count": 3}))["added_posts"]
    posts = (await vk.answer("wall.get", owner_id=-1))["items"]
    assert len(posts) == 15
    assert [post["id"] for post in posts[1:4]] == added[::-1]


def test_ids_repeat_across_walls_even_where_everything_differs() -> None:
    options = SimulatorOptions(groups=2, posts=5, comments=100, nasty=0.5, rich=0.5)
    made = World(options)
    first, second = made.wall(1), made.wall(2)
    assert first is not None
    assert second is not None
    assert len(set(first.comments) & set(second.comments)) > 80


async def test_strange_texts_are_encoded_as_by_vk(schema_with_stubs: VkSchema) -> None:
    async for vk in world(posts=20, comments=1_500, nasty=1.0):
        texts: list[str] = []
        raw = b""
        history = await vk.history()
        for post_id in await vk.truth():
            sent = {"access_token": "t", "v": "5.199", "owner_id": "-1", "post_id": str(post_id), "count": "100"}
            reply = await vk.http.post("/method/wall.getComments", data=sent)
            raw += reply.content
            returned = json.loads(reply.content)
            assert schema_with_stubs.violations("wall.getComments", returned) == []
            items = [item for item in returned["response"]["items"] if "deleted" not in item]
            assert all(item["text"] == history[item["id"]]["text"] for item in items)
            texts += [item["text"] for item in items]
        assert max(map(len, texts)) == LONGEST_TEXT
        whole = "\n".join(texts)
        for part in (
            "👨‍👩‍👧‍👦",
            "👍🏽",
            "[id1|",
            "[club2",
            "\u202e",
            "\u0301",
            "\0",
            "\ud83d",
            "\ude00",
            "<script>",
            "\u2028",
            "\r\n",
        ):
            assert part in whole
        assert rb"\ud83d" in raw
        assert rb"\ude00" in raw
        assert rb"\u0000" in raw
        assert "" in {text.strip() for text in texts}
        strange = [post["text"] for post in (await vk.answer("wall.get", owner_id=-1, count=100))["items"]]
    async for vk in world(posts=20, comments=1_500):
        plain = [post["text"] for post in (await vk.answer("wall.get", owner_id=-1, count=100))["items"]]
        assert not set(strange) & set(plain)


def test_strange_texts_are_a_share_and_the_same_by_seed() -> None:
    strange = [seed for seed in range(10_000) if is_strange(seed, 0.2)]
    assert 1_800 < len(strange) < 2_200
    assert not any(is_strange(seed, 0) for seed in range(1_000))
    assert all(is_strange(seed, 1) for seed in range(1_000))
    assert strange_text(7, lambda: "[id1|Я]") == strange_text(7, lambda: "[id1|Я]")
    assert all(len(strange_text(seed, lambda: "[id1|Я]")) <= LONGEST_TEXT for seed in range(300))


def test_only_lone_surrogates_are_replaced() -> None:
    assert with_lone_surrogates("{}ё😀".encode()) == "{}ё😀".encode()
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(with_lone_surrogates('"\ufdd0"'.encode()))
    assert json.loads(with_lone_surrogates('"\ufdd1и\ufdd0"'.encode())) == "\ude00и\ud83d"


@pytest.mark.parametrize("name", ["biggest_post_share", "closed_posts_share", "donut_share", "rich", "nasty"])
def test_shares_above_one_are_rejected(name: str) -> None:
    for value in (-0.1, 1.1):
        with pytest.raises(ValueError, match=name):
            SimulatorOptions(**{name: value})  # type: ignore[arg-type] # invalid values are the subject of the test


def test_a_state_of_an_unknown_community_is_rejected() -> None:
    with pytest.raises(LookupError, match="9"):
        World(SimulatorOptions(walls={9: "open"}))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"wall": {"group_id": 9, "state": "open"}}, "no community has this group_id"),
        ({"wall": {"group_id": 1, "state": "shut"}}, "state is not one of 'open', 'members'"),
        ({"person": {"person_id": 1, "state": "banned"}}, "no person has this person_id"),
        ({"person": {"person_id": FIRST_PERSON_ID, "state": "dead"}}, "state is not one of '', 'deleted', 'banned'"),
        ({"pin_post": {"group_id": 1, "post_id": 9999}}, "the wall has no post with this post_id"),
        ({"attach": {"group_id": 1, "comment_id": 0, "kind": "photo"}}, "no comment with this comment_id"),
        ({"attach": {"group_id": 1, "comment_id": 13, "kind": "bomb"}}, "kind is not one of '', 'photo'"),
        ({"add_posts": {"group_id": 1}}, "count is not a number"),
        ({"add_comments": {"group_id": 1, "post_id": 1, "count": 1, "from_id": 5}}, "no author has this from_id"),
        ({"add_comments": {"group_id": 1, "post_id": 1, "count": 1, "from_id": "x"}}, "no author has this from_id"),
    ],
)
async def test_invalid_commands(vk: Vk, command: dict[str, object], words: str) -> None:
    answer = await vk.http.post("/_control", json=command)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


SHARE = st.sampled_from([0.0, 0.3, 1.0])
OPTIONS = st.builds(
    SimulatorOptions,
    posts=st.integers(0, 6),
    comments=st.integers(0, 60),
    seed=st.integers(0, 10_000),
    biggest_post_share=SHARE,
    longest_thread=st.integers(0, 70),
    closed_posts_share=SHARE,
    donut_share=SHARE,
    rich=SHARE,
    nasty=SHARE,
    pinned=st.booleans(),
    walls=st.sampled_from([{}, {1: "comments closed"}]),
)


@settings(max_examples=60)
@given(options=OPTIONS)
def test_any_world_is_complete_and_valid(schema: VkSchema, options: SimulatorOptions) -> None:
    wall = World(options).wall(1)
    assert wall is not None
    is_open = any(not post.comments_closed for post in wall.posts.values())
    assert len(wall.posts) == options.posts
    assert len(wall.comments) == (options.comments if is_open else 0)
    assert [post.comment_count for post in wall.posts.values()] == [len(ids) for ids in wall.truth().values()]
    assert all(reply.date >= top.date for top in wall.comments.values() for reply in top.replies)
    form = CommentForm(wall, need_likes=True)
    comments = [form.comment(comment) for comment in wall.comments.values() if not comment.deleted]
    posts = [post_json(wall, post) for post in wall.posts.values()]
    for method, items in (("wall.getComments", comments[:25]), ("wall.get", posts)):
        returned = json.loads(with_lone_surrogates(orjson.dumps({"response": {"count": len(items), "items": items}})))
        assert schema.violations(method, returned) == []
        assert len(returned["response"]["items"]) == len(items)
