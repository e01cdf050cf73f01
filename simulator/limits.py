"""This file keeps VK's limits for each access token: so many requests a second, so many calls of a method a day."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simulator.tokens import Token

# Source: dev.vk.com, as SevereCloud/vksdk and SevereCloud/vk-limits quote it.
GROUP_RPS: Final = 20.0
DAY_QUOTAS: Final[Mapping[str, int]] = {"newsfeed.search": 1_000, "wall.search": 1_000, "wall.get": 5_000}
_DAY_SECONDS: Final = 24 * 60 * 60


class RateLimit:
    """A sliding window for each token: a request is accepted while fewer than `rps` were within the last second.

    A rejected request does not count. `rps` may change at any time; 0 lifts the limit, and below 1 the window grows
    (0.5: one request in two seconds). VK: 3 for a user or service token, error 6 beyond it. A community's token has 20
    whatever `rps` is, unless the limit is lifted.
    """

    def __init__(self, rps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rps = rps
        self._clock = clock
        self._accepted: defaultdict[int, deque[float]] = defaultdict(deque)

    def allows(self, token: Token) -> bool:
        """Whether one more request of this token is accepted now; if so it is counted."""
        if self.rps <= 0:
            return True
        rps = GROUP_RPS if token.kind == "group" else self.rps
        now, most = self._clock(), max(1, int(rps))
        accepted = self._accepted[token.number]
        while accepted and now - accepted[0] >= most / rps:
            accepted.popleft()
        if len(accepted) >= most:
            return False
        accepted.append(now)
        return True


@dataclass(slots=True)
class _Day:
    began: float
    calls: int = 0


class DayQuotas:
    """How often a token may call a method within 24 hours, counted from its first call; calls inside execute count.

    `quotas` may change at any time; a method that is not in it has none, and an empty one lifts all. VK: error 29
    beyond it. How exactly VK counts is not known: that calls inside execute do count, vk_api issues 143 and 411 tell.
    """

    def __init__(self, quotas: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.quotas = quotas
        self._clock = clock
        self._days: dict[tuple[int, str], _Day] = {}

    def allows(self, token: Token, method: str) -> bool:
        """Whether this token may call the method once more now; if so it is counted."""
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

    def told(self, token_number: int) -> dict[str, int]:
        """Method -> how often this token called it within its day; methods without a quota are absent."""
        return {method: day.calls for (number, method), day in self._days.items() if number == token_number}
