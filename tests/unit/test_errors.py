import pytest

from app.errors import (
    ErrorCode,
    Fault,
    GroupNotFound,
    JobAlreadyRunning,
    JobGaveUp,
    JobNotFound,
    JobStateConflict,
    JobTimedOut,
    PostNotFound,
    QueueFull,
    ServiceUnavailable,
    StartFailed,
    SubscriberTooSlow,
    Unauthenticated,
    ValidationFailed,
)
from app.job_states import JobState


@pytest.mark.parametrize(
    ("fault", "code", "message", "facts"),
    [
        (StartFailed("No."), ErrorCode.INTERNAL, "No.", {}),
        (
            ValidationFailed({"first": "is too large", "after": "is unknown"}),
            ErrorCode.VALIDATION_FAILED,
            "first: is too large; after: is unknown",
            {"fields": [{"path": "first", "message": "is too large"}, {"path": "after", "message": "is unknown"}]},
        ),
        (GroupNotFound(-1), ErrorCode.GROUP_NOT_FOUND, "Community 1 has not been added.", {"vkOwnerId": -1}),
        (
            PostNotFound(-1, 2),
            ErrorCode.POST_NOT_FOUND,
            "Post -1_2 is not stored.",
            {"vkOwnerId": -1, "vkPostId": 2},
        ),
        (JobNotFound(1), ErrorCode.JOB_NOT_FOUND, "Job 1 does not exist.", {"jobId": 1}),
        (
            JobAlreadyRunning(7, -1),
            ErrorCode.JOB_ALREADY_RUNNING,
            "Job 7 collects or removes community 1 already.",
            {"jobId": 7, "vkOwnerId": -1},
        ),
        (
            JobStateConflict(7, JobState.FAILED, "cancelled"),
            ErrorCode.JOB_STATE_CONFLICT,
            "Job 7 is FAILED and cannot be cancelled.",
            {"jobId": 7, "state": "FAILED"},
        ),
        (
            JobTimedOut(1.5),
            ErrorCode.JOB_TIMED_OUT,
            "The job ran longer than its limit of 1.5 s.",
            {"timeoutSeconds": 1.5},
        ),
        (
            JobGaveUp(5),
            ErrorCode.JOB_GAVE_UP,
            "The job was started 5 times without reaching an end, so it is not retried.",
            {"attempts": 5},
        ),
        (Unauthenticated("Who?"), ErrorCode.UNAUTHENTICATED, "Who?", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
def test_a_permanent_fault(fault: Fault, code: ErrorCode, message: str, facts: dict[str, object]) -> None:
    assert (fault.code, fault.message, fault.facts(), fault.is_transient) == (code, message, facts, False)


@pytest.mark.parametrize(
    ("fault", "code", "facts"),
    [
        (QueueFull(9), ErrorCode.QUEUE_FULL, {"limit": 9}),
        (
            ServiceUnavailable("PostgreSQL", 2),
            ErrorCode.SERVICE_UNAVAILABLE,
            {"service": "PostgreSQL", "retryAfterSeconds": 2},
        ),
    ],
)
def test_a_transient_fault(fault: Fault, code: ErrorCode, facts: dict[str, object]) -> None:
    assert (fault.code, fault.facts(), fault.is_transient) == (code, facts, True)
    assert fault.message.endswith(("again later.", "again in 2 s."))


def test_a_slow_subscriber_gets_the_size_of_the_buffer() -> None:
    fault = SubscriberTooSlow(500)
    assert (fault.facts(), fault.is_transient) == ({"limit": 500}, True)
    assert fault.message == "More than 500 messages are waiting. Subscribe again, and read them faster."
