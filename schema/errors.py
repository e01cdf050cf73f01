"""Errors as clients see them: one GraphQL type per expected failure; unexpected errors are masked.

A Python exception `GroupNotFound` becomes the type `GroupNotFoundError` if a
mutation's union lists that type. In a query it becomes a GraphQL error whose
extensions contain `code` and the facts.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

import strawberry
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from app import metrics
from app.errors import (
    ErrorCode,
    Fault,
    GroupNotFound,
    JobNotFound,
    JobStateConflict,
    KeywordNotFound,
    QueueFull,
    ServiceUnavailable,
    SubscriberTooSlow,
    ValidationFailed,
)
from app.jobs.states import JobState
from app.log import log
from app.vk.wire import VkAccessDenied, VkRateLimited, VkRequestRefused, VkTokenRejected, VkUnavailable
from schema import enums as _enums  # noqa: F401 - import it first: it exports the enums used below
from schema.node import global_id

F = TypeVar("F", bound=Fault)


@strawberry.interface(
    description="An expected failure. `__typename` and `code` identify it for programs, `message` explains it to "
    "people."
)
class Error:
    """The interface of all expected failures."""

    message: str = strawberry.field(description="What went wrong and what to do about it, in a sentence.")
    code: ErrorCode = strawberry.field(description="The kind of the failure, for programs.")


@strawberry.type(description="What is wrong with one field of the input.")
class FieldProblem:
    """An input field that is not valid."""

    path: str = strawberry.field(description="The field, as a path from the input: `groupIds.0`.")
    message: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The input is not valid. Correct the fields and send it again.")
class ValidationFailedError(Error):
    """The input is not valid."""

    fields: list[FieldProblem] = strawberry.field(description="Each field that is not valid.")


@strawberry.type(description="The community has not been added. Add it with `addGroups`.")
class GroupNotFoundError(Error):
    """An unknown community."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")


@strawberry.type(description="The keyword does not exist. It may have been removed.")
class KeywordNotFoundError(Error):
    """An unknown keyword."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")


@strawberry.type(description="The job does not exist. It may have been removed.")
class JobNotFoundError(Error):
    """An unknown job."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")


@strawberry.type(description="The state of the job does not allow this. Read the job again.")
class JobStateConflictError(Error):
    """A state transition that is not allowed."""

    state: JobState = strawberry.field(description="The state of the job.")


@strawberry.type(description="Too many jobs are waiting. Try again when some of them have ended.")
class QueueFullError(Error):
    """The queue limit is reached."""

    limit: int = strawberry.field(description="The maximum number of waiting jobs.")


@strawberry.type(
    description="Messages were read too slowly and the buffer is full; this is the last message. Subscribe again: to "
    "`jobProgress` from the last `seq`, so that nothing is missed; to `jobs` before reading the list "
    "again."
)
class SubscriberTooSlowError(Error):
    """A subscriber was dropped."""

    limit: int = strawberry.field(description="The maximum number of buffered messages per subscriber.")


@strawberry.type(
    description="A service that this server depends on is unavailable. Send the same request again a little later."
)
class ServiceUnavailableError(Error):
    """A transient failure."""

    service: str = strawberry.field(description="The service that is unavailable.")
    retry_after_seconds: float = strawberry.field(description="The number of seconds after which to try again.")


@strawberry.type(description="VK is unavailable, or its reply is unusable. Try again later.")
class VkUnavailableError(Error):
    """VK is unavailable."""


@strawberry.type(description="VK denies access: the content is closed, private, or disabled.")
class VkAccessDeniedError(Error):
    """VK denies access."""

    vk_code: int | None = strawberry.field(description="VK's error code.")


@strawberry.type(description="VK's rate limit is exceeded.")
class VkRateLimitedError(Error):
    """VK's rate limit is exceeded."""

    retry_after_seconds: float = strawberry.field(description="The number of seconds after which to try again.")


@strawberry.type(description="No VK token is usable. The operator has to check them.")
class VkTokenError(Error):
    """No VK token is usable."""

    vk_code: int | None = strawberry.field(description="VK's error code; null if no token is configured.")


@strawberry.type(description="VK rejects the request as wrong. Do not repeat it.")
class VkRequestRefusedError(Error):
    """VK rejects the request itself."""

    vk_code: int | None = strawberry.field(description="VK's error code.")


