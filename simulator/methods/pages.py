"""This file cuts a page out of a list of comments, as all methods that list comments do."""

from bisect import bisect_left
from collections.abc import Sequence

from simulator.parameters import Parameters
from simulator.world import Comment, Wall


def page_of(
    wall: Wall, level: list[Comment], parameters: Parameters, *, sorts: Sequence[str], default: int, cut: bool = False
) -> tuple[int, list[Comment]]:
    """Where the page starts in the sorted list, and its comments: `default` unless told, 100 at most.

    A larger `count` is refused, or `cut` where only the method's description names its limit.

    `sorts` are the orders the method has: asc, desc, and what it calls the order by likes. `offset` counts from
    `start_comment_id` where given, and may be negative; a page never starts before the first comment.

    Raises:
        ApiError: 100 on wrong parameters.
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
    """The replies to one of these comments; none where it is gone or stands elsewhere."""
    comment = wall.comments.get(comment_id)
    return comment.replies if comment is not None and comment.top is None and _holds(level, comment) else []


def _holds(level: list[Comment], comment: Comment) -> bool:
    place = bisect_left(level, comment.id, key=lambda each: each.id)
    return place < len(level) and level[place] is comment


def _place(wall: Wall, level: list[Comment], comment_id: int, sort: str) -> int:
    """Where a comment stands in its level; a reply stands where its top does, one that is gone where it would be."""
    comment = wall.comments.get(comment_id)
    if comment is not None and comment.top is not None and comment not in level:
        comment_id = comment.top.id
    if sort not in {"asc", "desc"}:
        return next((place for place, each in enumerate(level) if each.id == comment_id), 0)
    sign = -1 if sort == "desc" else 1
    return bisect_left(level, sign * comment_id, key=lambda each: sign * each.id)
