"""Notices when PostgreSQL's clock was set back, by comparing it with the monotonic clock of this process."""

from dataclasses import dataclass
from datetime import datetime, timedelta

TOLERANCE = timedelta(seconds=1)
"""Waits that get longer by less do no harm, and reading the two clocks takes a moment."""


@dataclass(slots=True)
class DatabaseClock:
    """What PostgreSQL's clock showed last, and what the monotonic clock (seconds) showed then; None before that."""

    shown: datetime | None = None
    at: float = 0.0

    def was_set_back(self, now: datetime, at: float) -> bool:
        """Whether the clock shows `now` earlier than it should by the monotonic clock.

        True before the first reading as well: it may have been set back while no worker ran.
        """
        return self.shown is None or now + TOLERANCE < self.shown + timedelta(seconds=at - self.at)

    def note(self, now: datetime, at: float) -> None:
        """Keep a reading for the next comparison."""
        self.shown, self.at = now, at
