"""Find waves: comments that say nearly the same, and the numbers by which they are compared.

What texts are compared by goes with what an analysis has found in them, so it is
never that of another text. It stands apart from that, as it is written again
when a comment has been compared, and nothing is counted of it.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

FORGET_BANDS = """
CREATE FUNCTION forget_bands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM comment_bands b USING gone WHERE b.owner_id = gone.owner_id AND b.comment_id = gone.comment_id;
    RETURN NULL;
END;
$$
"""
AFTER_FEATURES = """
CREATE TRIGGER comment_features_forget_bands AFTER DELETE ON comment_features REFERENCING OLD TABLE AS gone
       FOR EACH STATEMENT EXECUTE FUNCTION forget_bands()
"""


def upgrade() -> None:
    op.create_table(
        "comment_bands",
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("comment_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bands", postgresql.ARRAY(sa.BigInteger()), nullable=False, comment="of app.analysis.duplicates"),
        sa.Column("is_compared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_in_wave", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "comment_id", name="comment_bands_pkey"),
        comment="by what comments that were analysed are compared with others, unless their texts are too short",
    )
    # only of those that others are still looked up among: the bands of a wave, however large it is, stand in wave_bands
    op.create_index(
        "comment_bands_bands_idx",
        "comment_bands",
        ["bands"],
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},  # it is read as often as it is written
        postgresql_where=sa.text("is_compared AND NOT is_in_wave"),
    )
    op.create_index(
        "comment_bands_waiting_idx",
        "comment_bands",
        ["owner_id", "comment_id"],
        postgresql_where=sa.text("NOT is_compared"),
    )
    op.create_table(
        "waves",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("comment_count", sa.Integer(), nullable=False),
        sa.Column("author_count", sa.Integer(), nullable=False),
        sa.Column("post_count", sa.Integer(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False, comment="of its first comment"),
        sa.Column("comment_id", sa.BigInteger(), nullable=False, comment="its first comment"),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="waves_pkey"),
        comment="comments that say nearly the same; numbers as of the last analysis",
    )
    op.create_index("waves_comment_count_idx", "waves", ["comment_count", "id"])
    op.create_index("waves_last_at_idx", "waves", ["last_at", "id"])
    op.create_table(
        "wave_bands",
        sa.Column("band", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wave_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("band", name="wave_bands_pkey"),
        sa.ForeignKeyConstraint(["wave_id"], ["waves.id"], name="wave_bands_wave_id_fkey", ondelete="CASCADE"),
        comment="the bands of the comments of waves: who has one of them belongs to that wave",
    )
    op.create_index("wave_bands_wave_id_idx", "wave_bands", ["wave_id"])
    key = ["published_at", "owner_id", "comment_id"]
    op.create_index(
        "comment_features_mood_idx", "comment_features", ["mood", *key], postgresql_where=sa.text("mood <> 0")
    )
    op.create_index(
        "comment_features_links_idx", "comment_features", key, postgresql_where=sa.text("links <> '{}'::text[]")
    )
    op.execute(FORGET_BANDS)
    op.execute(AFTER_FEATURES)


def downgrade() -> None:
    op.execute("DROP TRIGGER comment_features_forget_bands ON comment_features")
    op.execute("DROP FUNCTION forget_bands")
    op.drop_index("comment_features_links_idx", table_name="comment_features")
    op.drop_index("comment_features_mood_idx", table_name="comment_features")
    op.drop_table("wave_bands")
    op.drop_table("waves")
    op.drop_table("comment_bands")
    # all is to be compared anew, should somebody go up again
    op.execute("DELETE FROM comment_features")
