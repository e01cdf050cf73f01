"""Answers that contradict themselves or contain values that VK's schema does not allow, and hidden content."""

from typing import Any

import pytest

from simulator.contradictions import CHANGES, contradicted
from tests.simulator.vk import OWNER, Vk


async def changed(vk: Vk, change: str) -> tuple[Any, Any]:
    """Return a page of comments, unchanged and changed."""
    post_id = await vk.fullest_post()
    parameters = {"count": 100, "thread_items_count": 10, "extended": 1, "need_likes": 1}
    right = await vk.comments(post_id, **parameters)
    await vk.control(faults=[{"kind": "answer", "change": change, "method": "wall.getComments"}])
    return right, await vk.comments(post_id, **parameters)


@pytest.mark.parametrize("change", CHANGES)
async def test_each_change_is_made_once(vk: Vk, change: str) -> None:
    right, wrong = await changed(vk, change)
    assert wrong != right
    assert (
        await vk.comments(await vk.fullest_post(), count=100, thread_items_count=10, extended=1, need_likes=1) == right
    )
    assert (await vk.control())["played"] == {f"answer {change}": 1}


@pytest.mark.parametrize("change", ["no items", "no level", "half of the items"])
async def test_fewer_items_than_stated(vk: Vk, change: str) -> None:
    right, wrong = await changed(vk, change)
    assert len(wrong["items"]) < len(right["items"])
    assert wrong["count"] == right["count"]


async def test_an_answer_inside_execute(vk: Vk) -> None:
    await vk.control(faults=[{"kind": "answer", "change": "no items", "inner": True, "times": 2}])
    call = f'API.wall.get({{"owner_id":{OWNER},"count":5}})'
    answers = await vk.answer("execute", code=f"return [{call},{call},{call}];")
    assert [len(answer["items"]) for answer in answers] == [0, 0, 5]
    assert {answer["count"] for answer in answers} == {12}


async def test_only_calls_with_these_parameters(vk: Vk) -> None:
    fault = {"kind": "answer", "change": "no items", "method": "wall.get", "where": {"owner_id": str(OWNER)}}
    await vk.control(faults=[{**fault, "from_offset": 5, "times": 100}])
    pages = [
        await vk.answer("wall.get", owner_id=owner, offset=offset) for owner, offset in ((-1, 4), (-1, 5), (-2, 5))
    ]
    assert [bool(page["items"]) for page in pages] == [True, False, True]


def test_other_answers_are_unchanged() -> None:
    answers: list[Any] = [1, [{"items": []}], {"count": 3}, {"items": "none"}]
    for answer in answers:
        assert contradicted(answer, "null items") is answer
    assert contradicted({"items": [], "profiles": []}, "nulls among authors") == {"items": [], "profiles": []}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "answer"}, "change is required for the kind answer and invalid for others"),
        ({"change": "no items"}, "change is required for the kind answer and invalid for others"),
        ({"kind": "answer", "change": "anything"}, "change of a fault cannot be anything"),
        ({"kind": "answer", "change": "no items", "where": {"a": 1}}, "where of a fault cannot be {'a': 1}"),
        ({"kind": "reset", "inner": True}, "inner is valid for the kinds error and answer, not for reset"),
        ({"kind": "reset", "message": "x"}, "message is valid for the kind error, not for reset"),
    ],
)
async def test_invalid_faults_of_answers(vk: Vk, fault: dict[str, Any], reason: str) -> None:
    reply = await vk.http.post("/_control", json={"faults": [fault]})
    assert (reply.status_code, reply.json()) == (400, {"error": reason})


# hidden content


async def hidden(vk: Vk) -> set[int]:
    return {comment_id for comment_id, facts in (await vk.history()).items() if facts["hidden"]}


async def test_hidden_content_is_neither_shown_nor_counted_until_it_is_shown_again(vk: Vk) -> None:
    before = await vk.truth()
    post_id = await vk.fullest_post()
    page = await vk.comments(post_id, count=100, thread_items_count=10)
    top = max(page["items"], key=lambda item: item["thread"]["count"])
    reply = top["thread"]["items"][0]
    other = next(key for key in before if key != post_id and before[key])
    await vk.control(hide={"group_id": 1, "comment_ids": [top["id"], reply["id"]], "post_ids": [other]})
    after = await vk.truth()
    assert other not in after
    gone = set(before[post_id]) - set(after[post_id])
    assert len(gone) == 1 + top["thread"]["count"]
    assert {top["id"], reply["id"]} <= gone
    assert (await vk.comments(post_id))["count"] == page["count"] - len(gone)
    assert await hidden(vk) == gone | set(before[other])
    await vk.control(show_hidden={"group_id": 1})
    assert await vk.truth() == before
    assert await vk.comments(post_id, count=100, thread_items_count=10) == page
    assert await hidden(vk) == set()


async def test_a_comment_that_is_hidden_before_its_post_is_shown_again_with_it(vk: Vk) -> None:
    before = await vk.truth()
    post_id = await vk.fullest_post()
    page = await vk.comments(post_id, count=100, thread_items_count=10)
    hidden_one = {"group_id": 1, "comment_ids": [page["items"][-1]["id"]]}
    for _ in range(2):
        await vk.control(hide=hidden_one)
        await vk.control(hide={"group_id": 1, "post_ids": [post_id]})
        await vk.control(show_hidden={"group_id": 1})
        assert await vk.truth() == before
        assert await vk.comments(post_id, count=100, thread_items_count=10) == page


async def test_a_reply_whose_top_comment_was_deleted_meanwhile_is_gone(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    page = await vk.comments(post_id, count=100, thread_items_count=10)
    top = next(item for item in page["items"] if item["thread"]["count"] == 1 and not item.get("deleted"))
    [reply] = top["thread"]["items"]
    await vk.control(hide={"group_id": 1, "comment_ids": [reply["id"]]})
    await vk.control(delete_comment={"group_id": 1, "comment_id": top["id"]}, show_hidden={"group_id": 1})
    assert {top["id"], reply["id"]} & set((await vk.truth())[post_id]) == set()
    assert (await vk.history())[reply["id"]]["deleted"] == "gone"


@pytest.mark.parametrize("name", ["comment_ids", "post_ids"])
async def test_hiding_requires_lists(vk: Vk, name: str) -> None:
    reply = await vk.http.post("/_control", json={"hide": {"group_id": 1, name: 5}})
    assert (reply.status_code, reply.json()) == (400, {"error": f"{name} is not a list"})
