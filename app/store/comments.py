"""Comments and replies, keyed by (owner_id, id)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import md5
from itertools import groupby

import orjson
from sqlalchemy import ColumnElement, Double, FromClause, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.copying import copy_new_rows
from app.db.tables import comment_search, comments
from app.errors import PostNotFound
from app.json_types import JsonObject
from app.store.arrays import key_columns
from app.store.collections import NEWEST_COLLECTION
from app.store.comment_conditions import CommentConditions, query_matches
from app.store.keyset import Key, Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.store.rows import CommentRow
from app.wall import VkComment

NEWEST = Order("NEWEST", ("published_at", "owner_id", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("published_at", "owner_id", "id"))
MOST_LIKED = Order("MOST_LIKED", ("like_count", "owner_id", "id"), is_descending=True)
IN_THREAD = Order("IN_THREAD", ("id",))
RELEVANCE = Order("RELEVANCE", ("rank", "owner_id", "id"), is_descending=True, needs="search")
KEY = ("owner_id", "id")


async def comments_by_key(connection: AsyncConnection, keys: Sequence[Key]) -> Mapping[Key, CommentRow]:
    """Read comments: (owner_id, id) -> row; unknown ones are absent."""
    return await rows_by_key(connection, comments, KEY, keys)


async def comments_page(connection: AsyncConnection, conditions: CommentConditions, page: Page) -> Slice[CommentRow]:
    """Read a page of the selected comments."""
    if conditions.are_on_one_wall():
        page = _on_one_wall(conditions, page)
    return await page_rows(connection, *_source(conditions, page), page)


async def count_comments(connection: AsyncConnection, conditions: CommentConditions) -> int:
    """Count the selected comments."""
    return await count_rows(connection, comments, conditions.sql())


async def _comments_by(
    parent: tuple[str, ...],
    connection: AsyncConnection,
    keys: Sequence[Key],
    conditions: CommentConditions,
    page: Page,
) -> Mapping[Key, Slice[CommentRow]]:
    if "owner_id" in parent:
        page = _on_one_wall(conditions, page)
    table, sql_conditions = _source(conditions, page)
    return await pages_by_key(connection, table, parent, keys, sql_conditions, page)


def _source(conditions: CommentConditions, page: Page) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """Return the table or subquery to page through, which has the columns of the order, and the conditions on it."""
    if page.order is not RELEVANCE:
        return comments, conditions.sql()
    tsquery = conditions.query()
    # Normalization 1 divides the rank by the text's length: otherwise long texts would always come first.
    rank = cast(func.ts_rank(comment_search.c.vector, tsquery, 1), Double).label("rank")
    same_comment = (comment_search.c.owner_id == comments.c.owner_id) & (comment_search.c.comment_id == comments.c.id)
    ranked = select(comments, rank).join_from(comments, comment_search, same_comment)
    return ranked.where(query_matches(tsquery), *replace(conditions, search=None).sql()).subquery("ranked"), []


def _on_one_wall(conditions: CommentConditions, page: Page) -> Page:
    """Return the page ordered by id, which is the order of time: VK numbers the comments of a wall as they are written.

    So the primary key and the index by post serve these lists. With a time
    bound, the index by time finds the range, so the order stays unchanged.
    """
    is_bounded = conditions.published_from is not None or conditions.published_to is not None
    if is_bounded or page.order not in (NEWEST, OLDEST):
        return page
    after, before = (values and values[-1:] for values in (page.after, page.before))
    return replace(page, order=replace(page.order, columns=("id",)), after=after, before=before)


async def _count_comments_by(
    parent: tuple[str, ...],
    connection: AsyncConnection,
    keys: Sequence[Key],
    conditions: CommentConditions,
) -> Mapping[Key, int]:
    return await counts_by_key(connection, comments, parent, keys, conditions.sql())


# Each reads the same page for every parent, or counts its comments: parent's key -> slice, or count.
# Parents without comments are absent. Arguments: connection, keys, conditions, and page (not for counts).
comments_by_group = partial(_comments_by, ("owner_id",))
count_comments_by_group = partial(_count_comments_by, ("owner_id",))
comments_by_post = partial(_comments_by, ("owner_id", "post_id"))
count_comments_by_post = partial(_count_comments_by, ("owner_id", "post_id"))
comments_by_author = partial(_comments_by, ("from_id",))
count_comments_by_author = partial(_count_comments_by, ("from_id",))
replies_by_comment = partial(_comments_by, ("owner_id", "thread_id"))
count_replies_by_comment = partial(_count_comments_by, ("owner_id", "thread_id"))


@dataclass(frozen=True, slots=True)
class Stored:
    """The effect of storing comments: how many are new, were edited, or are newly deleted.

    `new_texts` are the new comments, `other_texts` those whose text has changed.
    """

    new: int = 0
    changed: int = 0
    deleted: int = 0
    new_texts: Sequence[VkComment] = field(default=(), compare=False)
    other_texts: Sequence[VkComment] = field(default=(), compare=False)


async def upsert_comments(connection: AsyncConnection, vk_comments: Sequence[VkComment], collection: int) -> Stored:
    """Insert or refresh comments. Their posts must be stored, and cannot be deleted before the transaction ends.

    A comment that became a deleted stub keeps its former text and author.
    `changed_at` is the time at which a change of text, attachments or deletion
    was detected. An unchanged comment is written once per `collection`, a number
    of `app.store.collections`. Comments that a user has removed are skipped.

    Rows are written in the order of their keys: concurrent collections lock the
    same comments in the same order and cannot deadlock.

    Raises:
        PostNotFound: a comment belongs to a post that is not stored.
    """
    by_key = {(comment.owner_id, comment.id): comment for comment in vk_comments}
    in_order = [by_key[key] for key in sorted(by_key)]
    rows = await _without_removed(connection, in_order) if in_order else ()
    if not rows:
        return Stored()
    newest = await _hold_posts(connection, {(comment.owner_id, comment.post_id) for comment in rows})
    # A first collection gets only new comments. COPY stores them in two thirds of the time of INSERT with ON CONFLICT.
    # If another collection has stored one of them meanwhile, COPY stores none, and they are merged instead.
    if not await _is_any_stored(connection, rows) and await _copy(connection, rows, newest):
        return Stored(new=len(rows), new_texts=rows)
    return await _merge(connection, rows, collection)


async def with_other_texts(connection: AsyncConnection, vk_comments: Sequence[VkComment]) -> list[VkComment]:
    """Return the comments that are not stored with their present text; of equal keys only the last comment counts."""
    by_key = {(comment.owner_id, comment.id): comment for comment in vk_comments}
    statement = text("""
        SELECT c.owner_id, c.id FROM comments c
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:digests AS text[]))
               AS r(owner_id, id, digest) ON c.owner_id = r.owner_id AND c.id = r.id AND md5(c.text) = r.digest
    """)
    digests = [md5(comment.text.encode(), usedforsecurity=False).hexdigest() for comment in by_key.values()]
    same = await connection.execute(statement, key_columns(list(by_key)) | {"digests": digests})
    for row in same:
        del by_key[row.owner_id, row.id]
    return list(by_key.values())


async def _hold_posts(connection: AsyncConnection, keys: Collection[tuple[int, int]]) -> int:
    """Lock posts against deletion until the transaction ends, and return the number of the newest collection.

    Raises:
        PostNotFound: one of the posts is not stored.
    """
    # A foreign key would do this per comment and cost 3 to 4 microseconds each, as much as three indexes. Its other
    # half, deleting the comments of deleted posts, is a trigger: migrations/versions/0006_speed_up_comments.py
    statement = text(f"""
        SELECT owner_id, id, {NEWEST_COLLECTION} AS newest FROM posts
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
         ORDER BY owner_id, id FOR KEY SHARE OF posts
    """)  # noqa: S608 - only constant SQL is interpolated
    held = (await connection.execute(statement, key_columns(list(keys)))).all()
    if missing := set(keys) - {(row.owner_id, row.id) for row in held}:
        raise PostNotFound(*min(missing))
    newest: int = held[0].newest
    return newest


async def _without_removed(connection: AsyncConnection, rows: Sequence[VkComment]) -> Sequence[VkComment]:
    """Return the comments that no user has removed. `rows` must be in the order of their keys."""
    statement = text("""
        SELECT r.owner_id, r.id FROM removed_comments r
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
               AS wall(owner_id, first, last) ON r.owner_id = wall.owner_id AND r.id BETWEEN first AND last
    """)
    ids = {owner_id: [each.id for each in on_wall] for owner_id, on_wall in groupby(rows, lambda each: each.owner_id)}
    ends = {"firsts": [each[0] for each in ids.values()], "lasts": [each[-1] for each in ids.values()]}
    removed = {(row.owner_id, row.id) for row in await connection.execute(statement, {"owner_ids": list(ids)} | ends)}
    return [each for each in rows if (each.owner_id, each.id) not in removed] if removed else rows


async def _is_any_stored(connection: AsyncConnection, rows: Sequence[VkComment]) -> bool:
    """Return whether a comment with one of these keys is stored. `rows` must be in the order of their keys."""
    # One index scan for all ids of a wall takes 0.3 microseconds per id; one scan per id takes 1.3.
    # OFFSET 0 keeps the planner from choosing another join, as it would while its statistics say the table is small.
    statement = text("""
        SELECT EXISTS (
               SELECT FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:firsts AS int[]), CAST(:lasts AS int[]))
                           AS wall(owner_id, first, last),
                      LATERAL (SELECT FROM comments c
                                WHERE c.owner_id = wall.owner_id
                                  AND c.id = ANY ((CAST(:ids AS bigint[]))[wall.first:wall.last]) OFFSET 0) AS stored)
    """)
    owner_ids, firsts, lasts = [], [], []
    last = 0
    for owner_id, on_wall in groupby(comment.owner_id for comment in rows):
        owner_ids.append(owner_id)
        firsts.append(last + 1)
        last += sum(1 for _ in on_wall)
        lasts.append(last)
    ids = [comment.id for comment in rows]
    walls = {"owner_ids": owner_ids, "firsts": firsts, "lasts": lasts, "ids": ids}
    return bool(await connection.scalar(statement, walls))


_COPIED = (
    "owner_id",
    "id",
    "post_id",
    "from_id",
    "text",
    "published_at",
    "like_count",
    "attachments",
    "thread_id",
    "reply_to_id",
    "is_deleted",
    "collection_number",
)


async def _copy(connection: AsyncConnection, rows: Sequence[VkComment], newest: int) -> bool:
    records = (
        (
            comment.owner_id,
            comment.id,
            comment.post_id,
            comment.from_id,
            comment.text,
            datetime.fromtimestamp(comment.date, UTC),
            comment.likes,
            _json(comment.attachments),
            comment.thread_id,
            comment.reply_to_id,
            comment.is_deleted,
            newest,
        )
        for comment in rows
    )
    return await copy_new_rows(connection, comments.name, _COPIED, records)


def _json(attachments: Sequence[JsonObject]) -> str:
    return orjson.dumps(attachments).decode() if attachments else "[]"


async def _merge(connection: AsyncConnection, rows: Sequence[VkComment], collection: int) -> Stored:
    statement = text(f"""
        WITH written AS (
            INSERT INTO comments AS c (owner_id, id, post_id, from_id, text, published_at, like_count, attachments,
                                       thread_id, reply_to_id, is_deleted, collection_number)
            SELECT r.owner_id, r.id, r.post_id, r.from_id, r.text, to_timestamp(r.published_at), r.like_count,
                   r.attachments::jsonb, r.thread_id, r.reply_to_id, r.is_deleted, {NEWEST_COLLECTION}
              FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:post_ids AS bigint[]),
                          CAST(:from_ids AS bigint[]), CAST(:texts AS text[]), CAST(:published AS bigint[]),
                          CAST(:likes AS bigint[]), CAST(:attachments AS text[]), CAST(:thread_ids AS bigint[]),
                          CAST(:reply_to_ids AS bigint[]), CAST(:deleted AS bool[]))
                AS r(owner_id, id, post_id, from_id, text, published_at, like_count, attachments, thread_id,
                     reply_to_id, is_deleted)
            ON CONFLICT (owner_id, id) DO UPDATE SET
                   from_id = coalesce(excluded.from_id, c.from_id),
                   text = CASE WHEN excluded.is_deleted THEN c.text ELSE excluded.text END,
                   attachments = CASE WHEN excluded.is_deleted THEN c.attachments ELSE excluded.attachments END,
                   like_count = CASE WHEN excluded.is_deleted THEN c.like_count ELSE excluded.like_count END,
                   is_deleted = excluded.is_deleted,
                   last_seen_at = now(),
                   collection_number = excluded.collection_number,
                   changed_at = CASE
                       WHEN excluded.is_deleted AND c.is_deleted THEN c.changed_at
                       WHEN excluded.is_deleted IS DISTINCT FROM c.is_deleted
                         OR (c.text, c.attachments) IS DISTINCT FROM (excluded.text, excluded.attachments) THEN now()
                       ELSE c.changed_at END
            WHERE c.collection_number < :collection
               OR c.is_deleted IS DISTINCT FROM excluded.is_deleted
               OR NOT excluded.is_deleted AND (c.like_count, c.text, c.attachments) IS DISTINCT FROM
                                              (excluded.like_count, excluded.text, excluded.attachments)
            RETURNING owner_id, id, xmax = 0 AS is_new, is_deleted, text, attachments
        )
        SELECT w.owner_id, w.id, w.is_new, w.is_deleted, former.text <> w.text AS has_other_text
          FROM written w
               -- joins the former row: a statement sees the state from before it began
               LEFT JOIN comments former ON former.owner_id = w.owner_id AND former.id = w.id
         WHERE w.is_new OR (former.text, former.attachments, former.is_deleted) IS DISTINCT FROM
                           (w.text, w.attachments, w.is_deleted)
    """)  # noqa: S608 - only constant SQL is interpolated
    written = await connection.execute(statement, _merged_columns(rows) | {"collection": collection})
    by_key = {(comment.owner_id, comment.id): comment for comment in rows}
    new: list[VkComment] = []
    other_texts: list[VkComment] = []
    changed = deleted = 0
    for row in written:
        if row.is_new:
            new.append(by_key[row.owner_id, row.id])
        elif row.is_deleted:
            deleted += 1
        else:
            changed += 1
            if row.has_other_text:
                other_texts.append(by_key[row.owner_id, row.id])
    return Stored(len(new), changed, deleted, new, other_texts)


def _merged_columns(rows: Sequence[VkComment]) -> dict[str, Sequence[object]]:
    return {
        "owner_ids": [comment.owner_id for comment in rows],
        "ids": [comment.id for comment in rows],
        "post_ids": [comment.post_id for comment in rows],
        "from_ids": [comment.from_id for comment in rows],
        "texts": [comment.text for comment in rows],
        "published": [comment.date for comment in rows],
        "likes": [comment.likes for comment in rows],
        "attachments": [_json(comment.attachments) for comment in rows],
        "thread_ids": [comment.thread_id for comment in rows],
        "reply_to_ids": [comment.reply_to_id for comment in rows],
        "deleted": [comment.is_deleted for comment in rows],
    }


# threads that were read, and comments that VK no longer returns


@dataclass(frozen=True, slots=True)
class ReadThread:
    """A thread that was read to the end: VK had stated `count` replies; `last_id` is the newest reply that was read."""

    owner_id: int
    id: int
    count: int
    last_id: int


async def read_threads(
    connection: AsyncConnection, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], ReadThread]:
    """Return the long threads of these top comments that were read to the end, by key; others are absent."""
    statement = text("""
        SELECT owner_id, id, thread_read_count, thread_read_to FROM comments
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
         WHERE thread_read_count IS NOT NULL
    """)
    rows = await connection.execute(statement, key_columns(keys))
    return {(row.owner_id, row.id): ReadThread(*row) for row in rows}


async def mark_threads_read(connection: AsyncConnection, threads: Sequence[ReadThread]) -> None:
    """Record that these threads were read to the end."""
    if not threads:
        return
    statement = text("""
        UPDATE comments c SET thread_read_count = r.count, thread_read_to = r.last_id
          FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[]), CAST(:counts AS bigint[]),
                      CAST(:last_ids AS bigint[])) AS r(owner_id, id, count, last_id)
         WHERE c.owner_id = r.owner_id AND c.id = r.id
    """)
    counts = {"counts": [thread.count for thread in threads], "last_ids": [thread.last_id for thread in threads]}
    await connection.execute(statement, key_columns([(thread.owner_id, thread.id) for thread in threads]) | counts)


async def shrunken_threads(
    connection: AsyncConnection, threads: Sequence[tuple[int, int]], collection: int
) -> set[tuple[int, int]]:
    """Return the threads with replies that this collection has not seen and that are not marked as deleted."""
    if not threads:
        return set()
    statement = text("""
        SELECT r.owner_id, r.id FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
         WHERE EXISTS (SELECT FROM comments c WHERE c.owner_id = r.owner_id AND c.thread_id = r.id
                          AND NOT c.is_deleted AND c.collection_number < :collection)
    """)
    rows = await connection.execute(statement, key_columns(threads) | {"collection": collection})
    return {(row.owner_id, row.id) for row in rows}


async def mark_deleted_replies(
    connection: AsyncConnection, threads: Sequence[tuple[int, int]], collection: int
) -> dict[int, int]:
    """Mark as deleted the replies that were not in their completely read threads; return owner id -> how many."""
    return await _mark(connection, threads, "c.thread_id = r.id AND c.collection_number < :collection", collection)


async def mark_deleted(
    connection: AsyncConnection, posts: Sequence[tuple[int, int]], collection: int, *, whole: bool
) -> dict[int, int]:
    """Mark as deleted the comments that were not in their completely read posts; return owner id -> how many.

    Unless the posts were read as a `whole`, threads that had not grown were
    skipped: then a reply is only marked if its top comment is gone as well.
    """
    top_is_unseen = """
           (c.thread_id IS NULL OR EXISTS (
            SELECT FROM comments top WHERE top.owner_id = c.owner_id AND top.id = c.thread_id
               AND top.collection_number < :collection))"""
    condition = "c.post_id = r.id AND c.collection_number < :collection"
    return await _mark(connection, posts, condition if whole else f"{condition} AND {top_is_unseen}", collection)


async def mark_of_deleted_posts(connection: AsyncConnection, posts: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Mark as deleted the comments of those posts that are marked as deleted; return owner id -> how many.

    Comments that were read before their post disappeared may be stored after
    another collection has marked the post; no later collection would check them.
    """
    is_of_deleted = """c.post_id = r.id AND EXISTS (
        SELECT FROM posts p WHERE p.owner_id = r.owner_id AND p.id = r.id AND p.is_deleted)"""
    return await _mark(connection, posts, is_of_deleted)


