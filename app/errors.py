"""The expected failures of the domain: one named type each, with its facts.

    Fault
    ├── StartFailed                 a process cannot start
    ├── WorkerDied                  the worker of a process has ended before its time
    ├── ValidationFailed            wrong input, with the path of each field
    ├── GroupNotFound               a community has not been added
    ├── PostNotFound                a post is not stored
    ├── KeywordNotFound             no keyword has this id
    ├── KeywordAlreadyThere         there is another keyword with this phrase
    ├── JobNotFound                 no job has this id
    ├── JobAlreadyRunning           a community is being collected already
    ├── JobStateConflict            the job is in a state that does not allow this
    ├── DiskFull                    there is no room for a file
    ├── ProcessDied                 the process that computed for a job ended meanwhile
    ├── QueueFull                   too many jobs wait
    ├── SubscriberTooSlow           a subscriber takes its messages too slowly
    ├── JobTimedOut                 a job ran longer than its limit
    ├── JobGaveUp                   a job was begun too often without coming to an end
    ├── ServiceUnavailable          PostgreSQL cannot answer at the moment; try again
    ├── QueryTimedOut               PostgreSQL took longer than its limit
    ├── Unauthenticated             no or a wrong API key
    └── VkFault                     VK refused or failed: see `app.vk.wire`

Those that a mutation can answer with have a GraphQL type of the same name with
`Error` appended; of the others clients see the code and the message. Messages
are sentences for people and hold no secret.
"""

from enum import Enum
from typing import Any, ClassVar


class ErrorCode(Enum):
    """What went wrong, as a machine reads it. Stable: clients branch on it."""

    VALIDATION_FAILED = "VALIDATION_FAILED"
    GROUP_NOT_FOUND = "GROUP_NOT_FOUND"
    POST_NOT_FOUND = "POST_NOT_FOUND"
    KEYWORD_NOT_FOUND = "KEYWORD_NOT_FOUND"
    KEYWORD_ALREADY_THERE = "KEYWORD_ALREADY_THERE"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    JOB_ALREADY_RUNNING = "JOB_ALREADY_RUNNING"
    JOB_STATE_CONFLICT = "JOB_STATE_CONFLICT"
    JOB_TIMED_OUT = "JOB_TIMED_OUT"
    JOB_GAVE_UP = "JOB_GAVE_UP"
    JOB_PROCESS_DIED = "JOB_PROCESS_DIED"
    DISK_FULL = "DISK_FULL"
    QUEUE_FULL = "QUEUE_FULL"
    SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    QUERY_TIMED_OUT = "QUERY_TIMED_OUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    VK_UNAVAILABLE = "VK_UNAVAILABLE"
    VK_ACCESS_DENIED = "VK_ACCESS_DENIED"
    VK_RATE_LIMITED = "VK_RATE_LIMITED"
    VK_TOKEN = "VK_TOKEN"  # noqa: S105 - a code, no password
    VK_REQUEST_REFUSED = "VK_REQUEST_REFUSED"
    INTERNAL = "INTERNAL"


class Fault(Exception):
    """An expected failure. `code` is for machines, `facts` are its values beside the message."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    passes: ClassVar[bool] = False
    """Whether the same try may succeed a little later."""

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)

    def facts(self) -> dict[str, Any]:
        """Return what the fault knows beside its message: plain JSON values."""
        return {}


class StartFailed(Fault):
    """A process cannot start; the message says what is wrong and what to do about it."""


class WorkerDied(Fault):
    """The worker of a process has ended before its time, so the process ends, too. `reason` names the exception."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The worker has died ({reason}, see the log). Start the process again.")


class ValidationFailed(Fault):
    """Wrong input: `fields` maps the path of each wrong field to what is wrong with it."""

    code = ErrorCode.VALIDATION_FAILED

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in fields.items()))
        self.fields = fields

    def facts(self) -> dict[str, Any]:
        """Return the wrong fields: path and message."""
        return {"fields": [{"path": path, "message": message} for path, message in self.fields.items()]}


class GroupNotFound(Fault):
    """The community with this owner id (negative) has not been added."""

    code = ErrorCode.GROUP_NOT_FOUND

    def __init__(self, owner_id: int) -> None:
        super().__init__(f"Community {-owner_id} has not been added.")
        self.owner_id = owner_id

    def facts(self) -> dict[str, Any]:
        """Return which community."""
        return {"vkOwnerId": self.owner_id}


class PostNotFound(Fault):
    """The post with this key is not stored, or not any more."""

    code = ErrorCode.POST_NOT_FOUND

    def __init__(self, owner_id: int, post_id: int) -> None:
        super().__init__(f"Post {owner_id}_{post_id} is not stored.")
        self.owner_id = owner_id
        self.post_id = post_id

    def facts(self) -> dict[str, Any]:
        """Return which post."""
        return {"vkOwnerId": self.owner_id, "vkPostId": self.post_id}


class KeywordNotFound(Fault):
    """No keyword has this id."""

    code = ErrorCode.KEYWORD_NOT_FOUND

    def __init__(self, keyword_id: int) -> None:
        super().__init__(f"There is no keyword {keyword_id}.")
        self.keyword_id = keyword_id

    def facts(self) -> dict[str, Any]:
        """Return which keyword."""
        return {"keywordId": self.keyword_id}


