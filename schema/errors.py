"""Failures as clients see them: a GraphQL type per expected one, and everything unexpected masked.

A Python exception `GroupNotFound` becomes the type `GroupNotFoundError` where a
mutation's union lists that type. In a query it becomes a GraphQL error whose
extensions hold `code` and the facts.
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
from schema import enums as _enums  # noqa: F401 - exports the enums that are used below
from schema.node import global_id

F = TypeVar("F", bound=Fault)


@strawberry.interface(
    description="An expected failure. `__typename` and `code` say which, `message` says it to people."
)
class Error:
    """What all failures have in common."""

    message: str = strawberry.field(description="What went wrong and what to do about it, in a sentence.")
    code: ErrorCode = strawberry.field(description="What went wrong, for programs.")


@strawberry.type(description="What is wrong with one field of the input.")
class FieldProblem:
    """A wrong field."""

    path: str = strawberry.field(description="The field, as a path from the input: `groupIds.0`.")
    message: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The input is wrong. Correct the fields and send it again.")
class ValidationFailedError(Error):
    """Wrong input."""

    fields: list[FieldProblem] = strawberry.field(description="Each wrong field.")


@strawberry.type(description="The community has not been added. Add it with `addGroups`.")
class GroupNotFoundError(Error):
    """An unknown community."""

    id: strawberry.ID = strawberry.field(description="The global id that nothing was found for.")


@strawberry.type(description="There is no such keyword. It may have been removed.")
class KeywordNotFoundError(Error):
    """An unknown keyword."""

    id: strawberry.ID = strawberry.field(description="The global id that nothing was found for.")


@strawberry.type(description="There is no such job. It may have been removed.")
class JobNotFoundError(Error):
    """An unknown job."""

    id: strawberry.ID = strawberry.field(description="The global id that nothing was found for.")


@strawberry.type(description="The job is in a state that does not allow this. Read it again.")
class JobStateConflictError(Error):
    """A move that does not exist."""

    state: JobState = strawberry.field(description="The state the job is in.")


@strawberry.type(description="Too many jobs wait. Try again when some of them are done.")
class QueueFullError(Error):
    """The bound of the queue is reached."""

    limit: int = strawberry.field(description="How many jobs may wait.")


@strawberry.type(
    description="Messages were taken too slowly, and no more are kept; this is the last one. Subscribe again: to "
    "`jobProgress` from the last `seq`, and then nothing is missed; to `jobs` before you read the list again."
)
class SubscriberTooSlowError(Error):
    """A subscriber was dropped."""

    limit: int = strawberry.field(description="How many messages are kept for a subscriber.")


@strawberry.type(description="Something this server depends on cannot be reached. Try the same again a little later.")
class ServiceUnavailableError(Error):
    """A failure that passes."""

    service: str = strawberry.field(description="What cannot be reached.")
    retry_after_seconds: float = strawberry.field(description="When another try is worth it.")


@strawberry.type(description="VK gives no usable answer. Try again later.")
class VkUnavailableError(Error):
    """VK is away."""


@strawberry.type(description="VK does not let this be read: it is closed, private, or switched off.")
class VkAccessDeniedError(Error):
    """VK refuses access."""

    vk_code: int | None = strawberry.field(description="VK's own error code.")


@strawberry.type(description="VK has been asked too often.")
class VkRateLimitedError(Error):
    """VK refuses for now."""

    retry_after_seconds: float = strawberry.field(description="When another try is worth it.")


@strawberry.type(description="No VK token can be used. The operator has to look at them.")
class VkTokenError(Error):
    """The tokens are missing or refused."""

    vk_code: int | None = strawberry.field(description="VK's own error code; null where no token is configured.")


@strawberry.type(description="VK finds the request wrong. Repeating it is of no use.")
class VkRequestRefusedError(Error):
    """VK refuses the request itself."""

    vk_code: int | None = strawberry.field(description="VK's own error code.")


class FaultHandler(strawberry.ExceptionHandler):  # type: ignore[type-arg]  # both types are known at run time only
    """Turns one kind of fault into its GraphQL type, in fields whose union lists that type."""

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
    """Return the GraphQL type of a fault, for subscriptions, in which Strawberry's handlers do not act.

    Raises:
        Fault: the same one, if no GraphQL type stands for it.
    """
    for handler in FAULT_HANDLERS:
        if isinstance(fault, handler.exception_type):
            return handler.of(fault)
    raise fault


WRONG_REQUESTS = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)
"""What Strawberry says about a request that does not name an operation it can execute."""


class MaskUnexpected(MaskErrors):
    """Keeps what is unexpected from clients: it is logged with its trace under an id, and the id is what they get.

    A fault of ours keeps its message, its code and its facts. What the engine
    itself says about a query (syntax, validation) has no original error and
    passes as it is.
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
        message = f"An unexpected error. Its trace is in the server's log under {error_id}."
        return _visible(error, message, {"code": ErrorCode.INTERNAL.value, "errorId": error_id})


def _visible(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(message, nodes=error.nodes, source=error.source, path=error.path, extensions=extensions)
