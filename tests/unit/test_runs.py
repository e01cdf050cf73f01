"""The consequences of a run's failure."""

from types import SimpleNamespace

import pytest

from app.errors import JobTimedOut, QueryTimedOut, ServiceUnavailable
from app.job_states import JobState
from app.jobs.runs import End, end_of_failure
from app.vk.client import CircuitOpen
from app.vk.wire import VkAccessDenied, VkRateLimited, VkUnavailable


def ended(error: BaseException, attempts: int = 1, epoch: int = 1) -> End:
    """Return the end that follows from an error in this attempt of five."""
    row = SimpleNamespace(attempts=attempts, max_attempts=5, epoch=epoch)
    return end_of_failure(error, row)


def test_backoffs_grow_and_have_jitter() -> None:
    for attempt, longest in ((1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0)):
        end = ended(VkUnavailable("away"), attempt)
        assert end.state is JobState.QUEUED
        assert longest / 2 <= end.retry_after_seconds <= longest
    assert len({ended(VkUnavailable("away"), 4).retry_after_seconds for _ in range(10)}) > 1


def test_a_failure_with_a_retry_time_is_retried_at_that_time() -> None:
    assert ended(VkRateLimited("flood", 9)).retry_after_seconds == 60.0
    assert ended(CircuitOpen(15.0)).retry_after_seconds == 15.0
    assert ended(ServiceUnavailable("Something", 30.0)).retry_after_seconds == 30.0


def test_a_failure_that_lasts_an_hour_is_not_retried() -> None:
    """The worker has other jobs, and the client that started this one should know."""
    assert ended(VkRateLimited("quota", 29)).state is JobState.FAILED


def test_a_statement_that_took_too_long_may_have_waited_for_another() -> None:
    end = ended(QueryTimedOut())
    assert (end.state, end.counts) == (JobState.QUEUED, True)


def test_an_outage_of_postgresql_does_not_count() -> None:
    end = ended(ServiceUnavailable("PostgreSQL"), attempts=5)
    assert (end.state, end.counts) == (JobState.QUEUED, False)


def test_for_a_job_with_many_runs_every_failure_counts() -> None:
    """It may be the job that crashes PostgreSQL."""
    assert ended(ServiceUnavailable("PostgreSQL"), attempts=4, epoch=100).counts
    assert ended(ServiceUnavailable("PostgreSQL"), attempts=5, epoch=100).state is JobState.FAILED


@pytest.mark.parametrize("error", [VkAccessDenied("closed", 15), JobTimedOut(1.0), VkUnavailable("away")], ids=str)
def test_no_further_attempt(error: Exception) -> None:
    end = ended(error, attempts=5)
    assert end.state is JobState.FAILED
    assert end.failure
    assert end.failure["message"] == str(error)
