"""A client of the simulated VK whose pace lives in this process."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import httpx2
import pytest
from pydantic import SecretStr

from app.vk.client import VkClient
from app.vk.pace import AllAside, Pace, fingerprint

MakeClient = Callable[..., VkClient]
TOKENS = ("first-token", "second-token")


class Tokens:
    """Who may be used, in memory: the first token that is not put aside, at once."""

    def __init__(self) -> None:
        self.aside: dict[str, tuple[str, float | None]] = {}

    async def reserve(self, fingerprints: Sequence[str], _: float) -> tuple[str, float] | AllAside:
        """Return a token that is not put aside."""
        free = [name for name in fingerprints if name not in self.aside]
        return (free[0], 0.0) if free else AllAside(*next(iter(self.aside.values())))

    async def block(self, name: str, reason: str, seconds: float | None) -> None:
        """Put a token aside."""
        self.aside[name] = (reason, seconds)

    def seconds(self, token: str) -> float | None:
        """Return for how long a token is put aside."""
        return self.aside[fingerprint(token)][1]


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def make_client(tokens: Tokens) -> AsyncIterator[MakeClient]:
    """Lend a function that makes a client of the VK at an address."""
    async with AsyncExitStack() as stack:

        def make(url: str, *names: str, timeout: float = 10.0) -> VkClient:
            http = httpx2.AsyncClient(base_url=url, timeout=timeout, trust_env=False)
            stack.push_async_callback(http.aclose)
            pace = Pace([SecretStr(name) for name in names], 1000.0, tokens.reserve, tokens.block)
            return VkClient(http, "5.199", pace)

        yield make
