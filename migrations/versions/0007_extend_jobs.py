"""Let jobs age, be counted and be cleared; note the workers that are alive; and the schedules of communities."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "queued_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="since when it waits, or waited, for its last run",
        ),
    )
    op.execute("UPDATE jobs SET queued_at = created_at")
    op.create_index(
        "jobs_finished_at_idx", "jobs", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False, comment="host and process id"),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("kinds", postgresql.JSONB(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="workers_pkey"),
    )
    op.create_table(
        "monitorings",
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("is_enabled", sa.Boolean(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("job_id", sa.BigInteger(), nullable=True, comment="the last job that was started for it"),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True, comment="when the last job ended"),
        sa.Column("last_state", sa.Text(), nullable=True, comment="how the last job ended"),
        sa.Column("last_result", postgresql.JSONB(), nullable=True, comment="of the last job that succeeded"),
        sa.Column("last_failure", postgresql.JSONB(), nullable=True, comment="of the last job, if it failed"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["groups.owner_id"], name="monitorings_owner_id_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="monitorings_job_id_fkey", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("owner_id", name="monitorings_pkey"),
        comment="which communities are collected again and again",
    )
    op.create_index(
        "monitorings_next_run_at_idx", "monitorings", ["next_run_at"], postgresql_where=sa.text("is_enabled")
    )
    op.create_index("monitorings_job_id_idx", "monitorings", ["job_id"])


def downgrade() -> None:
    op.drop_table("monitorings")
    op.drop_table("workers")
    op.drop_index("jobs_finished_at_idx", table_name="jobs")
    op.drop_column("jobs", "queued_at")
