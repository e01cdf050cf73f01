"""Returns a page of a list of comments, for all methods that list comments."""

from bisect import bisect_left
from collections.abc import Sequence

from simulator.parameters import Parameters
from simulator.world import Comment, Wall


def page_of(
    wall: Wall, level: list[Comment], parameters: Parameters, *, sorts: Sequence[str], default: int, cut: bool = False
) -> tuple[int, list[Comment]]:
    """Return the start of the page in the sorted list, and its comments (default: `default`, maximum: 100).

    A larger `count` is rejected, or with `cut` reduced, for methods that name the limit only in their description.

    `sorts` are the orders of the method: asc, desc, and its name of the order by likes. `offset` counts from
    `start_comment_id`, if given, and may be negative; a page never starts before the first comment.

    Raises:
        ApiError: 100 if a parameter is invalid.
    """
    sort = parameters.choice("sort", sorts)
    if sort == "desc":
        level = [*reversed(level)]
    elif sort != "asc":
        level = sorted(level, key=lambda comment: (-comment.likes, comment.id))
    start_id = parameters.integer("start_comment_id", minimum=0)
    start = _place(wall, level, start_id, sort) if start_id else 0
    start = max(0, start + parameters.integer("offset"))
    return start, level[start : start + parameters.count(default, most=100, cut=cut)]


def thread_of(wall: Wall, level: list[Comment], comment_id: int) -> list[Comment]:
    """Return the replies to one of these comments; an empty list if it is gone or not among them."""
    comment = wall.comments.get(comment_id)
    return comment.replies if comment is not None and comment.top is None and _holds(level, comment) else []


def _holds(level: list[Comment], comment: Comment) -> bool:
    place = bisect_left(level, comment.id, key=lambda each: each.id)
    return place < len(level) and level[place] is comment


def _place(wall: Wall, level: list[Comment], comment_id: int, sort: str) -> int:
    """Return a comment's position in its level; for a reply, its top comment's; for a gone one, where it would be."""
    comment = wall.comments.get(comment_id)
    if comment is not None and comment.top is not None and comment not in level:
        comment_id = comment.top.id
    if sort not in {"asc", "desc"}:
        return next((place for place, each in enumerate(level) if each.id == comment_id), 0)
    sign = -1 if sort == "desc" else 1
    return bisect_left(level, sign * comment_id, key=lambda each: sign * each.id)
