"""wall.get, wall.getById, wall.search, wall.getComments and wall.getComment."""

from collections.abc import Sequence
from typing import Final

from simulator.errors import ApiError, denied, invalid
from simulator.methods.owners import owner_of
from simulator.methods.pages import page_of, thread_of
from simulator.parameters import OBJECT_ANSWERS_SINCE, Parameters
from simulator.people import Person
from simulator.render import MAX_THREAD_ITEMS, CommentForm, Json, authors_json, post_json
from simulator.site import Site
from simulator.world import Post, Wall, World

_FILTERS: Final = ("all", "owner", "others", "postponed", "suggests", "archived", "donut")
_MAY_WRITE: Final[Json] = {"can_post": True, "show_reply_button": True, "groups_can_post": True}
_LONGEST_QUERY: Final = 9000


def get(site: Site, parameters: Parameters) -> Json:
    """wall.get: a page of posts (default: 20), the pinned one first whatever its date, then from new to old.

    Raises:
        ApiError: 15, 18, 19 or 30 if the wall is closed, 100 if it does not exist.
    """
    owner = owner_of(site.world, parameters)
    found = _filtered(owner, parameters.choice("filter", _FILTERS))
    return _posts(site, parameters, found, parameters.count(default=20, most=100, cut=True))


def search(site: Site, parameters: Parameters) -> Json:
    """wall.search: posts that contain all words of a query, from new to old (default: 20).

    A query without words has no results; texts that only paying readers see are not searched.

    Raises:
        ApiError: as wall.get.
    """
    owner = owner_of(site.world, parameters)
    query = parameters.text("query") or ""
    if len(query) > _LONGEST_QUERY:
        raise invalid(f"query should be less or equal to {_LONGEST_QUERY} letters")
    words = query.casefold().split()
    posts = _filtered(owner, "owner" if parameters.flag("owners_only") else "all")
    posts.sort(key=lambda found: found[1].id, reverse=True)
    found = [each for each in posts if words and _has_all(each, words)]
    return _posts(site, parameters, found, parameters.count(default=20, most=100))


def get_by_id(site: Site, parameters: Parameters) -> Json | list[Json]:
    """wall.getById: up to 100 posts by "owner_post", in the requested order; posts that do not exist are omitted."""
    parameters.required_text("posts")
    depth = parameters.integer("copy_history_depth", 2)
    items = [
        post_json(wall, post, copy_history=depth > 0)
        for word in parameters.words("posts", most=100)
        for wall, post in _post_named(site.world, word)
    ]
    extended = parameters.flag("extended")
    if not extended and parameters.version < OBJECT_ANSWERS_SINCE:
        return items
    return {"items": items} | _post_authors(site.world, parameters, items)


def get_comments(site: Site, parameters: Parameters) -> Json:
    """wall.getComments: a page of a post's top comments, or of the thread of `comment_id` (default: 10).

    `count` is the number of the post's comments with all replies (of a thread: its replies), `current_level_count`
    the number of comments of the requested level. With `start_comment_id` the answer has a `real_offset`. Stubs are
    counted. The thread of a gone `comment_id` is empty, which the schema leaves open. Texts are whole without
    `preview_length`: the schema says otherwise, but recorded replies are whole.

    Raises:
        ApiError: 15 if the wall or post does not exist, 212 if comments are closed, 100 if a parameter is invalid.
    """
    wall, post = _commented_post(site.world, parameters)
    form = CommentForm(
        wall,
        need_likes=parameters.flag("need_likes"),
        thread_items=parameters.integer("thread_items_count", minimum=0, maximum=MAX_THREAD_ITEMS),
        preview_length=parameters.integer("preview_length", minimum=0),
    )
    thread_id = parameters.integer("comment_id", minimum=0)
    level = thread_of(wall, post.comments, thread_id) if thread_id else post.comments
    start, page = page_of(wall, level, parameters, sorts=("asc", "desc", "smart"), default=10, cut=True)
    answer: Json = {
        "count": len(level) if thread_id else post.comment_count,
        "items": [form.comment(comment) for comment in page],
        "current_level_count": len(level),
        **_MAY_WRITE,
    }
    if parameters.text("start_comment_id"):
        answer["real_offset"] = start
    if parameters.flag("extended"):
        answer |= authors_json(site.world.population, form.authors, parameters.words("fields"))
        answer["post_author_id"] = post.author
    return answer


def get_comment(site: Site, parameters: Parameters) -> Json:
    """wall.getComment: one comment or reply, with its likes; a top comment has the size of its thread.

    Raises:
        ApiError: 15 if the wall or comment does not exist, 212 if comments are closed, 100 if a parameter is invalid.
    """
    comment_id = parameters.required_integer("comment_id", minimum=0)
    wall = owner_of(site.world, parameters)
    comment = wall.comments.get(comment_id) if isinstance(wall, Wall) else None
    if comment is None or not isinstance(wall, Wall):
        raise denied("comment was not found check comment_id param")
    if comment.post.comments_closed:
        raise ApiError(212)
    form = CommentForm(wall, need_likes=True)
    answer: Json = {"items": [form.comment(comment)], **_MAY_WRITE}
    if parameters.flag("extended"):
        answer |= authors_json(site.world.population, form.authors, parameters.words("fields"))
        answer["post_author_id"] = comment.post.author
    return answer


def _posts(site: Site, parameters: Parameters, found: list[tuple[Wall, Post]], count: int) -> Json:
    """Return a page of posts with the number of all of them."""
    offset = parameters.integer("offset", minimum=0)
    items = [post_json(wall, post) for wall, post in found[offset : offset + count]]
    return {"count": len(found), "items": items} | _post_authors(site.world, parameters, items)


def _filtered(owner: Person | Wall, chosen: str) -> list[tuple[Wall, Post]]:
    if isinstance(owner, Person) or chosen not in _FILTERS[:3]:
        return []
    sides = {"owner": (True,), "others": (False,)}.get(chosen, (True, False))
    return [(owner, post) for post in owner.newest_first() if (post.author == owner.owner_id) in sides]


def _has_all(found: tuple[Wall, Post], words: list[str]) -> bool:
    wall, post = found
    text = wall.post_text(post).casefold()
    return not post.donut and all(word in text for word in words)


def _post_named(world: World, word: str) -> Sequence[tuple[Wall, Post]]:
    """Return the post of "-1_2" as a list of one; an empty list if it does not exist or is not visible."""
    owner, _, rest = word.partition("_")
    ids = Parameters({"owner_id": owner, "post_id": rest.partition("_")[0]})
    try:
        wall = owner_of(world, ids)
        post = wall.posts.get(ids.integer("post_id")) if isinstance(wall, Wall) else None
    except ApiError:
        return []
    return [(wall, post)] if isinstance(wall, Wall) and post is not None else []


def _post_authors(world: World, parameters: Parameters, items: list[Json]) -> Json:
    if not parameters.flag("extended"):
        return {}
    authors = []
    for item in items:
        authors += [item["owner_id"], item["from_id"]]
        authors += [copied["from_id"] for copied in item.get("copy_history", ())]
    return authors_json(world.population, authors, parameters.words("fields"))


def _commented_post(world: World, parameters: Parameters) -> tuple[Wall, Post]:
    parameters.required_integer("owner_id")
    post_id = parameters.required_integer("post_id", minimum=0)
    wall = owner_of(world, parameters)
    post = wall.posts.get(post_id) if isinstance(wall, Wall) else None
    if post is None or not isinstance(wall, Wall):
        raise denied("post was not found check post_id param")
    if post.comments_closed:
        raise ApiError(212)
    return wall, post
