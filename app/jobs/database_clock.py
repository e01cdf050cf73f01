"""Detects that PostgreSQL's clock was set back, by comparing it with the monotonic clock of this process."""

from dataclasses import dataclass
from datetime import datetime, timedelta

TOLERANCE = timedelta(seconds=1)
"""Smaller steps back are ignored: they lengthen waits only slightly, and the two clocks are not read simultaneously."""


@dataclass(slots=True)
class DatabaseClock:
    """The last reading of PostgreSQL's clock (None before the first), and of the monotonic clock (seconds) then."""

    shown: datetime | None = None
    at: float = 0.0

    def was_set_back(self, now: datetime, at: float) -> bool:
        """Return whether PostgreSQL's clock shows an earlier `now` than the monotonic clock implies.

        Return True before the first reading, too: the clock may have been set back while no worker ran.
        """
        return self.shown is None or now + TOLERANCE < self.shown + timedelta(seconds=at - self.at)

    def note(self, now: datetime, at: float) -> None:
        """Store a reading for the next comparison."""
        self.shown, self.at = now, at
