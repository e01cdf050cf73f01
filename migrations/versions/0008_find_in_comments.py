"""Find in comments, and count them: keywords, what analysis finds, search, exports, and rollups that triggers keep.

A rollup is changed by the statement that changes what it counts, so it is right in
every snapshot, whoever writes. Its rows begin with the wall: who writes comments
of a wall holds that wall's lock, so nobody waits for anybody else's rows.

What is found in a text stands in tables of its own, which a change of likes or of
marks leaves alone: an update of a comment would write its entries in the two text
indexes anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґўәғқңөұүһҗјђћљњџѓќ"
LATIN = "abvgdejziyklmnoprstufhcqwx012345iieguagknouuhjjdclndgk"

ADDED, GONE = "SELECT 1 AS sign, * FROM added", "SELECT -1 AS sign, * FROM gone"
BOTH = f"{ADDED} UNION ALL {GONE}"
MONTH = "date_trunc('month', published_at AT TIME ZONE 'UTC')::date"

COMMENT_HOURS = """
    INSERT INTO comment_hours AS h (owner_id, hour, comments, replies, deleted, viewed, archived, likes)
    SELECT owner_id, date_trunc('hour', published_at, 'UTC'), sum(sign), sum(sign * (thread_id IS NOT NULL)::int),
           sum(sign * is_deleted::int), sum(sign * (viewed_at IS NOT NULL)::int),
           sum(sign * (archived_at IS NOT NULL)::int), sum(sign * like_count)
      FROM ({rows}) AS r GROUP BY 1, 2
    HAVING (sum(sign), sum(sign * is_deleted::int), sum(sign * (viewed_at IS NOT NULL)::int),
            sum(sign * (archived_at IS NOT NULL)::int), sum(sign * like_count)) <> (0, 0, 0, 0, 0)
     ORDER BY 1, 2
    ON CONFLICT (owner_id, hour) DO UPDATE SET
           comments = h.comments + excluded.comments, replies = h.replies + excluded.replies,
           deleted = h.deleted + excluded.deleted, viewed = h.viewed + excluded.viewed,
           archived = h.archived + excluded.archived, likes = h.likes + excluded.likes;
"""
AUTHOR_MONTHS = f"""
    INSERT INTO author_months AS m (owner_id, month, author_id, comments, replies, likes)
    SELECT owner_id, {MONTH}, from_id, sum(sign), sum(sign * (thread_id IS NOT NULL)::int), sum(sign * like_count)
      FROM ({{rows}}) AS r WHERE from_id IS NOT NULL GROUP BY 1, 2, 3
    HAVING (sum(sign), sum(sign * like_count)) <> (0, 0)
     ORDER BY 1, 2, 3
    ON CONFLICT (owner_id, month, author_id) DO UPDATE SET
           comments = m.comments + excluded.comments, replies = m.replies + excluded.replies,
           likes = m.likes + excluded.likes;
"""
POST_STATS = """
    INSERT INTO post_stats AS s (owner_id, post_id, comments, replies, likes, within_10_minutes, within_hour,
                                 within_6_hours, within_day, within_3_days, within_week, later)
    SELECT r.owner_id, r.post_id, sum(sign), sum(sign * (thread_id IS NOT NULL)::int), sum(sign * r.like_count),
           sum(sign * (delay <= interval '10 minutes')::int),
           sum(sign * (delay > interval '10 minutes' AND delay <= interval '1 hour')::int),
           sum(sign * (delay > interval '1 hour' AND delay <= interval '6 hours')::int),
           sum(sign * (delay > interval '6 hours' AND delay <= interval '24 hours')::int),
           sum(sign * (delay > interval '24 hours' AND delay <= interval '72 hours')::int),
           sum(sign * (delay > interval '72 hours' AND delay <= interval '168 hours')::int),
           sum(sign * (delay > interval '168 hours')::int)
      FROM ({rows}) AS r JOIN posts p ON p.owner_id = r.owner_id AND p.id = r.post_id,
           LATERAL (SELECT r.published_at - p.published_at AS delay) AS d
     GROUP BY 1, 2
    HAVING (sum(sign), sum(sign * r.like_count)) <> (0, 0)
     ORDER BY 1, 2
    ON CONFLICT (owner_id, post_id) DO UPDATE SET
           comments = s.comments + excluded.comments, replies = s.replies + excluded.replies,
           likes = s.likes + excluded.likes,
           within_10_minutes = s.within_10_minutes + excluded.within_10_minutes,
           within_hour = s.within_hour + excluded.within_hour,
           within_6_hours = s.within_6_hours + excluded.within_6_hours,
           within_day = s.within_day + excluded.within_day,
           within_3_days = s.within_3_days + excluded.within_3_days,
           within_week = s.within_week + excluded.within_week, later = s.later + excluded.later;
