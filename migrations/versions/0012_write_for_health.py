"""Add the rows that the health check writes."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

SLOTS = 16


def upgrade() -> None:
    table = op.create_table(
        "health_writes",
        sa.Column("slot", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.bulk_insert(table, [{"slot": slot} for slot in range(SLOTS)])
    op.alter_column("workers", "name", comment="host, process id and a random part")


def downgrade() -> None:
    op.alter_column("workers", "name", comment="host and process id")
    op.drop_table("health_writes")
