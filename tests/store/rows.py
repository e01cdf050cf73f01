"""Short constructors of rows in VK's form; tests change their values with `dataclasses.replace`."""

from typing import Any

from sqlalchemy import Row, Table, text

from app.resources import Resources
from app.store.collections import begin_collection
from app.wall import VkComment, VkPost

BIG = 2**32 + 5
"""An id that does not fit into 32 bits."""


def values_of(row: object) -> tuple[Any, ...]:
    """Return the values of a row, in the order of its columns."""
    assert isinstance(row, Row)
    return tuple(row)


def comment(comment_id: int, words: str = "text", **facts: Any) -> VkComment:
    """Return a comment on post 1 of wall -1."""
    values: dict[str, Any] = {
        "owner_id": -1,
        "post_id": 1,
        "from_id": 5,
        "date": 1_772_323_200,
        "likes": 0,
        "attachments": [],
        "thread_id": None,
        "reply_to_id": None,
        "is_deleted": False,
    }
    return VkComment(id=comment_id, text=words, **{**values, **facts})


def stub(comment_id: int) -> VkComment:
    """Return VK's stub of a deleted comment."""
    return comment(comment_id, "", from_id=None, is_deleted=True)


def post(post_id: int, words: str = "text", **facts: Any) -> VkPost:
    """Return a post of wall -1."""
    values: dict[str, Any] = {
        "owner_id": -1,
        "from_id": -1,
        "date": 1_772_323_200,
        "likes": 1,
        "reposts": 2,
        "views": 3,
        "comments": 4,
        "is_pinned": False,
        "attachments": [],
    }
    return VkPost(id=post_id, text=words, **{**values, **facts})


async def read(resources: Resources, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows of a table by their primary key."""
    names = [column.name for column in table.primary_key.columns]
    async with resources.database.connect() as connection:
        rows = (await connection.execute(table.select())).mappings().all()
    return {tuple(row[name] for name in names): dict(row) for row in rows}


async def age(resources: Resources, table: Table, interval: str) -> None:
    """Move the last-seen times of all rows back by this interval."""
    async with resources.database.transaction() as connection:
        await connection.execute(
            text(f"UPDATE {table.name} SET last_seen_at = last_seen_at - CAST(:age AS text)::interval"),  # noqa: S608 - a constant name
            {"age": interval},
        )


async def begin(resources: Resources) -> int:
    """Return the number of a collection that begins now: it has not yet seen any stored row."""
    async with resources.database.transaction() as connection:
        return await begin_collection(connection)
