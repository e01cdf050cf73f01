"""Each reply of each method has the shape of VK's schema, whatever is requested."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import SimulatorOptions
from simulator.discussions import FIRST_MEDIA_ID, Discussions
from simulator.errors import MESSAGES
from simulator.methods import METHODS
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID
from simulator.world import World
from tests.simulator.vk import Vk
from tests.vk_schema import VkSchema

OPTIONS = SimulatorOptions(
    groups=2, posts=25, comments=700, rps=0, rich=0.4, donut_share=0.2, closed_posts_share=0.1, day_quotas={}
)
SCHEMA = VkSchema(stubs_allowed=True)
VK = Vk(OPTIONS)

WALL = World(OPTIONS).wall(1)
assert WALL is not None
POSTS = st.sampled_from([*WALL.posts, 0])
COMMENTS_OF_WALL = st.sampled_from([*WALL.comments][::7])
VIDEO = Discussions(World(OPTIONS)).media("video", WALL, FIRST_MEDIA_ID)
assert VIDEO is not None
COUNTS = st.integers(-1, 6)
OFFSETS = st.integers(-3, 40)
FLAGS = st.sampled_from([0, 1])
IDS = st.one_of(POSTS, COMMENTS_OF_WALL)
GUESTS = [-FIRST_GUEST_ID, -FIRST_GUEST_ID - 4, -FIRST_GUEST_ID - 5, -FIRST_GUEST_ID - 6, -FIRST_GUEST_ID - 7]
OWNERS = st.sampled_from([*[-1] * 12, -2, *GUESTS, FIRST_PERSON_ID, 1])
GROUPS = OWNERS.map(abs)
NAMES = st.sampled_from(["club1", "public2", "id1700000000", str(FIRST_PERSON_ID + 6), "1", "club220000008", "x"])
LISTS = st.lists(NAMES, max_size=4).map(",".join)
USER_FIELDS = "sex,city,status,screen_name,photo_200,followers_count,verified,online"
FIELDS = st.sampled_from(["", USER_FIELDS, "members_count,description,activity,city,wall,status," + USER_FIELDS])
TOPICS = st.sampled_from([*Discussions(World(OPTIONS)).board(WALL.community), 0])
MEDIA = st.integers(FIRST_MEDIA_ID - 1, FIRST_MEDIA_ID + 6)
PAGE = {"count": COUNTS, "offset": OFFSETS, "extended": FLAGS, "fields": FIELDS}
COMMENTS = {**PAGE, "need_likes": FLAGS, "start_comment_id": IDS}

# The parameters of each method: required ones, and optional ones.
Asked = tuple[dict[str, st.SearchStrategy[Any]], dict[str, st.SearchStrategy[Any]]]
ASKED: dict[str, Asked] = {
    "board.getTopics": (
        {"group_id": GROUPS},
        {
            **PAGE,
            "topic_ids": st.just("1,x,2,5,700"),
            "order": st.integers(-3, 3),
            "preview": st.integers(0, 3),
            "preview_length": st.integers(0, 99),
        },
    ),
    "board.getComments": (
        {"group_id": GROUPS, "topic_id": TOPICS},
        {**COMMENTS, "sort": st.sampled_from(["asc", "desc", "smart"])},
    ),
    "groups.getById": ({}, {"group_ids": LISTS, "group_id": GROUPS, "fields": FIELDS}),
    "groups.search": (
        {"q": st.sampled_from(["а", "о е", "", "club", "народ"])},
        {
            **PAGE,
            "type": st.sampled_from(["group", "page", "event", "x"]),
            "sort": st.integers(-1, 7),
            "city_id": st.integers(0, 3),
            "market": FLAGS,
            "future": FLAGS,
        },
    ),
    "groups.getMembers": (
        {"group_id": GROUPS},
        {
            "count": COUNTS,
            "offset": st.integers(0, 9000),
            "fields": FIELDS,
            "sort": st.sampled_from(["id_asc", "id_desc", "time_asc"]),
            "filter": st.sampled_from(["friends", "donut", "unsure", "managers"]),
        },
    ),
    "likes.getList": (
        {"type": st.sampled_from(["post", "comment", "photo", "x"]), "owner_id": OWNERS, "item_id": IDS},
        {**PAGE, "filter": st.sampled_from(["likes", "copies"]), "friends_only": st.integers(0, 4), "skip_own": FLAGS},
    ),
    "photos.getComments": (
        {"owner_id": OWNERS, "photo_id": MEDIA},
        {**COMMENTS, "sort": st.sampled_from(["asc", "desc"]), "access_key": st.just("k")},
    ),
    "users.get": ({}, {"user_ids": LISTS, "fields": FIELDS, "name_case": st.sampled_from(["nom", "gen", "x"])}),
    "utils.resolveScreenName": ({"screen_name": NAMES}, {}),
    "video.getComments": (
        {"owner_id": OWNERS, "video_id": MEDIA},
        {
            **COMMENTS,
            "sort": st.sampled_from(["asc", "desc", "interest"]),
            "comment_id": st.sampled_from([comment.id for comment in VIDEO.comments[:4]]),
            "thread_items_count": st.integers(0, 11),
        },
    ),
    "wall.get": ({}, {**PAGE, "owner_id": OWNERS, "domain": NAMES, "filter": st.sampled_from(["all", "owner", "x"])}),
    "wall.getById": (
        {"posts": st.lists(POSTS, max_size=9).map(lambda ids: ",".join(f"-1_{post_id}" for post_id in ids))},
        {"extended": FLAGS, "fields": FIELDS, "copy_history_depth": st.integers(0, 2)},
    ),
    "wall.getComment": ({"owner_id": OWNERS, "comment_id": IDS}, {"extended": FLAGS, "fields": FIELDS}),
    "wall.getComments": (
        {"owner_id": OWNERS, "post_id": POSTS},
        {
            **COMMENTS,
            "sort": st.sampled_from(["asc", "desc", "smart"]),
            "preview_length": st.integers(0, 50),
            "comment_id": IDS,
            "thread_items_count": st.integers(0, 11),
        },
    ),
    "wall.search": (
        {"owner_id": OWNERS, "query": st.sampled_from(["о", "и на", "", "сегодня", "я" * 9001])},
        {**PAGE, "owners_only": FLAGS},
    ),
}


def kind_of(method: str, sent: dict[str, Any]) -> str:
    """Return the kind of a method's reply to these parameters, by its name in the schema."""
    if method == "groups.getMembers":
        return "filterResponse" if sent.get("filter") else "fieldsResponse" if sent.get("fields") else "response"
    extends = method.startswith(("wall.", "board.", "photos.", "video.", "likes."))
    return "extendedResponse" if extends and sent.get("extended") else "response"


