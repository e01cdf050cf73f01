"""The states that jobs go through, which transitions between them exist, and what events say of them."""

from enum import Enum


class JobState(Enum):
    """Where a job is in its life. The value is how rows hold it."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def phrase(self) -> str:
        """The state in words, for events."""
        return _PHRASES[self]

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_PHRASES = {
    JobState.QUEUED: "waits for a worker",
    JobState.RUNNING: "is being run",
    JobState.SUCCEEDED: "has done all of its work",
    JobState.FAILED: "has failed",
    JobState.CANCELLED: "was cancelled",
}

FORMER: dict[JobState, tuple[str, ...]] = {
    # a running job goes back to the queue when its worker stops or a failure may pass; a finished one by retryJob
    JobState.QUEUED: ("RUNNING", "FAILED", "CANCELLED"),
    # running again without a move in between: the worker that had it died
    JobState.RUNNING: ("QUEUED", "RUNNING"),
    JobState.SUCCEEDED: ("RUNNING",),
    JobState.FAILED: ("QUEUED", "RUNNING"),
    JobState.CANCELLED: ("QUEUED", "RUNNING"),
}
"""State -> the states it may follow. Checked in the UPDATE that makes the move."""

RETRYABLE = ("FAILED", "CANCELLED")
"""The states from which a client may ask for another run."""


class MoveReason(Enum):
    """Why a job has come to a state. The value is how events hold it, as `facts.reason`."""

    REQUESTED = "REQUESTED"
    SCHEDULED = "SCHEDULED"
    RETRY_REQUESTED = "RETRY_REQUESTED"
    TAKEN = "TAKEN"
    RESCUED = "RESCUED"
    FAILURE_MAY_PASS = "FAILURE_MAY_PASS"  # noqa: S105 - no password
    WORKER_STOPPED = "WORKER_STOPPED"
    DONE = "DONE"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    FAILURE = "FAILURE"
    TIMED_OUT = "TIMED_OUT"
    GAVE_UP = "GAVE_UP"
    CRASHED = "CRASHED"

    @property
    def phrase(self) -> str:
        """The reason in words, for events: it follows the state's phrase after a colon."""
        return _REASONS[self]


_REASONS = {
    MoveReason.REQUESTED: "somebody asked for it",
    MoveReason.SCHEDULED: "the community's monitoring was due",
    MoveReason.RETRY_REQUESTED: "somebody asked for another try",
    MoveReason.TAKEN: "a worker was free",
    MoveReason.RESCUED: "the worker that had it shows no life",
    MoveReason.FAILURE_MAY_PASS: "this try has failed, and another may not",
    MoveReason.WORKER_STOPPED: "its worker was stopped",
    MoveReason.DONE: "nothing is left to do",
    MoveReason.CANCEL_REQUESTED: "somebody asked for that",
    MoveReason.FAILURE: "trying again would not help, or was tried often enough",
    MoveReason.TIMED_OUT: "it took longer than it may",
    MoveReason.GAVE_UP: "it was begun too often without coming to an end",
    MoveReason.CRASHED: "something unexpected happened",
}


class JobPriority(Enum):
    """How soon a job is taken, compared to others. The value orders the queue.

    While a job waits, its entry in the queue rises above its priority, to HIGH at the most.
    """

    LOW = 0
    NORMAL = 10
    HIGH = 20
    CRITICAL = 30


class JobEventKind(Enum):
    """What an event of a job tells."""

    STATE_CHANGED = "STATE_CHANGED"
    STAGE_CHANGED = "STAGE_CHANGED"
    GROUP_FAILED = "GROUP_FAILED"
    GROUP_INCOMPLETE = "GROUP_INCOMPLETE"
    POST_FAILED = "POST_FAILED"
    POST_INCOMPLETE = "POST_INCOMPLETE"
    ITEMS_BROKEN = "ITEMS_BROKEN"
    ATTEMPT_FAILED = "ATTEMPT_FAILED"
