"""The protocol graphql-transport-ws: invalid messages close the socket, failed operations do not.

Stricter about messages than Strawberry's handler.
Source: PROTOCOL.md of graphql-ws.
"""

from collections.abc import AsyncGenerator, Mapping
from json import JSONDecodeError

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    ErrorMessage,
    Message,
    PingMessage,
    PongMessage,
    SubscribeMessage,
)

from app.errors import ErrorCode, Unauthenticated
from schema.context import Context
from schema.transport.requests import LARGEST_BYTES, message_problem

MESSAGE_TOO_BIG = 1009
FORBIDDEN = 4403
LONGEST_REASON_BYTES = 123
"""The longest reason that fits into a close frame (RFC 6455, 5.5)."""


class AsText(dict[str, object]):
    """A message to send as text."""


class TextWebSocket(ASGIWebSocketAdapter):
    """Sends messages as text, as graphql-transport-ws requires, though orjson returns bytes; rejects large messages."""

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:  # noqa: ARG002 - the signature is Strawberry's
        """Yield each received message until either side has closed the socket.

        Raises:
            NonTextMessageReceived: the message is binary.
            NonJsonMessageReceived: the message is not JSON.
        """
        while self.ws.application_state is not WebSocketState.DISCONNECTED:
            try:
                text = await self.ws.receive_text()
                if len(text.encode()) > LARGEST_BYTES:
                    await self.close(MESSAGE_TOO_BIG, f"A message must have at most {LARGEST_BYTES} bytes.")
                    return
                message = self.view.decode_json(text)
            except WebSocketDisconnect:
                return
            except KeyError as error:
                raise NonTextMessageReceived from error
            except JSONDecodeError as error:
                raise NonJsonMessageReceived from error
            yield message

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send a message."""
        await super().send_json(AsText(message))

    async def close(self, code: int, reason: str) -> None:
        """Close the socket; truncate the reason to the length that fits."""
        await super().close(code, reason.encode()[:LONGEST_REASON_BYTES].decode(errors="ignore"))


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's protocol handler, with a check of every message.

    An invalid message closes the socket (4400); an error of an
    operation ends only that operation.
    """

    async def handle_message(self, message: Message) -> None:
        """Handle a message if its shape is valid."""
        if problem := message_problem(message):
            await self.handle_invalid_message(problem)
        else:
            await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Accept the client if it sends a valid key, or none is required; a null payload counts as no payload.

        The payload contains the key: `{"authorization": "Bearer <key>"}`. The reason of
        the close frame states code and message to a rejected client.
        """
        payload = message.get("payload") or {}
        given = {name.lower(): value for name, value in payload.items()}
        try:
            self.context.resources.keys.check(str(given["authorization"]) if "authorization" in given else None)
        except Unauthenticated as fault:
            await self.websocket.close(FORBIDDEN, f"{fault.code.value}: {fault.message}")
            return
        await super().handle_connection_init(ConnectionInitMessage(type="connection_init", payload=payload))

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Start an operation, unless the socket has as many as it may have; that error has a code."""
        limit = self.max_subscriptions_per_connection or 0
        if self.connection_acknowledged and len(self.operations) >= limit and message["id"] not in self.operations:
            text = f"A WebSocket may have at most {limit} operations at a time."
            error = GraphQLError(text, extensions={"code": ErrorCode.TOO_MANY_OPERATIONS.value, "limit": limit})
            await self.send_message(ErrorMessage(id=message["id"], type="error", payload=[error.formatted]))
            return
        await super().handle_subscribe(message)

    async def handle_ping(self, message: PingMessage) -> None:
        """Reply with the payload of the ping."""
        pong = PongMessage(type="pong")
        if message.get("payload") is not None:
            pong["payload"] = message["payload"]
        try:
            await self.send_message(pong)
        except orjson.JSONEncodeError:  # orjson decodes 1,024 levels, but encodes 254
            await self.handle_invalid_message("The `payload` of ping is nested too deeply.")

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> None:
        """Never close the socket for one operation, which gets an `error` message instead.

        Strawberry has no public option for this (0.341.2; tests/unit/test_overrides.py).
        """
