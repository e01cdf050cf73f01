import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from app.db.tables import tokens as table
from app.resources import Resources
from app.store.rows import TokenStateRow
from app.store.tokens import (
    NextUnblocked,
    ReservedSlot,
    add_tokens,
    block_token,
    next_unblocked,
    reserve_slot,
    token_states,
    write_kind,
)
from tests.store.rows import read

A, B = "aaaa", "bbbb"
INTERVAL_SECONDS = 60.0
"""Long enough that the duration of a test does not matter."""


@pytest.fixture
async def tokens(resources: Resources) -> Resources:
    async with resources.database.transaction() as connection:
        await add_tokens(connection, [B, A])
    return resources


async def reserve(resources: Resources, *names: str, calls: int = 1, executes: bool = False) -> ReservedSlot | None:
    """Reserve a slot on a separate connection and in a separate transaction, as each worker does."""
    async with resources.database.transaction() as connection:
        return await reserve_slot(connection, names, INTERVAL_SECONDS, calls, executes=executes)


async def block(resources: Resources, name: str, seconds: float | None) -> None:
    async with resources.database.transaction() as connection:
        await block_token(connection, name, f"VK refuses {name}", 9, seconds)


async def end_cooldown(resources: Resources, name: str) -> None:
    """Let a token's cooldown end."""
    async with resources.database.transaction() as connection:
        rested = table.update().where(table.c.fingerprint == name)
        await connection.execute(rested.values(blocked_until=datetime.now(UTC) - timedelta(seconds=1)))


async def returning(resources: Resources, *names: str) -> NextUnblocked | None:
    async with resources.database.connect() as connection:
        return await next_unblocked(connection, names)


async def test_ten_workers_keep_the_interval_of_a_token(tokens: Resources) -> None:
    slots = await asyncio.gather(*(reserve(tokens, A) for _ in range(10)))
    waits = sorted(slot.wait_seconds for slot in slots if slot)
    assert waits == pytest.approx([INTERVAL_SECONDS * number for number in range(10)], abs=10)
    row = (await read(tokens, table))[(A,)]
    assert (row["next_slot_at"] - datetime.now(UTC)).total_seconds() == pytest.approx(600, abs=10)


async def test_slots_are_an_interval_apart(tokens: Resources) -> None:
    moments = []
    for _ in range(5):
        await reserve(tokens, A)
        moments.append((await read(tokens, table))[(A,)]["next_slot_at"])
    steps = [(later - sooner).total_seconds() for sooner, later in pairwise(moments)]
    assert steps == [INTERVAL_SECONDS] * 4


