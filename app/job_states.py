"""The states of jobs, the allowed transitions between them, and how job events describe them."""

from collections.abc import Mapping
from enum import Enum, StrEnum


class JobState(StrEnum):
    """The state of a job. The value is stored in its row."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def phrase(self) -> str:
        """The state in words, for the messages of events."""
        return _PHRASES[self]

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


_PHRASES = {
    JobState.QUEUED: "waits for a worker",
    JobState.RUNNING: "is running",
    JobState.SUCCEEDED: "has succeeded",
    JobState.FAILED: "has failed",
    JobState.CANCELLED: "was cancelled",
}

FORMER: Mapping[JobState, tuple[JobState, ...]] = {
    # A running job is queued again when its worker stops or its failure is transient, an ended one by retryJob.
    JobState.QUEUED: (JobState.RUNNING, JobState.FAILED, JobState.CANCELLED),
    # RUNNING to RUNNING: another worker claims the job of a worker that died.
    JobState.RUNNING: (JobState.QUEUED, JobState.RUNNING),
    JobState.SUCCEEDED: (JobState.RUNNING,),
    JobState.FAILED: (JobState.QUEUED, JobState.RUNNING),
    JobState.CANCELLED: (JobState.QUEUED, JobState.RUNNING),
}
"""State -> the states that it may follow. The UPDATE of a transition checks it."""

RETRYABLE = (JobState.FAILED, JobState.CANCELLED)
"""The states in which a client may retry a job."""


class MoveReason(StrEnum):
    """Why a job has changed its state. The value is stored in the event, as `facts.reason`."""

    REQUESTED = "REQUESTED"
    SCHEDULED = "SCHEDULED"
    RETRY_REQUESTED = "RETRY_REQUESTED"
    CLAIMED = "CLAIMED"
    RESCUED = "RESCUED"
    TRANSIENT_FAILURE = "TRANSIENT_FAILURE"
    WORKER_STOPPED = "WORKER_STOPPED"
    DONE = "DONE"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    FAILURE = "FAILURE"
    TIMED_OUT = "TIMED_OUT"
    GAVE_UP = "GAVE_UP"
    CRASHED = "CRASHED"

    @property
    def phrase(self) -> str:
        """The reason in words, for the messages of events: it follows the state's phrase after a colon."""
        return _REASONS[self]


_REASONS = {
    MoveReason.REQUESTED: "a client requested it",
    MoveReason.SCHEDULED: "the community's monitoring was due",
    MoveReason.RETRY_REQUESTED: "a client requested a retry",
    MoveReason.CLAIMED: "a worker claimed it",
    MoveReason.RESCUED: "the heartbeat of its previous worker timed out, and another worker claimed it",
    MoveReason.TRANSIENT_FAILURE: "this attempt failed with a transient error and will be retried",
    MoveReason.WORKER_STOPPED: "its worker was stopped",
    MoveReason.DONE: "all work is done",
    MoveReason.CANCEL_REQUESTED: "a client requested the cancellation",
    MoveReason.FAILURE: "its error is not transient, or no attempts are left",
    MoveReason.TIMED_OUT: "it exceeded its timeout",
    MoveReason.GAVE_UP: "it was started too often without ending",
    MoveReason.CRASHED: "an unexpected error occurred",
}


class JobPriority(Enum):
    """The priority of a job. The value orders the queue.

    While a job waits, the priority of its queue entry rises step by step, up to HIGH.
    """

    LOW = 0
    NORMAL = 10
    HIGH = 20
    CRITICAL = 30


class JobEventKind(StrEnum):
    """What a job event reports."""

    STATE_CHANGED = "STATE_CHANGED"
    STAGE_CHANGED = "STAGE_CHANGED"
    GROUP_FAILED = "GROUP_FAILED"
    GROUP_INCOMPLETE = "GROUP_INCOMPLETE"
    POST_FAILED = "POST_FAILED"
    POST_INCOMPLETE = "POST_INCOMPLETE"
    ITEMS_BROKEN = "ITEMS_BROKEN"
    ATTEMPT_FAILED = "ATTEMPT_FAILED"
