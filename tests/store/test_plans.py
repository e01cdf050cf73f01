"""The plans of filters: they use indexes, and do not scan all comments."""

import re
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event, text

from app.resources import Resources
from app.store import comments
from app.store.comment_conditions import CommentConditions
from app.store.keyset import Page

COUNT = 20_000
FILL = (
    "INSERT INTO groups (owner_id, screen_name, name) SELECT -n, 'g' || n, 'G' FROM generate_series(1, 4) AS n",
    """INSERT INTO posts (owner_id, id, from_id, text, published_at, like_count, repost_count, comment_count, is_pinned,
                          attachments)
       SELECT -wall, n, -wall, '', timestamptz '2026-01-01 00:00Z', 0, 0, 9, false, '[]'
         FROM generate_series(1, 4) AS wall, generate_series(1, 100) AS n""",
    """INSERT INTO comments (owner_id, id, post_id, from_id, text, published_at, like_count, attachments, thread_id,
                             is_deleted, viewed_at, archived_at)
       SELECT -1 - n % 4, 1000 + n, 1 + n % 100, 1 + n % 5000, 'слово' || n % 900 || ' всем ' || md5(n::text),
              timestamptz '2026-01-01 00:00Z' + make_interval(mins => n), n % 300, '[]',
              CASE WHEN n % 300 = 1 THEN 1000 + n - 4 END, n % 500 = 0, CASE WHEN n % 400 = 0 THEN now() END,
              CASE WHEN n % 450 = 0 THEN now() END
         FROM generate_series(1, :count) AS n""",
    """INSERT INTO keywords (phrase, matching, is_active, category)
       SELECT 'k' || n, 'WORD_FORMS', true, 'c' || n % 20 FROM generate_series(1, 100) AS n""",
    """INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
       SELECT owner_id, id, (SELECT min(id) FROM keywords) + id / 40 % 100, published_at, '{0,1}'
         FROM comments WHERE id % 40 = 0""",
    """INSERT INTO comment_features (owner_id, comment_id, published_at, language, term_ids, links, phones, mention_ids,
                                     mood, wave_id)
       SELECT owner_id, id, published_at, CASE WHEN id % 200 = 0 THEN 'en' ELSE 'ru' END, '{}',
              CASE WHEN id % 150 = 0 THEN '{a.ru}' ELSE '{}' END::text[], '{}', '{}',
              CASE WHEN id % 250 = 0 THEN 1 ELSE 0 END, CASE WHEN id % 350 = 0 THEN id / 350 % 7 END
         FROM comments""",
    "ANALYZE",
)
SCAN_OF_ALL = re.compile("Seq Scan on (comments|comment_search|comment_features)")
MOMENT = datetime(2026, 1, 14, tzinfo=UTC)
BY: dict[str, tuple[Any, str]] = {
    "search": ("слово17", "comment_search_vector_idx"),
    "contains": ("во717 ", "comment_search_latin_idx"),
    "owner_ids": ((-1, -2), "comments_"),
    "posts": (((-2, 2), (-3, 3)), "comments_owner_id_post_id_idx"),
    "author_ids": ((77, 78), "comments_from_id_published_at_idx"),
    "keyword_ids": ((3, 4), "comment_keywords_keyword_id_published_at_idx"),
    "keyword_categories": (("c1",), "comments_"),
    "has_matches": (True, "comments_"),
    "published_from": (MOMENT, "comments_published_at_idx"),
    "published_to": (MOMENT, "comments_published_at_idx"),
    "is_reply": (True, "comments_owner_id_thread_id_idx"),
    "is_deleted": (True, "comments_deleted_idx"),
    "is_viewed": (True, "comments_viewed_idx"),
    "is_archived": (True, "comments_archived_idx"),
    "language": ("en", "comment_features_language_published_at_idx"),
    "mood": (1, "comment_features_mood_idx"),
    "has_links": (True, "comment_features_links_idx"),
    "is_in_wave": (True, "comment_features_wave_id_idx"),
    "wave_ids": ((3, 4), "comment_features_wave_id_idx"),
    "min_likes": (299, "comments_"),
}
"""For each condition a value that few comments match, and the prefix of the index that finds them."""


async def test_no_filter_scans_all_comments(resources: Resources) -> None:
    combined = {"search_forms", "all_of", "any_of", "none_of"}
    assert set(BY) == {each.name for each in fields(CommentConditions)} - combined
    async with resources.database.transaction() as connection:
        for statement in FILL:
            await connection.execute(text(statement), {"count": COUNT} if ":count" in statement else {})
    wrong = {}
    async with resources.database.connect() as connection:
        for name, (value, index) in BY.items():
            conditions = CommentConditions(**{name: value})
            lines = await plan(connection, conditions)
            if any(SCAN_OF_ALL.search(line) for line in lines) or index not in "\n".join(lines):
                wrong[name] = lines
    assert not wrong, "\n".join(f"{name}:\n" + "\n".join(lines) for name, lines in wrong.items())


async def plan(connection: Any, conditions: CommentConditions) -> list[str]:
    """Return the plan of a page of the newest comments with these conditions."""
    executed: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        executed.append((statement, parameters))

    engine = connection.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert (await comments.comments_page(connection, conditions, Page(comments.NEWEST, 20))).rows
    finally:
        event.remove(engine, "before_cursor_execute", note)
    [(statement, parameters)] = executed
    driver: Any = (await connection.get_raw_connection()).driver_connection
    return [row[0] for row in await driver.fetch(f"EXPLAIN {statement}", *parameters)]
