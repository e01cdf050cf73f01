"""Let the priority of a job rise from its first enqueue on; delete waves of communities that were removed."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column(
        "jobs",
        sa.Column(
            "enqueued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="when a client, or a monitoring, asked for it: its priority rises from then on",
        ),
    )
    op.execute("UPDATE jobs SET enqueued_at = created_at")
    op.execute("DELETE FROM waves w WHERE NOT EXISTS (SELECT FROM comment_features f WHERE f.wave_id = w.id)")


def downgrade() -> None:
    op.drop_column("jobs", "enqueued_at")
