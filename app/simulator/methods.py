"""This file answers VK's methods, one function a method; `METHODS` lists them under VK's names.

Parameters, limits and answers: VK API schema 5.199; what the schema leaves open: recorded replies, or said here.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final

from app.simulator.errors import ApiError, denied, invalid
from app.simulator.parameters import Parameters
from app.simulator.people import Community, Person
from app.simulator.render import (
    MAX_THREAD_ITEMS,
    CommentForm,
    Json,
    authors_json,
    community_json,
    person_json,
    post_json,
)
from app.simulator.world import Comment, Post, Wall, World

Method = Callable[[World, Parameters], Json | list[Json]]

# From this version on groups.getById and wall.getById answer with an object, before it with a bare list.
OBJECT_ANSWERS_SINCE: Final = (5, 139)
_FILTERS: Final = ("all", "owner", "others", "postponed", "suggests", "archived", "donut")


def groups_get_by_id(world: World, parameters: Parameters) -> Json | list[Json]:
    """groups.getById: communities by id or screen name, up to 500; unknown ones are left out.

    Raises:
        ApiError: 100 when none is named or none is known.
    """
    named = "group_ids" if parameters.text("group_ids") else "group_id"
    parameters.required_text(named)
    known = [world.population.community_by_name(word) for word in parameters.words(named, most=500)]
    fields = parameters.words("fields")
    groups = [community_json(community, fields) for community in known if community is not None]
    if not groups:
        raise invalid(f"{named} is invalid")
    return {"groups": groups, "profiles": []} if parameters.version >= OBJECT_ANSWERS_SINCE else groups


def utils_resolve_screen_name(world: World, parameters: Parameters) -> Json:
    """utils.resolveScreenName: what a screen name stands for: type group, page or user, and its positive id.

    Raises:
        ApiError: 104 when the name is nobody's.
    """
    name = parameters.required_text("screen_name")
    community = world.population.community_by_name(name)
    if community is not None:
        return {"type": community.kind, "object_id": community.id, "group_id": community.id}
    person = world.population.person_by_name(name)
    if person is None:
        raise ApiError(104)
    return {"type": "user", "object_id": person.id}


def users_get(world: World, parameters: Parameters) -> list[Json]:
    """users.get: people by id or screen name, up to 1,000; unknown ones are left out.

    Raises:
        ApiError: 100 when none is named (a service token has no "current user"), 113 when none is known.
    """
    parameters.required_text("user_ids")
    known = [world.population.person_by_name(word) for word in parameters.words("user_ids", most=1000)]
    people = dict.fromkeys(person for person in known if person is not None)
    if not people:
        raise ApiError(113)
    fields = parameters.words("fields")
    return [person_json(person, fields, brief=True) for person in people]


def wall_get(world: World, parameters: Parameters) -> Json:
    """wall.get: a page of posts, the pinned one first whatever its date, then from new to old; 20 unless told.

    Raises:
        ApiError: 15, 18, 19 or 30 when the wall is closed, 100 when nobody has it.
    """
    owner = _owner(world, parameters)
    offset = parameters.integer("offset", minimum=0)
    count = parameters.count(default=20, most=100)
    posts = _filtered(owner, parameters.choice("filter", _FILTERS))
    page = posts[offset : offset + count]
    items = [post_json(wall, post) for wall, post in page]
    return {"count": len(posts), "items": items} | _post_authors(world, parameters, items)


def wall_get_by_id(world: World, parameters: Parameters) -> Json | list[Json]:
    """wall.getById: posts by "owner_post", up to 100, in the order asked for; posts that are not there are left out."""
    parameters.required_text("posts")
    depth = parameters.integer("copy_history_depth", 2)
    items = [
        post_json(wall, post, copy_history=depth > 0)
        for word in parameters.words("posts", most=100)
        for wall, post in _post_named(world, word)
    ]
    extended = parameters.flag("extended")
    if not extended and parameters.version < OBJECT_ANSWERS_SINCE:
        return items
    return {"items": items} | _post_authors(world, parameters, items)


def wall_get_comments(world: World, parameters: Parameters) -> Json:
    """wall.getComments: a page of a post's top comments, or of the thread of `comment_id`; 10 unless told.

    `count` says how many comments the post has with all replies (the thread: its replies), `current_level_count` how
    many the walked level has. `offset` counts from `start_comment_id` where given, else from the start, and may be
    negative; a page never starts before the first. The answer then tells its `real_offset`. Stubs count like others.
    A `comment_id` that is gone gives an empty thread, texts are whole without `preview_length`: the schema says
    nothing of the first and otherwise of the second, recorded replies are whole.

    Raises:
        ApiError: 15 when the wall or post is not there, 212 when comments are closed, 100 on wrong parameters.
    """
    wall, post = _commented_post(world, parameters)
    form = CommentForm(
        wall,
        need_likes=parameters.flag("need_likes"),
        thread_items=parameters.integer("thread_items_count", minimum=0, maximum=MAX_THREAD_ITEMS),
        preview_length=parameters.integer("preview_length", minimum=0),
    )
    thread_id = parameters.integer("comment_id", minimum=0)
    level = _thread(wall, post, thread_id) if thread_id else post.comments
    start, page = _page(wall, level, parameters)
    items = [form.comment(comment) for comment in page]
    answer: Json = {
        "count": len(level) if thread_id else post.comment_count,
        "items": items,
        "current_level_count": len(level),
        "can_post": True,
        "show_reply_button": True,
        "groups_can_post": True,
    }
    if parameters.text("start_comment_id"):
        answer["real_offset"] = start
    if parameters.flag("extended"):
        answer |= authors_json(world.population, form.authors, parameters.words("fields"))
        answer["post_author_id"] = post.author
    return answer


METHODS: Final[dict[str, Method]] = {
    "groups.getById": groups_get_by_id,
    "utils.resolveScreenName": utils_resolve_screen_name,
    "users.get": users_get,
    "wall.get": wall_get,
    "wall.getById": wall_get_by_id,
    "wall.getComments": wall_get_comments,
}


def _owner(world: World, parameters: Parameters) -> Person | Wall:
    """Whose wall is asked for, by `owner_id` or `domain`; raises what VK answers when it is not to be seen."""
    if parameters.text("owner_id"):
        owner_id = parameters.required_integer("owner_id")
        who = world.population.person(owner_id) if owner_id > 0 else world.population.community(-owner_id)
    elif name := parameters.text("domain"):
        who = world.population.community_by_name(name) or world.population.person_by_name(name)
    else:
        raise invalid("owner_id is undefined")
    if who is None:
        raise invalid("owner_id is invalid" if parameters.text("owner_id") else "domain is invalid")
    return _visible(world, who)


def _visible(world: World, who: Person | Community) -> Person | Wall:
    if isinstance(who, Person):
        if who.deactivated:
            raise ApiError(18)
        if who.is_closed:
            raise ApiError(30)
        return who
    if who.wall == "banned":
        raise ApiError(19)
    if who.wall == "members":
        raise denied("this wall available only for community members")
    wall = world.wall(who.id)
    if wall is None or who.wall == "disabled":
        raise denied("wall is disabled")
    return wall


def _filtered(owner: Person | Wall, chosen: str) -> list[tuple[Wall, Post]]:
    if isinstance(owner, Person) or chosen not in _FILTERS[:3]:
        return []
    wanted = {"owner": (True,), "others": (False,)}.get(chosen, (True, False))
    return [(owner, post) for post in owner.newest_first() if (post.author == owner.owner_id) in wanted]


def _post_named(world: World, word: str) -> Sequence[tuple[Wall, Post]]:
    """The post of "-1_2" as a list of one, empty where it is not there or not to be seen."""
    owner, _, rest = word.partition("_")
    ids = Parameters({"owner_id": owner, "post_id": rest.partition("_")[0]})
    try:
        wall = _owner(world, ids)
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
    wall = _owner(world, parameters)
    post = wall.posts.get(post_id) if isinstance(wall, Wall) else None
    if post is None or not isinstance(wall, Wall):
        raise denied("post was not found check post_id param")
    if post.comments_closed:
        raise ApiError(212)
    return wall, post


def _thread(wall: Wall, post: Post, comment_id: int) -> list[Comment]:
    comment = wall.comments.get(comment_id)
    return comment.replies if comment is not None and comment.post is post else []


def _page(wall: Wall, level: list[Comment], parameters: Parameters) -> tuple[int, list[Comment]]:
    sort = parameters.choice("sort", ("asc", "desc", "smart"))
    if sort == "desc":
        level = [*reversed(level)]
    elif sort == "smart":
        level = sorted(level, key=lambda comment: (-comment.likes, comment.id))
    start_id = parameters.integer("start_comment_id", minimum=0)
    start = _place(wall, level, start_id, sort) if start_id else 0
    start = max(0, start + parameters.integer("offset"))
    return start, level[start : start + parameters.count(default=10, most=100)]


def _place(wall: Wall, level: list[Comment], comment_id: int, sort: str) -> int:
    """Where a comment stands in its level; a reply stands where its top does, one that is gone where it would be."""
    comment = wall.comments.get(comment_id)
    if comment is not None and comment.top is not None and comment not in level:
        comment_id = comment.top.id
    if sort == "smart":
        return next((place for place, each in enumerate(level) if each.id == comment_id), 0)
    sign = -1 if sort == "desc" else 1
    return bisect_left(level, sign * comment_id, key=lambda each: sign * each.id)
