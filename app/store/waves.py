"""Waves: clusters of near-duplicate comments, which are found by their bands (see `app.analysis.duplicates`).

Callers that change waves call `lock_waves` first, and then lock the walls whose comments enter or leave a wave.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import comment_features, comments, waves
from app.store.arrays import is_among, key_columns
from app.store.keyset import Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.store.rows import CommentRow, WaveRow

LARGEST = Order("LARGEST", ("comment_count", "id"), is_descending=True)
LATEST = Order("LATEST", ("last_at", "id"), is_descending=True)
OLDEST_COMMENT = Order("OLDEST_COMMENT", ("published_at", "owner_id", "id"))
LEAST_COMMENTS = 3
LEAST_SPREAD = 2
"""A wave needs at least this many authors or this many posts, unless it is a flood."""
LEAST_FLOOD = 20
"""This many comments are a wave whatever their authors and posts. So a larger cluster is always a wave."""

Key = tuple[int, int]
Bands = tuple[int, ...]


# reading waves


@dataclass(frozen=True, slots=True)
class WaveConditions:
    """Conditions that select waves; None does not restrict."""

    owner_ids: tuple[int, ...] | None = None
    min_comments: int | None = None

    def sql(self) -> list[ColumnElement[bool]]:
        """Return the conditions; a selected wave meets all of them."""
        f = comment_features.c
        conditions: list[ColumnElement[bool]] = []
        if self.owner_ids is not None:
            is_on_wall = exists().where(f.wave_id == waves.c.id, is_among(f.owner_id, self.owner_ids)).correlate(waves)
            conditions.append(is_on_wall)
        if self.min_comments is not None:
            conditions.append(waves.c.comment_count >= self.min_comments)
        return conditions


async def waves_by_key(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> Mapping[tuple[int, ...], WaveRow]:
    """Read waves: (id,) -> row; unknown ones are absent."""
    return await rows_by_key(connection, waves, ("id",), keys)


async def waves_page(connection: AsyncConnection, conditions: WaveConditions, page: Page) -> Slice[WaveRow]:
    """Read a page of the selected waves."""
    return await page_rows(connection, waves, conditions.sql(), page)


async def count_waves(connection: AsyncConnection, conditions: WaveConditions) -> int:
    """Count the selected waves."""
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
) -> Mapping[tuple[int, ...], Slice[CommentRow]]:
    """Read a page of the comments of each wave: (id,) -> slice; waves without comments are absent."""
    return await pages_by_key(connection, _IN_WAVES, ("wave_id",), keys, (), page)


async def count_comments_by_wave(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]], _: None
) -> Mapping[tuple[int, ...], int]:
    """Count the present comments of each wave: (id,) -> count; zeros are absent."""
    return await counts_by_key(connection, comment_features, ("wave_id",), keys)


# detecting waves


async def waiting_comments(connection: AsyncConnection, after: Key, limit: int) -> dict[Key, Bands]:
    """Return the next uncompared comments after a key, in the order of keys: key -> bands."""
    statement = text("""
        SELECT owner_id, comment_id, bands FROM comment_bands
         WHERE NOT is_compared AND (owner_id, comment_id) > (:owner_id, :id)
         ORDER BY owner_id, comment_id LIMIT :limit
    """)
    rows = await connection.execute(statement, {"owner_id": after[0], "id": after[1], "limit": limit})
    return {(row.owner_id, row.comment_id): tuple(row.bands) for row in rows}


async def count_waiting_comments(connection: AsyncConnection) -> int:
    """Count the comments that have not been compared with others yet."""
    return await connection.scalar(text("SELECT count(*) FROM comment_bands WHERE NOT is_compared")) or 0


# One index lookup per band: with &&, each candidate row would be compared with all bands. OFFSET 0 keeps this plan: if
# most comments were uncompared at the last ANALYZE, PostgreSQL estimates few compared ones and would compare each of
# them with all bands, too.
LOOSE_COMMENTS = """
    SELECT DISTINCT b.owner_id, b.comment_id, b.bands
      FROM unnest(CAST(:bands AS bigint[])) AS r(band),
           LATERAL (SELECT owner_id, comment_id, bands FROM comment_bands
                     WHERE is_compared AND NOT is_in_wave AND bands @> ARRAY[r.band] OFFSET 0) AS b
