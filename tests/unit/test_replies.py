import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_types import JsonObject
from app.vk.replies import broken_facts, read_comment_page, read_groups, read_post_page
from app.vk.wire import read_reply
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkGroup, VkPost, VkPostPage

SAMPLES = Path(__file__).parents[1] / "data" / "vk" / "samples"


def answer(name: str) -> Any:
    return read_reply((SAMPLES / f"vknet/{name}.json").read_bytes(), "any")["response"]


def one_group(item: dict[str, Any]) -> VkGroup:
    [group] = read_groups([item])
    return group


# recorded replies


def test_recorded_comments_with_a_deleted_stub() -> None:
    def comment(comment_id: int, from_id: int | None, date: int, text: str, *, is_deleted: bool = False) -> VkComment:
        return VkComment(-69459624, comment_id, 482121, from_id, date, text, 0, [], None, None, is_deleted, 1)

    assert read_comment_page(answer("Wall_GetComments802"), -69459624, 482121) == VkCommentPage(
        items=[
            comment(482124, 287979664, 1553180396, "Текст 1го комментария"),
            comment(482127, None, 1553180629, "", is_deleted=True),
            comment(482418, 197900038, 1553231537, "Текст 3го комментария"),
        ],
        replies={},
        level_count=3,  # VK returned the two numbers in the opposite order
        authors=[],
        count=6,
    )


def test_recorded_comments_with_likes_and_attachments() -> None:
    photo: JsonObject = {
        "id": 315467755,
        "album_id": -5,
        "owner_id": 3073863,
        "photo_130": "http://cs425830.vk.me/v425830763/48fd/PvqwvqEOG2A.jpg",
        "photo_604": "http://cs425830.vk.me/v425830763/48fe/XhRY9Pmoo70.jpg",
        "photo_75": "http://cs425830.vk.me/v425830763/48fc/iJaRiL3vPfA.jpg",
        "width": 510,
        "height": 383,
        "text": "",
        "date": 1385101231,
        "access_key": "ade2532c6a39c12be6",
    }
    first = "Поздравляю вас!!!<br>Растите здоровыми, счастливыми и красивыми!"
    second = "C днем рождения малышку и родителей!!!"
    attachments: list[JsonObject] = [{"type": "photo", "photo": photo}]
    assert read_comment_page(answer("Wall_GetComments_ReturnLikesAndAttachments"), -1, 2) == VkCommentPage(
        items=[
            VkComment(-1, 3809, 2, 6733856, 1385099144, first, 1, [], None, None, is_deleted=False),
            VkComment(-1, 3810, 2, 3073863, 1385101266, second, 1, attachments, None, None, is_deleted=False),
        ],
        replies={},
        level_count=None,
        authors=[],
        count=2,
    )


def test_recorded_comments_of_a_video() -> None:
    page = read_comment_page(answer("Video_GetComments_WithLikes"), -1, 2)
    assert [(item.id, item.from_id, item.likes) for item in page.items] == [(14715, 24758120, 5), (14716, 94278436, 77)]
    assert page.items[0].text == "паша здаров!"


def test_a_recorded_reply_to_a_comment() -> None:
    page = read_comment_page(answer("Wall_GetComment_ReturnCorrectResults"), -1, 2)
    assert page.authors == [VkAuthor(233754083, "Dmitry Sergeev")]
    [item] = page.items
    assert item.text.startswith("[id6099|Дмитрий], я не хочу даже сейчас спорить есть ли и какое «взаимодействие»")
    assert item == VkComment(
        -1, 73674, 2, 233754083, 1534927387, item.text, 0, [], None, reply_to_id=73673, is_deleted=False
    )


def test_a_recorded_wall() -> None:
    assert read_post_page(answer("Wall_Get_ExtendedVersion_GenerateOutParametersCorrectly")) == VkPostPage(
        count=42,
        items=[VkPost(10, 41, 10, 1394002266, "", 1, 0, None, 0, is_pinned=False, attachments=[])],
        authors=[
            VkAuthor(10, "Иван Иванов"),
            VkAuthor(
                -29246653,
                "Корпорация Зла",
                "evil_incorparate",
                "http://cs409529.vk.me/v409529400/98cd/xHrEeHMSXQQ.jpg",
            ),
        ],
    )


