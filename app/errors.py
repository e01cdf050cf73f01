"""The expected failures of the domain: one named type each, with its facts.

    Fault
    ├── StartFailed                 a process cannot start
    ├── WorkerDied                  the worker of a process has died
    ├── ValidationFailed            wrong input, with the path of each field
    ├── GroupNotFound               a community has not been added
    ├── PostNotFound                a post is not stored
    ├── KeywordNotFound             no keyword has this id
    ├── KeywordAlreadyExists         another keyword has this phrase
    ├── JobNotFound                 no job has this id
    ├── JobAlreadyRunning           a community is being collected already
    ├── JobStateConflict            the job is in a state that does not allow this
    ├── DiskFull                    the disk has no space for a file
    ├── ProcessDied                 the process that computed for a job has died
    ├── QueueFull                   too many jobs are waiting
    ├── SubscriberTooSlow           a subscriber reads its messages too slowly
    ├── JobTimedOut                 a job ran longer than its timeout
    ├── JobGaveUp                   all attempts of a job were lost
    ├── ServiceUnavailable          PostgreSQL cannot answer at the moment; retry
    ├── QueryTimedOut               a statement exceeded the statement timeout
    ├── Unauthenticated             no API key, or a wrong one
    └── VkFault                     VK refused or failed: see `app.vk.wire`

A failure that a mutation can return has a GraphQL type of the same name with the
suffix `Error`; of the others clients receive the code and the message. Messages
are sentences for people and contain no secrets.
"""

from enum import Enum
from typing import ClassVar, Final

from app.job_states import JobState
from app.json_types import JsonValue


class ErrorCode(Enum):
    """The machine-readable code of a failure. Stable: clients branch on it."""

    VALIDATION_FAILED = "VALIDATION_FAILED"
    GROUP_NOT_FOUND = "GROUP_NOT_FOUND"
    POST_NOT_FOUND = "POST_NOT_FOUND"
    KEYWORD_NOT_FOUND = "KEYWORD_NOT_FOUND"
    KEYWORD_ALREADY_EXISTS = "KEYWORD_ALREADY_EXISTS"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    JOB_ALREADY_RUNNING = "JOB_ALREADY_RUNNING"
    JOB_STATE_CONFLICT = "JOB_STATE_CONFLICT"
    JOB_TIMED_OUT = "JOB_TIMED_OUT"
    JOB_GAVE_UP = "JOB_GAVE_UP"
    JOB_PROCESS_DIED = "JOB_PROCESS_DIED"
    DISK_FULL = "DISK_FULL"
    QUEUE_FULL = "QUEUE_FULL"
    SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"
    OPERATION_TOO_LARGE = "OPERATION_TOO_LARGE"
    PREFLIGHT_REQUIRED = "PREFLIGHT_REQUIRED"
    TOO_MANY_OPERATIONS = "TOO_MANY_OPERATIONS"
    WEBSOCKET_REQUIRED = "WEBSOCKET_REQUIRED"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    QUERY_TIMED_OUT = "QUERY_TIMED_OUT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    VK_UNAVAILABLE = "VK_UNAVAILABLE"
    VK_ACCESS_DENIED = "VK_ACCESS_DENIED"
    VK_RATE_LIMITED = "VK_RATE_LIMITED"
    VK_TOKEN = "VK_TOKEN"  # noqa: S105 - a code, not a password
    VK_REQUEST_REFUSED = "VK_REQUEST_REFUSED"
    INTERNAL = "INTERNAL"


class Fault(Exception):
    """An expected failure. `code` is for machines; `facts` are the values in addition to the message."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    fact_names: ClassVar[tuple[str, ...]] = ()
    """The attributes that are facts. JSON and GraphQL have them under the same names in camel case."""
    is_transient: ClassVar[bool] = False
    """Whether a retry may succeed a little later."""
    retry_after_seconds: float = 0.0
    """The number of seconds after which a retry makes sense; 0: unknown."""

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)

    def facts(self) -> dict[str, JsonValue]:
        """Return the facts of the fault in addition to its message, as plain JSON values."""
        return {_camel_case(name): getattr(self, name) for name in self.fact_names}


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


class StartFailed(Fault):
    """A process cannot start; the message says what is wrong and what to do."""


class WorkerDied(Fault):
    """The worker of a process has died, so the process ends, too. `reason` names the exception."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The worker has died ({reason}, see the log). Start the process again.")


class ValidationFailed(Fault):
    """Wrong input: `fields` maps the path of each wrong field to what is wrong with it."""

    code = ErrorCode.VALIDATION_FAILED

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in fields.items()))
        self.fields = fields

    def facts(self) -> dict[str, JsonValue]:
        """Return the wrong fields: path and message."""
        return {"fields": [{"path": path, "message": message} for path, message in self.fields.items()]}


class GroupNotFound(Fault):
    """The community with this owner id (negative) has not been added."""

    code = ErrorCode.GROUP_NOT_FOUND
    fact_names = ("vk_owner_id",)

    def __init__(self, owner_id: int) -> None:
        super().__init__(f"Community {-owner_id} has not been added.")
        self.vk_owner_id = owner_id


