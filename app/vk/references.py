"""Parses references to communities and posts: ids, screen names and every form of link, without I/O."""

import re
from dataclasses import dataclass

_HOSTS = r"(?:https?://)?(?:www\.|m\.)?vk\.(?:com|ru)/"
_LINK = re.compile(rf"^{_HOSTS}", re.IGNORECASE)
_ID = re.compile(r"^(?:club|public|event)?-?(\d{1,10})$", re.IGNORECASE)
_WALL = re.compile(rf"^(?:{_HOSTS}(?:.*[^a-z0-9_.])?)?wall(-[1-9]\d{{0,9}})_(\d{{1,10}})(?!\d)", re.IGNORECASE)
_SCREEN_NAME = re.compile(r"^(?=.*[a-z])[a-z0-9_.]{2,32}$", re.IGNORECASE | re.ASCII)
_PROFILE = re.compile(r"^id\d+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GroupReference:
    """A community in the form of VK's groups.getById: a positive id in digits, or a screen name."""

    name: str


@dataclass(frozen=True, slots=True)
class PostReference:
    """A post: the owner id of its wall (negative for a community) and its id on that wall."""

    owner_id: int
    post_id: int


def read_group_reference(text: str) -> GroupReference | str:
    """Return the community that a text names, or what is wrong with the text.

    Accepts 1, -1, club1, public1, event1, a screen name, @name, and links of
    vk.com, vk.ru and m.vk.com to a community or to one of its posts.
    """
    cleaned = text.strip()
    is_link = bool(_LINK.match(cleaned))
    if wall := _WALL.match(cleaned):
        return GroupReference(wall[1].removeprefix("-"))
    path = _LINK.sub("", cleaned).removeprefix("@")
    name = re.split(r"[/?#]", path, maxsplit=1)[0]
    if name != path and not is_link:
        return "is not a link to VK"
    if number := _ID.match(name):
        return GroupReference(str(int(number[1]))) if int(number[1]) else "has the id 0, which no community has"
    if _PROFILE.match(name):
        return "is a person's page, not a community's"
    if _SCREEN_NAME.match(name):
        return GroupReference(name.lower())
    return "is empty" if not name else "is not an id, screen name or link of a community"


def read_post_reference(text: str) -> PostReference | str:
    """Return the post of a community that a link names, or what is wrong with the link."""
    if wall := _WALL.match(text.strip()):
        return PostReference(int(wall[1]), int(wall[2]))
    return "is not a link to a post of a community, such as https://vk.com/wall-1_2"