"""


async def loose_comments(connection: AsyncConnection, bands: Collection[int]) -> dict[Key, Bands]:
    """Return the compared comments outside waves that have one of these bands: key -> bands."""
    rows = await connection.execute(text(LOOSE_COMMENTS), {"bands": list(bands)})
    return {(row.owner_id, row.comment_id): tuple(row.bands) for row in rows}


async def waves_with_bands(connection: AsyncConnection, bands: Collection[int]) -> dict[int, list[int]]:
    """Return the waves that have any of these bands: id -> those bands."""
    statement = text("""
        SELECT wave_id, array_agg(band ORDER BY band) AS bands FROM wave_bands
         WHERE band = ANY(CAST(:bands AS bigint[]))
         GROUP BY wave_id ORDER BY wave_id
    """)
    rows = await connection.execute(statement, {"bands": list(bands)})
    return {row.wave_id: row.bands for row in rows}


async def which_make_waves(connection: AsyncConnection, clusters: Sequence[Collection[Key]]) -> set[int]:
    """Return the indexes of the clusters of comments that are large enough for a wave."""
    statement = text("""
        SELECT r.place FROM comments c
          JOIN unnest(CAST(:places AS int[]), CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]))
            AS r(place, owner_id, id) ON c.owner_id = r.owner_id AND c.id = r.id
         GROUP BY r.place
        HAVING count(*) >= :comments
           AND (greatest(count(DISTINCT c.from_id), count(DISTINCT (c.owner_id, c.post_id))) >= :spread
                OR count(*) >= :flood)
    """)
    values = key_columns([key for keys in clusters for key in keys]) | {
        "places": [index for index, keys in enumerate(clusters) for _ in keys],
        "comments": LEAST_COMMENTS,
        "spread": LEAST_SPREAD,
        "flood": LEAST_FLOOD,
    }
    return set((await connection.execute(statement, values)).scalars())


async def insert_waves(connection: AsyncConnection, count: int) -> list[int]:
    """Insert `count` waves without comments and return their ids."""
    statement = text("""
        INSERT INTO waves (comment_count, author_count, post_count, owner_id, comment_id, first_at, last_at)
        SELECT 0, 0, 0, 0, 0, now(), now() FROM generate_series(1, :count) RETURNING id
    """)
    return list((await connection.execute(statement, {"count": count})).scalars())


async def walls_of_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> set[int]:
    """Return the walls with comments of these waves."""
    statement = select(comment_features.c.owner_id).distinct().where(is_among(comment_features.c.wave_id, wave_ids))
    return set((await connection.execute(statement)).scalars())


async def join_waves(connection: AsyncConnection, bands: Mapping[Key, Bands], wave_ids: Mapping[Key, int]) -> None:
    """Add each comment to its wave (`wave_ids`); skip comments whose bands have changed meanwhile."""
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
    values = key_columns(keys) | {"bands": _as_texts(bands[key] for key in keys), "wave_ids": list(wave_ids.values())}
    await connection.execute(statement, values)


async def merge_waves(connection: AsyncConnection, merged: Mapping[int, int]) -> None:
    """Merge waves into others (wave -> the one that absorbs it) and delete the merged ones."""
    if not merged:
        return
    values = {"ids": list(merged), "others": list(merged.values())}
    for table in ("comment_features", "wave_bands"):
        statement = f"""
            UPDATE {table} w SET wave_id = r.other
              FROM unnest(CAST(:ids AS bigint[]), CAST(:others AS bigint[])) AS r(id, other) WHERE w.wave_id = r.id
        """  # noqa: S608 - only constant SQL is interpolated
        await connection.execute(text(statement), values)
    await connection.execute(waves.delete().where(is_among(waves.c.id, merged)))


async def mark_compared(connection: AsyncConnection, compared: Mapping[Key, Bands]) -> None:
    """Record that comments were compared with all others; skip comments whose bands have changed meanwhile."""
    statement = text("""
        UPDATE comment_bands b SET is_compared = true
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:bands AS text[]))
            AS r(owner_id, id, bands)
         WHERE b.owner_id = r.owner_id AND b.comment_id = r.id AND b.bands = CAST(r.bands AS bigint[])
           AND NOT b.is_compared
    """)
    await connection.execute(statement, key_columns(compared) | {"bands": _as_texts(compared.values())})


async def waves_after(connection: AsyncConnection, after: int, limit: int, most_comments: int) -> list[int]:
    """Return up to `limit` waves after an id, with `most_comments` in all (exceeded by the last wave only)."""
    statement = text("""
        SELECT id
          FROM (SELECT id, sum(comment_count) OVER (ORDER BY id) - comment_count AS before
                  FROM (SELECT id, comment_count FROM waves WHERE id > :after ORDER BY id LIMIT :limit) AS next) AS w
         WHERE before < :most ORDER BY id
    """)
    return list(await connection.scalars(statement, {"after": after, "limit": limit, "most": most_comments}))


async def waves_of_comments(connection: AsyncConnection, keys: Collection[Key]) -> list[int]:
    """Return the ids of the waves of these comments, ascending."""
    statement = text("""
        SELECT DISTINCT f.wave_id FROM comment_features f
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
            ON f.owner_id = r.owner_id AND f.comment_id = r.id
         WHERE f.wave_id IS NOT NULL ORDER BY f.wave_id
    """)
    return list(await connection.scalars(statement, key_columns(keys)))


async def recount_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> list[int]:
    """Recompute the counts of these waves and return the ids of those that are too small for a wave now."""
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
    is_too_small = (w.comment_count < LEAST_COMMENTS) | is_narrow | is_empty
    return list(await connection.scalars(select(w.id).where(is_among(w.id, wave_ids), is_too_small).order_by(w.id)))


async def dissolve_waves(connection: AsyncConnection, wave_ids: Collection[int]) -> None:
    """Delete waves; their comments stay compared, so other comments are still compared with them."""
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
    # unnest flattens nested arrays completely, so the inner arrays are passed as strings.
    return [f"{{{','.join(map(str, bands))}}}" for bands in some]
