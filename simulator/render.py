"""Renders records as the JSON that VK sends. Shapes: VK API schema 5.199, and recorded replies."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from simulator import texts
from simulator.attachments import FILES, attachment, comment_attachments
from simulator.people import Community, Person, Population
from simulator.phrases import Dice
from simulator.world import Comment, Post, Wall, is_hidden

Json: TypeAlias = dict[str, Any]

MAX_THREAD_ITEMS: Final = 10
_MOST_PROFILES: Final = 50_000  # about 60 MB


def person_json(person: Person, fields: Collection[str] = (), *, brief: bool = False) -> Json:
    """Return a user with `fields` added; `brief` omits the fields that only extended replies contain."""
    deleted = person.deactivated == "deleted"
    made: Json = {
        "id": person.id,
        "first_name": "DELETED" if deleted else person.first_name,
        "last_name": "" if deleted else person.last_name,
    }
    if person.deactivated:
        made["deactivated"] = person.deactivated
    else:
        made |= {"can_access_closed": not person.is_closed, "is_closed": person.is_closed}
    requested = fields if brief else _IN_EXTENDED.union(fields)
    for name, value in _PERSON_FIELDS.items():
        if name in requested:
            made[name] = value(person)
    if person.deactivated:
        return made
    for name, value in _LIVE_FIELDS.items():
        if name in requested:
            made[name] = value(person)
    return made


def _photo(side: int) -> Callable[[Person], str]:
    return lambda person: f"{FILES}/people/{person.deactivated or person.id}_{side}.jpg"


_IN_EXTENDED: Final = frozenset({"sex", "screen_name", "photo_50", "photo_100", "online"})
_PERSON_FIELDS: Final[dict[str, Callable[[Person], object]]] = {
    "sex": lambda person: 1 if person.gender else 2,
    "screen_name": lambda person: person.screen_name,
    "domain": lambda person: person.screen_name,
    "photo_50": _photo(50),
    "photo_100": _photo(100),
    "photo_200": _photo(200),
    "online": lambda _: 0,
}
# Fields that VK omits for deleted or banned people.
_LIVE_FIELDS: Final[dict[str, Callable[[Person], object]]] = {
    "city": lambda person: {"id": person.city + 1, "title": texts.CITIES[person.city][0]},
    "status": lambda person: person.status,
    "followers_count": lambda person: person.followers,
    "verified": lambda _: 0,
}


def community_json(community: Community, fields: Collection[str] = ()) -> Json:
    """Return a community with `fields` (members_count, description, ...) added."""
    made: Json = {
        "id": community.id,
        "name": community.name,
        "screen_name": community.screen_name,
        "is_closed": {"members": 1, "private": 2}.get(community.wall, 0),
        "type": community.kind,
        "photo_50": f"{FILES}/groups/{community.id}_50.jpg",
        "photo_100": f"{FILES}/groups/{community.id}_100.jpg",
        "photo_200": f"{FILES}/groups/{community.id}_200.jpg",
    }
    if community.wall in {"banned", "deleted"}:
        return made | {"deactivated": community.wall}
    available: Json = {
        "members_count": community.members,
        "description": community.description,
        "activity": community.activity,
        "status": "",
        "city": {"id": community.city + 1, "title": texts.CITIES[community.city][0]},
        "verified": 0,
        "wall": {"members": 3, "private": 3, "disabled": 0}.get(community.wall, 2),
    }
    return made | {name: available[name] for name in fields if name in available}


def authors_json(population: Population, authors: Iterable[int], fields: Collection[str]) -> Json:
    """Return `profiles` and `groups` of an extended reply: each author once, in the order of first appearance."""
    made: Json = {"profiles": [], "groups": []}
    profiles, groups = made["profiles"], made["groups"]
    requested = tuple(fields)
    for author in dict.fromkeys(authors):
        profile = population.rendered_profiles.get((author, requested)) or _render_profile(
            population, author, requested
        )
        if profile:
            # a copy, because a script of execute may change the answer
            (profiles if author > 0 else groups).append(profile.copy())
    return made


def _render_profile(population: Population, author: int, fields: tuple[str, ...]) -> Json:
    """Render the profile of an author and keep it for the next reply; return an empty one if the id is unknown."""
    if author > 0:
        person = population.person(author)
        profile = {} if person is None else person_json(person, fields)
    else:
        community = population.community(-author)
        profile = {} if community is None else community_json(community, fields)
    if len(population.rendered_profiles) >= _MOST_PROFILES:
        population.rendered_profiles.clear()
    population.rendered_profiles[author, fields] = profile
    return profile


class CommentForm:
    """How comments are rendered: with or without likes, number of thread items, length in characters (0: whole text).

    `authors` collects the signed ids of all rendered authors.
    """

    def __init__(self, wall: Wall, *, need_likes: bool, thread_items: int = 0, preview_length: int = 0) -> None:
        self.authors: list[int] = []
        self._wall = wall
        self._owner_id = wall.owner_id
        self._need_likes = need_likes
        self._thread_items = min(thread_items, MAX_THREAD_ITEMS)
        self._preview_length = preview_length

    def comment(self, comment: Comment) -> Json:
        """Return a top comment with its thread, or a reply; a deleted one as VK's stub."""
        if comment.deleted:
            return {
                "id": comment.id,
                "date": comment.date,
                "parents_stack": [],
                "thread": self._thread(comment),
                "deleted": True,
            }
        post, top, author = comment.post, comment.top, comment.author
        # for nearly all comments, reading the stored text saves a call; text_of handles the hidden ones
        text = comment.text if comment.text is not None and not post.donut else self._wall.text_of(comment)
        if 0 < self._preview_length < len(text):
            text = text[: self._preview_length] + "..."
        self.authors.append(author)
        made: Json = {
            "id": comment.id,
            "from_id": author,
            "date": comment.date,
            "text": text,
            "post_id": post.id,
            "owner_id": self._owner_id,
            "parents_stack": [] if top is None else [top.id],
            "is_from_post_author": author == post.author,
        }
        if comment.answers is not None:
            made["reply_to_user"] = comment.answers.author
            made["reply_to_comment"] = comment.answers.id
        if comment.attachment and not (post.donut and is_hidden(comment)):
            made["attachments"] = comment_attachments(comment.attachment, comment.seed, author, comment.date)
        if self._need_likes:
            made["likes"] = {"count": comment.likes, "user_likes": 0, "can_like": 1}
        if post.donut:
            made["donut"] = _comment_donut(comment)
        if top is None:
            made["thread"] = self._thread(comment)
        return made

    def _thread(self, comment: Comment) -> Json:
        replies = comment.replies
        return {
            "count": len(replies),
            "items": [self.comment(reply) for reply in replies[: self._thread_items]] if replies else [],
            "can_post": True,
            "show_reply_button": True,
            "groups_can_post": True,
        }


