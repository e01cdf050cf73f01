"""Errors as clients see them: one GraphQL type per expected failure; unexpected errors are masked.

A Python exception `GroupNotFound` becomes the type `GroupNotFoundError` if a
mutation's union lists that type. In a query it becomes a GraphQL error whose
extensions contain `code` and the facts.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Self
from uuid import uuid4

import strawberry
from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.extensions import MaskErrors, SchemaExtension
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
from app.job_states import JobState
from app.log import log
from app.vk.wire import VkAccessDenied, VkRateLimited, VkRequestRefused, VkTokenRejected, VkUnavailable
from schema import enums as _enums  # noqa: F401 - import it first: it exports the enums used below
from schema.node import global_id


@strawberry.interface(
    description="An expected failure. `__typename` and `code` identify it for programs, `message` explains it to "
    "people."
)
class Error:
    """The interface of all expected failures."""

    message: str = strawberry.field(description="What went wrong and what to do about it, in a sentence.")
    code: ErrorCode = strawberry.field(description="The kind of the failure, for programs.")

    def __init_subclass__(cls, *, fault: type[Fault] | None = None) -> None:
        """Register the type as that of a fault (see `ERROR_TYPES`)."""
        super().__init_subclass__()
        if fault:
            ERROR_TYPES[fault] = cls

    @classmethod
    def of(cls, fault: Any) -> Self:  # each subclass converts the fault that it is registered for
        """Convert a fault: each field has the value of the fault's attribute with this name."""
        return cls(**{field.name: getattr(fault, field.name) for field in fields(cls) if field.init})


ERROR_TYPES: dict[type[Fault], type[Error]] = {}
"""Fault -> its GraphQL type. A type registers itself where it is declared: `class ...Error(Error, fault=...)`."""


@strawberry.type(description="What is wrong with one field of the input.")
class FieldProblem:
    """An input field that is not valid."""

    path: str = strawberry.field(description="The field, as a path from the input: `groupIds.0`.")
    message: str = strawberry.field(description="What is wrong with it.")


@strawberry.type(description="The input is not valid. Correct the fields and send it again.")
class ValidationFailedError(Error, fault=ValidationFailed):
    """The input is not valid."""

    fields: list[FieldProblem] = strawberry.field(description="Each field that is not valid.")

    @classmethod
    def of(cls, fault: ValidationFailed) -> Self:
        """Convert a fault."""
        problems = [FieldProblem(path=path, message=message) for path, message in fault.fields.items()]
        return cls(message=fault.message, code=fault.code, fields=problems)


@strawberry.type(description="The community has not been added. Add it with `addGroups`.")
class GroupNotFoundError(Error, fault=GroupNotFound):
    """An unknown community."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")

    @classmethod
    def of(cls, fault: GroupNotFound) -> Self:
        """Convert a fault."""
        return cls(message=fault.message, code=fault.code, id=global_id("Group", (fault.vk_owner_id,)))


@strawberry.type(description="The keyword does not exist. It may have been removed.")
class KeywordNotFoundError(Error, fault=KeywordNotFound):
    """An unknown keyword."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")

    @classmethod
    def of(cls, fault: KeywordNotFound) -> Self:
        """Convert a fault."""
        return cls(message=fault.message, code=fault.code, id=global_id("Keyword", (fault.keyword_id,)))


@strawberry.type(description="The job does not exist. It may have been removed.")
class JobNotFoundError(Error, fault=JobNotFound):
    """An unknown job."""

    id: strawberry.ID = strawberry.field(description="The global id that was not found.")

    @classmethod
    def of(cls, fault: JobNotFound) -> Self:
        """Convert a fault."""
        return cls(message=fault.message, code=fault.code, id=global_id("Job", (fault.job_id,)))


@strawberry.type(description="The state of the job does not allow this. Read the job again.")
class JobStateConflictError(Error, fault=JobStateConflict):
    """A state transition that is not allowed."""

    state: JobState = strawberry.field(description="The state of the job.")


@strawberry.type(description="Too many jobs are waiting. Try again when some of them have ended.")
class QueueFullError(Error, fault=QueueFull):
    """The queue limit is reached."""

    limit: int = strawberry.field(description="The maximum number of waiting jobs.")


