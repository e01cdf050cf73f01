"""Waves: groups of comments that say nearly the same. Which those are is found by their bands (`analysis.duplicates`).

Who changes waves holds `lock_waves` first, and then the locks of the walls whose comments come to a wave or leave one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments, waves
from app.store.arrays import is_among, key_columns
from app.store.keyset import Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key

LARGEST = Order("LARGEST", ("comment_count", "id"), is_descending=True)
LATEST = Order("LATEST", ("last_at", "id"), is_descending=True)
OLDEST_COMMENT = Order("OLDEST_COMMENT", ("published_at", "owner_id", "id"))
LEAST_COMMENTS = 3
LEAST_SPREAD = 2
"""A wave comes from so many authors, or stands under so many posts, unless it is a flood."""
LEAST_FLOOD = 20
"""So many comments are a wave wherever they come from. So there are never more that are near each other and in none."""

Key = tuple[int, int]
Bands = tuple[int, ...]


# reading them


@dataclass(frozen=True, slots=True)
class WaveConditions:
    """Which waves are wanted; what is None does not restrict."""

    owner_ids: tuple[int, ...] | None = None
    min_comments: int | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; all of them hold for a wanted wave."""
        f = comment_features.c
        wanted: list[ColumnElement[bool]] = []
        if self.owner_ids is not None:
            is_there = exists().where(f.wave_id == waves.c.id, is_among(f.owner_id, self.owner_ids)).correlate(waves)
            wanted.append(is_there)
        if self.min_comments is not None:
            wanted.append(waves.c.comment_count >= self.min_comments)
        return wanted


async def waves_by_key(connection: AsyncConnection, keys: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Row[Any]]:
    """Read waves: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, waves, ("id",), keys)


async def waves_page(connection: AsyncConnection, conditions: WaveConditions, page: Page) -> Slice:
    """Read a page of the waves that are wanted."""
    return await page_rows(connection, waves, conditions.sql(), page)


async def count_waves(connection: AsyncConnection, conditions: WaveConditions) -> int:
    """Count the waves that are wanted."""
    return await count_rows(connection, waves, conditions.sql())


_IN_WAVES = (
    select(comments, comment_features.c.wave_id)
    .join(
        comment_features,
        (comment_features.c.owner_id == comments.c.owner_id) & (comment_features.c.comment_id == comments.c.id),
    )
    .where(comment_features.c.wave_id.is_not(None))
    .subquery("in_waves")
)


async def comments_by_wave(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], _: None, page: Page
) -> dict[tuple[int, ...], Slice]:
    """Read a page of the comments of each wave: (id,) -> slice; waves without comments are absent."""
    return await pages_by_key(connection, _IN_WAVES, ("wave_id",), keys, (), page)


async def count_comments_by_wave(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], _: None
) -> dict[tuple[int, ...], int]:
    """Count the comments of each wave as they are now: (id,) -> count; zeros are absent."""
    return await counts_by_key(connection, comment_features, ("wave_id",), keys)


# finding them


async def lock_waves(connection: AsyncConnection) -> None:
    """Wait until nobody else changes waves, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('waves', 0))"))


async def waiting_comments(connection: AsyncConnection, after: Key, limit: int) -> dict[Key, Bands]:
    """Return the next comments behind a key that have not been compared with others: key -> bands, in their order."""
    statement = text("""
        SELECT owner_id, comment_id, bands FROM comment_bands
         WHERE NOT is_compared AND (owner_id, comment_id) > (:owner_id, :id)
         ORDER BY owner_id, comment_id LIMIT :limit
    """)
    rows = await connection.execute(statement, {"owner_id": after[0], "id": after[1], "limit": limit})
    return {(row.owner_id, row.comment_id): tuple(row.bands) for row in rows}


async def count_waiting_comments(connection: AsyncConnection) -> int:
    """Count the comments that have not been compared with others."""
    return await connection.scalar(text("SELECT count(*) FROM comment_bands WHERE NOT is_compared")) or 0


# Band by band: with && each row that is looked at would be compared with all of them. OFFSET, as where most were not
# compared when PostgreSQL last looked, it takes the others for few, and would compare each of them with all bands, too.
LOOSE_COMMENTS = """
    SELECT DISTINCT b.owner_id, b.comment_id, b.bands
      FROM unnest(CAST(:bands AS bigint[])) AS r(band),
           LATERAL (SELECT owner_id, comment_id, bands FROM comment_bands
                     WHERE is_compared AND NOT is_in_wave AND bands @> ARRAY[r.band] OFFSET 0) AS b
"""


