from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatorOptions
from simulator.churn import Churn
from simulator.history import history_json
from simulator.options import CHURN_KINDS, ChurnRates
from simulator.world import Wall, World
from tests.simulator.vk import Vk

LIVELY = {
    "comments": 1.5,
    "replies": 1.5,
    "likes": 1,
    "edits": 1,
    "deletions": 1.5,
    "posts": 0.2,
    "post_deletions": 0.1,
}


def exists(facts: dict[str, Any]) -> bool:
    return facts["deleted"] != "gone" and not facts["post_deleted"]


async def changes(vk: Vk) -> dict[str, int]:
    return dict((await vk.http.get("/_control")).json()["changes"])


async def test_changes_between_calls(vk: Vk) -> None:
    await vk.truth()
    before = await vk.history()
    state = await vk.control(churn={"seed": 3, "comments": 2, "replies": 1, "likes": 1, "edits": 1, "deletions": 1})
    assert state["churn"]["replies"] == 1
    assert state["changes"] == dict.fromkeys(CHURN_KINDS, 0)
    for _ in range(30):
        await vk.answer("wall.get", owner_id=-1, count=1)
    made, after = await changes(vk), await vk.history()
    assert made["comments"] + made["replies"] == len(after) - len(before) > 80
    assert sum(len(facts["texts"]) - 1 for facts in after.values()) == made["edits"] > 20
    deleted = sum(facts["deleted"] is not None for facts in after.values())
    assert deleted - sum(facts["deleted"] is not None for facts in before.values()) == made["deletions"] > 20
    likes = sum(after[comment_id]["likes"] - before[comment_id]["likes"] for comment_id in before)
    assert 0 < likes <= made["likes"]
    assert made["posts"] == made["post_deletions"] == 0


async def test_changes_between_the_calls_of_one_execute(vk: Vk) -> None:
    await vk.truth()
    await vk.control(churn={"comments": 1})
    calls = ",".join(['API.wall.get({"owner_id":-1,"count":100})'] * 20)
    walls = await vk.answer("execute", code=f"return [{calls}];")
    counts = [sum(post["comments"]["count"] for post in wall["items"]) for wall in walls]
    assert counts == [*range(900, 920)]


async def test_a_fraction_is_a_probability(vk: Vk) -> None:
    await vk.truth()
    await vk.control(churn={"likes": 0.5, "comments": 1.25})
    for _ in range(100):
        await vk.answer("wall.get", owner_id=-1, count=0)
    made = await changes(vk)
    assert 35 < made["likes"] < 65
    assert 112 < made["comments"] < 140


async def test_posts_are_added_and_deleted(vk: Vk) -> None:
    await vk.truth()
    await vk.control(churn={"posts": 1})
    counts = [(await vk.answer("wall.get", owner_id=-1, count=0))["count"] for _ in range(5)]
    assert counts == [12, 13, 14, 15, 16]
    newest = (await vk.answer("wall.get", owner_id=-1, count=2, offset=1))["items"][0]
    assert newest["comments"]["count"] == 0
    assert newest["from_id"] == -1
    await vk.control(churn={"post_deletions": 1})
    counts = [(await vk.answer("wall.get", owner_id=-1, count=0))["count"] for _ in range(18)]
    assert counts[:4] == [18, 17, 16, 15]
    assert counts[-1] == 1
    assert (await vk.answer("wall.get", owner_id=-1))["count"] == 0
    assert await vk.answer("wall.get", owner_id=-1) == {"count": 0, "items": []}
    assert all(facts["post_deleted"] for facts in (await vk.history()).values())
    assert len(await vk.history()) == 900


async def test_only_requested_walls_change_and_only_up_to_the_limit(vk: Vk) -> None:
    await vk.control(churn={"comments": 3, "limit": 7})
    await vk.answer("groups.getById", group_id=1)
    assert (await changes(vk))["comments"] == 0
    for _ in range(4):
        await vk.answer("wall.get", owner_id=-1)
    assert (await changes(vk))["comments"] == 7
    assert len(await vk.history(1)) == 907
    assert len(await vk.history(2)) == 900


async def test_churn_ends(vk: Vk) -> None:
    await vk.control(churn={"comments": 1})
    await vk.answer("wall.get", owner_id=-1)
    assert (await vk.control(churn=None))["churn"] is None
    await vk.answer("wall.get", owner_id=-1)
    assert (await changes(vk))["comments"] == 1
    assert (await vk.control(reset=True))["changes"]["comments"] == 0


async def test_rejected_calls_count(vk: Vk) -> None:
    await vk.truth()
    await vk.control(churn={"comments": 1})
    await vk.refusal("wall.getComments", owner_id=-1, post_id=0)
    await vk.refusal("wall.nothing")
    assert (await changes(vk))["comments"] == 1


async def test_an_edit_changes_the_text(vk: Vk) -> None:
    await vk.truth()
    await vk.control(churn={"edits": 4})
    for _ in range(20):
        await vk.answer("wall.get", owner_id=-1, count=1)
    await vk.control(churn=None)
    edited = {key: facts for key, facts in (await vk.history()).items() if len(facts["texts"]) > 1 and exists(facts)}
    assert len(edited) > 40
    for comment_id, facts in edited.items():
        assert facts["texts"][-1] == facts["text"]
        assert all(one != other for one, other in zip(facts["texts"], facts["texts"][1:], strict=False))
        top = facts["thread_id"] or comment_id
        page = await vk.comments(facts["post_id"], start_comment_id=top, count=1, thread_items_count=10)
        shown = {each["id"]: each for each in (*page["items"], *page["items"][0]["thread"]["items"])}
        if comment_id in shown:
            assert shown[comment_id]["text"] == facts["text"]