"""
# the number of the transaction: no two states of a wall have the same one, also after it was removed and added again
VERSION = """
    INSERT INTO wall_versions AS v (owner_id, version) SELECT DISTINCT owner_id, txid_current() FROM ({rows}) AS r
     ORDER BY 1 ON CONFLICT (owner_id) DO UPDATE SET version = excluded.version WHERE v.version <> excluded.version;
"""
COUNT = COMMENT_HOURS + AUTHOR_MONTHS + POST_STATS + VERSION
SEARCH = """
    INSERT INTO comment_search (owner_id, comment_id, vector, folded)
    SELECT owner_id, id, to_tsvector('russian', folded), folded
      FROM ({rows}) AS r, LATERAL (SELECT lower(translate(text, 'ёЁ', 'еЕ')) AS folded) AS f"""
SEARCH_ADDED, SEARCH_CHANGED = (
    f"{SEARCH};\n",
    f"""{SEARCH}
    ON CONFLICT (owner_id, comment_id) DO UPDATE SET vector = excluded.vector, folded = excluded.folded;
""",
)
EDITED = "SELECT a.* FROM added a JOIN gone g ON g.owner_id = a.owner_id AND g.id = a.id WHERE g.text <> a.text"
FORGET_FEATURES = f"""
    DELETE FROM comment_features f USING ({EDITED}) AS e WHERE f.owner_id = e.owner_id AND f.comment_id = e.id;
"""
DROP_FOUND = "".join(
    f"\n    DELETE FROM {table} f USING gone WHERE f.owner_id = gone.owner_id AND f.comment_id = gone.id;"
    for table in ("comment_search", "comment_keywords", "comment_features")
)
KEYWORD_MONTHS = f"""
    INSERT INTO keyword_months AS m (owner_id, month, keyword_id, comments, matches)
    SELECT owner_id, {MONTH}, keyword_id, sum(sign), sum(sign * cardinality(positions) / 2)
      FROM ({{rows}}) AS r GROUP BY 1, 2, 3
    HAVING (sum(sign), sum(sign * cardinality(positions) / 2)) <> (0, 0)
     ORDER BY 1, 2, 3
    ON CONFLICT (owner_id, month, keyword_id) DO UPDATE SET
           comments = m.comments + excluded.comments, matches = m.matches + excluded.matches;
"""
LANGUAGE_MONTHS = f"""
    INSERT INTO language_months AS m (owner_id, month, language, comments)
    SELECT owner_id, {MONTH}, language, sum(sign) FROM ({{rows}}) AS r GROUP BY 1, 2, 3 HAVING sum(sign) <> 0
     ORDER BY 1, 2, 3
    ON CONFLICT (owner_id, month, language) DO UPDATE SET comments = m.comments + excluded.comments;
"""
TERM_MONTHS = f"""
    INSERT INTO term_months AS m (owner_id, month, term_id, comments)
    SELECT owner_id, {MONTH}, term_id, sum(sign) FROM ({{rows}}) AS r, LATERAL unnest(term_ids) AS term_id
     GROUP BY 1, 2, 3 HAVING sum(sign) <> 0
     ORDER BY 1, 2, 3
    ON CONFLICT (owner_id, month, term_id) DO UPDATE SET comments = m.comments + excluded.comments;
"""


def _triggers(table: str, added: str, changed: str, gone: str) -> str:
    return "".join(
        f"""
CREATE FUNCTION {table}_{event.lower()} () RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN{body}    RETURN NULL;
END;
$$;
CREATE TRIGGER {table}_{event.lower()} AFTER {event} ON {table} REFERENCING {transition}
       FOR EACH STATEMENT EXECUTE FUNCTION {table}_{event.lower()}();
"""
        for event, transition, body in (
            ("INSERT", "NEW TABLE AS added", added),
            ("UPDATE", "NEW TABLE AS added OLD TABLE AS gone", changed),
            ("DELETE", "OLD TABLE AS gone", gone),
        )
    )


def _each(rollups: str) -> tuple[str, str, str]:
    return rollups.format(rows=ADDED), rollups.format(rows=BOTH), rollups.format(rows=GONE)


COUNT_ADDED, COUNT_CHANGED, COUNT_GONE = _each(COUNT)
TRIGGERS = (
    _triggers(
        "comments",
        COUNT_ADDED + SEARCH_ADDED.format(rows=ADDED),
        COUNT_CHANGED + SEARCH_CHANGED.format(rows=EDITED) + FORGET_FEATURES,
        COUNT_GONE + DROP_FOUND,
    )
    + _triggers("comment_keywords", *_each(KEYWORD_MONTHS + VERSION))
    + _triggers("comment_features", *_each(LANGUAGE_MONTHS + TERM_MONTHS + VERSION))
    + _triggers("posts", *_each(VERSION))
)
DELETE_OF_POSTS = """
CREATE OR REPLACE FUNCTION delete_comments_of_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM comments c USING gone WHERE c.owner_id = gone.owner_id AND c.post_id = gone.id;{more}
    RETURN NULL;