class KeywordAlreadyThere(Fault):
    """There is a keyword with this phrase and this matching already; `keyword_id` is its id."""

    code = ErrorCode.KEYWORD_ALREADY_THERE

    def __init__(self, keyword_id: int, phrase: str) -> None:
        super().__init__(f"There is a keyword {phrase!r} with this matching already, keyword {keyword_id}.")
        self.keyword_id = keyword_id

    def facts(self) -> dict[str, Any]:
        """Return which keyword."""
        return {"keywordId": self.keyword_id}


class JobNotFound(Fault):
    """No job has this id."""

    code = ErrorCode.JOB_NOT_FOUND

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id}.")
        self.job_id = job_id

    def facts(self) -> dict[str, Any]:
        """Return which job."""
        return {"jobId": self.job_id}


class JobAlreadyRunning(Fault):
    """A community is being collected, or removed, already; `job_id` is the job that does it."""

    code = ErrorCode.JOB_ALREADY_RUNNING

    def __init__(self, job_id: int, owner_id: int) -> None:
        super().__init__(f"Job {job_id} collects or removes community {-owner_id} already.")
        self.job_id = job_id
        self.owner_id = owner_id

    def facts(self) -> dict[str, Any]:
        """Return which job and which community."""
        return {"jobId": self.job_id, "vkOwnerId": self.owner_id}


class JobStateConflict(Fault):
    """The job is in a state that does not allow what was asked; `state` is that state."""

    code = ErrorCode.JOB_STATE_CONFLICT

    def __init__(self, job_id: int, state: str, wish: str) -> None:
        super().__init__(f"Job {job_id} is {state} and cannot be {wish}.")
        self.job_id = job_id
        self.state = state

    def facts(self) -> dict[str, Any]:
        """Return the job and its state."""
        return {"jobId": self.job_id, "state": self.state}


class JobTimedOut(Fault):
    """A job ran longer than its time limit."""

    code = ErrorCode.JOB_TIMED_OUT

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(f"The job ran longer than its limit of {timeout_seconds:g} s.")
        self.timeout_seconds = timeout_seconds

    def facts(self) -> dict[str, Any]:
        """Return the limit in seconds."""
        return {"timeoutSeconds": self.timeout_seconds}


class JobGaveUp(Fault):
    """A job was taken `attempts` times and never came to an end, most likely as it ends its process."""

    code = ErrorCode.JOB_GAVE_UP

    def __init__(self, attempts: int) -> None:
        super().__init__(f"The job was begun {attempts} times and came to no end, so it is not tried again.")
        self.attempts = attempts

    def facts(self) -> dict[str, Any]:
        """Return how often it was tried."""
        return {"attempts": self.attempts}


class ProcessDied(Fault):
    """The process that computed for a job ended before it was done, most likely for lack of memory."""

    code = ErrorCode.JOB_PROCESS_DIED
    passes = True

    def __init__(self) -> None:
        super().__init__("The process that computed for the job ended before it was done.")


class DiskFull(Fault):
    """There is no room for the file that a job was to write. Nothing of it is left."""

    code = ErrorCode.DISK_FULL

    def __init__(self) -> None:
        super().__init__("The disk of the server is full, so no file was written. Make room, and try again.")


class QueueFull(Fault):
    """As many jobs wait as the setting QUEUE_LIMIT allows."""

    code = ErrorCode.QUEUE_FULL
    passes = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs are waiting, which is the limit. Try again later.")
        self.limit = limit

    def facts(self) -> dict[str, Any]:
        """Return the limit."""
        return {"limit": self.limit}


class SubscriberTooSlow(Fault):
    """A subscriber has left so many messages lying that no more are kept for it; it may subscribe again."""

    code = ErrorCode.SUBSCRIBER_TOO_SLOW
    passes = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"More than {limit} messages wait to be taken. Subscribe again, and take them faster.")
        self.limit = limit

    def facts(self) -> dict[str, Any]:
        """Return how many messages are kept for a subscriber."""
        return {"limit": self.limit}


class ServiceUnavailable(Fault):
    """A service this one depends on cannot be reached, or asks to be asked again; the client may try again."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    passes = True

    def __init__(self, service: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(f"{service} cannot answer at the moment. Try again in {retry_after_seconds:g} s.")
        self.service = service
        self.retry_after_seconds = retry_after_seconds

    def facts(self) -> dict[str, Any]:
        """Return which service, and when to try again."""
        return {"service": self.service, "retryAfterSeconds": self.retry_after_seconds}


class QueryTimedOut(Fault):
    """A statement took longer than DATABASE_STATEMENT_TIMEOUT_SECONDS: it was too much, or waited for another one."""

    code = ErrorCode.QUERY_TIMED_OUT
    passes = True

    def __init__(self) -> None:
        super().__init__("The database took too long to answer this. Ask for less at once.")


class Unauthenticated(Fault):
    """The request carries no API key, or one that is not known."""

    code = ErrorCode.UNAUTHENTICATED