async def test_two_tokens_in_parallel(tokens: Resources) -> None:
    slots = await asyncio.gather(*(reserve(tokens, A, B) for _ in range(10)))
    assert Counter(slot.fingerprint for slot in slots if slot) == {A: 5, B: 5}
    waits = sorted(slot.wait_seconds for slot in slots if slot)
    assert waits == pytest.approx([INTERVAL_SECONDS * (number // 2) for number in range(10)], abs=10)


async def test_the_first_slot_is_now(tokens: Resources) -> None:
    slot = await reserve(tokens, A)
    assert slot
    assert slot.wait_seconds == pytest.approx(0, abs=0.1)


async def test_a_token_in_its_cooldown_is_skipped(tokens: Resources) -> None:
    await block(tokens, A, 3600)
    slots = [await reserve(tokens, A, B) for _ in range(3)]
    assert [slot.fingerprint for slot in slots if slot] == [B, B, B]
    await end_cooldown(tokens, A)
    slot = await reserve(tokens, A, B)
    assert slot
    assert slot.fingerprint == A


async def test_all_tokens_are_in_their_cooldown(tokens: Resources) -> None:
    await block(tokens, A, None)
    await block(tokens, B, 3600)
    assert await reserve(tokens, A, B) is None
    assert await returning(tokens, A, B) == NextUnblocked("VK refuses bbbb", 3600, 9)
    assert await returning(tokens, A) == NextUnblocked("VK refuses aaaa", None, 9)
    await end_cooldown(tokens, B)
    assert await returning(tokens, A, B) is None


async def test_a_token_that_may_not_execute(tokens: Resources) -> None:
    async with tokens.database.transaction() as connection:
        await write_kind(connection, A, "SERVICE")
    slots = [await reserve(tokens, A, B, executes=True) for _ in range(2)]
    assert [slot.fingerprint for slot in slots if slot] == [B, B]
    assert await reserve(tokens, A, executes=True) is None
    assert await returning(tokens, A) is None  # it can be used for single calls
    slot = await reserve(tokens, A)
    assert slot
    assert slot.fingerprint == A


async def test_requests_of_the_day_are_counted(tokens: Resources) -> None:
    await reserve(tokens, A, calls=25)
    await reserve(tokens, A)
    first, second = await states(tokens)
    assert (first.requests_today, first.calls_today) == (2, 26)
    assert first.used_at
    assert (second.requests_today, second.calls_today, second.used_at) == (0, 0, None)
    async with tokens.database.transaction() as connection:
        await connection.execute(table.update().values(counted_on=date(2026, 1, 1)))
    first, _ = await states(tokens)
    assert (first.requests_today, first.calls_today) == (0, 0)
    await reserve(tokens, A, calls=3)
    first, _ = await states(tokens)
    assert (first.requests_today, first.calls_today) == (1, 3)


async def states(resources: Resources) -> Sequence[TokenStateRow]:
    async with resources.database.connect() as connection:
        return await token_states(connection, [A, B, "cccc"])


async def test_the_health_of_tokens(tokens: Resources) -> None:
    def health(row: TokenStateRow) -> tuple[Any, ...]:
        return row.fingerprint, row.health, row.reason, row.vk_code, row.cooldown_until is not None

    assert [health(row) for row in await states(tokens)] == [
        (A, "READY", None, None, False),
        (B, "READY", None, None, False),
    ]
    await block(tokens, A, None)
    await block(tokens, B, 3600)
    assert [health(row) for row in await states(tokens)] == [
        (A, "REJECTED", "VK refuses aaaa", 9, False),
        (B, "COOLING_DOWN", "VK refuses bbbb", 9, True),
    ]
    await end_cooldown(tokens, B)
    assert health((await states(tokens))[1]) == (B, "READY", None, None, False)


async def test_a_later_answer_does_not_shorten_a_longer_cooldown(tokens: Resources) -> None:
    await block(tokens, A, None)
    await block(tokens, A, 60)
    await block(tokens, B, 3600)
    await block(tokens, B, 60)
    assert await returning(tokens, A) == NextUnblocked("VK refuses aaaa", None, 9)
    assert await returning(tokens, B) == NextUnblocked("VK refuses bbbb", 3600, 9)
    await block(tokens, B, 7200)
    assert await returning(tokens, B) == NextUnblocked("VK refuses bbbb", 7200, 9)


async def test_a_start_clears_errors_that_a_person_may_have_fixed(tokens: Resources) -> None:
    async with tokens.database.transaction() as connection:
        await block_token(connection, A, "Captcha needed", 14, 3600)
        await write_kind(connection, A, "SERVICE")
        await add_tokens(connection, [A])
    first, _ = await states(tokens)
    assert (first.health, first.kind, first.vk_code) == ("READY", None, None)


async def test_tokens_of_others_are_not_used(tokens: Resources) -> None:
    assert await reserve(tokens, "cccc") is None
    assert await reserve(tokens) is None


async def test_a_start_enables_rejected_tokens_again(tokens: Resources) -> None:
    """A token that was rejected permanently gets one; one in its cooldown does not, and the pace is kept."""
    await block(tokens, A, None)
    await block(tokens, B, 3600)
    before = await read(tokens, table)
    async with tokens.database.transaction() as connection:
        await add_tokens(connection, [A, B, "cccc"])
    after = await read(tokens, table)
    assert {after[A,][name] for name in ("blocked_until", "blocked_reason", "blocked_code")} == {None}
    assert after[A,]["next_slot_at"] == before[A,]["next_slot_at"]
    assert after[B,] == before[B,]
    assert ("cccc",) in after
