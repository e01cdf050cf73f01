"""VK's methods, one file per section; `METHODS` lists them under VK's names.

Source of parameters, limits, answers, and token kinds: VK API schema 5.199; for what it leaves open, recorded replies,
or the source named at the place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulator.methods import board, groups, likes, media, users, wall
from simulator.parameters import Parameters
from simulator.render import Json
from simulator.site import Site
from simulator.tokens import TOKEN_KINDS, TokenKind

Answer = Callable[[Site, Parameters], Json | list[Json]]

_ALL: Final = TOKEN_KINDS
_USER: Final[tuple[TokenKind, ...]] = ("user",)
_USER_AND_SERVICE: Final[tuple[TokenKind, ...]] = ("user", "service")


@dataclass(frozen=True, slots=True)
class Method:
    """A method: the function that answers it, and the kinds of tokens that may call it."""

    answer: Answer
    kinds: tuple[TokenKind, ...]


METHODS: Final[dict[str, Method]] = {
    "board.getComments": Method(board.get_comments, _USER_AND_SERVICE),
    "board.getTopics": Method(board.get_topics, _USER_AND_SERVICE),
    "groups.getById": Method(groups.get_by_id, _ALL),
    "groups.getMembers": Method(groups.get_members, _ALL),
    "groups.search": Method(groups.search, _USER),
    "likes.getList": Method(likes.get_list, _USER_AND_SERVICE),
    "photos.getComments": Method(media.get_photo_comments, _USER),
    "users.get": Method(users.get, _ALL),
    "utils.resolveScreenName": Method(users.resolve_screen_name, _ALL),
    "video.getComments": Method(media.get_video_comments, _USER),
    "wall.get": Method(wall.get, _USER_AND_SERVICE),
    "wall.getById": Method(wall.get_by_id, _USER_AND_SERVICE),
    "wall.getComment": Method(wall.get_comment, _USER),
    "wall.getComments": Method(wall.get_comments, _USER_AND_SERVICE),
    "wall.search": Method(wall.search, _USER_AND_SERVICE),
}
