"""Adds request id and operation name to every log line of an operation, and logs that it ran."""

import time
from collections.abc import AsyncIterator

from asgi_correlation_id import correlation_id
from strawberry.extensions import SchemaExtension
from structlog.contextvars import bind_contextvars, unbind_contextvars

from app.log import log


class LogOperation(SchemaExtension):
    """Binds the logging context to the operation that is being executed."""

    async def on_operation(self) -> AsyncIterator[None]:
        """Wrap a query or mutation, or a subscription from its first to its last event."""
        started = time.perf_counter()
        bind_contextvars(request_id=correlation_id.get())
        try:
            yield
        finally:
            log.debug("operation_ran", ms=round((time.perf_counter() - started) * 1000, 1))
            unbind_contextvars("request_id", "operation")

    async def on_parse(self) -> AsyncIterator[None]:
        """Bind the operation name after parsing: before it, the name is unknown unless the request states it."""
        yield
        bind_contextvars(operation=self.execution_context.operation_name or "anonymous")