def _comment_donut(comment: Comment) -> Json:
    hidden = is_hidden(comment)
    placeholder = {"placeholder": {"text": "Этот комментарий видят только доны."}} if hidden else {}
    return {"is_don": hidden or comment.seed % 5 == 0} | placeholder


def post_json(wall: Wall, post: Post, *, copy_history: bool = True) -> Json:
    """Return a post of a wall, with the counts of its comments, likes, reposts and views."""
    dice = Dice(post.seed ^ 1)
    comments = post.comment_count
    likes = 3 + comments // 4 + dice.below(120)
    made = _post_core(post.id, wall.owner_id, post.author, post.date, wall.post_text(post)) | {
        "comments": _comments_info(comments, can_post=not post.comments_closed),
        "likes": {"count": likes, "user_likes": 0, "can_like": 1, "can_publish": 1, "repost_disabled": False},
        "reposts": {"count": likes // 9, "user_reposted": 0},
        "views": {"count": 800 + likes * (20 + dice.below(30))},
        "marked_as_ads": 0,
        "is_favorite": False,
        "donut": {"is_donut": False},
        "short_text_rate": 0.8,
        "carousel_offset": 0,
    }
    if dice.below(3) == 0:
        made["attachments"] = [attachment("photo", wall.owner_id, post.date, dice)]
    if dice.below(12) == 0:
        made["edited"] = post.date + 600
    if post.attachments:
        made["attachments"] = [attachment(kind, wall.owner_id, post.date, dice) for kind in post.attachments]
    if post.pinned:
        made["is_pinned"] = 1
    if post.donut:
        made["attachments"] = []
        made["donut"] = {"is_donut": True, "placeholder": {"text": "Эта запись доступна по подписке VK Donut."}}
        made["comments"]["donut"] = {"placeholder": {"text": "Комментировать могут доны."}}
    if post.reposted and copy_history:
        text = "Афиша недели: выбираем вместе, куда пойти с друзьями."
        made["copy_history"] = [_post_core(40 + dice.below(900), -post.reposted, -post.reposted, post.date - 900, text)]
    return made


def _comments_info(count: int, *, can_post: bool) -> Json:
    return {"count": count, "can_post": int(can_post), "groups_can_post": can_post, "can_view": 1}


def _post_core(post_id: int, owner_id: int, author: int, date: int, text: str) -> Json:
    return {
        "inner_type": "wall_wallpost",
        "id": post_id,
        "owner_id": owner_id,
        "from_id": author,
        "date": date,
        "text": text,
        "post_type": "post",
        "post_source": {"type": "vk"},
        "attachments": [],
    }
