"""Time zones as a list of offsets from UTC, each with the moment when it begins: local time is plain arithmetic then.

So Python and PostgreSQL calculate with the same offsets, whatever versions of
the tz database they have.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(1973, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
"""Changes of offsets are known between these; before and after, a zone keeps its first and last offset.

Since 1973 all offsets and changes are whole minutes. VK began in 2006.
"""
EVER = datetime(1, 1, 1, tzinfo=UTC)
STEP = timedelta(days=3)
"""A zone keeps each offset for longer than this."""
HOUR = timedelta(hours=1)


class Offsets(NamedTuple):
    """The offsets of a zone from UTC, in seconds, and the moments (UTC) when they begin; the first one is `EVER`."""

    starts: tuple[datetime, ...]
    seconds: tuple[int, ...]

    def local(self, moment: datetime) -> datetime:
        """Return the local time of a moment, without a zone."""
        return moment.replace(tzinfo=None) + timedelta(seconds=self.seconds[self._place(moment)])

    def first_moment(self, local: datetime) -> datetime:
        """Return the first moment (UTC) at which the local time is `local` or later: it may have been skipped."""
        moments = (local.replace(tzinfo=UTC) - timedelta(seconds=seconds) for seconds in self.seconds)
        ends = (*self.starts[1:], None)
        for moment, start, end in zip(moments, self.starts, ends, strict=True):
            if end is None or moment < end:
                return max(moment, start)
        raise AssertionError("the last offset has no end")

    def next_hour(self, moment: datetime) -> datetime:
        """Return the moment (UTC) when the local hour ends, either by itself or as the offset changes."""
        place, local = self._place(moment), self.local(moment)
        end = moment + HOUR - (local - local.replace(minute=0, second=0, microsecond=0))
        return min(end, self.starts[place + 1]) if place + 1 < len(self.starts) else end

    def are_whole_hours(self, since: datetime) -> bool:
        """Tell whether offsets are whole hours since then, and change at whole hours: local hours are those of UTC."""
        first = self._place(since)
        has_parts = any(seconds % 3600 for seconds in self.seconds[first:])
        return not has_parts and not any(start.minute for start in self.starts[first + 1 :])

    def _place(self, moment: datetime) -> int:
        return bisect_right(self.starts, moment) - 1


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones, such as `Europe/Moscow`."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


@cache
def offsets_of(name: str) -> Offsets:
    """Return the offsets of the time zone of this name, one of `zone_names`."""
    zone = ZoneInfo(name)
    found = [(EVER, _offset(FIRST, zone))]
    moment = FIRST
    while moment < LAST:
        following = moment + STEP
        if _offset(following, zone) != found[-1][1]:
            change = _change(moment, following, zone)
            found.append((change, _offset(change, zone)))
        moment = following
    return Offsets(tuple(start for start, _ in found), tuple(seconds for _, seconds in found))


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the only moment between two at which the offset of a zone changes."""
    first, last, former = int(before.timestamp()), int(after.timestamp()), _offset(before, zone)
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(datetime.fromtimestamp(middle, UTC), zone) == former:
            first = middle
        else:
            last = middle
    return datetime.fromtimestamp(last, UTC)


def _offset(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo has one for each moment
    return int(offset.total_seconds())
