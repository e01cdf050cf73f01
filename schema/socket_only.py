"""Rejects subscriptions that are sent by HTTP: their events need a WebSocket."""

from collections.abc import Iterator

from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from app.errors import ErrorCode
from schema.context import Context


class SubscriptionsNeedSocket(SchemaExtension):
    """Answers a subscription that is sent by HTTP with one error, before it is validated."""

    def on_validate(self) -> Iterator[None]:
        """Skip validation of such a subscription."""
        context: Context = self.execution_context.context
        if self.execution_context.operation_type is OperationType.SUBSCRIPTION and not context.is_socket:
            message = "Subscriptions need a WebSocket with the protocol graphql-transport-ws."
            error = GraphQLError(message, extensions={"code": ErrorCode.WEBSOCKET_REQUIRED.value})
            self.execution_context.pre_execution_errors = [error]
        yield