async def _mark(
    connection: AsyncConnection, keys: Sequence[tuple[int, int]], condition: str, collection: int = 0
) -> dict[int, int]:
    """Mark the comments `c` as deleted that meet `condition` with one of the keys `r`; return owner id -> how many.

    Clear the read state of the threads of marked comments: VK may return their
    replies again, and only reading from the start would find them.
    """
    if not keys:
        return {}
    statement = text(f"""
        WITH marked AS (
            UPDATE comments c SET is_deleted = true, changed_at = now(), thread_read_count = NULL, thread_read_to = NULL
              FROM unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id)
             WHERE c.owner_id = r.owner_id AND NOT c.is_deleted AND {condition}
            RETURNING c.owner_id, c.id, c.thread_id),
        tops AS (
            UPDATE comments top SET thread_read_count = NULL, thread_read_to = NULL
              FROM (SELECT owner_id, thread_id AS id FROM marked WHERE thread_id IS NOT NULL
                    EXCEPT SELECT owner_id, id FROM marked) AS shown
             WHERE top.owner_id = shown.owner_id AND top.id = shown.id AND top.thread_read_count IS NOT NULL)
        SELECT owner_id, count(*) AS number FROM marked GROUP BY owner_id
    """)  # noqa: S608 - only constant SQL is interpolated
    values = key_columns(keys) | ({"collection": collection} if ":collection" in condition else {})
    return {row.owner_id: row.number for row in await connection.execute(statement, values)}
