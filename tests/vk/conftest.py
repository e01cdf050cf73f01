"""A client of the simulated VK whose token slots are in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import httpx2
import pytest
from pydantic import SecretStr

from app.vk.client import VkClient
from app.vk.pace import AllBlocked, Pace, Slot, TokenKind, fingerprint
from tests.timeouts import WAIT_SECONDS

MakeClient = Callable[..., VkClient]
TOKENS = ("first-token", "second-token")


class Tokens:
    """The tokens, in memory: returns the first usable token, without waiting."""

    def __init__(self) -> None:
        self.blocked: dict[str, tuple[str, int | None, float | None]] = {}
        self.kinds: dict[str, TokenKind] = {}
        self.calls: list[int] = []

    async def reserve(
        self, fingerprints: Sequence[str], interval_seconds: float, calls: int, *, executes: bool
    ) -> Slot | AllBlocked | None:
        """Return a token that is not blocked."""
        del interval_seconds
        free = [name for name in fingerprints if name not in self.blocked]
        if not free:
            reason, vk_code, seconds = next(iter(self.blocked.values()))
            return AllBlocked(reason, seconds, vk_code)
        able = [name for name in free if not executes or self.kinds.get(name, TokenKind.USER) is TokenKind.USER]
        if not able:
            return None
        self.calls.append(calls)
        return Slot(able[0], 0.0)

    async def block(self, fingerprint: str, reason: str, vk_code: int | None, seconds: float | None) -> None:
        """Block a token."""
        self.blocked[fingerprint] = (reason, vk_code, seconds)

    async def note_kind(self, fingerprint: str, kind: TokenKind) -> None:
        """Record a token's kind."""
        self.kinds[fingerprint] = kind

    def seconds(self, token: str) -> float | None:
        """Return for how many seconds a token is blocked."""
        return self.blocked[fingerprint(SecretStr(token))][2]

    def kind(self, token: str) -> TokenKind | None:
        """Return the known kind of a token."""
        return self.kinds.get(fingerprint(SecretStr(token)))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def make_client(tokens: Tokens) -> AsyncIterator[MakeClient]:
    """Yield a function that makes a client of the VK at a URL."""
    async with AsyncExitStack() as stack:

        def make(url: str, *names: str, timeout: float = WAIT_SECONDS) -> VkClient:
            http = httpx2.AsyncClient(base_url=url, timeout=WAIT_SECONDS, trust_env=False)
            stack.push_async_callback(http.aclose)
            pace = Pace([SecretStr(name) for name in names], 1000.0, tokens)
            return VkClient(http, "5.199", pace, timeout)

        yield make
