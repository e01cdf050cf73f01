"""Generates the attachments of comments and posts: photos, videos, polls, goods and all other kinds of VK's schema.

Shapes: VK API schema 5.199. It has none for article, audio_playlist and podcast: these are invented in its style. It
contradicts itself on video_playlist, which is omitted. Comments have the kinds that the schema allows both for
comments and for posts, because replies are validated by the latter; so comments have no poll, and nothing has a "wall".
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from simulator.phrases import Dice, scramble

Json: TypeAlias = dict[str, Any]

FILES: Final = "https://simulator.invalid"
COMMENT_KINDS: Final = (
    "photo", "audio", "audio_playlist", "video", "doc", "graffiti_doc", "voice_doc", "link", "note", "page", "market",
    "sticker", "graffiti", "several",
)  # fmt: skip
POST_KINDS: Final = (
    "photo", "posted_photo", "audio", "audio_playlist", "video", "clip", "doc", "link", "graffiti",
    "note", "app", "poll", "page", "album", "market_album", "market", "event", "article", "group", "sticker", "podcast",
)  # fmt: skip
WORDLESS: Final = frozenset({"sticker", "graffiti"})
"""Attachments that replace the text of a comment."""
_SEVERAL: Final = ("photo", "photo", "video", "doc", "audio")


def comment_attachments(kind: str, seed: int, author: int, date: int) -> list[Json]:
    """Return the attachments of a comment: one of its kind, or five for "several"."""
    dice = Dice(seed ^ 1)
    kinds = _SEVERAL if kind == "several" else (kind,)
    return [attachment(each, max(1, author), date, dice) for each in kinds]


def attachment(kind: str, owner_id: int, date: int, dice: Dice) -> Json:
    """Return an attachment of this kind that belongs to `owner_id`; photos of communities have negative owners.

    Two kinds are documents with their own preview: "graffiti_doc" a drawing, "voice_doc" a voice message.
    """
    named = "doc" if kind.endswith("_doc") else kind
    return {"type": named, named: _MAKERS[kind](owner_id, date, dice)}


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


def _sticker(_owner_id: int, _date: int, dice: Dice) -> Json:
    number = 10_000 + dice.below(400)
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


def _link(_owner_id: int, _date: int, dice: Dice) -> Json:
    number = dice.below(900)
    return {
        "url": f"{FILES}/articles/{number}",
        "title": f"История №{number}: как это было",
        "caption": "simulator.invalid",
        "description": "",
        "is_favorite": False,
    }


def _owned(owner_id: int, dice: Dice) -> Json:
    return {"id": 456_000_000 + dice.below(1_000_000), "owner_id": owner_id}


def _video(owner_id: int, date: int, dice: Dice) -> Json:
    made = _owned(owner_id, dice)
    image = {"url": f"{FILES}/videos/{made['id']}.jpg", "width": 320, "height": 240, "with_padding": 1}
    return made | {
        "response_type": "full",
        "title": f"Видео № {made['id'] % 1000}",
        "description": "",
        "duration": 15 + dice.below(3600),
        "date": date,
        "comments": dice.below(50),
        "views": dice.below(10_000),
        "image": [image],
        "type": "video",
        "can_add": 1,
        "access_key": f"{scramble(made['id']):016x}",
        "player": f"{FILES}/video_ext?id={made['id']}",
    }


def _clip(owner_id: int, date: int, dice: Dice) -> Json:
    return _video(owner_id, date, dice) | {"type": "short_video", "width": 720, "height": 1280}


def _audio(owner_id: int, date: int, dice: Dice) -> Json:
    # a token without audio rights receives an empty URL from VK
    facts = {"artist": "Хор Ветлогорска", "title": "Тишина", "duration": 60 + dice.below(300), "date": date, "url": ""}
    return _owned(owner_id, dice) | facts


def _audio_playlist(owner_id: int, date: int, dice: Dice) -> Json:
    return _owned(owner_id, dice) | {"title": "Вечер", "count": 2 + dice.below(30), "create_time": date, "type": 0}


def _podcast(owner_id: int, date: int, dice: Dice) -> Json:
    return _audio(owner_id, date, dice) | {"artist": "Подкаст", "podcast_info": {"description": "Выпуск о главном"}}


def _doc(owner_id: int, date: int, dice: Dice) -> Json:
    ext, kind = dice.pick((("pdf", 1), ("zip", 2), ("gif", 3), ("jpg", 4), ("mp3", 5), ("txt", 8)))
    facts = {"title": f"Файл.{ext}", "size": dice.below(9_000_000), "ext": ext, "date": date, "type": kind}
    made = _owned(owner_id, dice)
    return made | facts | {"url": f"{FILES}/docs/{made['id']}.{ext}", "access_key": f"{scramble(made['id']):016x}"}


def _graffiti_doc(owner_id: int, date: int, dice: Dice) -> Json:
    made = _doc(owner_id, date, dice) | {"title": "graffiti.png", "ext": "png", "type": 4}
    return made | {"preview": {"graffiti": {"src": made["url"], "width": 586, "height": 293}}}


def _voice_doc(owner_id: int, date: int, dice: Dice) -> Json:
    made = _doc(owner_id, date, dice) | {"title": "voice_message.webm", "ext": "webm", "type": 5}
    link = f"{FILES}/voice/{made['id']}"
    voice = {"duration": 7, "waveform": [0, 4, 9, 31], "link_mp3": f"{link}.mp3", "link_ogg": f"{link}.ogg"}
    return made | {"preview": {"audio_msg": voice}}


def _graffiti(owner_id: int, _date: int, dice: Dice) -> Json:
    made = _owned(owner_id, dice)
    return made | {"url": f"{FILES}/graffiti/{made['id']}.png", "width": 586, "height": 293}


def _note(owner_id: int, date: int, dice: Dice) -> Json:
    made = _owned(max(1, owner_id), dice)
    facts = {"comments": dice.below(9), "read_comments": 0, "date": date, "title": "Заметка", "text": "О разном"}
    return made | facts | {"view_url": f"{FILES}/notes/{made['id']}"}


def _page(owner_id: int, date: int, dice: Dice) -> Json:
    number = 1 + dice.below(100_000)
    made = {"id": number, "group_id": abs(owner_id), "created": date, "edited": date + 60, "title": "Правила"}
    return made | {"view_url": f"{FILES}/pages/{number}", "views": 7, "who_can_edit": 0, "who_can_view": 2}


def _market(owner_id: int, date: int, dice: Dice) -> Json:
    rubles = 100 + dice.below(5_000)
    return _owned(owner_id, dice) | {
        "title": "Чашка с ручкой",
        "description": "Держит тепло",
        "availability": 0,
        "category": {"inner_type": "market_market_category_nested", "id": 10, "name": "Посуда"},
        "price": {
            "amount": str(100 * rubles),
            "currency": {"id": 643, "name": "RUB", "title": "₽"},
            "text": f"{rubles} ₽",
        },
        "date": date,
        "is_favorite": False,
    }


def _market_album(owner_id: int, date: int, dice: Dice) -> Json:
    return _owned(owner_id, dice) | {"title": "Посуда", "count": dice.below(90), "updated_time": date}


def _poll(owner_id: int, date: int, dice: Dice) -> Json:
    votes = [dice.below(400) for _ in range(3)]
    total = max(1, sum(votes))
    answers = [
        {"id": 1 + place, "text": text, "votes": votes[place], "rate": round(100 * votes[place] / total, 2)}
        for place, text in enumerate(("Да", "Нет", "Посмотреть ответы"))
    ]
    no = dict.fromkeys(("multiple", "closed", "is_board", "can_edit", "can_report", "disable_unvote"), False)
    made = {"question": "Встретимся в субботу?", "answers": answers, "votes": sum(votes), "created": date}
    return _owned(owner_id, dice) | made | no | {"end_date": 0, "can_vote": True, "can_share": True, "anonymous": True}


def _album(owner_id: int, date: int, dice: Dice) -> Json:
    made = {"title": "Лето", "size": dice.below(200), "created": date, "updated": date, "description": ""}
    return _owned(owner_id, dice) | made | {"thumb": _photo(owner_id, date, dice)}


def _posted_photo(owner_id: int, _date: int, dice: Dice) -> Json:
    made = _owned(owner_id, dice)
    return made | {f"photo_{side}": f"{FILES}/posted/{made['id']}_{side}.jpg" for side in (130, 604)}


def _app(_owner_id: int, _date: int, dice: Dice) -> Json:
    number = 1 + dice.below(9_000_000)
    return {"id": number, "name": "Викторина", "photo_130": f"{FILES}/apps/{number}.jpg"}


def _event(_owner_id: int, date: int, dice: Dice) -> Json:
    made = {"id": 1 + dice.below(1_000_000), "time": date + 86_400, "text": "Субботник", "address": "Белые Ключи"}
    return made | {"button_text": "Пойду", "friends": [], "is_favorite": False, "member_status": 0}


def _group(_owner_id: int, _date: int, dice: Dice) -> Json:
    made = {"id": 1 + dice.below(1_000_000), "text": "Группа", "status": "", "size": dice.below(90_000)}
    return made | {"is_favorite": False}


def _article(owner_id: int, date: int, dice: Dice) -> Json:
    made = _owned(owner_id, dice)
    return made | {"title": "Как мы начинали", "url": f"{FILES}/@{made['id']}", "published_date": date, "views": 12}


_MAKERS: Final[dict[str, Callable[[int, int, Dice], Json]]] = {
    "album": _album,
    "app": _app,
    "article": _article,
    "audio": _audio,
    "audio_playlist": _audio_playlist,
    "clip": _clip,
    "doc": _doc,
    "event": _event,
    "graffiti": _graffiti,
    "graffiti_doc": _graffiti_doc,
    "group": _group,
    "link": _link,
    "market": _market,
    "market_album": _market_album,
    "note": _note,
    "page": _page,
    "photo": _photo,
    "podcast": _podcast,
    "poll": _poll,
    "posted_photo": _posted_photo,
    "sticker": _sticker,
    "video": _video,
    "voice_doc": _voice_doc,
}
