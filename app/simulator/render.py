"""This file turns records into the JSON that VK sends. Shapes: VK API schema 5.199, and recorded replies."""

from collections.abc import Collection, Iterable
from typing import Any, Final, TypeAlias

from app.simulator import texts
from app.simulator.people import Community, Person, Population
from app.simulator.phrases import Dice, scramble
from app.simulator.world import Comment, Post, Wall

Json: TypeAlias = dict[str, Any]

FILES: Final = "https://simulator.invalid"
MAX_THREAD_ITEMS: Final = 10


def person_json(person: Person, fields: Collection[str] = (), *, brief: bool = False) -> Json:
    """A user; `fields` are added to what is always there, `brief` leaves out what only extended replies hold."""
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
    wanted = set(fields) if brief else {*fields, "sex", "screen_name", "photo_50", "photo_100", "online"}
    available = _person_fields(person)
    return made | {name: value for name, value in available.items() if name in wanted}


def _person_fields(person: Person) -> Json:
    state = person.deactivated or person.id
    live: Json = {}
    if not person.deactivated:
        live = {
            "city": {"id": person.city + 1, "title": texts.CITIES[person.city][0]},
            "status": person.status,
            "followers_count": person.followers,
            "verified": 0,
        }
    return {
        "sex": 1 if person.gender else 2,
        "screen_name": person.screen_name,
        "domain": person.screen_name,
        "photo_50": f"{FILES}/people/{state}_50.jpg",
        "photo_100": f"{FILES}/people/{state}_100.jpg",
        "photo_200": f"{FILES}/people/{state}_200.jpg",
        "online": 0,
        **live,
    }


def community_json(community: Community, fields: Collection[str] = ()) -> Json:
    """A community; `fields` (members_count, description, ...) are added to what is always there."""
    made: Json = {
        "id": community.id,
        "name": community.name,
        "screen_name": community.screen_name,
        "is_closed": 1 if community.wall == "members" else 0,
        "type": community.kind,
        "photo_50": f"{FILES}/groups/{community.id}_50.jpg",
        "photo_100": f"{FILES}/groups/{community.id}_100.jpg",
        "photo_200": f"{FILES}/groups/{community.id}_200.jpg",
    }
    if community.wall == "banned":
        return made | {"deactivated": "banned"}
    available: Json = {
        "members_count": community.members,
        "description": community.description,
        "activity": community.activity,
        "status": "",
        "city": {"id": community.city + 1, "title": texts.CITIES[community.city][0]},
        "verified": 0,
        "wall": {"members": 3, "disabled": 0}.get(community.wall, 2),
    }
    return made | {name: available[name] for name in fields if name in available}


def authors_json(population: Population, authors: Iterable[int], fields: Collection[str]) -> Json:
    """`profiles` and `groups` of an extended reply: each author once, in the order of first appearance."""
    profiles, groups = [], []
    for author in dict.fromkeys(authors):
        if author > 0:
            person = population.person(author)
            profiles += [] if person is None else [person_json(person, fields)]
        else:
            community = population.community(-author)
            groups += [] if community is None else [community_json(community, fields)]
    return {"profiles": profiles, "groups": groups}


class CommentForm:
    """How comments are to be rendered: with likes, with so many thread items, cut to a length in characters (0: whole).

    `authors` gathers the signed ids of all authors rendered.
    """

    def __init__(self, wall: Wall, *, need_likes: bool, thread_items: int = 0, preview_length: int = 0) -> None:
        self.authors: list[int] = []
        self._wall = wall
        self._need_likes = need_likes
        self._thread_items = min(thread_items, MAX_THREAD_ITEMS)
        self._preview_length = preview_length

    def comment(self, comment: Comment) -> Json:
        """A comment of the top level with its thread, or a reply; a deleted one as the stub that VK leaves."""
        top = comment.top
        if comment.deleted:
            made: Json = {
                "id": comment.id,
                "date": comment.date,
                "parents_stack": [],
                "thread": self._thread(comment),
                "deleted": True,
            }
            return made
        self.authors.append(comment.author)
        made = {
            "id": comment.id,
            "from_id": comment.author,
            "date": comment.date,
            "text": self._text(comment),
            "post_id": comment.post.id,
            "owner_id": self._wall.owner_id,
            "parents_stack": [] if top is None else [top.id],
            "is_from_post_author": comment.author == comment.post.author,
        }
        if comment.answers is not None:
            made["reply_to_user"] = comment.answers.author
            made["reply_to_comment"] = comment.answers.id
        if comment.attachment:
            made["attachments"] = [comment_attachment(comment)]
        if self._need_likes:
            made["likes"] = {"count": comment.likes, "user_likes": 0, "can_like": 1}
        if top is None:
            made["thread"] = self._thread(comment)
        return made

    def _text(self, comment: Comment) -> str:
        text = self._wall.text_of(comment)
        if 0 < self._preview_length < len(text):
            return text[: self._preview_length] + "..."
        return text

    def _thread(self, comment: Comment) -> Json:
        return {
            "count": len(comment.replies),
            "items": [self.comment(reply) for reply in comment.replies[: self._thread_items]],
            "can_post": True,
            "show_reply_button": True,
            "groups_can_post": True,
        }


def comment_attachment(comment: Comment) -> Json:
    """The photo, sticker or link of a comment."""
    dice = Dice(comment.seed ^ 1)
    if comment.attachment == "sticker":
        return {"type": "sticker", "sticker": _sticker(10_000 + dice.below(400))}
    if comment.attachment == "link":
        return {"type": "link", "link": _link(dice.below(900))}
    return {"type": "photo", "photo": _photo(max(1, comment.author), comment.date, dice)}


def _photo(owner_id: int, date: int, dice: Dice) -> Json:
    number = 456_000_000 + dice.below(1_000_000)
    sizes = [("m", 130, 97), ("x", 604, 453), ("z", 1280, 960)]
    return {
        "id": number,
        "album_id": -7,
        "owner_id": owner_id,
        "date": date,
        "text": "",
        "has_tags": False,
        "access_key": f"{scramble(number):016x}",
        "sizes": [
            {"type": kind, "width": width, "height": height, "url": f"{FILES}/photos/{number}_{kind}.jpg"}
            for kind, width, height in sizes
        ],
    }


def _sticker(number: int) -> Json:
    images = [
        {"url": f"{FILES}/stickers/{number}_{side}.png", "width": side, "height": side} for side in (64, 128, 256)
    ]
    return {
        "inner_type": "base_sticker_new",
        "sticker_id": number,
        "product_id": number // 50,
        "images": images,
        "images_with_background": images,
        "is_allowed": False,
    }


def _link(number: int) -> Json:
    return {
        "url": f"{FILES}/articles/{number}",
        "title": f"История №{number}: как это было",
        "caption": "simulator.invalid",
        "description": "",
        "is_favorite": False,
    }


def post_json(wall: Wall, post: Post, *, copy_history: bool = True) -> Json:
    """A post of a wall, with the counts of its comments, likes, reposts and views."""
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
        made["attachments"] = [{"type": "photo", "photo": _photo(wall.owner_id, post.date, dice)}]
    if dice.below(12) == 0:
        made["edited"] = post.date + 600
    if post.pinned:
        made["is_pinned"] = 1
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
