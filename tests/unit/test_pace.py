import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from app.errors import ErrorCode
from app.vk.pace import MARGIN, AllAside, Pace, fingerprint
from app.vk.wire import VkRateLimited, VkTokenRejected


@dataclass
class Slots:
    """Hands out what it was told to, and notes what it was asked."""

    answers: list[tuple[str, float] | AllAside]
    asked: list[tuple[list[str], float]] = field(default_factory=list)
    blocked: list[tuple[str, str, float | None]] = field(default_factory=list)

    async def reserve(self, fingerprints: Sequence[str], interval_seconds: float) -> tuple[str, float] | AllAside:
        """Note what is asked for and give the next answer."""
        self.asked.append((list(fingerprints), interval_seconds))
        return self.answers.pop(0)

    async def block(self, name: str, reason: str, seconds: float | None) -> None:
        """Note it."""
        self.blocked.append((name, reason, seconds))

    def pace(self, *tokens: str) -> Pace:
        """Return a pace of three requests a second."""
        return Pace([SecretStr(token) for token in tokens], 3.0, self.reserve, self.block)


def test_a_fingerprint_does_not_show_the_token() -> None:
    assert fingerprint("token") == "3c469e9d6c5875d3"
    assert fingerprint("token") != fingerprint("token2")


async def test_a_turn_gives_the_token_of_the_slot() -> None:
    slots = Slots([(fingerprint("two"), 0.0), (fingerprint("one"), 0.0)])
    pace = slots.pace("one", "two")
    assert [(await pace.turn()).get_secret_value(), (await pace.turn()).get_secret_value()] == ["two", "one"]
    assert slots.asked == [([fingerprint("one"), fingerprint("two")], MARGIN / 3)] * 2


async def test_a_turn_waits_for_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await Slots([(fingerprint("one"), 1.5)]).pace("one").turn()
    assert waits == [1.5]


async def test_no_token_is_configured() -> None:
    slots = Slots([])
    with pytest.raises(VkTokenRejected, match="Set VK_TOKENS"):
        await slots.pace().turn()
    assert slots.asked == []


async def test_all_tokens_are_put_aside_for_good() -> None:
    pace = Slots([AllAside("VK: User authorization failed (error 5)", None)]).pace("one")
    with pytest.raises(VkTokenRejected) as caught:
        await pace.turn()
    assert caught.value.message == ("VK refuses every configured token. VK: User authorization failed (error 5)")
    assert caught.value.vk_code is None


@pytest.mark.parametrize("seconds", [0.0, 1800.0])
async def test_all_tokens_are_put_aside_for_some_time(seconds: float) -> None:
    pace = Slots([AllAside("VK: Flood control (error 9)", seconds)]).pace("one")
    with pytest.raises(VkRateLimited) as caught:
        await pace.turn()
    assert caught.value.code is ErrorCode.VK_RATE_LIMITED
    assert caught.value.retry_after_seconds == seconds
    assert f"another {seconds:.0f} s" in caught.value.message


async def test_putting_aside_names_the_fingerprint() -> None:
    slots = Slots([])
    pace = slots.pace("one")
    await pace.put_aside(SecretStr("one"), "captcha", 60)
    await pace.put_aside(SecretStr("one"), "revoked", None)
    assert slots.blocked == [(fingerprint("one"), "captcha", 60), (fingerprint("one"), "revoked", None)]
