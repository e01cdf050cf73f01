"""Marks stored comments as viewed or archived, and removes comments permanently."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comments
from app.store.arrays import key_columns
from app.store.comment_conditions import CommentConditions

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks to set (True) or clear (False); None leaves a mark unchanged."""

    viewed: bool | None = None
    archived: bool | None = None

    def would_change(self) -> ColumnElement[bool]:
        """Return the condition that a comment does not have these marks yet."""
        marks = ((comments.c.viewed_at, self.viewed), (comments.c.archived_at, self.archived))
        return or_(*(column.is_(None) if mark else column.is_not(None) for column, mark in marks if mark is not None))


async def keys_after(
    connection: AsyncConnection,
    conditions: CommentConditions,
    after: Key | None,
    limit: int,
    marks: Marks | None = None,
) -> list[Key]:
    """Return up to `limit` keys of the selected comments after a key, in order; with `marks` only those to change."""
    key = tuple_(comments.c.owner_id, comments.c.id)
    statement = select(comments.c.owner_id, comments.c.id).where(*conditions.sql())
    if marks:
        statement = statement.where(marks.would_change())
    if after:
        statement = statement.where(key > tuple_(*after))
    rows = await connection.execute(statement.order_by(comments.c.owner_id, comments.c.id).limit(limit))
    return [(row.owner_id, row.id) for row in rows]


async def mark(connection: AsyncConnection, keys: Sequence[Key], marks: Marks) -> list[Key]:
    """Mark comments and return the keys of those that changed.

    The caller holds the locks of their walls. A comment that is already marked
    keeps the time of its mark.
    """
    statement = text("""
        UPDATE comments c
           SET viewed_at = CASE CAST(:viewed AS bool) WHEN true THEN coalesce(viewed_at, now()) WHEN false THEN NULL
                           ELSE viewed_at END,
               archived_at = CASE CAST(:archived AS bool) WHEN true THEN coalesce(archived_at, now())
                             WHEN false THEN NULL ELSE archived_at END
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
         WHERE c.owner_id = r.owner_id AND c.id = r.id
           AND ((c.viewed_at IS NOT NULL) <> CAST(:viewed AS bool)
                OR (c.archived_at IS NOT NULL) <> CAST(:archived AS bool))
        RETURNING c.owner_id, c.id
    """)
    rows = await connection.execute(statement, key_columns(keys) | {"viewed": marks.viewed, "archived": marks.archived})
    return [(row.owner_id, row.id) for row in rows]


async def remove(connection: AsyncConnection, keys: Sequence[Key]) -> list[Key]:
    """Remove comments permanently and return the keys of those that existed; they are not stored again.

    The caller holds the locks of their walls. Their matches and features are removed with them.
    """
    statement = text("""
        WITH gone AS (
            DELETE FROM comments c USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
             WHERE c.owner_id = r.owner_id AND c.id = r.id RETURNING c.owner_id, c.id),
        noted AS (
            INSERT INTO removed_comments (owner_id, id) SELECT owner_id, id FROM gone ON CONFLICT DO NOTHING)
        SELECT owner_id, id FROM gone
    """)
    rows = await connection.execute(statement, key_columns(keys))
    return [(row.owner_id, row.id) for row in rows]


async def delete(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Delete comments; unlike removed ones they may be stored again. The caller holds the locks of their walls."""
    statement = text("""
        DELETE FROM comments c USING unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
         WHERE c.owner_id = r.owner_id AND c.id = r.id
    """)
    await connection.execute(statement, key_columns(keys))
