"""VK tokens by fingerprint: the shared slots that keep each token's rate over all processes, and their health."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import tokens


@dataclass(frozen=True, slots=True)
class Slot:
    """A reserved moment: this token may be used once, `wait_seconds` from now."""

    fingerprint: str
    wait_seconds: float


async def add_tokens(connection: AsyncConnection, fingerprints: Sequence[str]) -> None:
    """Make sure that each token has its row."""
    rows = [{"fingerprint": fingerprint} for fingerprint in sorted(fingerprints)]
    await connection.execute(insert(tokens).on_conflict_do_nothing(), rows)


async def reserve_slot(
    connection: AsyncConnection, fingerprints: Sequence[str], interval_seconds: float
) -> Slot | None:
    """Reserve the earliest slot of any token that is not put aside; None when all are.

    One UPDATE, so that any number of workers on any number of machines keep
    one token's limit: each takes its turn at the row.
    """
    row = (
        await connection.execute(
            text("""
                UPDATE tokens
                   SET next_slot_at = greatest(clock_timestamp(), next_slot_at) + make_interval(secs => :interval)
                 WHERE fingerprint = (
                       SELECT fingerprint FROM tokens
                        WHERE fingerprint = ANY(CAST(:fingerprints AS text[]))
                          AND (blocked_until IS NULL OR blocked_until < clock_timestamp())
                        ORDER BY next_slot_at LIMIT 1 FOR UPDATE)
             RETURNING fingerprint,
                       extract(epoch FROM next_slot_at - clock_timestamp())::float8 - :interval AS wait_seconds
            """),
            {"fingerprints": list(fingerprints), "interval": interval_seconds},
        )
    ).first()
    return Slot(row.fingerprint, max(0.0, row.wait_seconds)) if row else None


async def block_token(connection: AsyncConnection, fingerprint: str, reason: str, seconds: float | None) -> None:
    """Put a token aside for so many seconds, or for good when None, with the reason for operators."""
    until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds) if seconds is not None else text("'infinity'")
    await connection.execute(
        tokens.update().where(tokens.c.fingerprint == fingerprint).values(blocked_until=until, blocked_reason=reason)
    )
