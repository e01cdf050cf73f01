"""Add what collections know of posts and threads, and what operators see of tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NEW = {
    "posts": [
        sa.Column("read_calls", sa.Integer(), comment="how many calls reading all its comments takes"),
        sa.Column(
            "is_deleted",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="the wall shows it no more",
        ),
    ],
    "comments": [
        sa.Column(
            "thread_read_count",
            sa.Integer(),
            comment="replies VK stated when this long thread was last read to the end",
        ),
        sa.Column("thread_read_to", sa.BigInteger(), comment="the newest reply that was read then"),
    ],
    "tokens": [
        sa.Column("blocked_code", sa.Integer(), comment="VK's error code"),
        sa.Column("kind", sa.Text(), comment="USER, SERVICE or GROUP, once that is known"),
        sa.Column("counted_on", sa.Date(), comment="the day (UTC) of the next two"),
        sa.Column("requests_today", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "calls_today",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="those inside execute count",
        ),
        sa.Column("used_at", sa.DateTime(timezone=True)),
    ],
}


def upgrade() -> None:
    for table, columns in NEW.items():
        for column in columns:
            op.add_column(table, column)
    # a collection that is asked to go on begins anew: it finds what is stored, and marks are there per post
    op.execute("""
        UPDATE jobs SET checkpoint = NULL, arguments = arguments - 'owner_ids' || jsonb_build_object(
               'wall_ids', walls.ids, 'claims', walls.ids)
          FROM (SELECT j.id, coalesce(jsonb_agg(o.owner_id) FILTER (WHERE o.owner_id IS NOT NULL
                         AND NOT jsonb_exists(j.arguments -> 'post_ids', o.owner_id #>> '{}')), '[]') AS ids
                  FROM jobs j LEFT JOIN LATERAL jsonb_array_elements(j.arguments -> 'owner_ids') AS o(owner_id) ON true
                 WHERE j.kind = 'collect_comments' GROUP BY j.id) AS walls
         WHERE walls.id = jobs.id AND jobs.arguments ? 'owner_ids'
    """)


def downgrade() -> None:
    op.execute("""
        UPDATE jobs SET checkpoint = NULL, arguments = arguments - 'wall_ids' - 'claims' || jsonb_build_object(
               'owner_ids', arguments -> 'wall_ids' || coalesce(
                   (SELECT jsonb_agg(key::bigint) FROM jsonb_object_keys(arguments -> 'post_ids') AS o(key)), '[]'))
         WHERE kind = 'collect_comments' AND arguments ? 'wall_ids'
    """)
    for table, columns in NEW.items():
        for column in columns:
            op.drop_column(table, column.name)
