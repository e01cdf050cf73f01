"""board.getTopics and board.getComments; both identify communities by positive ids."""

from collections.abc import Callable
from typing import Any, Final

from simulator.discussions import Discussion
from simulator.errors import denied, invalid
from simulator.methods.owners import visible_wall
from simulator.methods.pages import page_of
from simulator.parameters import Parameters
from simulator.people import Community
from simulator.render import CommentForm, Json, authors_json
from simulator.site import Site
from simulator.world import Comment

_DEFAULT_ORDER: Final = 1
_FIRST, _LAST = 1, 2
_ORDERS: Final[dict[int, Callable[[Discussion], Any]]] = {
    1: lambda topic: (topic.fixed, topic.comments[-1].date),
    2: lambda topic: (topic.fixed, topic.id),
    -1: lambda topic: (not topic.fixed, topic.comments[-1].date),
    -2: lambda topic: (not topic.fixed, topic.id),
}


def get_topics(site: Site, parameters: Parameters) -> Json:
    """board.getTopics: a page of topics (default: 40), fixed ones first; or those of `topic_ids`.

    `comments` includes the first one, which opens a topic. Previews are cut to `preview_length` characters (default:
    90; 0: whole).

    Raises:
        ApiError: 15 or 19 if the community is not visible, 100 if it does not exist or a parameter is invalid.
    """
    board = site.discussions.board(_community(site, parameters))
    order = parameters.integer("order", minimum=-2, maximum=2) or _DEFAULT_ORDER
    offset = parameters.integer("offset", minimum=0)
    count = parameters.count(default=40, most=100)
    page = sorted(board.values(), key=_ORDERS[order], reverse=order > 0)[offset : offset + count]
    if parameters.text("topic_ids"):
        ids = [int(word) for word in parameters.words("topic_ids", most=100) if word.isascii() and word.isdigit()]
        page = [board[topic_id] for topic_id in ids if topic_id in board]
    preview = parameters.integer("preview", minimum=0, maximum=_LAST)
    length = parameters.integer("preview_length", 90, minimum=0)
    answer: Json = {
        "count": len(board),
        "items": [_topic_json(topic, preview, length) for topic in page],
        "default_order": _DEFAULT_ORDER,
        "can_add_topics": 0,
    }
    if parameters.flag("extended"):
        authors = [comment.author for topic in page for comment in (topic.comments[0], topic.comments[-1])]
        answer |= authors_json(site.world.population, authors, ())
    return answer


def get_comments(site: Site, parameters: Parameters) -> Json:
    """board.getComments: a page of a topic's comments (default: 20), the first one included. There are no threads.

    Raises:
        ApiError: 15 if the community is not visible or the topic does not exist, 100 if a parameter is invalid.
    """
    board = site.discussions.board(_community(site, parameters))
    topic = board.get(parameters.required_integer("topic_id", minimum=0))
    if topic is None:
        raise denied("topic was not found check topic_id param")
    start, page = page_of(topic.wall, topic.comments, parameters, sorts=("asc", "desc"), default=20)
    form = CommentForm(topic.wall, need_likes=parameters.flag("need_likes"))
    answer: Json = {"count": len(topic.comments), "items": [_comment_json(form.comment(comment)) for comment in page]}
    if parameters.text("start_comment_id"):
        answer["real_offset"] = start
    if parameters.flag("extended"):
        answer |= authors_json(site.world.population, form.authors, ())
    return answer


def _community(site: Site, parameters: Parameters) -> Community:
    community = site.world.population.community(parameters.required_integer("group_id", minimum=1))
    if community is None:
        raise invalid("group_id is invalid")
    return visible_wall(site.world, community).community


def _topic_json(topic: Discussion, preview: int, length: int) -> Json:
    first, last = topic.comments[0], topic.comments[-1]
    made: Json = {
        "id": topic.id,
        "title": topic.title,
        "created": topic.post.date,
        "created_by": first.author,
        "updated": last.date,
        "updated_by": last.author,
        "is_closed": int(topic.closed),
        "is_fixed": int(topic.fixed),
        "comments": len(topic.comments),
    }
    shown: dict[int, tuple[str, Comment]] = {_FIRST: ("first_comment", first), _LAST: ("last_comment", last)}
    if preview in shown:
        name, comment = shown[preview]
        text = topic.wall.text_of(comment)
        made[name] = text[:length] + "..." if 0 < length < len(text) else text
    return made


def _comment_json(comment: Json) -> Json:
    """Return a comment with the fields that a board shows: without threads and without the owner."""
    kept = ("id", "from_id", "date", "text", "attachments", "likes")
    return {name: comment[name] for name in kept if name in comment} | {"can_edit": 0}
