from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis.series import count_steps, filled
from app.time_zones import offsets_of, zone_names


def local(*parts: int) -> datetime:
    """Return a time without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - local times have no time zone


@pytest.mark.parametrize(
    ("step", "first", "last", "starts"),
    [
        ("hour", (2026, 3, 1, 22), (2026, 3, 2, 0), ["2026-03-01T22", "2026-03-01T23", "2026-03-02T00"]),
        # the clocks go forward on the 29th: that day has 23 hours
        ("day", (2026, 3, 28), (2026, 3, 31), ["2026-03-27T23", "2026-03-28T23", "2026-03-29T22", "2026-03-30T22"]),
        ("week", (2026, 3, 23), (2026, 3, 30), ["2026-03-22T23", "2026-03-29T22"]),
        ("month", (2026, 1, 1), (2026, 4, 1), ["2025-12-31T23", "2026-01-31T23", "2026-02-28T23", "2026-03-31T22"]),
    ],
)  # fmt: skip
def test_steps(step: str, first: tuple[int, ...], last: tuple[int, ...], starts: list[str]) -> None:
    points = {local(*first): "first", local(*last): "last"}
    found = list(filled(points, step, ZoneInfo("Europe/Berlin")))
    assert [start.isoformat()[:13] for start, _ in found] == starts
    assert all(start.tzinfo is UTC for start, _ in found)
    assert [point for _, point in found] == ["first", *[None] * (len(starts) - 2), "last"]
    assert count_steps(points, step) == len(starts)


def test_hours_of_a_zone_that_moved_by_half_an_hour() -> None:
    points = {local(2018, 5, 4, 13, 30): 1, local(2018, 5, 4, 16): 2}
    found = [(f"{start:%H:%M}", point) for start, point in filled(points, "hour", ZoneInfo("Asia/Pyongyang"))]
    # 23:00 has half an hour, then it is 00:00
    assert found == [("13:30", 1), ("14:30", None), ("15:00", None), ("16:00", 2)]


def test_nothing() -> None:
    assert list(filled({}, "day", ZoneInfo("UTC"))) == []
    assert count_steps([], "day") == 0


def test_a_day_that_does_not_exist() -> None:
    """Samoa crossed the date line: 29 December 2011 was followed by the 31st."""
    points = {local(2011, 12, 29): 1, local(2011, 12, 31): 2}
    found = [(start.isoformat(), point) for start, point in filled(points, "day", ZoneInfo("Pacific/Apia"))]
    assert found == [("2011-12-29T10:00:00+00:00", 1), ("2011-12-30T10:00:00+00:00", 2)]


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("America/Sao_Paulo", (2017, 10, 15), "2017-10-15T03:00"),  # begins at 01:00
        ("America/Havana", (2020, 11, 1), "2020-11-01T04:00"),  # has midnight twice
        ("America/St_Johns", (2010, 11, 7), "2010-11-07T02:30"),  # is interrupted for an hour after one minute
        ("Australia/Lord_Howe", (2020, 4, 5), "2020-04-04T13:00"),
    ],
)
def test_days_begin_at_their_first_existing_moment(zone: str, day: tuple[int, ...], start: str) -> None:
    points = {local(*day) + timedelta(days=days): days for days in (-1, 1)}
    found = [(each.isoformat()[:16], point) for each, point in filled(points, "day", ZoneInfo(zone))]
    assert [point for _, point in found] == [-1, None, 1]
    assert found[1][0] == start


def label(moment: datetime, step: str, zone: ZoneInfo) -> datetime:
    """Return the point that a time belongs to."""
    if step == "hour":
        start = offsets_of(zone.key).starts
        there = moment.astimezone(zone)
        begun = moment - timedelta(minutes=there.minute, seconds=there.second, microseconds=there.microsecond)
        return max(begun, *(each for each in start if each <= moment)).replace(tzinfo=None)
    day = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if step == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == "month" else day


@st.composite
def moments(draw: st.DrawFn, zone: str, days: int) -> list[datetime]:
    """Draw times within some days, most of them near changes of the zone's offset."""
    changes = [start for start in offsets_of(zone).starts[1:] if start.year > 2000]
    anywhere = st.datetimes(datetime(2001, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the time zone
    near_a_change = bool(changes) and draw(st.booleans())
    first = draw(st.sampled_from(changes)) if near_a_change else draw(anywhere)
    spread = st.timedeltas(timedelta(days=-days), timedelta(days=days))
    near = st.timedeltas(timedelta(hours=-2), timedelta(hours=2))
    return sorted(first + each for each in draw(st.lists(spread | near, min_size=1, max_size=20)))


@settings(deadline=None)
@given(
    data=st.data(), zone=st.sampled_from(sorted(zone_names())), step=st.sampled_from(["hour", "day", "week", "month"])
)
def test_steps_ascend_cover_everything_and_hold_each_row_once(data: st.DataObject, zone: str, step: str) -> None:
    place = ZoneInfo(zone)
    rows = data.draw(moments(zone, 3 if step == "hour" else 100))
    points: dict[datetime, int] = {}
    for moment in rows:
        key = label(moment, step, place)
        points[key] = points.get(key, 0) + 1
    found = list(filled(points, step, place))
    starts = [start for start, _ in found]
    assert all(before < after for before, after in pairwise(starts))
    assert sum(point or 0 for _, point in found) == len(rows)
    assert starts[0] <= rows[0]
    assert label(starts[0], step, place) == min(points)
    assert label(starts[-1], step, place) == max(points)
    longest = {
        "hour": timedelta(hours=1),
        "day": timedelta(hours=50),
        "week": timedelta(days=9),
        "month": timedelta(days=32),
    }
    assert all(after - before <= longest[step] for before, after in pairwise(starts))
    # each step contains its start, and the moment before it is in another one
    for start in starts:
        mine, former = label(start, step, place), label(start - timedelta(microseconds=1), step, place)
        assert former < mine
