"""This file keeps VK's rate: so many requests a second for each access token."""

import time
from collections import defaultdict, deque
from collections.abc import Callable


class RateLimit:
    """A sliding window for each token: a request is accepted while fewer than `rps` were within the last second.

    A rejected request does not count. `rps` may change at any time; 0 lifts the limit, and below 1 the window grows
    (0.5: one request in two seconds). VK: 3 for a user or service token, error 6 beyond it.
    """

    def __init__(self, rps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rps = rps
        self._clock = clock
        self._accepted: defaultdict[str, deque[float]] = defaultdict(deque)

    def allows(self, token: str) -> bool:
        """Whether one more request of this token is accepted now; if so it is counted."""
        if self.rps <= 0:
            return True
        now, most = self._clock(), max(1, int(self.rps))
        accepted = self._accepted[token]
        while accepted and now - accepted[0] >= most / self.rps:
            accepted.popleft()
        if len(accepted) >= most:
            return False
        accepted.append(now)
        return True
