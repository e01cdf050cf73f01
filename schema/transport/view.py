"""The endpoint /graphql: operations by POST, GET and WebSocket, and GraphiQL for browsers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from cross_web import AsyncHTTPRequestAdapter
from graphql import GraphQLError
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http import GraphQLRequestData
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult

from app.errors import Unauthenticated
from schema import Schema
from schema.context import Context
from schema.loaders import open_loaders

PAGE_HEADERS = {
    # the page needs nothing from any other host, so it may ask none
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
        "img-src 'self' data:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "Cache-Control": "no-cache",
}
NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>VK Comments</title>
<body style="font: 1rem/1.5 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>GraphiQL has not been built</h1>
<p>The server runs, and this address answers GraphQL by POST and WebSocket. For the page, install
<a href="https://nodejs.org">Node.js</a> 20.19 or newer, run <code>make web</code> and reload.</p>
</body></html>
"""


class _TextWebSocket(ASGIWebSocketAdapter):
    """Sends messages as text, which graphql-transport-ws asks for, though orjson writes bytes."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        await super().send_json(_AsText(message))


class _AsText(dict[str, object]):
    """A message that is to be sent as text."""


class GraphQLView(GraphQL[Context, None]):
    """Strawberry's view with our context, orjson, API keys and page."""

    websocket_adapter_class = _TextWebSocket

    def __init__(self, schema: Schema, page: Path, allowed_origins: Sequence[str]) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql",
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            allowed_origins=allowed_origins,
        )
        self._page = page

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:  # noqa: ARG002
        """Return the context of a request; the process' resources come from its lifespan."""
        resources = request.state.resources
        return Context(resources, open_loaders(resources.database))

    async def get_root_value(self, request: Request | WebSocket) -> None:  # noqa: ARG002 - Strawberry's signature
        """Return the root value: there is none."""
        return

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> Any:
        """Execute what was sent by HTTP, once its key is checked."""
        try:
            context.resources.keys.check(request.headers.get("authorization"))
        except Unauthenticated as fault:
            sub_response.status_code = 401
            sub_response.headers["WWW-Authenticate"] = "Bearer"
            error = GraphQLError(fault.message, extensions={"code": fault.code.value})
            return ExecutionResult(data=None, errors=[error])
        return await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )

    async def on_ws_connect(self, context: Context) -> Any:
        """Let a WebSocket in if connection_init has a key, `{"authorization": "Bearer <key>"}`, or none is needed."""
        given = {name.lower(): value for name, value in context.connection_params.items()}
        try:
            context.resources.keys.check(str(given["authorization"]) if "authorization" in given else None)
        except Unauthenticated as fault:
            raise ConnectionRejectionError({"message": fault.message, "code": fault.code.value}) from fault
        return await super().on_ws_connect(context)

    async def render_graphql_ide(self, request: Request) -> Response:  # noqa: ARG002 - Strawberry's signature
        """Answer a browser with GraphiQL, or with how to get it."""
        if self._page.is_file():
            return FileResponse(self._page, headers=PAGE_HEADERS)
        return HTMLResponse(NOT_BUILT, status_code=503)

    def encode_json(self, data: object) -> str | bytes:
        """Write JSON: as text for WebSockets, as bytes for HTTP."""
        encoded = orjson.dumps(data)
        return encoded.decode() if isinstance(data, _AsText) else encoded

    def decode_json(self, data: str | bytes) -> object:
        """Read JSON.

        Raises:
            JSONDecodeError: it is none.
        """
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise json.JSONDecodeError(error.msg, error.doc, error.pos) from error
