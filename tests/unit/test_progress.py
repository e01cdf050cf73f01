"""The smoothed rate of a job, and what clients are told of progress."""

from types import SimpleNamespace

import pytest

from app.jobs.progress import RateMeter
from app.jobs.states import FORMER, JobState
from schema.jobs import Progress


def test_the_first_rate_is_what_was_measured() -> None:
    meter = RateMeter(at=10.0, done=100)
    assert meter.update(12.0, 300) == 100.0


def test_a_rate_follows_a_change_within_seconds_but_not_at_once() -> None:
    meter = RateMeter(at=0.0, done=0)
    meter.update(1.0, 100)
    done = 100
    rates = []
    for second in range(2, 22):
        done += 10
        rates.append(meter.update(float(second), done))
    assert rates == sorted(rates, key=lambda rate: -(rate or 0))
    assert rates[0] is not None
    assert rates[0] > 80
    assert rates[-1] == pytest.approx(10, rel=0.2)


def test_no_time_no_rate() -> None:
    meter = RateMeter(at=5.0, done=0)
    assert meter.update(5.0, 10) is None


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
    progress = Progress.of(row(**values))  # type: ignore[arg-type]  # has what is read of a row
    assert (progress.eta_seconds, progress.percent) == (eta_seconds, percent)


def test_every_state_can_be_reached_and_says_what_it_is() -> None:
    assert set(FORMER) == set(JobState)
    assert len({state.phrase for state in JobState}) == len(JobState)
    assert {state for state in JobState if not state.is_final} == {JobState.QUEUED, JobState.RUNNING}
