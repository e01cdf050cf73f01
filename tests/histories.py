"""The full history of simulated walls, the database's expected contents, and the possible errors of VK's answers."""

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
"""All corruptions of answers by the simulator, except those that change the stored texts and likes."""

NO_COMMENT: Mapping[str, Any] = {"deleted": "gone", "post_deleted": False, "hidden": False}

History = Mapping[int, Mapping[str, Any]]
Rows = Mapping[int, asyncpg.Record]


class Difference(NamedTuple):
    """A value of one comment that differs from VK's history: `part` is its kind."""

    part: str
    comment_id: int
    stored: object
    true: object


PARTS = ("comments", "places", "times", "authors", "deletions", "texts", "likes")
"""The parts of comments that `differences` compares."""


def visible_ids(history: History) -> set[int]:
    """Return the comments that VK shows, including stubs."""
    return {
        comment_id
        for comment_id, facts in history.items()
        if facts["deleted"] != "gone" and not facts["post_deleted"] and not facts["hidden"]
    }


def is_alive(facts: Mapping[str, Any]) -> bool:
    """Return whether a comment is visible and not a stub. A deleted comment never returns, a hidden one may."""
    return facts["deleted"] is None and not facts["post_deleted"] and not facts["hidden"]


def clean(text: str) -> str:
    """Return a text as PostgreSQL can store it."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def differences(history: History, rows: Rows) -> Iterator[Difference]:
    """Compare all stored comments of a community after a full collection with its history, in every field."""
    for comment_id in visible_ids(history) - rows.keys():
        yield Difference("comments", comment_id, None, history[comment_id])
    for comment_id in rows.keys() - history.keys():
        yield Difference("comments", comment_id, rows[comment_id], None)
    for comment_id in rows.keys() & history.keys():
        yield from _differences_of_one(comment_id, history[comment_id], rows[comment_id])


def _differences_of_one(comment_id: int, facts: Mapping[str, Any], row: asyncpg.Record) -> Iterator[Difference]:
    # VK omits author and text of a stub; a comment that was collected before its deletion keeps them
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
