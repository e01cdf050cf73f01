"""Comments and replies, keyed by (owner_id, id)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from hashlib import md5
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Double, FromClause, Row, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.copying import copy_new_rows
from app.db.tables import comment_search, comments
from app.errors import PostNotFound
from app.store.arrays import key_columns
from app.store.collections import NEWEST_COLLECTION
from app.store.comment_conditions import CommentConditions, query_matches
from app.store.keyset import Order, Page, Slice, count_rows, counts_by_key, page_rows, pages_by_key, rows_by_key
from app.wall import VkComment

NEWEST = Order("NEWEST", ("published_at", "owner_id", "id"), is_descending=True)
OLDEST = Order("OLDEST", ("published_at", "owner_id", "id"))
MOST_LIKED = Order("MOST_LIKED", ("like_count", "owner_id", "id"), is_descending=True)
IN_THREAD = Order("IN_THREAD", ("id",))
RELEVANCE = Order("RELEVANCE", ("rank", "owner_id", "id"), is_descending=True, needs="search")
KEY = ("owner_id", "id")


async def comments_by_key(
    connection: AsyncConnection, keys: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Row[Any]]:
    """Read comments: (owner_id, id) -> row; unknown ones are absent."""
    return await rows_by_key(connection, comments, KEY, keys)


async def comments_page(connection: AsyncConnection, conditions: CommentConditions, page: Page) -> Slice:
    """Read a page of all comments that are wanted."""
    if conditions.are_on_one_wall():
        page = _on_one_wall(conditions, page)
    return await page_rows(connection, *_wanted(conditions, page), page)


async def count_comments(connection: AsyncConnection, conditions: CommentConditions) -> int:
    """Count the comments that are wanted."""
    return await count_rows(connection, comments, conditions.sql())


async def _comments_by(
    parent: tuple[str, ...],
    connection: AsyncConnection,
    keys: Sequence[tuple[int, ...]],
    conditions: CommentConditions,
    page: Page,
) -> dict[tuple[int, ...], Slice]:
    if "owner_id" in parent:
        page = _on_one_wall(conditions, page)
    table, wanted = _wanted(conditions, page)
    return await pages_by_key(connection, table, parent, keys, wanted, page)


def _wanted(conditions: CommentConditions, page: Page) -> tuple[FromClause, list[ColumnElement[bool]]]:
    """Return what a page is taken of, with the columns of its order, and the conditions on that."""
    if page.order is not RELEVANCE:
        return comments, conditions.sql()
    wanted = conditions.query()
    # 1: divided by the length of the text, or long ones would always come first
    rank = cast(func.ts_rank(comment_search.c.vector, wanted, 1), Double).label("rank")
    is_its = (comment_search.c.owner_id == comments.c.owner_id) & (comment_search.c.comment_id == comments.c.id)
    ranked = select(comments, rank).join_from(comments, comment_search, is_its)
    return ranked.where(query_matches(wanted), *replace(conditions, search=None).sql()).subquery("ranked"), []


def _on_one_wall(conditions: CommentConditions, page: Page) -> Page:
    """Return the page in the order of ids, which is that of time: VK numbers what is written on a wall as it comes.

    So the primary key and the index of posts serve these lists. With a time to
    begin or end at, the index by time finds the place, and the order stays.
    """
    is_bounded = conditions.published_from is not None or conditions.published_to is not None
    if is_bounded or page.order not in (NEWEST, OLDEST):
        return page
    after, before = (values and values[-1:] for values in (page.after, page.before))
    return replace(page, order=replace(page.order, columns=("id",)), after=after, before=before)


async def _count_comments_by(
    parent: tuple[str, ...],
    connection: AsyncConnection,
    keys: Sequence[tuple[int, ...]],
    conditions: CommentConditions,
) -> dict[tuple[int, ...], int]:
    return await counts_by_key(connection, comments, parent, keys, conditions.sql())


# Each reads the same page for every parent, or counts: parent's key -> slice, or number.
# Parents without comments are absent. Arguments: connection, keys, conditions, page.
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
    """What became of comments that were stored: so many were not there before, were edited, or are deleted now.

    `new_texts` are the comments that were not there before, and `other_texts`
    those that have another text than before.
    """

    new: int = 0
    changed: int = 0
    deleted: int = 0
    new_texts: Sequence[VkComment] = field(default=(), compare=False)
    other_texts: Sequence[VkComment] = field(default=(), compare=False)


async def upsert_comments(connection: AsyncConnection, found: Sequence[VkComment], collection: int) -> Stored:
    """Insert or refresh comments. Their posts are there, and cannot be deleted before the transaction ends.

    A comment that turned into a deleted stub keeps the text and author it had.
    `changed_at` tells when a difference in text, attachments or deletion was
    seen. A comment without a difference is written once per `collection`, which is
    a number of `app.store.collections`. One that a user has removed is left out.

    Rows are written in the order of their keys, so that two collections that
    meet the same comments at once lock them in the same order.

    Raises:
        PostNotFound: a comment belongs to a post that is not stored.
    """
    by_key = {(comment.owner_id, comment.id): comment for comment in found}
    in_order = [by_key[key] for key in sorted(by_key)]
    rows = await _without_removed(connection, in_order) if in_order else ()
    if not rows:
        return Stored()
    newest = await _hold_posts(connection, {(comment.owner_id, comment.post_id) for comment in rows})
    # A first collection finds nothing but new comments. COPY stores these in two thirds of the time that INSERT
    # with ON CONFLICT takes; where another collection has stored one of them meanwhile, it stores none.
    if not await _is_any_stored(connection, rows) and await _copy(connection, rows, newest):
        return Stored(new=len(rows), new_texts=rows)
    return await _merge(connection, rows, collection)


async def with_other_texts(connection: AsyncConnection, found: Sequence[VkComment]) -> list[VkComment]:
    """Return those of these comments that are not stored with the text they have; each key once, the last one of it."""
    by_key = {(comment.owner_id, comment.id): comment for comment in found}
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
    """Keep posts from being deleted until the transaction ends, and return the number of the newest collection."""
    # A foreign key does this for each comment, which costs 3 to 4 microseconds, as much as three indexes; its other
    # half, deleting the comments of deleted posts, is a trigger: migrations/versions/0006_speed_up_comments.py
    statement = text(f"""
        SELECT owner_id, id, {NEWEST_COLLECTION} AS newest FROM posts
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
         ORDER BY owner_id, id FOR KEY SHARE OF posts
    """)  # noqa: S608 - only our own SQL is put in
    held = (await connection.execute(statement, key_columns(list(keys)))).all()
    if missing := set(keys) - {(row.owner_id, row.id) for row in held}:
        raise PostNotFound(*min(missing))
    newest: int = held[0].newest
    return newest


async def _without_removed(connection: AsyncConnection, rows: Sequence[VkComment]) -> Sequence[VkComment]:
    """Return the comments that nobody here has removed. `rows` are in the order of their keys."""
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
    """Tell whether a comment with one of these keys is stored. `rows` are in the order of their keys."""
    # One index scan for all ids of a wall takes 0.3 microseconds for each of them; a scan for each takes 1.3.
    # OFFSET 0 keeps the planner from joining another way, which it would while it thinks the table is small.
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


def _json(attachments: list[dict[str, Any]]) -> str:
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
               -- a statement reads what was stored before it began
               LEFT JOIN comments former ON former.owner_id = w.owner_id AND former.id = w.id
         WHERE w.is_new OR (former.text, former.attachments, former.is_deleted) IS DISTINCT FROM
                           (w.text, w.attachments, w.is_deleted)
    """)  # noqa: S608 - only our own SQL is put in
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


