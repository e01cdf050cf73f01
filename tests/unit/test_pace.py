import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from app.errors import ErrorCode
from app.vk.pace import MARGIN, AllBlocked, Pace, Slot, TokenKind, fingerprint
from app.vk.wire import VkExecuteRefused, VkRateLimited, VkTokenRejected


@dataclass
class ScriptedSlots:
    """Returns scripted slots, and records its calls."""

    answers: list[Slot | AllBlocked | None]
    reservations: list[tuple[list[str], float, int, bool]] = field(default_factory=list)
    aside: list[tuple[str, str, int | None, float | None]] = field(default_factory=list)
    kinds: list[tuple[str, TokenKind]] = field(default_factory=list)

    async def reserve(
        self, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
    ) -> Slot | AllBlocked | None:
        """Record the arguments and return the next result."""
        self.reservations.append((list(fingerprints), interval_seconds, calls, executes))
        return self.answers.pop(0)

    async def block(self, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None) -> None:
        """Record it."""
        self.aside.append((fingerprint, reason, vk_code, seconds))

    async def note_kind(self, fingerprint: str, kind: TokenKind) -> None:
        """Record it."""
        self.kinds.append((fingerprint, kind))

    def pace(self, *tokens: str) -> Pace:
        """Return a pace of three requests per second."""
        return Pace([SecretStr(token) for token in tokens], 3.0, self)


def name_of(token: str) -> str:
    return fingerprint(SecretStr(token))


def test_a_fingerprint_does_not_show_the_token() -> None:
    assert name_of("token") == "3c469e9d6c5875d3"
    assert name_of("token") != name_of("token2")


async def test_a_slot_has_a_token() -> None:
    slots = ScriptedSlots([Slot(name_of("two"), 0.0), Slot(name_of("one"), 0.0)])
    pace = slots.pace("one", "two")
    turns = [await pace.wait_for_slot(), await pace.wait_for_slot(25, executes=True)]
    assert [token.get_secret_value() for token in turns] == ["two", "one"]
    both = [name_of("one"), name_of("two")]
    assert slots.reservations == [(both, MARGIN / 3, 1, False), (both, MARGIN / 3, 25, True)]


async def test_slots_are_slightly_further_apart_than_vk_requires() -> None:
    """A request may take longer to reach VK than the next one; the cost of the margin must stay small."""
    slots = ScriptedSlots([Slot(name_of("one"), 0.0)])
    await slots.pace("one").wait_for_slot()
    [(_, interval_seconds, _, _)] = slots.reservations
    assert 1.03 / 3 <= interval_seconds <= 1.1 / 3


async def test_a_request_waits_for_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await ScriptedSlots([Slot(name_of("one"), 1.5)]).pace("one").wait_for_slot()
    assert waits == [1.5]


async def test_no_token_is_configured() -> None:
    slots = ScriptedSlots([])
    with pytest.raises(VkTokenRejected, match="Set VK_TOKENS"):
        await slots.pace().wait_for_slot()
    assert slots.reservations == []


async def test_all_tokens_are_blocked_permanently() -> None:
    pace = ScriptedSlots([AllBlocked("VK: User authorization failed (error 5)", None)]).pace("one")
    with pytest.raises(VkTokenRejected) as caught:
        await pace.wait_for_slot()
    assert caught.value.message == ("VK refuses every configured token. VK: User authorization failed (error 5)")
    assert caught.value.vk_code is None


@pytest.mark.parametrize("seconds", [0.0, 1800.0])
async def test_all_tokens_are_in_their_cooldown(seconds: float) -> None:
    pace = ScriptedSlots([AllBlocked("VK: Flood control (error 9)", seconds)]).pace("one")
    with pytest.raises(VkRateLimited) as caught:
        await pace.wait_for_slot()
    assert caught.value.code is ErrorCode.VK_RATE_LIMITED
    assert caught.value.retry_after_seconds == seconds
    assert f"another {seconds:.0f} s" in caught.value.message


@pytest.mark.parametrize("code", [14, 17])
async def test_all_tokens_wait_for_a_person(code: int) -> None:
    pace = ScriptedSlots([AllBlocked("VK: Captcha needed (error 14)", 1800.0, code)]).pace("one")
    with pytest.raises(VkTokenRejected, match=r"another 1800 s\. VK: Captcha needed"):
        await pace.wait_for_slot()


async def test_no_token_may_execute() -> None:
    with pytest.raises(VkExecuteRefused) as caught:
        await ScriptedSlots([None]).pace("one").wait_for_slot(2, executes=True)
    assert caught.value.vk_code is None


async def test_a_kind_is_recorded_once() -> None:
    slots = ScriptedSlots([])
    pace = slots.pace("one")
    for kind in (TokenKind.USER, TokenKind.USER, TokenKind.GROUP):
        await pace.note_kind(SecretStr("one"), kind)
    assert slots.kinds == [(name_of("one"), TokenKind.USER), (name_of("one"), TokenKind.GROUP)]


async def test_blocking_uses_the_fingerprint() -> None:
    slots = ScriptedSlots([])
    pace = slots.pace("one")
    await pace.block(SecretStr("one"), VkTokenRejected("captcha", 14), 60)
    await pace.block(SecretStr("one"), VkTokenRejected("revoked", 5), None)
    assert slots.aside == [(name_of("one"), "captcha", 14, 60), (name_of("one"), "revoked", 5, None)]