def violations(method: str, kind: str, reply: Any) -> list[str]:
    """Return a reply's violations of the schema.

    The items of an extended likes.getList are validated as profiles: the schema says one of profile and community, and
    without the restriction of further properties (see `VkSchema`) a profile counts as both.
    """
    found: list[str] = []
    if method == "likes.getList" and kind == "extendedResponse":
        place = "users/objects.json#/definitions/users_user_full"
        items: Sequence[Any] = reply["response"].pop("items")
        found = [words for item in items for words in SCHEMA.definition_violations(place, item)]
        reply["response"]["items"] = []
    return found + SCHEMA.violations(method, reply, kind)


def test_every_method_is_tested() -> None:
    assert ASKED.keys() == METHODS.keys()


@pytest.mark.parametrize("method", ASKED)
def test_replies_have_the_shape_of_the_schema(method: str) -> None:
    answered = 0

    @settings(max_examples=50)
    @given(sent=st.fixed_dictionaries(ASKED[method][0], optional=ASKED[method][1]))
    def check(sent: dict[str, Any]) -> None:
        nonlocal answered
        reply = runner.run(VK.reply(method, **sent))
        if "error" in reply:
            assert reply["error"]["error_msg"].startswith(MESSAGES[reply["error"]["error_code"]].partition(":")[0])
            return
        answered += 1
        assert violations(method, kind_of(method, sent), reply) == []

    with asyncio.Runner() as runner:
        check()
    assert answered