def _merged_columns(rows: Sequence[VkComment]) -> dict[str, list[Any]]:
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


# what a collection knows of threads, and what it no longer finds


@dataclass(frozen=True, slots=True)
class ReadThread:
    """A thread that was read to the end: VK stated `count` replies before; `last_id` is the newest that was read."""

    owner_id: int
    id: int
    count: int
    last_id: int


async def read_threads(
    connection: AsyncConnection, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], ReadThread]:
    """Return which of these top comments have long threads that were read to the end, by key."""
    statement = text("""
        SELECT owner_id, id, thread_read_count, thread_read_to FROM comments
          JOIN unnest(CAST(:owner_ids AS bigint[]), CAST(:ids AS bigint[])) AS r(owner_id, id) USING (owner_id, id)
         WHERE thread_read_count IS NOT NULL
    """)
    rows = await connection.execute(statement, key_columns(keys))
    return {(row.owner_id, row.id): ReadThread(*row) for row in rows}


async def mark_threads_read(connection: AsyncConnection, threads: Sequence[ReadThread]) -> None:
    """Note that these threads were read to the end."""
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
    """Return which of these threads have replies unseen by this collection that are not marked as deleted."""
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
    """Mark the replies of threads that were read as a whole and did not show them; returns owner id -> how many."""
    return await _mark(connection, threads, "c.thread_id = r.id AND c.collection_number < :collection", collection)


async def mark_deleted(
    connection: AsyncConnection, posts: Sequence[tuple[int, int]], collection: int, *, whole: bool
) -> dict[int, int]:
    """Mark the comments of posts that were read to the end and did not show them; returns owner id -> how many.

    Unless the posts were read as a `whole`, threads that had not grown were
    left out: then a reply is only marked where its top comment is gone as well.
    """
    unshown = """
           (c.thread_id IS NULL OR EXISTS (
            SELECT FROM comments top WHERE top.owner_id = c.owner_id AND top.id = c.thread_id
               AND top.collection_number < :collection))"""
    condition = "c.post_id = r.id AND c.collection_number < :collection"
    return await _mark(connection, posts, condition if whole else f"{condition} AND {unshown}", collection)


async def mark_of_deleted_posts(connection: AsyncConnection, posts: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Mark the comments of those of these posts that are marked as deleted; returns owner id -> how many.

    What was read of a post before it went may be stored after another
    collection has marked it: no later collection would look at those comments.
    """
    is_of_deleted = """c.post_id = r.id AND EXISTS (
        SELECT FROM posts p WHERE p.owner_id = r.owner_id AND p.id = r.id AND p.is_deleted)"""
    return await _mark(connection, posts, is_of_deleted)


async def _mark(
    connection: AsyncConnection, keys: Sequence[tuple[int, int]], condition: str, collection: int = 0
) -> dict[int, int]:
    """Mark comments `c` as deleted that fit one of the keys `r`; returns owner id -> how many.

    Threads of which comments are marked are forgotten to have been read: their
    replies may be shown again, and only a walk from the start would find them.
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
    """)  # noqa: S608 - only our own SQL is put in
    values = key_columns(keys) | ({"collection": collection} if ":collection" in condition else {})
    return {row.owner_id: row.number for row in await connection.execute(statement, values)}
