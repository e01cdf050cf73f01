"""Parses VK's replies into typed values and checks them against the limits of PostgreSQL and Python; pure functions.

VK does not always send the types of its schema. An unusable value makes its item
a `VkBrokenItem`; the rest of the page is still read. An integer may also be
a string of digits, a text may be a number, and an empty value of any type means none.

Sources: VK API schema 5.199, recorded replies under tests/data/vk.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from app.json_types import JsonValue
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkGroup, VkPost, VkPostPage

LARGEST_ID: Final = 2**63 - 1
LARGEST_COUNT: Final = 2**53 - 1
"""The largest number that JSON clients read exactly."""
LATEST_DATE: Final = 253_402_300_799
"""The last second of the year 9999, where Python's calendar ends."""
LONGEST_TEXT: Final = 200_000
"""In characters. VK's own limit is 16,000; PostgreSQL cannot index a text of more than a megabyte."""
LONGEST_NAME: Final = 1_000
LONGEST_SCREEN_NAME: Final = 200


# the models of items, as VK sends them

Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
OwnerId = Annotated[int, Meta(ge=-LARGEST_ID, le=LARGEST_ID)]
Date = Annotated[int, Meta(ge=0, le=LATEST_DATE)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Name = Annotated[str, Meta(max_length=LONGEST_NAME)]
Attachment = dict[str, Any]  # any JSON: it is stored as VK sends it
ScreenName = Annotated[str, Meta(max_length=LONGEST_SCREEN_NAME)]


class _Counter(Struct):
    count: Count | None = None


class _Photos(Struct):
    photo_200: Text | None = None
    photo_100: Text | None = None
    photo_50: Text | None = None

    @property
    def photo_url(self) -> str | None:
        return self.photo_200 or self.photo_100 or self.photo_50 or None


class _Group(_Photos, kw_only=True):
    """A community. `is_closed` is 0 open, 1 closed, 2 private."""

    id: Id
    screen_name: ScreenName | None = None
    name: Name | None = None
    description: Text | None = None
    members_count: Count | None = None
    is_closed: object = None
    deactivated: Name | None = None


class _Person(_Photos, kw_only=True):
    id: Id
    first_name: Name | None = None
    last_name: Name | None = None
    screen_name: ScreenName | None = None
    deactivated: Name | None = None


class _Post(Struct, kw_only=True):
    owner_id: OwnerId
    id: Id
    from_id: OwnerId | None = None
    date: Date
    text: Text | None = None
    likes: _Counter | None = None
    reposts: _Counter | None = None
    views: _Counter | None = None
    comments: _Counter | None = None
    is_pinned: object = None
    attachments: list[Attachment] | None = None


class _Comment(Struct, kw_only=True):
    """A comment. A stub of a deleted one has neither from_id nor text (vknet/vk#802)."""

    id: Id
    from_id: OwnerId | None = None
    date: Date
    text: Text | None = None
    likes: _Counter | None = None
    attachments: list[Attachment] | None = None
    parents_stack: list[Id] | None = None
    reply_to_comment: Annotated[int, Meta(ge=0, le=LARGEST_ID)] | None = None
    deleted: object = None
    thread: object = None


Item = TypeVar("Item", bound=Struct)
_TEXTS: Final = ("text", "name", "screen_name", "description", "first_name", "last_name", "deactivated")


# reading answers


def read_groups(answer: JsonValue) -> list[VkGroup]:
    """Read the answer of groups.getById: an object since about 5.139, a list before. Broken items are skipped."""
    page = answer if isinstance(answer, dict) else {"groups": answer}
    return [_group(item) for _, item in _items(_list_of(page, "groups"), "groups", _Group, [])]


def read_post_page(answer: JsonValue) -> VkPostPage:
    """Read the answer of wall.get or wall.getById; `count` is None if VK does not state it, as in getById."""
    page = answer if isinstance(answer, dict) else {"items": answer}
    broken: list[VkBrokenItem] = []
    items = _list_of(page, "items")
    posts = [_post(item) for _, item in _items(items, "items", _Post, broken)]
    authors = _authors(page, broken)
    return VkPostPage(_stated(page, "count"), posts, authors, len(items) - len(posts), broken)


def read_comment_page(answer: JsonValue, owner_id: int, post_id: int, thread_id: int | None = None) -> VkCommentPage:
    """Read the answer of wall.getComments for a post, or for one of its threads (`thread_id`).

    The ids of wall, post and thread are parameters because deleted stubs do not contain them.
    """
    if not isinstance(answer, dict):
        raise TypeError("the answer is not an object")
    broken: list[VkBrokenItem] = []
    comments: list[VkComment] = []
    replies: dict[int, list[VkComment]] = {}
    items = _list_of(answer, "items")
    for index, item in _items(items, "items", _Comment, broken):
        comments.append(_comment(item, owner_id, post_id, thread_id))
        if isinstance(item.thread, dict) and item.thread.get("items"):
            in_thread = _items(_list_of(item.thread, "items"), f"items.{index}.thread.items", _Comment, broken)
            replies[item.id] = [_comment(reply, owner_id, post_id, item.id) for _, reply in in_thread]
    count, level_count = _stated(answer, "count"), _stated(answer, "current_level_count")
    if thread_id is None and count is not None and level_count is not None:
        # A level has at most as many comments as its post: a recorded reply of 2019 has the two numbers swapped.
        count, level_count = max(count, level_count), min(count, level_count)
    left_out = len(items) - len(comments)
    return VkCommentPage(comments, replies, level_count, _authors(answer, broken), count, left_out, broken)


def _list_of(page: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    items = page[name]
    if not isinstance(items, list):
        raise TypeError(f"{name} is not a list")
    return items


def _items(
    values: Sequence[JsonValue], path: str, model: type[Item], broken: list[VkBrokenItem]
) -> list[tuple[int, Item]]:
    """Read a list of objects, each with its index; unusable ones are added to `broken` instead."""
    try:
        return list(enumerate(msgspec.convert(values, list[model])))  # type: ignore[valid-type]  # known at run time
    except msgspec.ValidationError:
        return _usable_items(values, path, model, broken)


def _usable_items(
    values: Sequence[object], path: str, model: type[Item], broken: list[VkBrokenItem]
) -> list[tuple[int, Item]]:
    items = []
    for index, value in enumerate(values):
        try:
            items.append((index, msgspec.convert(_normalized(value), model, strict=False)))
        except msgspec.ValidationError as error:
            # such as "Expected `int`, got `null` - at `$.likes.count`"
            reason, _, place = str(error).partition(" - at `$")
            place = place.rstrip("`").replace("[", ".").replace("]", "")
            broken.append(VkBrokenItem(f"{path}.{index}{place}", reason))
    return items


def _normalized(value: object) -> object:
    """Return an item without empty values, such as `[]` for an empty object, and with texts instead of numbers."""
    if not isinstance(value, dict):
        return value
    items = {name: each for name, each in value.items() if each is not False and each not in ("", [], {})}
    return items | {name: str(items[name]) for name in _TEXTS if isinstance(items.get(name), int | float)}


def _group(item: _Group) -> VkGroup:
    screen_name = item.screen_name or f"club{item.id}"
    return VkGroup(
        id=item.id,
        screen_name=screen_name,
        name=item.name or screen_name,
        description=item.description or None,
        members_count=item.members_count,
        is_closed=bool(item.is_closed),
        deactivated=item.deactivated or None,
        photo_url=item.photo_url,
    )


def _post(item: _Post) -> VkPost:
    return VkPost(
        owner_id=item.owner_id,
        id=item.id,
        from_id=item.from_id,
        date=item.date,
        text=item.text or "",
        likes=_count(item.likes) or 0,
        reposts=_count(item.reposts) or 0,
        views=_count(item.views),
        comments=_count(item.comments) or 0,
        is_pinned=bool(item.is_pinned),
        attachments=item.attachments or [],
    )


def _comment(item: _Comment, owner_id: int, post_id: int, thread_id: int | None) -> VkComment:
    return VkComment(
        owner_id=owner_id,
        id=item.id,
        post_id=post_id,
        from_id=item.from_id,
        date=item.date,
        text=item.text or "",
        likes=_count(item.likes) or 0,
        attachments=item.attachments or [],
        thread_id=item.parents_stack[0] if item.parents_stack else thread_id,
        reply_to_id=item.reply_to_comment or None,
        is_deleted=bool(item.deleted),
        thread_count=_stated(item.thread, "count") if isinstance(item.thread, dict) else None,
    )


def _count(counter: _Counter | None) -> int | None:
    """Return the `count` of an object such as `likes`; None if VK does not state it."""
    return counter.count if counter else None


def _authors(answer: Mapping[str, JsonValue], broken: list[VkBrokenItem]) -> list[VkAuthor]:
    """Read the people and communities in an extended answer."""
    listed = {name: _list_of(answer, name) if answer.get(name) else [] for name in ("profiles", "groups")}
    people = [_person(item) for _, item in _items(listed["profiles"], "profiles", _Person, broken)]
    communities = [_group(item) for _, item in _items(listed["groups"], "groups", _Group, broken)]
    return people + [
        VkAuthor(-group.id, group.name, group.screen_name, group.photo_url, group.deactivated) for group in communities
    ]


def _person(item: _Person) -> VkAuthor:
    return VkAuthor(
        id=item.id,
        name=" ".join(name for name in (item.first_name, item.last_name) if name).strip(),
        screen_name=item.screen_name,
        photo_url=item.photo_url,
        deactivated=item.deactivated,
    )


def _stated(answer: Mapping[str, JsonValue], name: str) -> int | None:
    """Read a stated number of items; None if it is missing or unusable, so that nothing is concluded from it."""
    try:
        return msgspec.convert(answer.get(name), Count | None, strict=False)
    except msgspec.ValidationError:
        return None


def broken_facts(broken: Sequence[VkBrokenItem], most: int = 5) -> dict[str, JsonValue]:
    """Return broken items as the facts of a job event: how many, and the first `most` of them."""
    return {"count": len(broken), "items": [{"path": each.path, "reason": each.reason} for each in broken[:most]]}