async def loose_comments(connection: AsyncConnection, bands: Collection[int]) -> dict[Key, Bands]:
    """Return comments that were compared, are in no wave, and have one of these bands: key -> bands."""
    rows = await connection.execute(text(LOOSE_COMMENTS), {"bands": list(bands)})
    return {(row.owner_id, row.comment_id): tuple(row.bands) for row in rows}


async def waves_with_bands(connection: AsyncConnection, bands: Collection[int]) -> dict[int, list[int]]:
    """Return waves that have some of these bands: id -> those bands."""
    statement = text("""
        SELECT wave_id, array_agg(band ORDER BY band) AS bands FROM wave_bands
         WHERE band = ANY(CAST(:bands AS bigint[]))
         GROUP BY wave_id ORDER BY wave_id
    """)
    rows = await connection.execute(statement, {"bands": list(bands)})
    return {row.wave_id: row.bands for row in rows}


async def which_make_waves(connection: AsyncConnection, found: Sequence[Collection[Key]]) -> set[int]:
    """Tell which of these groups of comments are enough for a wave: their places."""
    statement = text("""
        SELECT r.place FROM comments c
          JOIN unnest(CAST(:places AS int[]), CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
            AS r(place, owner_id, id) ON c.owner_id = r.owner_id AND c.id = r.id
         GROUP BY r.place
        HAVING count(*) >= :comments
           AND (greatest(count(DISTINCT c.from_id), count(DISTINCT (c.owner_id, c.post_id))) >= :spread
                OR count(*) >= :flood)
    """)
    values = key_columns([key for keys in found for key in keys]) | {
        "places": [place for place, keys in enumerate(found) for _ in keys],
        "comments": LEAST_COMMENTS,
        "spread": LEAST_SPREAD,
        "flood": LEAST_FLOOD,
    }
    return set((await connection.execute(statement, values)).scalars())


async def insert_waves(connection: AsyncConnection, count: int) -> list[int]:
    """Insert so many waves without comments and return their ids."""
    statement = text("""
        INSERT INTO waves (comment_count, author_count, post_count, owner_id, comment_id, first_at, last_at)
        SELECT 0, 0, 0, 0, 0, now(), now() FROM generate_series(1, :count) RETURNING id
    """)
    return list((await connection.execute(statement, {"count": count})).scalars())


async def walls_of_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> set[int]:
    """Return the walls that have comments of these waves."""
    statement = select(comment_features.c.owner_id).distinct().where(is_among(comment_features.c.wave_id, wave_ids))
    return set((await connection.execute(statement)).scalars())


async def join_waves(connection: AsyncConnection, found: Mapping[Key, Bands], wave_ids: Mapping[Key, int]) -> None:
    """Put each comment into its wave, but for those that have other bands by now."""
    statement = text("""
        WITH joined AS (
            UPDATE comment_bands b SET is_compared = true, is_in_wave = true
              FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:bands AS text[]),
                          CAST(:wave_ids AS bigint[])) AS r(owner_id, id, bands, wave_id)
             WHERE b.owner_id = r.owner_id AND b.comment_id = r.id AND b.bands = CAST(r.bands AS bigint[])
            RETURNING b.owner_id, b.comment_id, b.bands, r.wave_id),
        known AS (
            INSERT INTO wave_bands (band, wave_id)
            SELECT DISTINCT band, wave_id FROM joined, LATERAL unnest(bands) AS band
            ON CONFLICT (band) DO NOTHING)
        UPDATE comment_features f SET wave_id = j.wave_id FROM joined j
         WHERE f.owner_id = j.owner_id AND f.comment_id = j.comment_id
    """)
    keys = list(wave_ids)
    values = key_columns(keys) | {"bands": _as_texts(found[key] for key in keys), "wave_ids": list(wave_ids.values())}
    await connection.execute(statement, values)


async def merge_waves(connection: AsyncConnection, merged: Mapping[int, int]) -> None:
    """Make waves a part of others: wave -> the one it belongs to now. They are gone then."""
    if not merged:
        return
    values = {"ids": list(merged), "others": list(merged.values())}
    for table in ("comment_features", "wave_bands"):
        statement = f"""
            UPDATE {table} w SET wave_id = r.other
              FROM unnest(CAST(:ids AS bigint[]), CAST(:others AS bigint[])) AS r(id, other) WHERE w.wave_id = r.id
        """  # noqa: S608 - SQL of this function
        await connection.execute(text(statement), values)
    await connection.execute(waves.delete().where(is_among(waves.c.id, merged)))


