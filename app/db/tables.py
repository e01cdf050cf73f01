"""The tables, as migrations leave them. VK's ids are unique per wall only, so keys are (owner_id, id), owner first.

`owner_id` is the wall: negative for a community, as VK writes it. Times are UTC.
PgQueuer's own tables come by a migration and are not described here, nor is the trigger
that deletes the comments of deleted posts, in place of a foreign key.
"""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    }
)


def _time(name: str, *, nullable: bool = True) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _now(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


groups = Table(
    "groups",
    metadata,
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False, comment="negative id of the community"),
    Column("screen_name", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("members_count", Integer),
    Column("is_closed", Boolean, nullable=False, server_default=text("false")),
    Column("deactivated", Text, comment="deleted or banned, as VK says"),
    Column("photo_url", Text),
    _now("added_at"),
    _time("collected_at"),
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
    Column("like_count", Integer, nullable=False),
    Column("repost_count", Integer, nullable=False),
    Column("view_count", Integer),
    Column("comment_count", Integer, nullable=False, comment="comments and replies, as VK counts them"),
    Column("is_pinned", Boolean, nullable=False),
    Column("attachments", JSONB, nullable=False),
    _now("first_seen_at"),
    _now("last_seen_at"),
    _time("changed_at"),
    Column("collected_count", Integer, comment="comment_count when its comments were last read to the end"),
    _time("collected_at"),
    Column("read_calls", Integer, comment="how many calls reading all its comments takes"),
    Column("is_deleted", Boolean, nullable=False, server_default=text("false"), comment="the wall shows it no more"),
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
    Column("like_count", Integer, nullable=False),
    Column("attachments", JSONB, nullable=False),
    Column("thread_id", BigInteger, comment="the top comment whose thread this is in"),
    Column("reply_to_id", BigInteger, comment="the comment it answers"),
    Column("is_deleted", Boolean, nullable=False),
    _now("first_seen_at"),
    _now("last_seen_at"),
    _time("changed_at"),
    _time("viewed_at"),
    _time("archived_at"),
    Column("thread_read_count", Integer, comment="replies VK stated when this long thread was last read to the end"),
    Column("thread_read_to", BigInteger, comment="the newest reply that was read then"),
    Index("comments_published_at_idx", "published_at", "owner_id", "id"),
    Index("comments_owner_id_post_id_idx", "owner_id", "post_id", "id"),
    Index(
        "comments_owner_id_thread_id_idx", "owner_id", "thread_id", "id", postgresql_where=text("thread_id IS NOT NULL")
    ),
    Index("comments_from_id_published_at_idx", "from_id", "published_at", "owner_id", "id"),
    Index("comments_like_count_idx", "like_count", "owner_id", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default="QUEUED"),
    Column("priority", SmallInteger, nullable=False),
    Column("done", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger),
    Column("stage", Text, nullable=False, server_default=""),
    Column("message", Text),
    Column("rate_per_second", Double, comment="smoothed"),
    Column("checkpoint", JSONB(none_as_null=True), comment="from where a further run goes on"),
    Column("result", JSONB(none_as_null=True)),
    Column("failure", JSONB(none_as_null=True), comment="code, message, facts"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    Column("timeout_seconds", Double, nullable=False),
    Column("worker", Text, comment="host and process that runs it"),
    Column("epoch", Integer, nullable=False, server_default=text("0"), comment="raised by each taking; fences writes"),
    Column("last_seq", Integer, nullable=False, server_default=text("0")),
    Column("queue_id", BigInteger, comment="the entry of the queue that stands for it"),
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
        comment="since when it waits, or waited, for its last run",
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
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("facts", JSONB, nullable=False),
)

job_groups = Table(
    "job_groups",
    metadata,
    Column("owner_id", BigInteger, ForeignKey("groups.owner_id", ondelete="CASCADE"), primary_key=True),
    Column("job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    comment="which unfinished job collects a community: one at a time",
)

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True, comment="host and process id"),
    Column("concurrency", Integer, nullable=False),
    Column("kinds", JSONB, nullable=False),
    _now("started_at"),
    _now("seen_at"),
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
    Column("last_state", Text, comment="how the last job ended"),
    Column("last_result", JSONB, comment="of the last job that succeeded"),
    Column("last_failure", JSONB, comment="of the last job, if it failed"),
    Index("monitorings_next_run_at_idx", "next_run_at", postgresql_where=text("is_enabled")),
    comment="which communities are collected again and again",
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
