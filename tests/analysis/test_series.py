from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.analysis.series import count_steps, filled


def local(*parts: int) -> datetime:
    """Return a time without a zone."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


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
    assert found == [("13:30", 1), ("14:30", None), ("15:30", None), ("16:00", 2)]


def test_nothing() -> None:
    assert list(filled({}, "day", ZoneInfo("UTC"))) == []
    assert count_steps([], "day") == 0