async def test_a_stub_vanishes_with_its_last_reply(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    (top,) = (await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 1}))["added"]
    order = {"group_id": 1, "post_id": post_id, "count": 2, "reply_to": top}
    first, last = (await vk.control(add_comments=order))["added"]
    states = []
    for comment_id in (top, first, last):
        await vk.control(delete_comment={"group_id": 1, "comment_id": comment_id})
        history = await vk.history()
        states.append(tuple(history[each]["deleted"] for each in (top, first, last)))
    assert states == [("stub", None, None), ("stub", "gone", None), ("gone", "gone", "gone")]
    assert top not in (await vk.truth())[post_id]
    assert (await vk.history())[last]["thread_id"] == top


async def test_the_history_equals_the_answers(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    top = next(item["id"] for item in (await vk.comments(post_id, count=100))["items"] if item["thread"]["count"])
    await vk.control(delete_comment={"group_id": 1, "comment_id": top})
    history = await vk.history()
    assert sorted(history) == list(history)
    page = await vk.comments(post_id, count=100, need_likes=1, thread_items_count=10)
    shown = [*page["items"], *(reply for top in page["items"] for reply in top["thread"]["items"])]
    assert any("deleted" in item for item in shown)
    for item in shown:
        facts = history[item["id"]]
        if "deleted" in item:
            assert (facts["deleted"], facts["date"]) == ("stub", item["date"])
            continue
        assert facts == {
            "post_id": post_id,
            "from_id": item["from_id"],
            "date": item["date"],
            "text": item["text"],
            "likes": item["likes"]["count"],
            "thread_id": (item["parents_stack"] or [None])[0],
            "reply_to_id": item.get("reply_to_comment"),
            "texts": [item["text"]],
            "deleted": None,
            "post_deleted": False,
            "hidden": False,
        }
    assert (await vk.http.get("/_history/9")).status_code == 404


async def test_churn_by_option() -> None:
    vk = Vk(SimulatorOptions(posts=3, comments=30, rps=0, churn=ChurnRates(comments=1, limit=2)))
    async with vk.http:
        state = (await vk.http.get("/_control")).json()
        assert state["churn"] == state["options"]["churn"]
        for _ in range(4):
            await vk.answer("wall.get", owner_id=-1)
        assert len(await vk.history()) == 32


@pytest.mark.parametrize("name", [*CHURN_KINDS, "limit"])
def test_negative_rates_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ChurnRates(**{name: -1})


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (1, "churn is not an object"),
        ({"speed": 1}, "churn has no speed; valid names: comments, "),
        ({"comments": -1}, "comments is not a number of 0 or more"),
        ({"edits": "many"}, "edits is not a number"),
        ({"limit": 1.5}, "limit of churn is not a whole number"),
        ({"seed": 0.5}, "seed of churn is not a whole number"),
    ],
)
async def test_invalid_churn(vk: Vk, order: object, words: str) -> None:
    answer = await vk.http.post("/_control", json={"churn": order})
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def walls_after(rates: ChurnRates, calls: int, options: SimulatorOptions, group_ids: tuple[int, ...]) -> list[Wall]:
    world = World(options)
    walls = [wall for group_id in group_ids if (wall := world.wall(group_id))]
    churn = Churn(world, rates)
    for _ in range(calls):
        churn.pass_call()
    return walls


def test_equal_seeds_make_equal_changes_and_others_do_not() -> None:
    def after(seed: int) -> list[object]:
        rates = ChurnRates(**{**LIVELY, "seed": seed})  # type: ignore[arg-type] # values are those of the fields
        return [history_json(wall) for wall in walls_after(rates, 50, SimulatorOptions(posts=4, comments=60), (1,))]

    assert after(1) == after(1)
    assert after(1) != after(2)


RATE = st.sampled_from([0, 0.3, 1, 2.5])
RATES = st.builds(
    ChurnRates,
    seed=st.integers(0, 10_000),
    **dict.fromkeys(CHURN_KINDS[:5], RATE),
    posts=st.sampled_from([0, 0.2]),
    post_deletions=st.sampled_from([0, 0.1]),
    limit=st.sampled_from([5, 1000]),
)  # fmt: skip


@settings(max_examples=60)
@given(rates=RATES, calls=st.integers(0, 60), posts=st.integers(0, 6), comments=st.integers(0, 80))
def test_a_world_stays_consistent_under_any_churn(rates: ChurnRates, calls: int, posts: int, comments: int) -> None:
    for wall in walls_after(rates, calls, SimulatorOptions(groups=2, posts=posts, comments=comments), (1, 2)):
        counted: Counter[int] = Counter(comment.post.id for comment in wall.comments.values())
        for post in wall.posts.values():
            level = [comment.id for comment in post.comments]
            assert level == sorted(level)
            assert post.comment_count == counted[post.id] == len([*post.all_comments()])
        for comment in wall.comments.values():
            replies = [reply.id for reply in comment.replies]
            assert replies == sorted(replies)
            assert replies or not comment.deleted
            assert wall.posts[comment.post.id] is comment.post
            if comment.top is not None:
                assert wall.comments[comment.top.id] is comment.top
                assert comment.top.id < comment.id
                assert comment in comment.top.replies
        history = history_json(wall)
        kept: dict[str, list[int]] = {str(post_id): [] for post_id in wall.posts}
        for comment_id, facts in history.items():
            assert facts["texts"][-1] == facts["text"]
            if exists(facts):
                kept[str(facts["post_id"])].append(int(comment_id))
        assert wall.truth() == kept
        ids = [*wall.posts, *map(int, history)]
        assert len(set(ids)) == len(ids)
        assert max(ids, default=0) <= wall.last_id
