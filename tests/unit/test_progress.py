"""The smoothed rate of a job, and the progress that clients see."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.job_states import FORMER, JobState
from app.jobs.running_job import RateMeter
from schema.jobs import Progress


def test_the_first_rate_is_the_measured_one() -> None:
    meter = RateMeter(at=10.0, done=100)
    assert meter.update(12.0, 300) == 100.0


def test_the_first_moments_have_no_rate() -> None:
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


def test_a_stage_with_another_unit_starts_over() -> None:
    meter = RateMeter(at=0.0, done=0)
    assert meter.update(10.0, 1_000) == 100.0
    assert meter.update(11.0, 5) is None
    assert meter.update(12.0, 15) == 10.0


@given(
    rate=st.floats(0.1, 10_000),
    pauses=st.lists(st.floats(0.05, 5), min_size=60, max_size=120),
    luck=st.lists(st.floats(0.5, 1.5), min_size=120, max_size=120),
)
def test_the_rate_is_stable(rate: float, pauses: list[float], luck: list[float]) -> None:
    """However irregular the progress, the rate stays near the average, and changes little from moment to moment."""
    meter = RateMeter(at=0.0, done=0)
    now, done, last = 0.0, 0.0, None
    for pause, factor in zip(pauses, luck, strict=False):
        now, done = now + pause, done + rate * pause * factor
        rate_shown = meter.update(now, round(1_000 * done))
        if rate_shown is None:
            continue
        assert 0.4 * rate < rate_shown / 1_000 < 1.6 * rate
        if last is not None:
            assert abs(rate_shown - last) <= rate * 1_000 * (1 - math.exp(-pause / 5)) * 1.1
        last = rate_shown


def row(**values: object) -> SimpleNamespace:
    """Return the columns of a job's row that progress reads."""
    defaults = {"done": 0, "total": None, "stage": "s", "message": None, "rate_per_second": None}
    return SimpleNamespace(**{**defaults, "state": JobState.RUNNING, **values})


@pytest.mark.parametrize(
    ("values", "eta_seconds", "percent"),
    [
        ({}, None, None),
        ({"done": 5, "total": 20}, None, 25.0),
        ({"done": 5, "total": 20, "rate_per_second": 3.0}, 5.0, 25.0),
        ({"done": 25, "total": 20, "rate_per_second": 3.0}, 0.0, 100.0),
        ({"done": 0, "total": 0}, None, 100.0),
        ({"done": 5, "total": 20, "rate_per_second": 3.0, "state": JobState.QUEUED}, None, 25.0),
    ],
)
def test_progress_as_clients_see_it(
    values: dict[str, object], eta_seconds: float | None, percent: float | None
) -> None:
    progress = Progress.of(row(**values))
    assert (progress.eta_seconds, progress.percent) == (eta_seconds, percent)


def test_every_state_is_reachable_and_has_a_phrase() -> None:
    assert set(FORMER) == set(JobState)
    assert len({state.phrase for state in JobState}) == len(JobState)
    assert {state for state in JobState if not state.is_final} == {JobState.QUEUED, JobState.RUNNING}