def test_a_recorded_wall_without_authors() -> None:
    post = VkPost(-103292418, 3, -103292418, 1447252575, "Тест", 0, 0, None, 0, is_pinned=False, attachments=[])
    assert read_post_page(answer("Wall_Get_WithPoll_NormalCase")) == VkPostPage(count=2, items=[post], authors=[])


def test_a_recorded_post_by_id() -> None:
    page = read_post_page(answer("Wall_GetById_Donut"))
    assert page.items == [
        VkPost(-322, 123, -322, 1605698519, "В этом посте нет доната", 0, 0, 9, 0, is_pinned=False, attachments=[])
    ]
    assert page.count is None
    assert [(author.id, author.name, author.screen_name) for author in page.authors] == [(-322, "Группа ВК", "xxx")]
    assert page.authors[0].photo_url
    assert "size=200x0" in page.authors[0].photo_url


def test_groups_of_new_and_old_versions() -> None:
    item = {
        "id": 1,
        "name": "ВКонтакте API",
        "screen_name": "apiclub",
        "description": "О нас",
        "members_count": 5,
        "is_closed": 2,
        "deactivated": "banned",
        "photo_50": "50",
        "photo_100": "100",
    }
    group = VkGroup(1, "apiclub", "ВКонтакте API", "О нас", 5, is_closed=True, deactivated="banned", photo_url="100")
    assert read_groups({"groups": [item], "profiles": []}) == read_groups([item]) == [group]


def test_a_group_with_nothing_but_an_id() -> None:
    assert one_group({"id": 5, "description": ""}) == VkGroup(5, "club5", "club5")
    assert one_group({"id": 5, "screen_name": "five"}) == VkGroup(5, "five", "five")


def test_posts_of_old_versions_are_a_bare_list() -> None:
    item = {"id": 2, "owner_id": -1, "date": 3, "is_pinned": 1, "views": None, "comments": {"count": 7}}
    post = VkPost(-1, 2, None, 3, "", 0, 0, None, 7, is_pinned=True, attachments=[])
    assert read_post_page([item]) == VkPostPage(count=None, items=[post], authors=[])


def test_comments_with_threads_and_authors() -> None:
    reply = {"id": 4, "from_id": -5, "date": 9, "text": "да", "parents_stack": [3], "reply_to_comment": 3}
    top = {"id": 3, "from_id": 6, "date": 8, "text": "?", "likes": {"count": 2}, "parents_stack": []}
    thread = {"count": 11, "items": [reply]}
    read = read_comment_page(
        {
            "count": 12,
            "current_level_count": 1,
            "items": [top | {"thread": thread}],
            "profiles": [
                {"id": 6, "first_name": "Анна", "last_name": "", "screen_name": "anna", "photo_50": "p"},
                {"id": 7, "first_name": "DELETED", "last_name": "", "deactivated": "deleted"},
            ],
            "groups": [{"id": 5, "name": "Пять", "screen_name": "five"}],
        },
        -1,
        2,
    )
    assert read == VkCommentPage(
        items=[VkComment(-1, 3, 2, 6, 8, "?", 2, [], None, None, is_deleted=False, thread_count=11)],
        replies={3: [VkComment(-1, 4, 2, -5, 9, "да", 0, [], 3, 3, is_deleted=False)]},
        level_count=1,
        authors=[
            VkAuthor(6, "Анна", "anna", "p"),
            VkAuthor(7, "DELETED", deactivated="deleted"),
            VkAuthor(-5, "Пять", "five"),
        ],
        count=12,
    )


def test_no_authors() -> None:
    assert read_comment_page({"items": [], "profiles": None, "groups": []}, -1, 2).authors == []


# values that cannot be parsed, or have another notation