async def mark_compared(connection: AsyncConnection, compared: Mapping[Key, Bands]) -> None:
    """Note that comments were compared with all others, but for those that have other bands by now."""
    statement = text("""
        UPDATE comment_bands b SET is_compared = true
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:bands AS text[]))
            AS r(owner_id, id, bands)
         WHERE b.owner_id = r.owner_id AND b.comment_id = r.id AND b.bands = CAST(r.bands AS bigint[])
           AND NOT b.is_compared
    """)
    await connection.execute(statement, key_columns(compared) | {"bands": _as_texts(compared.values())})


async def waves_after(connection: AsyncConnection, after: int, limit: int, most_comments: int) -> list[int]:
    """Return the next waves behind an id: up to `limit`, and not many more comments than `most_comments` in all."""
    statement = text("""
        SELECT id
          FROM (SELECT id, sum(comment_count) OVER (ORDER BY id) - comment_count AS before
                  FROM (SELECT id, comment_count FROM waves WHERE id > :after ORDER BY id LIMIT :limit) AS next) AS w
         WHERE before < :most ORDER BY id
    """)
    return list(await connection.scalars(statement, {"after": after, "limit": limit, "most": most_comments}))


async def waves_of_comments(connection: AsyncConnection, keys: Collection[Key]) -> list[int]:
    """Return the waves that these comments are in, by id."""
    statement = text("""
        SELECT DISTINCT f.wave_id FROM comment_features f
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
            ON f.owner_id = r.owner_id AND f.comment_id = r.id
         WHERE f.wave_id IS NOT NULL ORDER BY f.wave_id
    """)
    return list(await connection.scalars(statement, key_columns(keys)))


async def recount_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> list[int]:
    """Count these waves anew and return the ids of those that are none any more."""
    statement = text("""
        WITH counted AS (
            SELECT f.wave_id, count(*) AS comments, count(DISTINCT c.from_id) AS authors,
                   count(DISTINCT (c.owner_id, c.post_id)) AS posts, min(c.published_at) AS first_at,
                   max(c.published_at) AS last_at,
                   (array_agg(c.owner_id ORDER BY c.published_at, c.owner_id, c.id))[1] AS owner_id,
                   (array_agg(c.id ORDER BY c.published_at, c.owner_id, c.id))[1] AS comment_id
              FROM comment_features f JOIN comments c ON c.owner_id = f.owner_id AND c.id = f.comment_id
             WHERE f.wave_id = ANY(CAST(:ids AS bigint[])) GROUP BY f.wave_id)
        UPDATE waves w
           SET comment_count = n.comments, author_count = n.authors, post_count = n.posts, owner_id = n.owner_id,
               comment_id = n.comment_id, first_at = n.first_at, last_at = n.last_at
          FROM counted n
         WHERE n.wave_id = w.id
           AND (w.comment_count, w.author_count, w.post_count, w.owner_id, w.comment_id, w.first_at, w.last_at)
            IS DISTINCT FROM
               (n.comments, n.authors, n.posts, n.owner_id, n.comment_id, n.first_at, n.last_at)
    """)
    await connection.execute(statement, {"ids": list(wave_ids)})
    w, f = waves.c, comment_features.c
    is_narrow = (func.greatest(w.author_count, w.post_count) < LEAST_SPREAD) & (w.comment_count < LEAST_FLOOD)
    is_empty = ~exists().where(f.wave_id == w.id).correlate(waves)
    is_none = (w.comment_count < LEAST_COMMENTS) | is_narrow | is_empty
    return list(await connection.scalars(select(w.id).where(is_among(w.id, wave_ids), is_none).order_by(w.id)))


async def dissolve_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> None:
    """Remove waves; their comments are in none then, but are still what others are compared with."""
    statement = text("""
        WITH freed AS (
            UPDATE comment_features SET wave_id = NULL WHERE wave_id = ANY(CAST(:ids AS bigint[]))
            RETURNING owner_id, comment_id)
        UPDATE comment_bands b SET is_in_wave = false FROM freed f
         WHERE b.owner_id = f.owner_id AND b.comment_id = f.comment_id
    """)
    await connection.execute(statement, {"ids": list(wave_ids)})
    await connection.execute(waves.delete().where(is_among(waves.c.id, wave_ids)))


def _as_texts(some: Iterable[Bands]) -> list[str]:
    # an array of arrays is taken apart as a whole, so arrays travel as texts
    return [f"{{{','.join(map(str, bands))}}}" for bands in some]
