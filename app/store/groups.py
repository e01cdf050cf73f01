"""Communities: rows keyed by `owner_id`, the negative id of the community."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import groups
from app.errors import GroupNotFound
from app.store.keyset import Order, Page, Slice, count_rows, page_rows, rows_by_key
from app.wall import VkGroup

ADDED = Order("ADDED", ("added_at", "owner_id"), is_descending=True)
NAME = Order("NAME", ("name", "owner_id"))
KEY = ("owner_id",)


async def groups_by_key(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read communities: (owner_id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, groups, KEY, keys)


async def groups_page(connection: AsyncConnection, search: str | None, page: Page) -> Slice:
    """Read a page of the communities whose name or screen name contains `search`, whatever the case."""
    return await page_rows(connection, groups, _conditions(search), page)


async def count_groups(connection: AsyncConnection, search: str | None) -> int:
    """Count the communities whose name or screen name contains `search`."""
    return await count_rows(connection, groups, _conditions(search))


def _conditions(search: str | None) -> list[Any]:
    if not search:
        return []
    return [groups.c.name.icontains(search, autoescape=True) | groups.c.screen_name.icontains(search, autoescape=True)]


async def group_by_screen_name(connection: AsyncConnection, screen_name: str) -> Row[Any] | None:
    """Find a community by its screen name, whatever the case."""
    found = await connection.execute(select(groups).where(func.lower(groups.c.screen_name) == screen_name.lower()))
    return found.first()


async def require_groups(connection: AsyncConnection, owner_ids: Sequence[int]) -> None:
    """Check that all communities have been added.

    Raises:
        GroupNotFound: names the first one that has not.
    """
    known = await groups_by_key(connection, [(owner_id,) for owner_id in owner_ids])
    for owner_id in owner_ids:
        if (owner_id,) not in known:
            raise GroupNotFound(owner_id)


async def upsert_groups(connection: AsyncConnection, found: Sequence[VkGroup]) -> set[int]:
    """Insert or refresh communities in one statement; returns the owner ids of those that are new.

    In the order of their ids, so that two that meet the same communities at once cannot deadlock.
    """
    rows = sorted({group.id: group for group in found}.values(), key=lambda group: group.id)
    statement = text("""
        INSERT INTO groups AS g
               (owner_id, screen_name, name, description, members_count, is_closed, deactivated, photo_url)
        SELECT * FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:screen_names AS text[]), CAST(:names AS text[]),
                             CAST(:descriptions AS text[]), CAST(:members_counts AS int[]),
                             CAST(:are_closed AS bool[]), CAST(:deactivated AS text[]), CAST(:photo_urls AS text[]))
        ON CONFLICT (owner_id) DO UPDATE SET
               screen_name = excluded.screen_name, name = excluded.name,
               description = coalesce(excluded.description, g.description),
               members_count = coalesce(excluded.members_count, g.members_count),
               is_closed = excluded.is_closed, deactivated = excluded.deactivated,
               photo_url = coalesce(excluded.photo_url, g.photo_url)
        RETURNING owner_id, xmax = 0 AS is_new
    """)
    result = await connection.execute(
        statement,
        {
            "owner_ids": [-group.id for group in rows],
            "screen_names": [group.screen_name for group in rows],
            "names": [group.name for group in rows],
            "descriptions": [group.description for group in rows],
            "members_counts": [group.members_count for group in rows],
            "are_closed": [group.is_closed for group in rows],
            "deactivated": [group.deactivated for group in rows],
            "photo_urls": [group.photo_url for group in rows],
        },
    )
    return {row.owner_id for row in result if row.is_new}


async def lock_walls(connection: AsyncConnection, owner_ids: Collection[int]) -> None:
    """Wait until nobody else writes posts or comments of these walls, until the transaction ends.

    Two collections may meet on one wall, of single posts and of the whole: by
    turns they cannot take the same rows crosswise.
    """
    statement = text("""
        SELECT pg_advisory_xact_lock(hashtextextended('wall', owner_id))
          FROM (SELECT owner_id FROM unnest(CAST(:owner_ids AS bigint[])) AS w(owner_id) ORDER BY owner_id) AS walls
    """)
    await connection.execute(statement, {"owner_ids": list(owner_ids)})


async def mark_groups_collected(connection: AsyncConnection, owner_ids: Sequence[int]) -> None:
    """Note that all that was asked for of these communities has just been collected."""
    if owner_ids:
        await connection.execute(update(groups).where(groups.c.owner_id.in_(owner_ids)).values(collected_at=func.now()))