class PostNotFound(Fault):
    """The post with this key is not stored, or not any more."""

    code = ErrorCode.POST_NOT_FOUND
    fact_names = ("vk_owner_id", "vk_post_id")

    def __init__(self, owner_id: int, post_id: int) -> None:
        super().__init__(f"Post {owner_id}_{post_id} is not stored.")
        self.vk_owner_id = owner_id
        self.vk_post_id = post_id


class KeywordNotFound(Fault):
    """No keyword has this id."""

    code = ErrorCode.KEYWORD_NOT_FOUND
    fact_names = ("keyword_id",)

    def __init__(self, keyword_id: int) -> None:
        super().__init__(f"Keyword {keyword_id} does not exist.")
        self.keyword_id = keyword_id


class KeywordAlreadyExists(Fault):
    """A keyword with this phrase and matching already exists; `keyword_id` is its id."""

    code = ErrorCode.KEYWORD_ALREADY_EXISTS
    fact_names = ("keyword_id",)

    def __init__(self, keyword_id: int, phrase: str) -> None:
        super().__init__(f"Keyword {keyword_id} already has the phrase {phrase!r} with this matching.")
        self.keyword_id = keyword_id


class JobNotFound(Fault):
    """No job has this id."""

    code = ErrorCode.JOB_NOT_FOUND
    fact_names = ("job_id",)

    def __init__(self, job_id: int) -> None:
        super().__init__(f"Job {job_id} does not exist.")
        self.job_id = job_id


class JobAlreadyRunning(Fault):
    """A community is already being collected or removed; `job_id` is the job that does it."""

    code = ErrorCode.JOB_ALREADY_RUNNING
    fact_names = ("job_id", "vk_owner_id")

    def __init__(self, job_id: int, owner_id: int) -> None:
        super().__init__(f"Job {job_id} collects or removes community {-owner_id} already.")
        self.job_id = job_id
        self.vk_owner_id = owner_id


class JobStateConflict(Fault):
    """The job is in a state that does not allow the requested action; `state` is that state."""

    code = ErrorCode.JOB_STATE_CONFLICT
    fact_names = ("job_id", "state")

    def __init__(self, job_id: int, state: JobState, action: str) -> None:
        super().__init__(f"Job {job_id} is {state} and cannot be {action}.")
        self.job_id = job_id
        self.state = state


class JobTimedOut(Fault):
    """A job ran longer than its timeout."""

    code = ErrorCode.JOB_TIMED_OUT
    fact_names = ("timeout_seconds",)

    def __init__(self, timeout_seconds: float) -> None:
        super().__init__(f"The job ran longer than its limit of {timeout_seconds:g} s.")
        self.timeout_seconds = timeout_seconds


class JobGaveUp(Fault):
    """A job was claimed `attempts` times and never reached an end, most likely because it kills its process."""

    code = ErrorCode.JOB_GAVE_UP
    fact_names = ("attempts",)

    def __init__(self, attempts: int) -> None:
        super().__init__(f"The job was started {attempts} times without reaching an end, so it is not retried.")
        self.attempts = attempts


class ProcessDied(Fault):
    """The process that computed for a job ended before it was done, most likely because memory ran out."""

    code = ErrorCode.JOB_PROCESS_DIED
    is_transient = True

    def __init__(self) -> None:
        super().__init__("The process that computed for the job ended before it was done.")


class DiskFull(Fault):
    """The disk has no space for the file of a job. The incomplete file has been removed."""

    code = ErrorCode.DISK_FULL

    def __init__(self) -> None:
        super().__init__("The disk of the server is full, so no file was written. Free some space, and try again.")


class QueueFull(Fault):
    """As many jobs are waiting as the setting QUEUE_LIMIT allows."""

    code = ErrorCode.QUEUE_FULL
    fact_names = ("limit",)
    is_transient = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} jobs are waiting, which is the limit. Try again later.")
        self.limit = limit


class SubscriberTooSlow(Fault):
    """A subscriber was dropped because too many messages were waiting for it; it may subscribe again."""

    code = ErrorCode.SUBSCRIBER_TOO_SLOW
    fact_names = ("limit",)
    is_transient = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"More than {limit} messages are waiting. Subscribe again, and read them faster.")
        self.limit = limit


class ServiceUnavailable(Fault):
    """A service on which this one depends cannot answer, or requests a retry; the client may retry."""

    code = ErrorCode.SERVICE_UNAVAILABLE
    fact_names = ("service", "retry_after_seconds")
    is_transient = True

    def __init__(self, service: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(f"{service} cannot answer at the moment. Try again in {retry_after_seconds:g} s.")
        self.service = service
        self.retry_after_seconds = retry_after_seconds


class QueryTimedOut(Fault):
    """A statement exceeded DATABASE_STATEMENT_TIMEOUT_SECONDS: it was too large, or waited for another one."""

    code = ErrorCode.QUERY_TIMED_OUT
    is_transient = True

    def __init__(self) -> None:
        super().__init__("The database took too long to answer this. Request less at once.")


DATABASE_DELAYS: Final = (ServiceUnavailable, QueryTimedOut)
"""PostgreSQL did not answer, or not in time: its clock may have been set forward, which ends running statements."""


class Unauthenticated(Fault):
    """The request contains no API key, or an unknown one."""

    code = ErrorCode.UNAUTHENTICATED
