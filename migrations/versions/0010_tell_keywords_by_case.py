"""Tell keywords apart by case where case matters to them: `США` and `сша` may both be there then."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.drop_index("keywords_phrase_idx", table_name="keywords")
    op.create_index(
        "keywords_phrase_idx",
        "keywords",
        [sa.text("lower(phrase)"), "matching"],
        unique=True,
        postgresql_where=sa.text("matching <> 'CASE_SENSITIVE'"),
    )
    op.create_index(
        "keywords_exact_phrase_idx",
        "keywords",
        ["phrase"],
        unique=True,
        postgresql_where=sa.text("matching = 'CASE_SENSITIVE'"),
    )


def downgrade() -> None:
    op.drop_index("keywords_exact_phrase_idx", table_name="keywords")
    op.drop_index("keywords_phrase_idx", table_name="keywords")
    # of those that differ in case only, the first one stays
    op.execute("""
        DELETE FROM keywords k USING keywords first
         WHERE first.matching = k.matching AND lower(first.phrase) = lower(k.phrase) AND first.id < k.id
    """)
    op.create_index("keywords_phrase_idx", "keywords", [sa.text("lower(phrase)"), "matching"], unique=True)
