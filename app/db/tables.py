"""The tables as the migrations create them. VK's ids are unique per wall only, so keys are (owner_id, id), owner first.

`owner_id` is the wall: negative for a community, as in VK. Times are UTC.
PgQueuer's tables are created by a migration and not described in this module. The same applies to the
triggers: one deletes the comments of deleted posts, in place of a foreign key; others maintain
`comment_search` and the rollups `comment_hours`, `post_stats` and all tables whose names end in `_months`
(migrations/versions/0008_find_in_comments.py).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    false,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.types import TypeEngine

from app.job_states import JobEventKind, JobState

E = TypeVar("E", bound=StrEnum)

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяіїєґўәғқңөұүһҗјђћљњџѓќ"
LATIN = "abvgdejziyklmnoprstufhcqwx012345iieguagknouuhjjdclndgk"
"""The characters that replace Cyrillic letters for pg_trgm, which in some locales does not treat those as letters."""


def _time(name: str, *, nullable: bool = True) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _now(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _seen_in() -> Column[int]:
    return Column(
        "collection_number",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="the newest collection that had begun when VK last showed this",
    )


class EnumText(TypeDecorator[E]):
    """A text column whose values are those of an enum: statements take and return its members."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum

    @property
    def python_type(self) -> type[E]:
        """The enum."""
        return self.enum

    def process_bind_param(self, value: E | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the text of a member.

        Raises:
            ValueError: it is not a member of the enum.
        """
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> E | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the member with this text."""
        return None if value is None else self.enum(value)


def _key(
    name: str,
    kind: type[TypeEngine[Any]] = BigInteger,  # Any: a column has values of its type
) -> Column[Any]:  # as above
    return Column(name, kind, primary_key=True, autoincrement=False)


def _counts(*names: str, kind: type[Integer] = Integer) -> list[Column[int]]:
    return [Column(name, kind, nullable=False) for name in names]


collection_numbers = Sequence("collection_numbers", start=0, minvalue=0, metadata=metadata)
"""Numbers the collections: a clock may be set back during a collection, so times cannot show what it has seen."""

groups = Table(
    "groups",
    metadata,
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False, comment="negative id of the community"),
    Column("screen_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("members_count", BigInteger),
    Column("is_closed", Boolean, nullable=False, server_default=text("false")),
    Column("deactivated", Text, comment="deleted or banned, as VK says"),
    Column("photo_url", Text),
    _now("added_at"),
    _time("collected_at"),
    Column("note", Text, comment="a note of the users"),
    Column("labels", ARRAY(Text), nullable=False, server_default=text("'{}'"), comment="labels of the users"),
    Index("groups_screen_name_idx", func.lower(text("screen_name"))),
    Index("groups_added_at_idx", "added_at", "owner_id"),
)

posts = Table(
    "posts",
    metadata,
    Column("owner_id", BigInteger, ForeignKey("groups.owner_id", ondelete="CASCADE"), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("from_id", BigInteger, comment="who wrote it: negative for a community"),
    Column("text", Text, nullable=False),
    _time("published_at", nullable=False),
    Column("like_count", BigInteger, nullable=False),
    Column("repost_count", BigInteger, nullable=False),
    Column("view_count", BigInteger),
    Column("comment_count", BigInteger, nullable=False, comment="comments and replies, as VK counts them"),
    Column("is_pinned", Boolean, nullable=False),
    Column("attachments", JSONB, nullable=False),
    _now("first_seen_at"),
    _now("last_seen_at"),
    _time("changed_at"),
    Column(
        "collected_count",
        BigInteger,
        comment="comment_count when its comments were last read to the end; -1: read them again",
    ),
    _time("collected_at"),
    Column("read_calls", Integer, comment="how many calls reading all its comments takes"),
    Column("is_deleted", Boolean, nullable=False, server_default=text("false"), comment="VK no longer shows it"),
    _seen_in(),
    Index("posts_published_at_idx", "published_at", "owner_id", "id"),
    Index("posts_owner_id_published_at_idx", "owner_id", "published_at", "id"),
)

authors = Table(
    "authors",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False, comment="negative for a community"),
    Column("name", Text, nullable=False),
    Column("screen_name", Text),
    Column("photo_url", Text),
    Column("deactivated", Text, comment="deleted or banned, as VK says"),
    _now("first_seen_at"),
    _now("last_seen_at"),
)

comments = Table(
    "comments",
    metadata,
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("post_id", BigInteger, nullable=False),
    Column("from_id", BigInteger, comment="negative for a community; absent on deleted stubs"),
    Column("text", Text, nullable=False),
    _time("published_at", nullable=False),
    Column("like_count", BigInteger, nullable=False),
    Column("attachments", JSONB, nullable=False),
    Column("thread_id", BigInteger, comment="the top comment whose thread this is in"),
    Column("reply_to_id", BigInteger, comment="the comment it answers"),
    Column("is_deleted", Boolean, nullable=False),
    _now("first_seen_at"),
    _now("last_seen_at"),
    _time("changed_at"),
    _time("viewed_at"),
    _time("archived_at"),
    Column("thread_read_count", BigInteger, comment="replies VK stated when this long thread was last read to the end"),
    Column("thread_read_to", BigInteger, comment="the newest reply that was read then"),
    _seen_in(),
    Index("comments_published_at_idx", "published_at", "owner_id", "id"),
    Index("comments_owner_id_post_id_idx", "owner_id", "post_id", "id"),
    Index(
        "comments_owner_id_thread_id_idx", "owner_id", "thread_id", "id", postgresql_where=text("thread_id IS NOT NULL")
    ),
    Index("comments_from_id_published_at_idx", "from_id", "published_at", "owner_id", "id"),
    Index("comments_like_count_idx", "like_count", "owner_id", "id"),
    *(
        Index(f"comments_{name}_idx", "published_at", "owner_id", "id", postgresql_where=text(condition))
        for name, condition in (
            ("viewed", "viewed_at IS NOT NULL"),
            ("archived", "archived_at IS NOT NULL"),
            ("deleted", "is_deleted"),
        )
    ),
)

removed_comments = Table(
    "removed_comments",
    metadata,
    _key("owner_id"),
    _key("id"),
    _now("removed_at"),
    comment="comments that users have removed: they are not stored again",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("state", EnumText(JobState), nullable=False, server_default="QUEUED"),
    Column("priority", SmallInteger, nullable=False),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger),
    Column("stage", Text, nullable=False, server_default=""),
    Column("message", Text),
    Column("rate_per_second", Double, comment="units per second, smoothed"),
    Column("checkpoint", JSONB(none_as_null=True), comment="where a further run continues"),
    Column("result", JSONB(none_as_null=True)),
    Column("failure", JSONB(none_as_null=True), comment="code, message, facts"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("worker", Text, comment="the worker that runs it"),
    Column(
        "epoch",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="incremented by each claim; writes of former runs are rejected by it",
    ),
    Column("last_seq", Integer, nullable=False, server_default=text("0")),
    Column("queue_id", BigInteger, comment="its queue entry"),
    _now("created_at"),
    _time("started_at"),
    _time("finished_at"),
    _time("heartbeat_at"),
    _time("cancel_requested_at"),
    Column(
        "queued_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when it began to wait for its last run",
    ),
    Column(
        "enqueued_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="when a client or a monitoring requested it: its priority rises from then on",
    ),
    Column(
        "claims",
        ARRAY(BigInteger),
        nullable=False,
        server_default="{}",
        comment="the communities (owner ids) that no other job may collect or remove until it has ended",
    ),
    Column(
        "removes_claims",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="whether it may be retried although a community that it claims is missing",
    ),
    Index("jobs_created_at_idx", "created_at", "id"),
    Index("jobs_finished_at_idx", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    Index("jobs_unfinished_idx", "id", postgresql_where=text("state IN ('QUEUED', 'RUNNING')")),
)

job_events = Table(
    "job_events",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False, comment="1, 2, 3 ... without gaps"),
    _now("at"),
    Column("kind", EnumText(JobEventKind), nullable=False),
    Column("message", Text, nullable=False),
    Column("facts", JSONB, nullable=False),
)

job_groups = Table(
    "job_groups",
    metadata,
    Column("owner_id", BigInteger, ForeignKey("groups.owner_id", ondelete="CASCADE"), primary_key=True),
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    comment="communities that are reserved for an unfinished job",
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True, comment="host, process id and a random part"),
    Column("concurrency", Integer, nullable=False),
    Column("kinds", JSONB, nullable=False),
    _now("started_at"),
    _now("seen_at"),
)

