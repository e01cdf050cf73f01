"""Create the tables of communities, posts, authors and comments."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "authors",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False, comment="negative for a community"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("screen_name", sa.Text(), nullable=True),
        sa.Column("photo_url", sa.Text(), nullable=True),
        sa.Column("deactivated", sa.Text(), nullable=True, comment="deleted or banned, as VK says"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="authors_pkey"),
    )
    op.create_table(
        "groups",
        sa.Column(
            "owner_id", sa.BigInteger(), autoincrement=False, nullable=False, comment="negative id of the community"
        ),
        sa.Column("screen_name", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("members_count", sa.Integer(), nullable=True),
        sa.Column("is_closed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("deactivated", sa.Text(), nullable=True, comment="deleted or banned, as VK says"),
        sa.Column("photo_url", sa.Text(), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("owner_id", name="groups_pkey"),
    )
    op.create_index("groups_added_at_idx", "groups", ["added_at", "owner_id"], unique=False)
    op.create_index("groups_screen_name_idx", "groups", [sa.literal_column("lower(screen_name)")], unique=False)
    op.create_table(
        "posts",
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("from_id", sa.BigInteger(), nullable=True, comment="who wrote it: negative for a community"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("like_count", sa.Integer(), nullable=False),
        sa.Column("repost_count", sa.Integer(), nullable=False),
        sa.Column("view_count", sa.Integer(), nullable=True),
        sa.Column("comment_count", sa.Integer(), nullable=False, comment="comments and replies, as VK counts them"),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("attachments", postgresql.JSONB(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "collected_count",
            sa.Integer(),
            nullable=True,
            comment="comment_count when its comments were last read to the end",
        ),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["groups.owner_id"], name="posts_owner_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "id", name="posts_pkey"),
    )
    op.create_index("posts_owner_id_published_at_idx", "posts", ["owner_id", "published_at", "id"], unique=False)
    op.create_index("posts_published_at_idx", "posts", ["published_at", "owner_id", "id"], unique=False)
    op.create_table(
        "comments",
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("post_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "from_id", sa.BigInteger(), nullable=True, comment="negative for a community; absent on deleted stubs"
        ),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("like_count", sa.Integer(), nullable=False),
        sa.Column("attachments", postgresql.JSONB(), nullable=False),
        sa.Column("thread_id", sa.BigInteger(), nullable=True, comment="the top comment whose thread this is in"),
        sa.Column("reply_to_id", sa.BigInteger(), nullable=True, comment="the comment it answers"),
        sa.Column("is_deleted", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("viewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["owner_id", "post_id"],
            ["posts.owner_id", "posts.id"],
            name="comments_owner_id_post_id_fkey",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("owner_id", "id", name="comments_pkey"),
    )
    op.create_index(
        "comments_from_id_published_at_idx", "comments", ["from_id", "published_at", "owner_id", "id"], unique=False
    )
    op.create_index("comments_like_count_idx", "comments", ["like_count", "owner_id", "id"], unique=False)
    op.create_index(
        "comments_owner_id_post_id_published_at_idx",
        "comments",
        ["owner_id", "post_id", "published_at", "id"],
        unique=False,
    )
    op.create_index("comments_owner_id_published_at_idx", "comments", ["owner_id", "published_at", "id"], unique=False)
    op.create_index(
        "comments_owner_id_thread_id_idx",
        "comments",
        ["owner_id", "thread_id", "id"],
        unique=False,
        postgresql_where=sa.text("thread_id IS NOT NULL"),
    )
    op.create_index("comments_published_at_idx", "comments", ["published_at", "owner_id", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("comments")
    op.drop_table("authors")
    op.drop_table("posts")
    op.drop_table("groups")