@strawberry.type(
    description="Messages were read too slowly and the buffer is full; this is the last message. Subscribe again: to "
    "`jobProgress` from the last `seq`, so that nothing is missed; to `jobs` before reading the list "
    "again."
)
class SubscriberTooSlowError(Error, fault=SubscriberTooSlow):
    """A subscriber was dropped."""

    limit: int = strawberry.field(description="The maximum number of buffered messages per subscriber.")


@strawberry.type(
    description="A service that this server depends on is unavailable. Send the same request again a little later."
)
class ServiceUnavailableError(Error, fault=ServiceUnavailable):
    """A transient failure."""

    service: str = strawberry.field(description="The service that is unavailable.")
    retry_after_seconds: float = strawberry.field(description="The number of seconds after which to try again.")


@strawberry.type(description="VK is unavailable, or its reply is unusable. Try again later.")
class VkUnavailableError(Error, fault=VkUnavailable):
    """VK is unavailable."""


@strawberry.type(description="VK denies access: the content is closed, private, or disabled.")
class VkAccessDeniedError(Error, fault=VkAccessDenied):
    """VK denies access."""

    vk_code: int | None = strawberry.field(description="VK's error code.")


@strawberry.type(description="VK's rate limit is exceeded.")
class VkRateLimitedError(Error, fault=VkRateLimited):
    """VK's rate limit is exceeded."""

    retry_after_seconds: float = strawberry.field(description="The number of seconds after which to try again.")


@strawberry.type(description="No VK token is usable. The operator has to check them.")
class VkTokenError(Error, fault=VkTokenRejected):
    """No VK token is usable."""

    vk_code: int | None = strawberry.field(description="VK's error code; null if no token is configured.")


@strawberry.type(description="VK rejects the request as wrong. Do not repeat it.")
class VkRequestRefusedError(Error, fault=VkRequestRefused):
    """VK rejects the request itself."""

    vk_code: int | None = strawberry.field(description="VK's error code.")


class FaultHandler(strawberry.ExceptionHandler):  # type: ignore[type-arg]  # both types are known only at run time
    """Converts one kind of fault to its GraphQL type, in fields whose union lists that type."""

    def __init__(self, fault_type: type[Fault], error_type: type[Error]) -> None:
        self.exception_type = fault_type
        self.error_type = error_type

    def handle(self, exception: Fault, *, field: object, info: object) -> Error:  # noqa: ARG002 - Strawberry's signature
        """Return the GraphQL error of a fault."""
        return self.error_type.of(exception)


def fault_handlers() -> list[FaultHandler]:
    """Return the handlers of all faults that have a GraphQL type. Call it when all types are imported."""
    return [FaultHandler(fault_type, error_type) for fault_type, error_type in ERROR_TYPES.items()]


def error_of(fault: Fault) -> Error:
    """Return the GraphQL error of a fault, for subscriptions, where Strawberry does not call the handlers.

    Raises:
        Fault: the given fault, if it has no GraphQL type.
    """
    for fault_type, error_type in ERROR_TYPES.items():
        if isinstance(fault, fault_type):
            return error_type.of(fault)
    raise fault


WRONG_REQUESTS = (CannotGetOperationTypeError, InvalidOperationTypeError, MissingQueryError)
"""Strawberry's exceptions for a request that does not select an executable operation."""


class CodeEngineErrors(SchemaExtension):
    """Gives a code to the errors of the engine about documents that it cannot parse, or that are not valid."""

    def on_parse(self) -> Iterator[None]:
        """Give a code to a syntax error."""
        yield
        self._add(ErrorCode.GRAPHQL_PARSE_FAILED)

    def on_validate(self) -> Iterator[None]:
        """Give a code to the errors of the validation."""
        yield
        self._add(ErrorCode.GRAPHQL_VALIDATION_FAILED)

    def _add(self, code: ErrorCode) -> None:
        for error in self.execution_context.pre_execution_errors or ():
            error.extensions = {"code": code.value, **(error.extensions or {})}


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
