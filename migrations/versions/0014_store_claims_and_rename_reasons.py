"""Store the communities that a job claims in columns instead of its arguments; rename two reasons of state changes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


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


def downgrade() -> None:
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
