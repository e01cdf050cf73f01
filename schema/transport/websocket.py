"""The protocol graphql-transport-ws, stricter about messages than Strawberry and kinder to the other operations.

Source: PROTOCOL.md of graphql-ws.
"""

from collections.abc import AsyncGenerator, Mapping
from json import JSONDecodeError
from typing import Any

import orjson
from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage, PongMessage

from schema.context import Context
from schema.transport.requests import LARGEST_BYTES, message_problem

MESSAGE_TOO_BIG = 1009
LONGEST_REASON_BYTES = 123
"""A close frame has no room for more (RFC 6455, 5.5)."""


class AsText(dict[str, object]):
    """A message that is to be sent as text."""


class TextWebSocket(ASGIWebSocketAdapter):
    """Sends messages as text, which graphql-transport-ws asks for, though orjson writes bytes; refuses large ones."""

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:  # noqa: ARG002
        """Yield each message that arrives, until either side has closed the socket.

        Raises:
            NonTextMessageReceived: it is binary.
            NonJsonMessageReceived: it is no JSON.
        """
        while self.ws.application_state is not WebSocketState.DISCONNECTED:
            try:
                text = await self.ws.receive_text()
                if len(text.encode()) > LARGEST_BYTES:
                    await self.close(MESSAGE_TOO_BIG, f"A message may have {LARGEST_BYTES} bytes at most.")
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
        """Close the socket; of the reason, as much as fits is sent."""
        await super().close(code, reason.encode()[:LONGEST_REASON_BYTES].decode(errors="ignore"))


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Strawberry's side of the protocol behind a check of every message.

    What is wrong with a message closes the socket (4400); what is wrong with an
    operation ends that operation only.
    """

    async def handle_message(self, message: Any) -> None:
        """Act on a message if it has the shape of one."""
        if problem := message_problem(message):
            await self.handle_invalid_message(problem)
        else:
            await super().handle_message(message)

    async def handle_connection_init(self, message: Any) -> None:
        """Let the client in; a payload of null is none."""
        payload = message.get("payload") or {}
        await super().handle_connection_init(ConnectionInitMessage(type="connection_init", payload=payload))

    async def handle_ping(self, message: Any) -> None:
        """Answer with what the ping carried."""
        pong = PongMessage(type="pong")
        if message.get("payload") is not None:
            pong["payload"] = message["payload"]
        try:
            await self.send_message(pong)
        except orjson.JSONEncodeError:  # it reads 1,024 levels, but writes 254
            await self.handle_invalid_message("The `payload` of ping is nested too deeply.")

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> None:
        """Never close the socket for one operation; it gets an `error` message instead."""
