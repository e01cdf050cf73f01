"""Number collections, so that no clock decides what one has seen; hold counts of VK that need more than 32 bits."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

# one ALTER TABLE for each table: each rewrites the table once
COUNTS = {
    "groups": ("members_count",),
    "posts": ("like_count", "repost_count", "view_count", "comment_count", "collected_count"),
    "comments": ("like_count", "thread_read_count"),
    "comment_hours": ("likes",),
    "author_months": ("likes",),
    "post_stats": ("likes",),
}


def upgrade() -> None:
    # 0 is the number of what was stored before the first collection that has one
    op.execute("CREATE SEQUENCE collection_numbers MINVALUE 0 START WITH 0")
    op.execute("SELECT nextval('collection_numbers')")
    for table in ("posts", "comments"):
        op.add_column(
            table,
            sa.Column(
                "collection_number",
                sa.BigInteger,
                nullable=False,
                server_default=sa.text("0"),
                comment="the newest collection that had begun when VK last showed this",
            ),
        )
    _set_types("bigint")
    op.alter_column(
        "posts",
        "collected_count",
        comment="comment_count when its comments were last read to the end; -1: read them again",
    )


def downgrade() -> None:
    op.alter_column("posts", "collected_count", comment="comment_count when its comments were last read to the end")
    _set_types("integer")
    for table in ("comments", "posts"):
        op.drop_column(table, "collection_number")
    op.execute("DROP SEQUENCE collection_numbers")


def _set_types(name: str) -> None:
    for table, columns in COUNTS.items():
        op.execute(f"ALTER TABLE {table} " + ", ".join(f"ALTER COLUMN {column} TYPE {name}" for column in columns))