health_writes = Table(
    "health_writes",
    metadata,
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    _now("written_at"),
)

monitorings = Table(
    "monitorings",
    metadata,
    Column(
        "owner_id",
        BigInteger,
        ForeignKey("groups.owner_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("is_enabled", Boolean, nullable=False),
    Column("interval_seconds", Integer, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    _time("next_run_at"),
    Column(
        "job_id",
        BigInteger,
        ForeignKey("jobs.id", ondelete="SET NULL"),
        index=True,
        comment="the last job that was started for it",
    ),
    Column("last_run_at", DateTime(timezone=True), comment="when the last job ended"),
    Column("last_state", EnumText(JobState), comment="how the last job ended"),
    Column("last_result", JSONB, comment="of the last job that succeeded"),
    Column("last_failure", JSONB, comment="of the last job, if it failed"),
    Index("monitorings_next_run_at_idx", "next_run_at", postgresql_where=text("is_enabled")),
    comment="communities that are collected at an interval",
)

tokens = Table(
    "tokens",
    metadata,
    Column("fingerprint", Text, primary_key=True, comment="a hash; the token itself is never stored"),
    _now("next_slot_at"),
    _time("blocked_until"),
    Column("blocked_reason", Text),
    _now("first_seen_at"),
    Column("blocked_code", Integer, comment="VK's error code"),
    Column("kind", Text, comment="USER, SERVICE or GROUP, once that is known"),
    Column("counted_on", Date, comment="the day (UTC) of the next two"),
    Column("requests_today", Integer, nullable=False, server_default=text("0")),
    Column("calls_today", Integer, nullable=False, server_default=text("0"), comment="those inside execute count"),
    _time("used_at"),
)

# keywords, search and features of the texts of comments

keywords = Table(
    "keywords",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("phrase", Text, nullable=False),
    Column("category", Text),
    Column("matching", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column(
        "revision",
        Integer,
        nullable=False,
        server_default=text("1"),
        comment="raised whenever what it matches changes",
    ),
    _now("created_at"),
    _now("changed_at"),
    Index(
        "keywords_phrase_idx",
        func.lower(text("phrase")),
        "matching",
        unique=True,
        postgresql_where=text("matching <> 'CASE_SENSITIVE'"),
    ),
    Index("keywords_exact_phrase_idx", "phrase", unique=True, postgresql_where=text("matching = 'CASE_SENSITIVE'")),
)

comment_keywords = Table(
    "comment_keywords",
    metadata,
    _key("owner_id"),
    _key("comment_id"),
    _key("keyword_id"),
    Column("published_at", DateTime(timezone=True), nullable=False, comment="of the comment"),
    Column(
        "positions",
        ARRAY(Integer),
        nullable=False,
        comment="start, end, start, end ... in code points of the text",
    ),
    Index("comment_keywords_keyword_id_published_at_idx", "keyword_id", "published_at", "owner_id", "comment_id"),
    comment="where keywords match",
)

comment_search = Table(
    "comment_search",
    metadata,
    _key("owner_id"),
    _key("comment_id"),
    Column("vector", TSVECTOR, nullable=False),
    Column("folded", Text, nullable=False, comment="the text in lower case, without ё"),
    Index("comment_search_vector_idx", "vector", postgresql_using="gin"),
    Index(
        "comment_search_latin_idx",
        func.translate(text("folded"), literal_column(f"'{CYRILLIC}'"), literal_column(f"'{LATIN}'")).label("latin"),
        postgresql_using="gin",
        postgresql_ops={"latin": "gin_trgm_ops"},
    ),
    comment="the texts of comments as they are searched",
)

comment_features = Table(
    "comment_features",
    metadata,
    _key("owner_id"),
    _key("comment_id"),
    Column("published_at", DateTime(timezone=True), nullable=False, comment="of the comment"),
    Column("language", Text, nullable=False, comment="ISO 639-1; und: not determined"),
    Column("term_ids", ARRAY(Integer), nullable=False, comment="each term of the text once"),
    Column("links", ARRAY(Text), nullable=False),
    Column("phones", ARRAY(Text), nullable=False),
    Column("mention_ids", ARRAY(BigInteger), nullable=False, comment="negative: communities"),
    Column("mood", SmallInteger, nullable=False, comment="by emoji and brackets: -1, 0 or 1"),
    Column("wave_id", BigInteger, comment="the wave of near-duplicates it is in"),
    _now("analyzed_at"),
    Index("comment_features_language_published_at_idx", "language", "published_at", "owner_id", "comment_id"),
    Index(
        "comment_features_mood_idx",
        "mood",
        "published_at",
        "owner_id",
        "comment_id",
        postgresql_where=text("mood <> 0"),
    ),
    Index(
        "comment_features_links_idx",
        "published_at",
        "owner_id",
        "comment_id",
        postgresql_where=text("links <> '{}'::text[]"),
    ),
    Index("comment_features_wave_id_idx", "wave_id", postgresql_where=text("wave_id IS NOT NULL")),
    comment="what an analysis has found in the text of a comment; without a row it is still to be analysed",
)

terms = Table(
    "terms",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("lemma", Text, nullable=False),
    Index("terms_lemma_idx", "lemma", unique=True),
)

comment_bands = Table(
    "comment_bands",
    metadata,
    _key("owner_id"),
    _key("comment_id"),
    Column("bands", ARRAY(BigInteger), nullable=False, comment="of app.analysis.duplicates"),
    Column("is_compared", Boolean, nullable=False, server_default=text("false")),
    Column("is_in_wave", Boolean, nullable=False, server_default=text("false")),
    Index(
        "comment_bands_bands_idx",
        "bands",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=text("is_compared AND NOT is_in_wave"),
    ),
    Index("comment_bands_waiting_idx", "owner_id", "comment_id", postgresql_where=text("NOT is_compared")),
    comment="by what comments that were analysed are compared with others, unless their texts are too short",
)

waves = Table(
    "waves",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    *_counts("comment_count", "author_count", "post_count"),
    Column("owner_id", BigInteger, nullable=False, comment="of its first comment"),
    Column("comment_id", BigInteger, nullable=False, comment="its first comment"),
    _time("first_at", nullable=False),
    _time("last_at", nullable=False),
    Index("waves_comment_count_idx", "comment_count", "id"),
    Index("waves_last_at_idx", "last_at", "id"),
    comment="comments that say nearly the same; numbers as of the last analysis",
)

wave_bands = Table(
    "wave_bands",
    metadata,
    Column("band", BigInteger, primary_key=True, autoincrement=False),
    Column("wave_id", BigInteger, ForeignKey("waves.id", ondelete="CASCADE"), nullable=False),
    Index("wave_bands_wave_id_idx", "wave_id"),
    comment="the bands of the comments of waves: who has one of them belongs to that wave",
)

# rollups, maintained by triggers in the transaction that changes the counted rows; months are UTC

comment_hours = Table(
    "comment_hours",
    metadata,
    _key("owner_id"),
    Column("hour", DateTime(timezone=True), primary_key=True),
    *_counts("comments", "replies", "deleted", "viewed", "archived"),
    *_counts("likes", kind=BigInteger),
    comment="how many comments were published in an hour",
)

author_months = Table(
    "author_months",
    metadata,
    _key("owner_id"),
    _key("month", Date),
    _key("author_id"),
    *_counts("comments", "replies"),
    *_counts("likes", kind=BigInteger),
    comment="how much an author wrote in a month (UTC)",
)

post_stats = Table(
    "post_stats",
    metadata,
    _key("owner_id"),
    _key("post_id"),
    *_counts("comments", "replies"),
    *_counts("likes", kind=BigInteger),
    *_counts(
        "within_10_minutes", "within_hour", "within_6_hours", "within_day", "within_3_days", "within_week", "later"
    ),
    comment="what is stored under a post, and how long after it the comments came; each comment in one of these",
)

keyword_months = Table(
    "keyword_months",
    metadata,
    _key("owner_id"),
    _key("month", Date),
    _key("keyword_id"),
    *_counts("comments", "matches"),
    Index("keyword_months_keyword_id_idx", "keyword_id"),
    comment="how many comments of a month (UTC) a keyword matches, and how often",
)

language_months = Table(
    "language_months",
    metadata,
    _key("owner_id"),
    _key("month", Date),
    _key("language", Text),
    *_counts("comments"),
    comment="how many comments of a month (UTC) are in a language",
)

term_months = Table(
    "term_months",
    metadata,
    _key("owner_id"),
    _key("month", Date),
    _key("term_id", Integer),
    *_counts("comments"),
    comment="how many comments of a month (UTC) have a term",
)

wall_versions = Table(
    "wall_versions",
    metadata,
    _key("owner_id"),
    *_counts("version", kind=BigInteger),
    comment="changes with all that is counted of a wall",
)

exports = Table(
    "exports",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, comment="of the file"),
    Column("format", Text, nullable=False),
    Column("compression", Text),
    *_counts("rows", "bytes", kind=BigInteger),
    Column("sha256", Text, nullable=False, comment="of the file, in hexadecimal digits"),
    _now("created_at"),
    _time("expires_at", nullable=False),
    Index("exports_expires_at_idx", "expires_at"),
    comment="finished export files",
)