COMMENT = {"id": 3, "from_id": 6, "date": 8, "text": "?", "likes": {"count": 2}, "thread": {"count": 0, "items": []}}
POST = {"id": 2, "owner_id": -1, "date": 3, "text": "!", "comments": {"count": 7}}
OTHER = {"id": 4, "from_id": 6, "date": 9, "text": "other"}


def comments_of(*items: Any) -> VkCommentPage:
    return read_comment_page({"count": len(items), "current_level_count": len(items), "items": list(items)}, -1, 2)


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"id": None}, "items.0.id", "Expected `int`, got `null`"),
        ({"id": "x"}, "items.0.id", "Expected `int`, got `str`"),
        ({"id": True}, "items.0.id", "Expected `int`, got `bool`"),
        ({"id": 2.5}, "items.0.id", "Expected `int`, got `float`"),
        ({"id": 0}, "items.0.id", "Expected `int` >= 1"),
        ({"id": 2**63}, "items.0.id", "Expected `int` <= 9223372036854775807"),
        ({"from_id": "me"}, "items.0.from_id", "Expected `int | null`, got `str`"),
        ({"date": None}, "items.0.date", "Expected `int`, got `null`"),
        ({"date": ""}, "items.0", "Object missing required field `date`"),
        ({"date": "yesterday"}, "items.0.date", "Expected `int`, got `str`"),
        ({"date": 2**40}, "items.0.date", "Expected `int` <= 253402300799"),
        ({"date": -1}, "items.0.date", "Expected `int` >= 0"),
        ({"date": 1e400}, "items.0.date", "Expected `int`, got `float`"),
        ({"text": ["?"]}, "items.0.text", "Expected `str | null`, got `array`"),
        ({"text": "x" * 200_001}, "items.0.text", "Expected `str` of length <= 200000"),
        ({"likes": 5}, "items.0.likes", "Expected `object | null`, got `int`"),
        ({"likes": {"count": -1}}, "items.0.likes.count", "Expected `int` >= 0"),
        ({"likes": {"count": []}}, "items.0.likes.count", "Expected `int | null`, got `array`"),
        ({"attachments": "none"}, "items.0.attachments", "Expected `array | null`, got `str`"),
        ({"attachments": [None]}, "items.0.attachments.0", "Expected `object`, got `null`"),
        ({"parents_stack": 5}, "items.0.parents_stack", "Expected `array | null`, got `int`"),
        ({"parents_stack": [None]}, "items.0.parents_stack.0", "Expected `int`, got `null`"),
        ({"reply_to_comment": {"id": 1}}, "items.0.reply_to_comment", "Expected `int | null`, got `object`"),
    ],
)
def test_a_broken_comment_does_not_affect_others(change: dict[str, Any], path: str, reason: str) -> None:
    page = comments_of(COMMENT | change, OTHER)
    assert [comment.id for comment in page.items] == [4]
    assert page.broken == [VkBrokenItem(path, reason)]
    assert (page.shown, page.left_out) == (2, 1)


