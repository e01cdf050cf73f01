"""Communities: rows keyed by `owner_id`, the negative id of the community."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Text, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import (
    author_months,
    comment_hours,
    groups,
    keyword_months,
    language_months,
    posts,
    removed_comments,
    term_months,
    wall_versions,
)
from app.errors import GroupNotFound
from app.store.arrays import is_among
from app.store.keyset import Key, Order, Page, Slice, count_rows, page_rows, rows_by_key
from app.store.rows import GroupRow
from app.wall import VkGroup

ADDED = Order("ADDED", ("added_at", "owner_id"), is_descending=True)
NAME = Order("NAME", ("name", "owner_id"))
KEY = ("owner_id",)


async def groups_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, GroupRow]:
    """Read communities: (owner_id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, groups, KEY, keys)


@dataclass(frozen=True, slots=True)
class GroupConditions:
    """Conditions that select communities; None does not restrict.

    `search` is a substring of the name or screen name, compared without case; a
    selected community has at least one of `labels`.
    """

    search: str | None = None
    labels: tuple[str, ...] | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; a selected community meets all of them."""
        conditions: list[ColumnElement[bool]] = []
        if self.search:
            names = (groups.c.name, groups.c.screen_name)
            conditions.append(or_(*(name.icontains(self.search, autoescape=True) for name in names)))
        if self.labels is not None:
            conditions.append(groups.c.labels.overlap(cast(list(self.labels), ARRAY(Text))))
        return conditions


async def groups_page(connection: AsyncConnection, conditions: GroupConditions, page: Page) -> Slice[GroupRow]:
    """Read a page of the selected communities."""
    return await page_rows(connection, groups, conditions.sql(), page)


async def count_groups(connection: AsyncConnection, conditions: GroupConditions) -> int:
    """Count the selected communities."""
    return await count_rows(connection, groups, conditions.sql())


async def group_by_screen_name(connection: AsyncConnection, screen_name: str) -> GroupRow | None:
    """Return the row of a community by its screen name, compared without case, or None."""
    rows = await connection.execute(select(groups).where(func.lower(groups.c.screen_name) == screen_name.lower()))
    return rows.first()


async def require_groups(connection: AsyncConnection, owner_ids: Sequence[int]) -> None:
    """Check that all communities have been added.

    Raises:
        GroupNotFound: a community has not been added; contains the first such owner id.
    """
    known = await groups_by_key(connection, [(owner_id,) for owner_id in owner_ids])
    for owner_id in owner_ids:
        if (owner_id,) not in known:
            raise GroupNotFound(owner_id)


async def upsert_groups(connection: AsyncConnection, vk_groups: Sequence[VkGroup]) -> set[int]:
    """Insert or refresh communities in one statement; return the owner ids of the new ones.

    Rows are sorted by id: concurrent transactions lock the same communities in the same order and cannot deadlock.
    """
    rows = sorted({group.id: group for group in vk_groups}.values(), key=lambda group: group.id)
    statement = text("""
        INSERT INTO groups AS g
               (owner_id, screen_name, name, description, members_count, is_closed, deactivated, photo_url)
        SELECT * FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:screen_names AS text[]), CAST(:names AS text[]),
                             CAST(:descriptions AS text[]), CAST(:members_counts AS bigint[]),
                             CAST(:are_closed AS bool[]), CAST(:deactivated AS text[]), CAST(:photo_urls AS text[]))
        ON CONFLICT (owner_id) DO UPDATE SET
               screen_name = excluded.screen_name, name = excluded.name,
               description = coalesce(excluded.description, g.description),
               members_count = coalesce(excluded.members_count, g.members_count),
               is_closed = excluded.is_closed, deactivated = excluded.deactivated,
               photo_url = coalesce(excluded.photo_url, g.photo_url)
        RETURNING owner_id, xmax = 0 AS is_new
    """)
    result = await connection.execute(statement, _columns(rows))
    return {row.owner_id for row in result if row.is_new}


def _columns(rows: Sequence[VkGroup]) -> dict[str, object]:
    return {
        "owner_ids": [-group.id for group in rows],
        "screen_names": [group.screen_name for group in rows],
        "names": [group.name for group in rows],
        "descriptions": [group.description for group in rows],
        "members_counts": [group.members_count for group in rows],
        "are_closed": [group.is_closed for group in rows],
        "deactivated": [group.deactivated for group in rows],
        "photo_urls": [group.photo_url for group in rows],
    }


async def refresh_groups(connection: AsyncConnection, vk_groups: Sequence[VkGroup]) -> int:
    """Write VK's data of communities that have been added, and return how many of them have changed.

    They are locked in the order in which `upsert_groups` writes them, so the two cannot deadlock.
    """
    rows = sorted(vk_groups, key=lambda group: group.id)
    in_order = select(groups.c.owner_id).where(is_among(groups.c.owner_id, [-group.id for group in rows]))
    await connection.execute(in_order.order_by(groups.c.owner_id.desc()).with_for_update(key_share=True))
    statement = text("""
        UPDATE groups g
           SET screen_name = r.screen_name, name = r.name, description = r.description,
               members_count = r.members_count, is_closed = r.is_closed, deactivated = r.deactivated,
               photo_url = r.photo_url
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:screen_names AS text[]), CAST(:names AS text[]),
                      CAST(:descriptions AS text[]), CAST(:members_counts AS bigint[]), CAST(:are_closed AS bool[]),
                      CAST(:deactivated AS text[]), CAST(:photo_urls AS text[]))
               AS r(owner_id, screen_name, name, description, members_count, is_closed, deactivated, photo_url)
         WHERE g.owner_id = r.owner_id
           AND (g.screen_name, g.name, g.description, g.members_count, g.is_closed, g.deactivated, g.photo_url)
               IS DISTINCT FROM
               (r.screen_name, r.name, r.description, r.members_count, r.is_closed, r.deactivated, r.photo_url)
    """)
    return (await connection.execute(statement, _columns(rows))).rowcount


async def owner_ids_after(
    connection: AsyncConnection, after: int | None, limit: int, among: Sequence[int] | None
) -> list[int]:
    """Return up to `limit` communities after an owner id, ascending: of all, or only of those in `among`."""
    statement = select(groups.c.owner_id).order_by(groups.c.owner_id).limit(limit)
    if after is not None:
        statement = statement.where(groups.c.owner_id > after)
    if among is not None:
        statement = statement.where(is_among(groups.c.owner_id, among))
    return list(await connection.scalars(statement))


async def update_group(connection: AsyncConnection, owner_id: int, values: Mapping[str, object]) -> GroupRow:
    """Change a community and return its row.

    Raises:
        GroupNotFound: the community has not been added.
    """
    statement = update(groups).where(groups.c.owner_id == owner_id)
    # An UPDATE needs at least one value: without any to change, write the owner id, which changes nothing.
    changed = await connection.execute(statement.values(**(values or {"owner_id": owner_id})).returning(groups))
    row: GroupRow | None = changed.first()
    if row is None:
        raise GroupNotFound(owner_id)
    return row


OF_WALLS = (posts, comment_hours, author_months, keyword_months, language_months, term_months, removed_comments)
"""The tables with rows of a wall other than comments: its posts, the rollups that triggers keep, removed comments."""


async def delete_some_of_wall(connection: AsyncConnection, owner_id: int, limit: int) -> int:
    """Delete up to `limit` rows of a wall from one of the tables other than comments; return how many.

    Remaining comments are deleted with their posts. Zero means that no rows are left.
    """
    for table in OF_WALLS:
        some = f"""
            DELETE FROM {table.name} WHERE ctid = ANY(ARRAY(
                   SELECT ctid FROM {table.name} WHERE owner_id = :owner_id LIMIT :limit))
        """  # noqa: S608 - the name of one of the application's tables
        deleted = (await connection.execute(text(some), {"owner_id": owner_id, "limit": limit})).rowcount
        if deleted:
            return deleted
    return 0


async def delete_group(connection: AsyncConnection, owner_id: int) -> None:
    """Delete the row of a community of which no other data is stored."""
    await connection.execute(delete(groups).where(groups.c.owner_id == owner_id))
    await connection.execute(delete(wall_versions).where(wall_versions.c.owner_id == owner_id))


async def mark_groups_collected(connection: AsyncConnection, owner_ids: Sequence[int]) -> None:
    """Record that the requested content of these communities has just been collected."""
    if owner_ids:
        await connection.execute(
            update(groups).where(is_among(groups.c.owner_id, owner_ids)).values(collected_at=func.now())
        )
