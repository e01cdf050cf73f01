"""The offsets of all time zones, compared with those of Python's own zones."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from app.time_zones import EVER, FIRST, LAST, STEP, offsets_of, zone_names

ZONES = sorted(zone_names())
MOMENTS = st.datetimes(datetime(1973, 1, 1), datetime(2039, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the time zone


def test_zone_names_are_those_of_places() -> None:
    assert {"UTC", "Europe/Moscow", "Pacific/Apia"} <= zone_names()
    assert not {"localtime", "right/UTC", "Moscow", "../etc", ""} & zone_names()
    assert zone_names() <= available_timezones()


@settings(deadline=None)
@given(name=st.sampled_from(ZONES), moment=MOMENTS)
def test_the_local_time_is_that_of_the_zone(name: str, moment: datetime) -> None:
    offsets = offsets_of(name)
    local = moment.astimezone(ZoneInfo(name)).replace(tzinfo=None)
    assert offsets.local(moment) == local
    first = offsets.first_moment(local)
    assert first <= moment
    assert first.astimezone(ZoneInfo(name)).replace(tzinfo=None) >= local
    before = (first - timedelta(microseconds=1)).astimezone(ZoneInfo(name)).replace(tzinfo=None)
    assert before < local


@settings(deadline=None)
@given(name=st.sampled_from(ZONES), moment=MOMENTS)
def test_hours_end_where_the_local_hour_or_the_offset_changes(name: str, moment: datetime) -> None:
    end = offsets_of(name).next_hour(moment)
    zone = ZoneInfo(name)
    last, following = (end - timedelta(microseconds=1)).astimezone(zone), end.astimezone(zone)
    begun = moment.astimezone(zone)
    assert timedelta(0) < end - moment <= timedelta(hours=1)
    assert (begun.replace(minute=0, second=0, microsecond=0, fold=0), begun.utcoffset()) == (
        last.replace(minute=0, second=0, microsecond=0, fold=0),
        last.utcoffset(),
    )
    assert following.utcoffset() != last.utcoffset() or following.hour != last.hour


@settings(deadline=None)
@given(name=st.sampled_from(ZONES))
def test_offsets_change_at_whole_minutes_and_not_too_often(name: str) -> None:
    offsets = offsets_of(name)
    assert offsets.starts[0] == EVER
    assert all(FIRST < start < LAST and not start.second for start in offsets.starts[1:])
    assert not any(seconds % 60 for seconds in offsets.seconds)
    assert all(after - before > STEP for before, after in pairwise(offsets.starts))


def test_whole_hours() -> None:
    since = datetime(2006, 1, 1, tzinfo=UTC)
    found = {
        name
        for name in ("UTC", "Europe/Moscow", "Asia/Kolkata", "America/Caracas")
        if offsets_of(name).are_whole_hours(since)
    }
    assert found == {"UTC", "Europe/Moscow"}
    assert offsets_of("America/Caracas").are_whole_hours(datetime(2020, 1, 1, tzinfo=UTC))


def test_times_beyond_the_known_changes() -> None:
    offsets = offsets_of("America/New_York")
    assert offsets.local(datetime(1900, 7, 1, tzinfo=UTC)).hour == 19
    assert offsets.local(datetime(2100, 7, 1, tzinfo=UTC)).hour == 19
    assert offsets.first_moment(datetime(2100, 7, 1, 19)) == datetime(2100, 7, 2, tzinfo=UTC)  # noqa: DTZ001 - a local time
    assert offsets.next_hour(datetime(2100, 7, 1, tzinfo=UTC)) == datetime(2100, 7, 1, 1, tzinfo=UTC)
