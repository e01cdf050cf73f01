"""Fills a database with many comments, over which searches, statistics and exports are measured.

PostgreSQL generates them.

Times are spread over two years, authors and posts are as unequal as in practice, and texts are words drawn from a
vocabulary in which few are frequent. One in fifty comments is spam, one of a hundred texts; one in twenty ends in a
link, and one in five in a sign of its mood; few are marked as viewed or archived. With `results`, the results of
keyword matching and of an analysis are stored, too.
"""

import random
from collections.abc import Sequence

import asyncpg

WALLS, DAYS, AUTHORS, WORDS, SENTENCES, KEYWORDS = 10, 730, 200_000, 20_000, 10_000, 200
POSTS_PER_WALL = 2_000
SPAM, SPAM_WORDS = 100, 12
AT_ONCE = 50_000
_SYLLABLES = (
    "ба",
    "ви",
    "го",
    "де",
    "жа",
    "зо",
    "ка",
    "ли",
    "му",
    "но",
    "пе",
    "ра",
    "си",
    "та",
    "фу",
    "хо",
    "ча",
    "ша",
)

POSTS = """
INSERT INTO posts (owner_id, id, from_id, text, published_at, like_count, repost_count, view_count, comment_count,
                   is_pinned, attachments)
SELECT -wall, n, -wall, 'Post ' || n, timestamptz '2024-11-01 00:00Z' + make_interval(secs => n * ($2 * 86400 / $1)),
       n % 500, n % 20, 1000 + n, 50, false, '[]'
  FROM generate_series(1, $3) AS wall, generate_series(1, $1) AS n
"""
COMMENTS = """
INSERT INTO comments (owner_id, id, post_id, from_id, text, published_at, like_count, attachments, thread_id,
                      is_deleted, viewed_at, archived_at)
SELECT p.owner_id, 10000 + r.n, p.id, 1 + floor(random() ^ 3 * $3)::bigint,
       CASE WHEN r.n % 50 = 7 THEN ($7::text[])[1 + r.n / 50 % cardinality($7::text[])] ELSE
       concat_ws(' ', ($4::text[])[1 + floor(random() * cardinality($4::text[]))::int],
                 ($4::text[])[1 + floor(random() * cardinality($4::text[]))::int],
                 ($4::text[])[1 + floor(random() * cardinality($4::text[]))::int],
                 ($4::text[])[1 + floor(random() * cardinality($4::text[]))::int]) END
         || CASE r.n % 20 WHEN 3 THEN ' https://site' || r.n % 1000 || '.ru/page' WHEN 5 THEN ')))' WHEN 6 THEN ')'
                          WHEN 8 THEN ' 👍' WHEN 9 THEN ' 😡' ELSE '' END,
       p.published_at + make_interval(secs => 1 + random() ^ 8 * 864000), floor(random() ^ 8 * 300)::int, '[]',
       CASE WHEN r.n % 3 = 0 THEN 10000 + r.n - 1 END, r.n % 97 = 0, CASE WHEN r.n % 31 = 0 THEN now() END,
       CASE WHEN r.n % 37 = 0 THEN now() END
  FROM generate_series($1::int, $2::int) AS r(n)
  JOIN posts p ON p.owner_id = -(1 + r.n % $5) AND p.id = 1 + floor(abs(sin(r.n)) ^ 3 * $6)::int
"""
MATCHES = """
INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
SELECT c.owner_id, c.id, 1 + (c.id * 7 + n) % $3, c.published_at, '{0,4}'
  FROM comments c, generate_series(0, 1) AS n WHERE c.id BETWEEN 10000 + $1 AND 10000 + $2 AND c.id % 4 = 0
"""
FEATURES = """
INSERT INTO comment_features (owner_id, comment_id, published_at, language, term_ids, links, phones, mention_ids, mood,
                              wave_id)
SELECT c.owner_id, c.id, c.published_at, (ARRAY['ru','ru','ru','ru','ru','ru','ru','und','en','uk'])[1 + c.id % 10],
       (SELECT array_agg(DISTINCT 1 + floor(random() ^ 2 * $3)::int) FROM generate_series(1, 8 + (0 * c.id)::int)),
       CASE WHEN c.id % 20 = 3 THEN ARRAY['https://site' || c.id % 1000 || '.ru/page'] ELSE '{}' END, '{}', '{}',
       CASE WHEN c.id % 20 IN (5, 6, 8) THEN 1 WHEN c.id % 20 = 9 THEN -1 ELSE 0 END,
       CASE WHEN c.id % 50 = 7 THEN 1 + (c.id - 10000) / 50 % $4 END
  FROM comments c WHERE c.id BETWEEN 10000 + $1 AND 10000 + $2
"""
WAVES = """
INSERT INTO waves (id, comment_count, author_count, post_count, owner_id, comment_id, first_at, last_at)
       OVERRIDING SYSTEM VALUE
SELECT f.wave_id, count(*), count(DISTINCT c.from_id), count(DISTINCT (c.owner_id, c.post_id)),
       (array_agg(c.owner_id ORDER BY c.published_at))[1], (array_agg(c.id ORDER BY c.published_at))[1],
       min(c.published_at), max(c.published_at)
  FROM comment_features f JOIN comments c ON c.owner_id = f.owner_id AND c.id = f.comment_id
 WHERE f.wave_id IS NOT NULL GROUP BY f.wave_id
"""


