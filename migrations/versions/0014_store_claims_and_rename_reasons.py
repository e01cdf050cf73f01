"""Store the communities that a job claims in columns instead of its arguments; rename two reasons; reword comments."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

COLUMN_COMMENTS = [  # table, column, former and new comment
    ("groups", "note", "a remark of those who work here", "a note of the users"),
    ("groups", "labels", "theirs, too", "labels of the users"),
    ("posts", "is_deleted", "the wall shows it no more", "VK no longer shows it"),
    ("jobs", "rate_per_second", "smoothed", "units per second, smoothed"),
    ("jobs", "checkpoint", "from where a further run goes on", "where a further run continues"),
    ("jobs", "worker", "host and process that runs it", "the worker that runs it"),
    (
        "jobs",
        "epoch",
        "raised by each taking; fences writes",
        "incremented by each claim; writes of former runs are rejected by it",
    ),
    ("jobs", "queue_id", "the entry of the queue that stands for it", "its queue entry"),
    ("jobs", "queued_at", "since when it waits, or waited, for its last run", "when it began to wait for its last run"),
    (
        "jobs",
        "enqueued_at",
        "when a client, or a monitoring, asked for it: its priority rises from then on",
        "when a client or a monitoring requested it: its priority rises from then on",
    ),
    ("comment_features", "language", "ISO 639-1; und where the text does not tell", "ISO 639-1; und: not determined"),
]
TABLE_COMMENTS = [
    (
        "job_groups",
        "which unfinished job collects a community: one at a time",
        "communities that are reserved for an unfinished job",
    ),
    ("monitorings", "which communities are collected again and again", "communities that are collected at an interval"),
    (
        "removed_comments",
        "comments that somebody here has removed: they are not stored again",
        "comments that users have removed: they are not stored again",
    ),
]


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "claims",
            sa.ARRAY(sa.BigInteger),
            nullable=False,
            server_default="{}",
            comment="the communities (owner ids) that no other job may collect or remove until it has ended",
        ),
    )
    op.add_column(
        "jobs",
        sa.Column(
            "removes_claims",
            sa.Boolean,
            nullable=False,
            server_default=sa.false(),
            comment="whether it may be retried although a community that it claims is missing",
        ),
    )
    op.execute("""
        UPDATE jobs SET claims = ARRAY(SELECT jsonb_array_elements_text(arguments -> 'claims')::bigint)
         WHERE arguments ? 'claims'
    """)
    op.execute("UPDATE jobs SET removes_claims = true WHERE kind = 'remove_groups'")
    op.execute("UPDATE jobs SET arguments = arguments - 'claims' - 'removes_claims' WHERE arguments ? 'claims'")
    rename_reasons({"TAKEN": "CLAIMED", "FAILURE_MAY_PASS": "TRANSIENT_FAILURE"})
    for table, column, _, comment in COLUMN_COMMENTS:
        set_comment(f"COLUMN {table}.{column}", comment)
    for table, _, comment in TABLE_COMMENTS:
        set_comment(f"TABLE {table}", comment)


def downgrade() -> None:
    for table, column, comment, _ in COLUMN_COMMENTS:
        set_comment(f"COLUMN {table}.{column}", comment)
    for table, comment, _ in TABLE_COMMENTS:
        set_comment(f"TABLE {table}", comment)
    rename_reasons({"CLAIMED": "TAKEN", "TRANSIENT_FAILURE": "FAILURE_MAY_PASS"})
    op.execute("""
        UPDATE jobs SET arguments = arguments || jsonb_build_object('claims', to_jsonb(claims))
               || CASE WHEN removes_claims THEN '{"removes_claims": true}'::jsonb ELSE '{}'::jsonb END
         WHERE claims <> '{}'
    """)
    op.drop_column("jobs", "removes_claims")
    op.drop_column("jobs", "claims")


def rename_reasons(names: dict[str, str]) -> None:
    """Rename reasons in the facts of job events: former name -> new name."""
    for former, new in names.items():
        op.execute(
            sa.text("""
                UPDATE job_events SET facts = jsonb_set(facts, '{reason}', to_jsonb(CAST(:new AS text)))
                 WHERE kind = 'STATE_CHANGED' AND facts ->> 'reason' = :former
            """).bindparams(former=former, new=new)
        )


def set_comment(subject: str, comment: str) -> None:
    """Set the comment of a table or column; COMMENT takes no parameters."""
    op.execute(f"COMMENT ON {subject} IS '{comment}'")