END;
$$;
"""
STATS_OF_POSTS = "\n    DELETE FROM post_stats s USING gone WHERE s.owner_id = gone.owner_id AND s.post_id = gone.id;"
FILL = COUNT.format(rows="SELECT 1 AS sign, * FROM comments") + SEARCH_ADDED.format(rows="SELECT * FROM comments")


def _key(name: str, kind: type[sa.types.TypeEngine] | sa.types.TypeEngine = sa.BigInteger) -> sa.Column:
    return sa.Column(name, kind, autoincrement=False, nullable=False)


def _counts(*names: str, kind: type[sa.types.TypeEngine] = sa.Integer) -> list[sa.Column]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.add_column("groups", sa.Column("note", sa.Text(), nullable=True, comment="a remark of those who work here"))
    op.add_column(
        "groups",
        sa.Column(
            "labels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False, comment="theirs, too"
        ),
    )
    _create_keywords()
    _create_findings()
    _create_rollups()
    op.create_table(
        "exports",
        _key("job_id"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the file"),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("compression", sa.Text(), nullable=True),
        *_counts("rows", "bytes", kind=sa.BigInteger),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the file, in hexadecimal digits"),
        _now("created_at"),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="exports_job_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="exports_pkey"),
        comment="finished export files",
    )
    op.create_index("exports_expires_at_idx", "exports", ["expires_at"])
    op.create_table(
        "removed_comments",
        _key("owner_id"),
        _key("id"),
        _now("removed_at"),
        sa.PrimaryKeyConstraint("owner_id", "id", name="removed_comments_pkey"),
        comment="comments that somebody here has removed: they are not stored again",
    )
    key = ["published_at", "owner_id", "id"]
    for name, condition in (
        ("viewed", "viewed_at IS NOT NULL"),
        ("archived", "archived_at IS NOT NULL"),
        ("deleted", "is_deleted"),
    ):
        op.create_index(f"comments_{name}_idx", "comments", key, postgresql_where=sa.text(condition))
    _execute(TRIGGERS + DELETE_OF_POSTS.format(more=STATS_OF_POSTS) + FILL)


def _create_keywords() -> None:
    op.create_table(
        "keywords",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("phrase", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("matching", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column(
            "revision",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="raised whenever what it matches changes",
        ),
        _now("created_at"),
        _now("changed_at"),
        sa.PrimaryKeyConstraint("id", name="keywords_pkey"),
    )
    op.create_index("keywords_phrase_idx", "keywords", [sa.text("lower(phrase)"), "matching"], unique=True)
    op.create_table(
        "comment_keywords",
        _key("owner_id"),
        _key("comment_id"),
        _key("keyword_id"),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, comment="of the comment"),
        sa.Column(
            "positions",
            postgresql.ARRAY(sa.Integer()),
            nullable=False,
            comment="start, end, start, end ... in code points of the text",
        ),
        sa.PrimaryKeyConstraint("owner_id", "comment_id", "keyword_id", name="comment_keywords_pkey"),
        comment="where keywords match",
    )
    op.create_index(
        "comment_keywords_keyword_id_published_at_idx",
        "comment_keywords",
        ["keyword_id", "published_at", "owner_id", "comment_id"],
    )


def _create_findings() -> None:
    op.create_table(
        "comment_search",
        _key("owner_id"),
        _key("comment_id"),
        sa.Column("vector", postgresql.TSVECTOR(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False, comment="the text in lower case, without ё"),
        sa.PrimaryKeyConstraint("owner_id", "comment_id", name="comment_search_pkey"),
        comment="the texts of comments as they are searched",
    )
    op.create_index("comment_search_vector_idx", "comment_search", ["vector"], postgresql_using="gin")
    # in Latin letters: pg_trgm takes letters for what the C library's locale of the database does, and where that is C,
    # as in the embedded server, Cyrillic ones are none; the condition on the text itself follows
    _execute(f"""
        CREATE INDEX comment_search_latin_idx ON comment_search
         USING gin (translate(folded, '{CYRILLIC}', '{LATIN}') gin_trgm_ops)
    """)
    op.create_table(
        "comment_features",
        _key("owner_id"),
        _key("comment_id"),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, comment="of the comment"),
        sa.Column("language", sa.Text(), nullable=False, comment="ISO 639-1; und where the text does not tell"),
        sa.Column("term_ids", postgresql.ARRAY(sa.Integer()), nullable=False, comment="each term of the text once"),
        sa.Column("links", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("phones", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("mention_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False, comment="negative: communities"),
        sa.Column("mood", sa.SmallInteger(), nullable=False, comment="by emoji and brackets: -1, 0 or 1"),
        sa.Column("wave_id", sa.BigInteger(), nullable=True, comment="the wave of near-duplicates it is in"),
        _now("analyzed_at"),
        sa.PrimaryKeyConstraint("owner_id", "comment_id", name="comment_features_pkey"),
        comment="what an analysis has found in the text of a comment; without a row it is still to be analysed",
    )
    op.create_index(
        "comment_features_language_published_at_idx",
        "comment_features",
        ["language", "published_at", "owner_id", "comment_id"],
    )
    op.create_index(
        "comment_features_wave_id_idx", "comment_features", ["wave_id"], postgresql_where=sa.text("wave_id IS NOT NULL")
    )
    op.create_table(
        "terms",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("lemma", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="terms_pkey"),
    )
    op.create_index("terms_lemma_idx", "terms", ["lemma"], unique=True)


def _create_rollups() -> None:
    op.create_table(
        "comment_hours",
        _key("owner_id"),
        _key("hour", sa.DateTime(timezone=True)),
        *_counts("comments", "replies", "deleted", "viewed", "archived", "likes"),
        sa.PrimaryKeyConstraint("owner_id", "hour", name="comment_hours_pkey"),
        comment="how many comments were published in an hour",
    )
    op.create_table(
        "author_months",
        _key("owner_id"),
        _key("month", sa.Date),
        _key("author_id"),
        *_counts("comments", "replies", "likes"),
        sa.PrimaryKeyConstraint("owner_id", "month", "author_id", name="author_months_pkey"),
        comment="how much an author wrote in a month (UTC)",
    )
    op.create_table(
        "post_stats",
        _key("owner_id"),
        _key("post_id"),
        *_counts("comments", "replies", "likes"),
        *_counts(
            "within_10_minutes", "within_hour", "within_6_hours", "within_day", "within_3_days", "within_week", "later"
        ),
        sa.PrimaryKeyConstraint("owner_id", "post_id", name="post_stats_pkey"),
        comment="what is stored under a post, and how long after it the comments came; each comment in one of these",
    )
    op.create_table(
        "keyword_months",
        _key("owner_id"),
        _key("month", sa.Date),
        _key("keyword_id"),
        *_counts("comments", "matches"),
        sa.PrimaryKeyConstraint("owner_id", "month", "keyword_id", name="keyword_months_pkey"),
        comment="how many comments of a month (UTC) a keyword matches, and how often",
    )
    op.create_index("keyword_months_keyword_id_idx", "keyword_months", ["keyword_id"])
    op.create_table(
        "language_months",
        _key("owner_id"),
        _key("month", sa.Date),
        _key("language", sa.Text),
        *_counts("comments"),
        sa.PrimaryKeyConstraint("owner_id", "month", "language", name="language_months_pkey"),
        comment="how many comments of a month (UTC) are in a language",
    )
    op.create_table(
        "term_months",
        _key("owner_id"),
        _key("month", sa.Date),
        _key("term_id", sa.Integer),
        *_counts("comments"),
        sa.PrimaryKeyConstraint("owner_id", "month", "term_id", name="term_months_pkey"),
        comment="how many comments of a month (UTC) have a term",
    )

    op.create_table(
        "wall_versions",
        _key("owner_id"),
        *_counts("version", kind=sa.BigInteger),
        sa.PrimaryKeyConstraint("owner_id", name="wall_versions_pkey"),
        comment="changes with all that is counted of a wall",
    )


def downgrade() -> None:
    for table in ("posts", "comment_features", "comment_keywords", "comments"):
        for event in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER {table}_{event} ON {table}")
            op.execute(f"DROP FUNCTION {table}_{event}")
    _execute(DELETE_OF_POSTS.format(more=""))
    for name in ("viewed", "archived", "deleted"):
        op.drop_index(f"comments_{name}_idx", table_name="comments")
    for table in (
        "removed_comments",
        "exports",
        "wall_versions",
        "term_months",
        "language_months",
        "keyword_months",
        "post_stats",
        "author_months",
        "comment_hours",
        "terms",
        "comment_features",
        "comment_search",
        "comment_keywords",
        "keywords",
    ):
        op.drop_table(table)
    op.drop_column("groups", "labels")
    op.drop_column("groups", "note")
    op.execute("DROP EXTENSION pg_trgm")


def _execute(statements: str) -> None:
    # several at once, which only the driver's own connection takes; they run in alembic's transaction
    connection = op.get_bind().connection
    connection.run_async(lambda driver: driver.execute(statements))
