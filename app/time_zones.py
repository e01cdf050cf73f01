"""Time zones as lists of offsets from UTC, each with the time at which it begins, so that local time is arithmetic.

So Python and PostgreSQL use the same offsets, whatever versions of the tz database
they have.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(1973, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
"""Changes of offsets are listed between these times; before and after, a zone keeps its first and last offset.

Since 1973 all offsets and changes are at whole minutes. VK was founded in 2006.
"""
EVER = datetime(1, 1, 1, tzinfo=UTC)
STEP = timedelta(days=3)
"""A zone keeps each offset for longer than this."""
HOUR = timedelta(hours=1)


class Offsets(NamedTuple):
    """The offsets of a zone from UTC, in seconds, and the times (UTC) at which they begin; the first is `EVER`."""

    starts: tuple[datetime, ...]
    seconds: tuple[int, ...]

    def local(self, moment: datetime) -> datetime:
        """Return the local time of a time in UTC, without a zone."""
        return moment.replace(tzinfo=None) + timedelta(seconds=self.seconds[self._index(moment)])

    def first_moment(self, local: datetime) -> datetime:
        """Return the first time (UTC) at which the local time is `local`, or later if that was skipped."""
        moments = (local.replace(tzinfo=UTC) - timedelta(seconds=seconds) for seconds in self.seconds)
        ends = (*self.starts[1:], None)
        for moment, start, end in zip(moments, self.starts, ends, strict=True):
            if end is None or moment < end:
                return max(moment, start)
        raise AssertionError("the last offset has no end")

    def next_hour(self, moment: datetime) -> datetime:
        """Return the time (UTC) at which the local hour ends, or at which the offset changes before that."""
        index, local = self._index(moment), self.local(moment)
        end = moment + HOUR - (local - local.replace(minute=0, second=0, microsecond=0))
        return min(end, self.starts[index + 1]) if index + 1 < len(self.starts) else end

    def are_whole_hours(self, since: datetime) -> bool:
        """Return whether local hours since then coincide with UTC hours: all offsets and changes are at whole hours."""
        first = self._index(since)
        has_partial_hours = any(seconds % 3600 for seconds in self.seconds[first:])
        return not has_partial_hours and not any(start.minute for start in self.starts[first + 1 :])

    def _index(self, moment: datetime) -> int:
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
    """Return the time at which the offset of a zone changes; exactly one change is between the two times."""
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
    assert offset is not None  # noqa: S101 - a ZoneInfo has an offset for every time
    return int(offset.total_seconds())
