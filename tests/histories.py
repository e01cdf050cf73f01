"""The whole history of simulated walls, what the database has to hold of it, and what VK may answer instead."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import asyncpg

TRANSIENT: list[dict[str, Any]] = [
    *({"code": code} for code in (1, 6, 10)),
    *({"code": code, "inner": True} for code in (1, 6, 10)),
    *({"http": status} for status in (429, 500, 502)),
    *({"kind": kind} for kind in ("reset", "truncated", "not_json")),
    {"code": 13, "method": "execute"},
]
"""Faults of VK after which the same request succeeds."""

CONTRADICTIONS = [
    "no items",
    "null items",
    "half of the items",
    "no level",
    "level of zero",
    "everything zero",
    "no threads",
    "empty threads",
    "threads without items",
    "nulls among items",
    "nulls in threads",
    "nulls among authors",
    "dates of null",
    "dates too late",
    "ids of words",
    "numbers as texts",
    "likes beyond 63 bits",
]
"""All that the simulator can change of an answer, but for what changes the texts and likes that are stored."""

NO_COMMENT: Mapping[str, Any] = {"deleted": "gone", "post_deleted": False, "hidden": False}

History = Mapping[int, Mapping[str, Any]]
Rows = Mapping[int, asyncpg.Record]


class Difference(NamedTuple):
    """A value of one comment that is not what VK's history says: `part` is what kind of value."""

    part: str
    comment_id: int
    stored: object
    true: object


PARTS = ("comments", "places", "times", "authors", "deletions", "texts", "likes")
"""What `differences` compares of comments."""


def there(history: History) -> set[int]:
    """Return the comments that VK shows, stubs among them."""
    return {
        comment_id
        for comment_id, facts in history.items()
        if facts["deleted"] != "gone" and not facts["post_deleted"] and not facts["hidden"]
    }


def is_alive(facts: Mapping[str, Any]) -> bool:
    """Tell whether a comment is shown and no stub. Nothing that was deleted comes back, but what was hidden may."""
    return facts["deleted"] is None and not facts["post_deleted"] and not facts["hidden"]


def clean(text: str) -> str:
    """Return a text as PostgreSQL can hold it."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def differences(history: History, rows: Rows) -> Iterator[Difference]:
    """Compare all that is stored of a community after a full collection with its history, to the letter."""
    for comment_id in there(history) - rows.keys():
        yield Difference("comments", comment_id, None, history[comment_id])
    for comment_id in rows.keys() - history.keys():
        yield Difference("comments", comment_id, rows[comment_id], None)
    for comment_id in rows.keys() & history.keys():
        yield from _differences_of_one(comment_id, history[comment_id], rows[comment_id])


def _differences_of_one(comment_id: int, facts: Mapping[str, Any], row: asyncpg.Record) -> Iterator[Difference]:
    # VK tells neither the author nor the text of a stub; what was seen alive before keeps them
    was_always_a_stub = row["is_deleted"] and row["changed_at"] is None
    names = ("post_id", "thread_id", "reply_to_id")
    author = None if was_always_a_stub else facts["from_id"]
    is_deleted = not is_alive(facts)
    compared = [
        ("places", [row[name] for name in names], [facts[name] for name in names]),
        ("times", row["published_at"], datetime.fromtimestamp(facts["date"], UTC)),
        ("authors", row["from_id"], author),
        ("deletions", row["is_deleted"], is_deleted),
    ]
    if was_always_a_stub and facts["deleted"] is None:
        yield Difference("deletions", comment_id, "a stub when it was first seen", "never a stub")
    texts, likes = {clean(text) for text in facts["texts"]}, range(facts["likes"] + 1)
    if is_alive(facts):
        texts, likes = {clean(facts["text"])}, range(facts["likes"], facts["likes"] + 1)
    elif was_always_a_stub:
        texts, likes = {""}, range(1)
    for part, stored, true in compared:
        if stored != true:
            yield Difference(part, comment_id, stored, true)
    if row["text"] not in texts:
        yield Difference("texts", comment_id, row["text"], texts)
    if row["like_count"] not in likes:
        yield Difference("likes", comment_id, row["like_count"], likes)