@pytest.mark.parametrize(("item", "kind"), [(None, "null"), (1, "int"), ("x", "str"), ([], "array")])
def test_an_item_that_is_not_an_object(item: object, kind: str) -> None:
    reason = f"Expected `object`, got `{kind}`"
    page = comments_of(item, OTHER)
    assert (len(page.items), page.broken) == (1, [VkBrokenItem("items.0", reason)])
    inside = comments_of(COMMENT | {"thread": {"count": 2, "items": [item, OTHER]}})
    assert [reply.id for reply in inside.replies[3]] == [4]
    assert inside.broken == [VkBrokenItem("items.0.thread.items.0", reason)]
    assert inside.left_out == 0
    people = read_comment_page({"items": [OTHER], "profiles": [item, {"id": 6}], "groups": [item, {"id": 5}]}, -1, 2)
    assert [author.id for author in people.authors] == [6, -5]
    assert [each.path for each in people.broken] == ["profiles.0", "groups.0"]
    posts = read_post_page({"count": 2, "items": [item, POST]})
    assert ([post.id for post in posts.items], posts.shown) == ([2], 2)
    assert read_groups([item, {"id": 5}]) == [VkGroup(5, "club5", "club5")]


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"id": "3"}, "id", 3),
        ({"date": "8"}, "date", 8),
        ({"date": 8.0}, "date", 8),
        ({"text": 12.5}, "text", "12.5"),
        ({"text": 7}, "text", "7"),
        ({"likes": {"count": "2"}}, "likes", 2),
        ({"likes": {"count": 2**31}}, "likes", 2**31),
        ({"likes": None}, "likes", 0),
        ({"attachments": None}, "attachments", []),
        ({"attachments": False}, "attachments", []),
        ({"likes": []}, "likes", 0),
        ({"reply_to_comment": {}}, "reply_to_id", None),
        ({"parents_stack": ["9"]}, "thread_id", 9),
        ({"thread": None}, "thread_count", None),
        ({"thread": {"count": "many"}}, "thread_count", None),
        ({"thread": {"count": "5"}}, "thread_count", 5),
    ],
)
def test_values_in_another_notation(change: dict[str, Any], field: str, value: object) -> None:
    page = comments_of(COMMENT | change)
    assert page.broken == []
    assert getattr(page.items[0], field) == value


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"owner_id": None}, "owner_id"),
        ({"id": {"id": 1}}, "id"),
        ({"date": 2**40}, "date"),
        ({"views": {"count": 2**53}}, "views.count"),
        ({"comments": 7}, "comments"),
        ({"from_id": "nobody"}, "from_id"),
    ],
)
def test_a_broken_post(change: dict[str, Any], path: str) -> None:
    page = read_post_page({"count": 2, "items": [POST | change, POST]})
    assert [post.comments for post in page.items] == [7]
    assert [each.path for each in page.broken] == [f"items.0.{path}"]


def test_an_unusable_count_is_ignored() -> None:
    assert read_post_page({"count": "all", "items": []}).count is None
    page = read_comment_page({"count": -5, "current_level_count": "?", "items": []}, -1, 2)
    assert (page.count, page.level_count) == (None, None)


def test_a_level_is_not_larger_than_its_post() -> None:
    """But a thread may be, because VK does not specify what its page's count refers to."""
    reply = {"items": [], "count": 3, "current_level_count": 6}
    assert read_comment_page(reply, -1, 2).level_count == 3
    assert read_comment_page(reply, -1, 2, 5).level_count == 6


@pytest.mark.parametrize("answered", [None, 1, "x", [], [{"id": 1}]], ids=str)
def test_a_page_of_comments_that_is_not_an_object(answered: Any) -> None:
    with pytest.raises(TypeError, match="the answer is not an object"):
        read_comment_page(answered, -1, 2)


def test_the_facts_of_broken_items_are_limited() -> None:
    broken = [VkBrokenItem(f"items.{number}", "is not an object") for number in range(100)]
    assert broken_facts(broken, 2) == {
        "count": 100,
        "items": [
            {"path": "items.0", "reason": "is not an object"},
            {"path": "items.1", "reason": "is not an object"},
        ],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from([*COMMENT, *POST, "count", "items"]), inside, max_size=4)
    ),
    max_leaves=12,
)


@given(items=st.lists(JSON, max_size=4), profiles=st.lists(JSON, max_size=3) | st.none())
def test_any_item_is_parsed_or_broken(items: list[Any], profiles: list[Any] | None) -> None:
    """Each item is either parsed or broken, and each parsed value fits its column."""
    answered = {"count": 1, "items": items, "profiles": profiles}
    page = read_comment_page(answered, -1, 2)
    assert page.shown == len(items)
    for comment in page.items:
        assert 1 <= comment.id < 2**63
        assert 0 <= comment.date <= 253_402_300_799
        assert 0 <= comment.likes < 2**53
        json.dumps(comment.attachments)
    posts = read_post_page(answered)
    assert posts.shown == len(items)
    assert all(abs(post.owner_id) < 2**63 for post in posts.items)
