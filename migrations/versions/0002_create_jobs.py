"""Create the tables of jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), server_default="QUEUED", nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Text(), server_default="", nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("rate_per_second", sa.Double(), nullable=True, comment="smoothed"),
        sa.Column("checkpoint", postgresql.JSONB(), nullable=True, comment="from where a further run goes on"),
        sa.Column("result", postgresql.JSONB(), nullable=True),
        sa.Column("failure", postgresql.JSONB(), nullable=True, comment="code, message, facts"),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Double(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True, comment="host and process that runs it"),
        sa.Column(
            "epoch",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="raised by each taking; fences writes",
        ),
        sa.Column("last_seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("queue_id", sa.BigInteger(), nullable=True, comment="the entry of the queue that stands for it"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="jobs_pkey"),
    )
    op.create_index("jobs_created_at_idx", "jobs", ["created_at", "id"], unique=False)
    op.create_index(
        "jobs_unfinished_idx", "jobs", ["id"], unique=False, postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')")
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False, comment="1, 2, 3 ... without gaps"),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="job_events_job_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name="job_events_pkey"),
    )
    op.create_table(
        "job_groups",
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="job_groups_job_id_fkey", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["owner_id"], ["groups.owner_id"], name="job_groups_owner_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", name="job_groups_pkey"),
        comment="which unfinished job collects a community: one at a time",
    )
    op.create_index("job_groups_job_id_idx", "job_groups", ["job_id"], unique=False)


def downgrade() -> None:
    op.drop_table("job_groups")
    op.drop_table("job_events")
    op.drop_table("jobs")
