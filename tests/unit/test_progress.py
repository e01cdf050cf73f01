"""The smoothed rate of a job, and what clients are told of progress."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.running_job import RateMeter
from app.jobs.states import FORMER, JobState
from schema.jobs import Progress


def test_the_first_rate_is_what_was_measured() -> None:
    meter = RateMeter(at=10.0, done=100)
    assert meter.update(12.0, 300) == 100.0


def test_the_first_moments_say_nothing() -> None:
    meter = RateMeter(at=0.0, done=0)
    assert meter.update(0.01, 500) is None
    assert meter.update(0.99, 500) is None
    assert meter.update(2.0, 500) == 250.0


def test_a_rate_follows_a_change_within_seconds_but_not_at_once() -> None:
    meter = RateMeter(at=0.0, done=0)
    meter.update(1.0, 100)
    done = 100
    rates = []
    for second in range(2, 42):
        done += 10
        rates.append(meter.update(float(second), done))
    assert rates == sorted(rates, key=lambda rate: -(rate or 0))
    assert rates[0] is not None
    assert rates[0] > 80
    assert rates[-1] == pytest.approx(10, rel=0.5)


def test_no_time_no_rate() -> None:
    meter = RateMeter(at=5.0, done=0)
    assert meter.update(5.0, 10) is None
    assert meter.update(7.0, 10) == 5.0
    assert meter.update(7.0, 10) == 5.0


def test_what_counts_other_units_begins_anew() -> None:
    meter = RateMeter(at=0.0, done=0)
    assert meter.update(10.0, 1_000) == 100.0
    assert meter.update(11.0, 5) is None
    assert meter.update(12.0, 15) == 10.0


@given(
    rate=st.floats(0.1, 10_000),
    pauses=st.lists(st.floats(0.05, 5), min_size=60, max_size=120),
    luck=st.lists(st.floats(0.5, 1.5), min_size=120, max_size=120),
)
def test_the_time_left_is_believable(rate: float, pauses: list[float], luck: list[float]) -> None:
    """However unevenly a job goes about its pace, the rate stays near it, and from one moment to the next as well."""
    meter = RateMeter(at=0.0, done=0)
    now, done, last = 0.0, 0.0, None
    for pause, factor in zip(pauses, luck, strict=False):
        now, done = now + pause, done + rate * pause * factor
        told = meter.update(now, round(1_000 * done))
        if told is None:
            continue
        assert 0.4 * rate < told / 1_000 < 1.6 * rate
        if last is not None:
            assert abs(told - last) <= rate * 1_000 * (1 - math.exp(-pause / 5)) * 1.1
        last = told


def row(**values: object) -> SimpleNamespace:
    """Return a job's row as far as progress reads it."""
    defaults = {"done": 0, "total": None, "stage": "s", "message": None, "rate_per_second": None, "state": "RUNNING"}
    return SimpleNamespace(**{**defaults, **values})


@pytest.mark.parametrize(
    ("values", "eta_seconds", "percent"),
    [
        ({}, None, None),
        ({"done": 5, "total": 20}, None, 25.0),
        ({"done": 5, "total": 20, "rate_per_second": 3.0}, 5.0, 25.0),
        ({"done": 25, "total": 20, "rate_per_second": 3.0}, 0.0, 100.0),
        ({"done": 0, "total": 0}, None, 100.0),
        ({"done": 5, "total": 20, "rate_per_second": 3.0, "state": "QUEUED"}, None, 25.0),
    ],
)
def test_progress_as_clients_see_it(
    values: dict[str, object], eta_seconds: float | None, percent: float | None
) -> None:
    progress = Progress.of(row(**values))
    assert (progress.eta_seconds, progress.percent) == (eta_seconds, percent)


def test_every_state_can_be_reached_and_says_what_it_is() -> None:
    assert set(FORMER) == set(JobState)
    assert len({state.phrase for state in JobState}) == len(JobState)
    assert {state for state in JobState if not state.is_final} == {JobState.QUEUED, JobState.RUNNING}
