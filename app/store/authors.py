"""Authors of posts and comments: people and communities, keyed by VK's signed id (negative = a community)."""

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import authors
from app.store.keyset import Key, rows_by_key
from app.store.rows import AuthorRow
from app.wall import VkAuthor

KEY = ("id",)


async def authors_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, AuthorRow]:
    """Read authors: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, authors, KEY, keys)


async def upsert_authors(connection: AsyncConnection, vk_authors: Sequence[VkAuthor]) -> None:
    """Insert authors, or refresh those whose data changed, in one statement.

    Rows are sorted by id: concurrent collections lock the same authors in the
    same order and cannot deadlock.
    """
    rows = sorted({author.id: author for author in vk_authors}.values(), key=lambda author: author.id)
    if not rows:
        return
    statement = text("""
        INSERT INTO authors AS a (id, name, screen_name, photo_url, deactivated)
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:names AS text[]), CAST(:screen_names AS text[]),
                             CAST(:photo_urls AS text[]), CAST(:deactivated AS text[]))
        ON CONFLICT (id) DO UPDATE SET
               name = excluded.name, screen_name = excluded.screen_name, photo_url = excluded.photo_url,
               deactivated = excluded.deactivated, last_seen_at = now()
        WHERE (a.name, a.screen_name, a.photo_url, a.deactivated) IS DISTINCT FROM
              (excluded.name, excluded.screen_name, excluded.photo_url, excluded.deactivated)
           OR a.last_seen_at < now() - interval '1 day'
    """)
    await connection.execute(
        statement,
        {
            "ids": [author.id for author in rows],
            "names": [author.name for author in rows],
            "screen_names": [author.screen_name for author in rows],
            "photo_urls": [author.photo_url for author in rows],
            "deactivated": [author.deactivated for author in rows],
        },
    )