class FaultHandler(strawberry.ExceptionHandler):  # type: ignore[type-arg]  # both types are known only at run time
    """Converts one kind of fault to its GraphQL type, in fields whose union lists that type."""

    exception_type: Any
    error_type: Any

    def __init__(self, exception_type: type[F], error_type: type[Error], facts: Callable[[F], dict[str, Any]]) -> None:
        self.exception_type = exception_type
        self.error_type = error_type
        self._facts = facts

    def handle(self, exception: Any, *, field: Any, info: Any) -> Error:  # noqa: ARG002 - Strawberry's signature
        """Return the GraphQL error of a fault."""
        return self.of(exception)

    def of(self, fault: Any) -> Error:
        """Return the GraphQL error of a fault."""
        error: Error = self.error_type(message=fault.message, code=fault.code, **self._facts(fault))
        return error


def _vk_code(fault: Any) -> dict[str, Any]:
    return {"vk_code": fault.vk_code}


FAULT_HANDLERS: list[FaultHandler] = [
    FaultHandler(
        ValidationFailed,
        ValidationFailedError,
        lambda fault: {"fields": [FieldProblem(path=path, message=text) for path, text in fault.fields.items()]},
    ),
    FaultHandler(GroupNotFound, GroupNotFoundError, lambda fault: {"id": global_id("Group", (fault.owner_id,))}),
    FaultHandler(
        KeywordNotFound, KeywordNotFoundError, lambda fault: {"id": global_id("Keyword", (fault.keyword_id,))}
    ),
    FaultHandler(JobNotFound, JobNotFoundError, lambda fault: {"id": global_id("Job", (fault.job_id,))}),
    FaultHandler(JobStateConflict, JobStateConflictError, lambda fault: {"state": JobState(fault.state)}),
    FaultHandler(QueueFull, QueueFullError, lambda fault: {"limit": fault.limit}),
    FaultHandler(SubscriberTooSlow, SubscriberTooSlowError, lambda fault: {"limit": fault.limit}),
    FaultHandler(
        ServiceUnavailable,
        ServiceUnavailableError,
        lambda fault: {"service": fault.service, "retry_after_seconds": fault.retry_after_seconds},
    ),
    FaultHandler(VkUnavailable, VkUnavailableError, lambda _: {}),
    FaultHandler(VkAccessDenied, VkAccessDeniedError, _vk_code),
    FaultHandler(VkRateLimited, VkRateLimitedError, lambda fault: {"retry_after_seconds": fault.retry_after_seconds}),
    FaultHandler(VkTokenRejected, VkTokenError, _vk_code),
    FaultHandler(VkRequestRefused, VkRequestRefusedError, _vk_code),
]


def error_of(fault: Fault) -> Error:
    """Return the GraphQL error of a fault, for subscriptions, where Strawberry does not call the handlers.

    Raises:
        Fault: the given fault, if it has no GraphQL type.
    """
    for handler in FAULT_HANDLERS:
        if isinstance(fault, handler.exception_type):
            return handler.of(fault)
    raise fault


WRONG_REQUESTS = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)
"""Strawberry's exceptions for a request that does not select an executable operation."""


class MaskUnexpected(MaskErrors):
    """Hides unexpected errors from clients: logs them with a traceback under an id, and returns only the id.

    A `Fault` keeps its message, its code and its facts. An error of the engine itself
    about a query (syntax, validation) has no original error and stays unchanged.
    """

    def __init__(self) -> None:
        super().__init__(should_mask_error=lambda error: error.original_error is not None)

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """Return what the client may see of an error."""
        original = error.original_error
        if isinstance(original, (GraphQLError, *WRONG_REQUESTS)):
            return error
        if isinstance(original, Fault):
            return _visible(error, original.message, {"code": original.code.value, **original.facts()})
        error_id = uuid4().hex[:12]
        metrics.unexpected_errors.inc()
        log.error("request_crashed", error_id=error_id, path=error.path, exc_info=original)
        message = f"An unexpected error. The server's log has its traceback under error id {error_id}."
        return _visible(error, message, {"code": ErrorCode.INTERNAL.value, "errorId": error_id})


def _visible(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, source=error.source, path=error.path, extensions=extensions)
