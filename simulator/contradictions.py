"""Corrupts correct answers: pages that contradict themselves, and values that VK's schema does not allow."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

Json = dict[str, Any]


def contradicted(answer: Any, change: str) -> Any:
    """Return a copy of a list method's answer, changed by the named one of `CHANGES`; other answers as they are."""
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        return answer
    changed = copy.deepcopy(answer)
    CHANGES[change](changed)
    return changed


def _no_items(answer: Json) -> None:
    answer["items"] = []


def _null_items(answer: Json) -> None:
    answer["items"] = None


def _half_of_the_items(answer: Json) -> None:
    answer["items"] = answer["items"][::2] if len(answer["items"]) > 1 else []


def _no_level(answer: Json) -> None:
    answer["items"] = []
    answer["current_level_count"] = 0


def _level_of_zero(answer: Json) -> None:
    answer["current_level_count"] = 0


def _everything_zero(answer: Json) -> None:
    answer["items"] = []
    answer["count"] = answer["current_level_count"] = 0


def _no_threads(answer: Json) -> None:
    for item in answer["items"]:
        item["thread"] = None


def _empty_threads(answer: Json) -> None:
    for thread in _threads(answer):
        thread["count"], thread["items"] = 0, []


def _threads_without_items(answer: Json) -> None:
    for thread in _threads(answer):
        thread["items"] = []


def _nulls_among_items(answer: Json) -> None:
    for place in range(0, len(answer["items"]), 3):
        answer["items"][place] = None


def _nulls_in_threads(answer: Json) -> None:
    for thread in _threads(answer):
        thread["items"] = [None for _ in thread["items"]]


def _nulls_among_authors(answer: Json) -> None:
    for name in ("profiles", "groups"):
        if answer.get(name):
            answer[name][0] = None


def _dates(value: object) -> Callable[[Json], None]:
    def change(answer: Json) -> None:
        for item in answer["items"][::2]:
            item["date"] = value

    return change


def _ids_of_words(answer: Json) -> None:
    for item in answer["items"][::2]:
        item["id"] = f"number {item['id']}"


def _numbers_as_texts(answer: Json) -> None:
    for name in ("count", "current_level_count"):
        if name in answer:
            answer[name] = str(answer[name])
    for item in _all_items(answer):
        item["id"], item["date"] = str(item["id"]), str(item["date"])
        if "likes" in item:
            item["likes"]["count"] = str(item["likes"]["count"])


def _texts_as_numbers(answer: Json) -> None:
    for item in _all_items(answer):
        if "text" in item:
            item["text"] = len(item["text"])


def _likes(count: int) -> Callable[[Json], None]:
    def change(answer: Json) -> None:
        for item in _all_items(answer):
            if "likes" in item:
                item["likes"]["count"] = count

    return change


def _threads(answer: Json) -> Iterator[Json]:
    return (item["thread"] for item in answer["items"] if item.get("thread"))


def _all_items(answer: Json) -> Iterator[Json]:
    for item in answer["items"]:
        yield item
        yield from (item.get("thread") or {}).get("items", ())


CHANGES: Final[dict[str, Callable[[Json], None]]] = {
    "no items": _no_items,
    "null items": _null_items,
    "half of the items": _half_of_the_items,
    "no level": _no_level,
    "level of zero": _level_of_zero,
    "everything zero": _everything_zero,
    "no threads": _no_threads,
    "empty threads": _empty_threads,
    "threads without items": _threads_without_items,
    "nulls among items": _nulls_among_items,
    "nulls in threads": _nulls_in_threads,
    "nulls among authors": _nulls_among_authors,
    "dates of null": _dates(None),
    "dates of words": _dates("yesterday"),
    "dates too late": _dates(2**40),
    "ids of words": _ids_of_words,
    "numbers as texts": _numbers_as_texts,
    "texts as numbers": _texts_as_numbers,
    "likes beyond 32 bits": _likes(2**31),
    "likes beyond 63 bits": _likes(2**64 - 1),
}
"""The possible corruptions of an answer, by name."""
