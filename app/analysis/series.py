"""Series of counts over time: fills in the steps without counts, so that a chart shows them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar
from zoneinfo import ZoneInfo

from app.time_zones import Offsets, offsets_of

T = TypeVar("T")

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def filled(points: Mapping[datetime, T], step: str, zone: ZoneInfo) -> Iterator[tuple[datetime, T | None]]:
    """Yield each step from the first point to the last: the instant (UTC) at which it begins, and its point or None.

    `step` is hour, day, week or month. The keys of `points` are local times without
    a zone; for hours UTC, because a local hour repeats when clocks are set back.
    The instants ascend. Days that a zone has skipped are absent.
    """
    offsets = offsets_of(zone.key)
    if step == "hour":
        yield from ((start, points.get(start.replace(tzinfo=None))) for start in _hours(sorted(points), offsets))
        return
    for label in _labels(sorted(points), step):
        start = offsets.first_moment(label)
        if _label_of(offsets.local(start), step) == label:
            yield start, points.get(label)


def count_steps(points: Iterable[datetime], step: str) -> int:
    """Return the approximate number of steps from the first point to the last; a month counts as 30 days."""
    moments = list(points)
    if not moments:
        return 0
    return (max(moments) - min(moments)) // STEPS.get(step, timedelta(days=30)) + 1


def _hours(points: Sequence[datetime], offsets: Offsets) -> Iterator[datetime]:
    moments = [point.replace(tzinfo=UTC) for point in points]
    for moment, following in pairwise(moments):
        start = moment
        while start < following:
            yield start
            start = offsets.next_hour(start)
    yield from moments[-1:]


def _labels(points: Sequence[datetime], step: str) -> Iterator[datetime]:
    if points:
        label = points[0]
        while label <= points[-1]:
            yield label
            label = label + STEPS[step] if step in STEPS else (label + timedelta(days=32)).replace(day=1)


def _label_of(local: datetime, step: str) -> datetime:
    """Return the local time at which the step of a local time begins."""
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if step == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == "month" else day
