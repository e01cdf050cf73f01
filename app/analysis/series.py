"""Series of counts over time: the steps that nothing happened in, put in, so that a chart shows them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar
from zoneinfo import ZoneInfo

T = TypeVar("T")

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


def filled(points: Mapping[datetime, T], step: str, zone: ZoneInfo) -> Iterator[tuple[datetime, T | None]]:
    """Yield each step from the first point to the last: the instant (UTC) at which it begins, and its point or None.

    `step` is hour, day, week or month. Points are given by their local time
    without a zone; hours by UTC, as local ones are there twice when clocks go back.
    """
    for start in _steps(sorted(points), step):
        local = start.replace(tzinfo=UTC if step == "hour" else zone)
        yield local.astimezone(UTC), points.get(start)


def count_steps(points: Iterable[datetime], step: str) -> int:
    """Return about how many steps there are from the first point to the last; months count 30 days."""
    moments = list(points)
    if not moments:
        return 0
    return (max(moments) - min(moments)) // STEPS.get(step, timedelta(days=30)) + 1


def _steps(points: Sequence[datetime], step: str) -> Iterator[datetime]:
    # from point to point, as hours begin at other minutes where a zone has moved by a part of an hour
    for point, following in pairwise(points):
        moment = point
        while moment < following:
            yield moment
            moment = moment + STEPS[step] if step in STEPS else (moment + timedelta(days=32)).replace(day=1)
    yield from points[-1:]
