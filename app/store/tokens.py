"""VK tokens by fingerprint: the shared slots that keep each token's rate over all processes, and their health."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import tokens


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved moment: this token may be used once, `wait_seconds` from now."""

    fingerprint: str
    wait_seconds: float


async def add_tokens(connection: AsyncConnection, fingerprints: Sequence[str]) -> None:
    """Make sure that each token has its row. One that was put aside for good gets another chance.

    Whoever starts a process may just have mended what VK had refused.
    """
    await connection.execute(
        text("""
            INSERT INTO tokens AS t (fingerprint) SELECT * FROM unnest(CAST(:fingerprints AS text[]))
            ON CONFLICT (fingerprint) DO UPDATE SET blocked_until = NULL, blocked_reason = NULL
                                       WHERE t.blocked_until = 'infinity'
        """),
        {"fingerprints": sorted(fingerprints)},
    )


async def reserve_slot(
    connection: AsyncConnection, fingerprints: Sequence[str], interval_seconds: float
) -> Slot | None:
    """Reserve the earliest slot of any token that is not put aside; None when all are.

    One UPDATE, so that any number of workers on any number of machines keep
    one token's limit: each takes its turn at the rows. All rows are locked
    before the earliest is chosen: who had waited for the lock of one would take
    that one, though the others are earlier by then.
    """
    row = (
        await connection.execute(
            text("""
                WITH mine AS MATERIALIZED (
                       SELECT fingerprint, next_slot_at, blocked_until FROM tokens
                        WHERE fingerprint = ANY(CAST(:fingerprints AS text[]))
                        ORDER BY fingerprint FOR UPDATE)
                UPDATE tokens
                   SET next_slot_at = greatest(clock_timestamp(), next_slot_at) + make_interval(secs => :interval)
                 WHERE fingerprint = (
                       SELECT fingerprint FROM mine
                        WHERE blocked_until IS NULL OR blocked_until < clock_timestamp()
                        ORDER BY next_slot_at LIMIT 1)
             RETURNING fingerprint,
                       extract(epoch FROM next_slot_at - clock_timestamp())::float8 - :interval AS wait_seconds
            """),
            {"fingerprints": list(fingerprints), "interval": interval_seconds},
        )
    ).first()
    return Slot(row.fingerprint, max(0.0, row.wait_seconds)) if row else None


async def next_return(connection: AsyncConnection, fingerprints: Sequence[str]) -> tuple[str, float | None]:
    """Return why the token that returns first is put aside, and in how many seconds it returns (None: never)."""
    statement = text("""
        SELECT blocked_reason, CASE WHEN blocked_until < 'infinity' THEN
                   greatest(0, ceil(extract(epoch FROM blocked_until - clock_timestamp())))::float8 END
          FROM tokens WHERE fingerprint = ANY(CAST(:fingerprints AS text[])) ORDER BY blocked_until LIMIT 1
    """)
    reason, seconds = (await connection.execute(statement, {"fingerprints": list(fingerprints)})).one()
    return reason, seconds


async def block_token(connection: AsyncConnection, fingerprint: str, reason: str, seconds: float | None) -> None:
    """Put a token aside for so many seconds, or for good when None, with the reason for operators."""
    until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds) if seconds is not None else text("'infinity'")
    await connection.execute(
        tokens.update().where(tokens.c.fingerprint == fingerprint).values(blocked_until=until, blocked_reason=reason)
    )
