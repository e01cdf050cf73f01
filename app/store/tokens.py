"""VK tokens by fingerprint: the shared slots that keep each token's rate limit over all processes, and their health."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import tokens
from app.store.rows import TokenStateRow


@dataclass(frozen=True, slots=True)
class ReservedSlot:
    """A reserved slot: this token may be used once, `wait_seconds` from now."""

    fingerprint: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class NextUnblocked:
    """The token whose cooldown ends first: the reason, and the remaining seconds (None: never)."""

    reason: str
    seconds: float | None
    vk_code: int | None


async def add_tokens(connection: AsyncConnection, fingerprints: Sequence[str]) -> None:
    """Insert missing rows of tokens, and unblock tokens that are not in a mere cooldown.

    The operator who starts a process may have fixed what VK had refused, solved
    its captcha (14) or validation (17), or replaced the token by another kind.
    """
    await connection.execute(
        text("""
            INSERT INTO tokens AS t (fingerprint) SELECT * FROM unnest(CAST(:fingerprints AS text[]))
            ON CONFLICT (fingerprint) DO UPDATE
                    SET kind = NULL,
                        (blocked_until, blocked_reason, blocked_code) =
                        (SELECT t.blocked_until, t.blocked_reason, t.blocked_code
                          WHERE t.blocked_until < 'infinity' AND t.blocked_code NOT IN (14, 17))
        """),
        {"fingerprints": sorted(fingerprints)},
    )


async def token_states(connection: AsyncConnection, fingerprints: Sequence[str]) -> Sequence[TokenStateRow]:
    """Read the states of these tokens, in the order in which they were first seen.

    A row has fingerprint, kind (None while unknown), health (READY, COOLING_DOWN, REJECTED), reason, vk_code,
    cooldown_until, requests_today, calls_today and used_at; days are those of UTC.
    """
    statement = text("""
        SELECT fingerprint, kind, health, used_at, blocked_until AS cooldown_until,
               CASE WHEN health <> 'READY' THEN blocked_reason END AS reason,
               CASE WHEN health <> 'READY' THEN blocked_code END AS vk_code,
               CASE WHEN is_today THEN requests_today ELSE 0 END AS requests_today,
               CASE WHEN is_today THEN calls_today ELSE 0 END AS calls_today
          FROM (SELECT fingerprint, kind, used_at, first_seen_at, blocked_reason, blocked_code,
                       requests_today, calls_today,
                       coalesce(counted_on = (now() AT TIME ZONE 'UTC')::date, false) AS is_today,
                       CASE WHEN blocked_until > now() AND blocked_until < 'infinity' THEN blocked_until END
                            AS blocked_until,
                       CASE WHEN blocked_until = 'infinity' THEN 'REJECTED'
                            WHEN blocked_until > now() THEN 'COOLING_DOWN' ELSE 'READY' END AS health
                  FROM tokens WHERE fingerprint = ANY(CAST(:fingerprints AS text[]))) AS states
         ORDER BY first_seen_at, fingerprint
    """)
    return (await connection.execute(statement, {"fingerprints": list(fingerprints)})).all()


async def reserve_slot(
    connection: AsyncConnection, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
) -> ReservedSlot | None:
    """Reserve the earliest slot of any token that is not blocked; None if all are blocked.

    `calls` is the number of VK calls of the request, for the daily counts. With
    `executes`, tokens that are known not to be allowed `execute` are excluded.

    One UPDATE does all of it, so that any number of workers on any number of
    machines keep one token's limit: their updates run one after another. All rows
    are locked before the earliest slot is chosen: a worker that had waited for the
    lock of one row would choose that row, although others are earlier by then.

    If PostgreSQL's clock was set back, `used_at` is in the future: the wait is then
    the one that the slots reserved before require, `next_slot_at - used_at`.
    """
    row = (
        await connection.execute(
            text("""
                WITH mine AS MATERIALIZED (
                       SELECT fingerprint, blocked_until, kind,
                              CASE WHEN used_at > clock_timestamp() THEN clock_timestamp() + (next_slot_at - used_at)
                                   ELSE greatest(clock_timestamp(), next_slot_at) END AS slot_at
                         FROM tokens
                        WHERE fingerprint = ANY(CAST(:fingerprints AS text[]))
                        ORDER BY fingerprint FOR UPDATE)
                UPDATE tokens
                   SET next_slot_at = chosen.slot_at + make_interval(secs => :interval),
                       used_at = clock_timestamp(),
                       counted_on = (now() AT TIME ZONE 'UTC')::date,
                       requests_today = 1 + CASE WHEN counted_on = (now() AT TIME ZONE 'UTC')::date
                                                 THEN requests_today ELSE 0 END,
                       calls_today = :calls + CASE WHEN counted_on = (now() AT TIME ZONE 'UTC')::date
                                                   THEN calls_today ELSE 0 END
                  FROM (SELECT fingerprint, slot_at FROM mine
                         WHERE (blocked_until IS NULL OR blocked_until < clock_timestamp())
                           AND (NOT :executes OR kind IS NULL OR kind = 'USER')
                         ORDER BY slot_at LIMIT 1) AS chosen
                 WHERE tokens.fingerprint = chosen.fingerprint
             RETURNING tokens.fingerprint,
                       extract(epoch FROM next_slot_at - clock_timestamp())::float8 - :interval AS wait_seconds
            """),
            {
                "fingerprints": list(fingerprints),
                "interval": interval_seconds,
                "calls": calls,
                "executes": executes,
            },
        )
    ).first()
    return ReservedSlot(row.fingerprint, max(0.0, row.wait_seconds)) if row else None


async def next_unblocked(connection: AsyncConnection, fingerprints: Sequence[str]) -> NextUnblocked | None:
    """Return the blocked token whose cooldown ends first; None if any token can be used."""
    statement = text("""
        SELECT blocked_reason AS reason, blocked_code AS vk_code,
               CASE WHEN blocked_until < 'infinity' THEN
                   greatest(0, ceil(extract(epoch FROM blocked_until - clock_timestamp())))::float8 END AS seconds,
               blocked_until IS NULL OR blocked_until < clock_timestamp() AS is_free
          FROM tokens WHERE fingerprint = ANY(CAST(:fingerprints AS text[]))
         ORDER BY blocked_until NULLS FIRST LIMIT 1
    """)
    first = (await connection.execute(statement, {"fingerprints": list(fingerprints)})).one()
    return None if first.is_free else NextUnblocked(first.reason, first.seconds, first.vk_code)


async def block_token(
    connection: AsyncConnection, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None
) -> None:
    """Block a token for so many seconds, or permanently when None, with the reason for operators."""
    until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds) if seconds is not None else text("'infinity'")
    values = {"blocked_until": until, "blocked_reason": reason, "blocked_code": vk_code}
    # Replies may arrive out of order: a later one must not shorten a longer cooldown.
    is_longer = func.coalesce(tokens.c.blocked_until, func.now()) <= until
    statement = tokens.update().where(tokens.c.fingerprint == fingerprint, is_longer)
    await connection.execute(statement.values(**values))


async def write_kind(connection: AsyncConnection, fingerprint: str, kind: str) -> None:
    """Record the kind of a token."""
    await connection.execute(tokens.update().where(tokens.c.fingerprint == fingerprint).values(kind=kind))
