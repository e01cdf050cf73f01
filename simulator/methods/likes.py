"""likes.getList."""

from typing import Final

from simulator.errors import ApiError, invalid
from simulator.methods.owners import owner_of
from simulator.parameters import Parameters
from simulator.render import Json, post_json
from simulator.site import Site
from simulator.world import Wall

_TYPES: Final = (
    "post", "comment", "photo", "audio", "video", "note", "market", "photo_comment", "video_comment", "topic_comment",
    "market_comment", "sitepage", "textpost", "community_review", "story", "group_like",
)  # fmt: skip
_MOST_KINDS_OF_FRIENDS: Final = 3


def get_list(site: Site, parameters: Parameters) -> Json:
    """likes.getList: who liked a post or a comment, or with filter `copies` reposted a post (default: 100).

    `count` is the number that the post or comment itself states. The token's owner has no friends.

    Raises:
        ApiError: 100 if the object does not exist, 232 if it cannot be liked: a deleted comment, or another type;
            15, 18, 19 or 30 if the wall is not visible.
    """
    parameters.required_text("type")
    kind = parameters.choice("type", _TYPES)
    chosen = parameters.choice("filter", ("likes", "copies"))
    friends = parameters.integer("friends_only", minimum=0, maximum=_MOST_KINDS_OF_FRIENDS)
    offset = parameters.integer("offset", minimum=0)
    most = parameters.count(default=10 if friends else 100, most=1000)
    parameters.required_integer("owner_id")
    item_id = parameters.required_integer("item_id")
    wall = owner_of(site.world, parameters)
    seed, likes, copies = _liked(wall, kind, item_id) if isinstance(wall, Wall) else _unknown()
    count = 0 if friends else copies if chosen == "copies" else likes
    page = site.members.likers(seed, count)[offset : offset + most]
    if not parameters.flag("extended"):
        return {"count": count, "items": page}
    profiles = [site.members.profile(person_id, parameters.words("fields")) or {} for person_id in page]
    return {"count": count, "items": [{"type": "profile", **profile} for profile in profiles]}


def _liked(wall: Wall, kind: str, item_id: int) -> tuple[int, int, int]:
    """Return the seed of its likers, its number of likes, and its number of reposts."""
    if kind == "post" and item_id in wall.posts:
        post = wall.posts[item_id]
        stated = post_json(wall, post)
        return post.seed, stated["likes"]["count"], stated["reposts"]["count"]
    if kind == "comment" and item_id in wall.comments:
        comment = wall.comments[item_id]
        if comment.deleted:
            raise ApiError(232)
        return comment.seed, comment.likes, 0
    if kind not in {"post", "comment"}:
        raise ApiError(232)
    return _unknown()


def _unknown() -> tuple[int, int, int]:
    raise invalid("object not found")