def vocabulary() -> list[str]:
    """Return invented Russian-looking words, always the same."""
    drawn = random.Random(1)  # noqa: S311 - not a secret
    return sorted({"".join(drawn.choices(_SYLLABLES, k=drawn.randint(2, 5))) for _ in range(WORDS)})


def sentences(words: Sequence[str]) -> list[str]:
    """Return invented texts of 2 to 5 of these words, of which the first ones are frequent; always the same.

    A comment consists of four such texts: with fewer, many comments would be near-duplicates by chance.
    """
    drawn = random.Random(2)  # noqa: S311 - not a secret
    lengths = (drawn.randint(2, 5) for _ in range(SENTENCES))
    return [" ".join(words[int(drawn.random() ** 2 * len(words))] for _ in range(length)) for length in lengths]


def spam(words: Sequence[str]) -> list[str]:
    """Return invented texts of twelve different words, always the same."""
    drawn = random.Random(3)  # noqa: S311 - not a secret
    return [" ".join(drawn.sample(words, SPAM_WORDS)) for _ in range(SPAM)]


async def fill(url: str, comments_count: int, *, results: bool = False) -> None:
    """Write this many comments on the posts of ten communities; with `results`, their keyword matches and analysis."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT setseed(0.5)")
        await connection.executemany(
            "INSERT INTO groups (owner_id, screen_name, name) VALUES ($1, $2, $3)",
            [(-number, f"group{number}", f"Group {number}") for number in range(1, WALLS + 1)],
        )
        posts_per_wall = min(POSTS_PER_WALL, max(1, comments_count // 100))
        await connection.execute(POSTS, posts_per_wall, DAYS, WALLS)
        await connection.execute(
            "INSERT INTO authors (id, name) SELECT n, 'Author ' || n FROM generate_series(1, $1::int) AS n", AUTHORS
        )
        words = vocabulary()
        texts = sentences(words)
        for first in range(1, comments_count + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, comments_count)
            await connection.execute(COMMENTS, first, last, AUTHORS, texts, WALLS, posts_per_wall, spam(words))
            if results:
                await connection.execute(MATCHES, first, last, KEYWORDS)
                await connection.execute(FEATURES, first, last, len(words), SPAM)
        if results:
            await connection.execute(
                """INSERT INTO keywords (phrase, matching, is_active, category)
                   SELECT 'keyword ' || n, 'WORD_FORMS', true, 'category ' || n % 5 FROM generate_series(1, $1) AS n""",
                KEYWORDS,
            )
            await connection.execute(WAVES)
            await connection.executemany("INSERT INTO terms (lemma) VALUES ($1)", [(word,) for word in words])
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
