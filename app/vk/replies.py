"""Parses VK's replies into typed values and checks them against the limits of PostgreSQL and Python; pure functions.

VK does not always send the types of its schema. An unusable value makes its item
a `VkBrokenItem`; the rest of the page is still read. An integer may also be
a string of digits, and a text may be a number.

Sources: VK API schema 5.199, recorded replies under tests/data/vk.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from app.json_models import JsonValue
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkGroup, VkPost, VkPostPage

Read = TypeVar("Read")

LARGEST_ID: Final = 2**63 - 1
LARGEST_COUNT: Final = 2**53 - 1
"""The largest number that JSON clients read exactly."""
LATEST_DATE: Final = 253_402_300_799
"""The last second of the year 9999, where Python's calendar ends."""
LONGEST_TEXT: Final = 200_000
"""In characters. VK's own limit is 16,000; PostgreSQL cannot index a text of more than a megabyte."""
LONGEST_NAME: Final = 1_000
LONGEST_SCREEN_NAME: Final = 200


class _Broken(Exception):
    """A value cannot be used; the message says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def read_groups(answer: Any) -> list[VkGroup]:
    """Read the answer of groups.getById: an object since about 5.139, a list before. Broken items are skipped."""
    items = answer["groups"] if isinstance(answer, dict) else answer
    return _items(items, "groups", _group, [])


def read_post_page(answer: Any) -> VkPostPage:
    """Read the answer of wall.get or wall.getById; `count` is None if VK does not state it, as in getById."""
    items = answer["items"] if isinstance(answer, dict) else answer
    extras = answer if isinstance(answer, dict) else {}
    broken: list[VkBrokenItem] = []
    posts = _items(items, "items", _post, broken)
    authors = _authors(extras, broken)
    return VkPostPage(_stated(extras, "count"), posts, authors, len(items) - len(posts), broken)


def read_comment_page(answer: Any, owner_id: int, post_id: int, thread_id: int | None = None) -> VkCommentPage:
    """Read the answer of wall.getComments for a post, or for one of its threads (`thread_id`).

    The ids of wall, post and thread are parameters because deleted stubs do not contain them.
    """
    broken: list[VkBrokenItem] = []
    replies: dict[int, list[VkComment]] = {}

    def comment(item: Mapping[str, Any], path: str) -> VkComment:
        parsed = _comment(item, path, owner_id, post_id, thread_id)
        thread = item.get("thread")
        if isinstance(thread, dict) and thread.get("items"):
            replies[parsed.id] = _items(
                thread["items"],
                f"{path}.thread.items",
                lambda reply, reply_path: _comment(reply, reply_path, owner_id, post_id, parsed.id),
                broken,
            )
        return parsed

    items = _items(answer["items"], "items", comment, broken)
    count, level_count = _stated(answer, "count"), _stated(answer, "current_level_count")
    if thread_id is None and count is not None and level_count is not None:
        # A level has at most as many comments as its post: a recorded reply of 2019 has the two numbers swapped.
        count, level_count = max(count, level_count), min(count, level_count)
    left_out = len(answer["items"]) - len(items)
    return VkCommentPage(items, replies, level_count, _authors(answer, broken), count, left_out, broken)


def _items(
    values: Any, path: str, read: Callable[[Mapping[str, Any], str], Read], broken: list[VkBrokenItem]
) -> list[Read]:
    """Read a list of objects; unusable ones are added to `broken` instead.

    Raises:
        TypeError: `values` is not a list.
    """
    items = []
    if not isinstance(values, list):
        raise TypeError(f"{path} is not a list")
    for index, item in enumerate(values):
        item_path = f"{path}.{index}"
        try:
            if not isinstance(item, dict):
                raise _Broken(item_path, "is not an object")  # noqa: TRY301 - one handler for all broken items
            items.append(read(item, item_path))
        except _Broken as error:
            broken.append(VkBrokenItem(error.path, error.reason))
    return items


def _group(item: Mapping[str, Any], path: str) -> VkGroup:
    """Read one community. `is_closed` is 0 open, 1 closed, 2 private."""
    group_id = _number(item, "id", path, least=1)
    screen_name = _text(item, "screen_name", path, LONGEST_SCREEN_NAME) or f"club{group_id}"
    return VkGroup(
        id=group_id,
        screen_name=screen_name,
        name=_text(item, "name", path, LONGEST_NAME) or screen_name,
        description=_text(item, "description", path) or None,
        members_count=_optional(item, "members_count", path, least=0, most=LARGEST_COUNT),
        is_closed=bool(item.get("is_closed")),
        deactivated=_text(item, "deactivated", path, LONGEST_NAME) or None,
        photo_url=_photo(item, path),
    )


def _post(item: Mapping[str, Any], path: str) -> VkPost:
    return VkPost(
        owner_id=_number(item, "owner_id", path, least=-LARGEST_ID),
        id=_number(item, "id", path, least=1),
        from_id=_optional(item, "from_id", path, least=-LARGEST_ID),
        date=_number(item, "date", path, most=LATEST_DATE),
        text=_text(item, "text", path) or "",
        likes=_count(item, "likes", path) or 0,
        reposts=_count(item, "reposts", path) or 0,
        views=_count(item, "views", path),
        comments=_count(item, "comments", path) or 0,
        is_pinned=bool(item.get("is_pinned")),
        attachments=_attachments(item, path),
    )


def _comment(item: Mapping[str, Any], path: str, owner_id: int, post_id: int, thread_id: int | None) -> VkComment:
    """Read one comment. A stub of a deleted one has neither from_id nor text (vknet/vk#802)."""
    parents = item.get("parents_stack") or []
    if not isinstance(parents, list):
        raise _Broken(f"{path}.parents_stack", "is not a list")
    return VkComment(
        owner_id=owner_id,
        id=_number(item, "id", path, least=1),
        post_id=post_id,
        from_id=_optional(item, "from_id", path, least=-LARGEST_ID),
        date=_number(item, "date", path, most=LATEST_DATE),
        text=_text(item, "text", path) or "",
        likes=_count(item, "likes", path) or 0,
        attachments=_attachments(item, path),
        thread_id=_whole(parents[0], f"{path}.parents_stack.0", 1, LARGEST_ID) if parents else thread_id,
        reply_to_id=_optional(item, "reply_to_comment", path, least=0) or None,
        is_deleted=bool(item.get("deleted")),
        thread_count=_thread_count(item),
    )


def _thread_count(item: Mapping[str, Any]) -> int | None:
    """Return the number of replies that a top comment states; None if it is missing or unusable."""
    thread = item.get("thread")
    return _stated(thread, "count") if isinstance(thread, dict) else None


def _authors(answer: Mapping[str, Any], broken: list[VkBrokenItem]) -> list[VkAuthor]:
    """Read the people and communities in an extended answer."""
    people = _items(answer.get("profiles") or [], "profiles", _person, broken)
    communities = _items(answer.get("groups") or [], "groups", _group, broken)
    return people + [
        VkAuthor(-group.id, group.name, group.screen_name, group.photo_url, group.deactivated) for group in communities
    ]


def _person(item: Mapping[str, Any], path: str) -> VkAuthor:
    names = (_text(item, "first_name", path, LONGEST_NAME), _text(item, "last_name", path, LONGEST_NAME))
    return VkAuthor(
        id=_number(item, "id", path, least=1),
        name=" ".join(name for name in names if name).strip(),
        screen_name=_text(item, "screen_name", path, LONGEST_SCREEN_NAME),
        photo_url=_photo(item, path),
        deactivated=_text(item, "deactivated", path, LONGEST_NAME),
    )


def _photo(item: Mapping[str, Any], path: str) -> str | None:
    return next((_text(item, name, path) for name in ("photo_200", "photo_100", "photo_50") if item.get(name)), None)


def _attachments(item: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    attachments = item.get("attachments") or []
    if not isinstance(attachments, list) or not all(isinstance(each, dict) for each in attachments):
        raise _Broken(f"{path}.attachments", "is not a list of objects")
    return attachments


# single values


def _number(item: Mapping[str, Any], name: str, path: str, *, least: int = 0, most: int = LARGEST_ID) -> int:
    """Read a required integer."""
    if item.get(name) is None:
        raise _Broken(f"{path}.{name}", "is missing")
    return _whole(item[name], f"{path}.{name}", least, most)


def _optional(item: Mapping[str, Any], name: str, path: str, *, least: int, most: int = LARGEST_ID) -> int | None:
    """Read an optional integer; None if it is missing."""
    return None if item.get(name) is None else _whole(item[name], f"{path}.{name}", least, most)


def _count(item: Mapping[str, Any], name: str, path: str) -> int | None:
    """Read the `count` of an object such as `likes`; None if VK does not state it."""
    value = item.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _Broken(f"{path}.{name}", "is not an object")
    return _optional(value, "count", f"{path}.{name}", least=0, most=LARGEST_COUNT)


def _stated(answer: Mapping[str, Any], name: str) -> int | None:
    """Read a stated number of items; None if it is missing or unusable, so that nothing is concluded from it."""
    try:
        return _optional(answer, name, "", least=0, most=LARGEST_COUNT)
    except _Broken:
        return None


def _whole(value: Any, path: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Broken(path, "is not a number")
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise _Broken(path, "is not a number") from None
    if isinstance(value, float) and number != value:
        raise _Broken(path, "is not a whole number")
    if not least <= number <= most:
        raise _Broken(path, f"is not between {least} and {most}")
    return number


def _text(item: Mapping[str, Any], name: str, path: str, longest: int = LONGEST_TEXT) -> str | None:
    """Read an optional text; None if it is missing."""
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Broken(f"{path}.{name}", "is not a text")
    text = str(value)
    if len(text) > longest:
        raise _Broken(f"{path}.{name}", f"is longer than {longest} characters")
    return text


def broken_facts(broken: Sequence[VkBrokenItem], most: int = 5) -> dict[str, JsonValue]:
    """Return broken items as the facts of a job event: how many, and the first `most` of them."""
    return {"count": len(broken), "items": [{"path": each.path, "reason": each.reason} for each in broken[:most]]}
