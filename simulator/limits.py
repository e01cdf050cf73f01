"""Enforces VK's limits per access token: requests per second, and calls of a method per day."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simulator.tokens import Token

# Source: dev.vk.com, as quoted by SevereCloud/vksdk and SevereCloud/vk-limits.
GROUP_RPS: Final = 20.0
DAY_QUOTAS: Final[Mapping[str, int]] = {"newsfeed.search": 1_000, "wall.search": 1_000, "wall.get": 5_000}
_DAY_SECONDS: Final = 24 * 60 * 60


class RateLimit:
    """A sliding window per token: a request is accepted while fewer than `rps` were accepted within the last second.

    A rejected request does not count. `rps` may change at any time; 0 disables the limit, and below 1 the window grows
    (0.5: one request in two seconds). VK allows 3 to a user or service token, and answers with error 6 beyond. A
    community's token has 20 whatever `rps` is, unless the limit is disabled.
    """

    def __init__(self, rps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rps = rps
        self._clock = clock
        self._accepted: defaultdict[int, deque[float]] = defaultdict(deque)

    def allows(self, token: Token) -> bool:
        """Return whether one more request of this token is accepted now; if so, count it."""
        if self.rps <= 0:
            return True
        rps = GROUP_RPS if token.kind == "group" else self.rps
        now, allowed = self._clock(), max(1, int(rps))
        accepted = self._accepted[token.number]
        while accepted and now - accepted[0] >= allowed / rps:
            accepted.popleft()
        if len(accepted) >= allowed:
            return False
        accepted.append(now)
        return True


@dataclass(slots=True)
class _Day:
    began: float
    calls: int = 0


class DayQuotas:
    """The quota of a token per method within 24 hours of its first call; calls inside execute count.

    `quotas` may change at any time; a method without an entry has no quota. Beyond a quota VK answers with error 29.
    How exactly VK counts is not known; vk_api issues 143 and 411 state that calls inside execute count.
    """

    def __init__(self, quotas: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.quotas = quotas
        self._clock = clock
        self._days: dict[tuple[int, str], _Day] = {}

    def allows(self, token: Token, method: str) -> bool:
        """Return whether this token may call the method once more now; if so, count the call."""
        if method not in self.quotas:
            return True
        now = self._clock()
        day = self._days.get((token.number, method))
        if day is None or now - day.began >= _DAY_SECONDS:
            day = self._days[token.number, method] = _Day(now)
        if day.calls >= self.quotas[method]:
            return False
        day.calls += 1
        return True

    def counts(self, token_number: int) -> dict[str, int]:
        """Return method -> the number of this token's calls on its current day; methods without a quota are absent."""
        return {method: day.calls for (number, method), day in self._days.items() if number == token_number}
