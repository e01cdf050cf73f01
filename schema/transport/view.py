"""The endpoint /graphql: operations over POST, GET and WebSocket, and GraphiQL for browsers."""

from datetime import timedelta
from pathlib import Path
from typing import cast

import orjson
from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLRequestData
from strawberry.http.base import BaseRequestProtocol
from strawberry.http.websocket_origin import is_same_origin, normalize_origin
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from app.errors import ErrorCode, Unauthenticated
from app.settings import Settings
from schema import Schema
from schema.context import Context
from schema.loaders import Loaders
from schema.transport.requests import (
    PREFLIGHT_HEADERS,
    BoundedRequest,
    may_execute_by_get,
    place_files,
    read_operation,
)
from schema.transport.websocket import AsText, TextWebSocket, TransportHandler

PAGE_HEADERS = {
    # the page needs nothing from other hosts, so it may not contact any
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


class GraphQLView(GraphQL[Context, None]):
    """Strawberry's view with our context, orjson, API keys and GraphiQL page."""

    request_adapter_class = BoundedRequest
    websocket_adapter_class = TextWebSocket
    graphql_transport_ws_handler_class = TransportHandler

    def __init__(self, schema: Schema, page: Path, settings: Settings) -> None:
        super().__init__(
            schema,
            graphql_ide="graphiql",
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            allowed_origins=settings.cors_origins,
            connection_init_wait_timeout=timedelta(seconds=settings.websocket_init_seconds),
            max_subscriptions_per_connection=settings.websocket_max_operations,
        )
        self._page = page

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:  # noqa: ARG002 - the signature is Strawberry's
        """Return the context of a request; the resources come from the application's lifespan."""
        resources = request.state.resources
        return Context(resources, Loaders(resources), is_socket=isinstance(request, WebSocket))

    async def get_root_value(self, request: Request | WebSocket) -> None:  # noqa: ARG002 - Strawberry's signature
        """Return None: there is no root value."""
        return

    def should_render_graphql_ide(self, request: BaseRequestProtocol) -> bool:
        """Return whether to answer with GraphiQL: to a browser that opens the address, also with `?query=`."""
        opens_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        return opens_page or super().should_render_graphql_ide(request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or serve a WebSocket. Check a request's API key before reading its body."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = Request(scope, receive)
        response: Response
        try:
            if self.should_render_graphql_ide(BoundedRequest(request)):
                response = await self.run(request)
            else:
                response = await self._execute(request)
        except Unauthenticated as fault:
            response = _error_response(401, fault.message, fault.code)
            response.headers["WWW-Authenticate"] = "Bearer"
        except HTTPException as error:
            response = _error_response(error.status_code, error.reason, ErrorCode.VALIDATION_FAILED)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _execute(self, request: Request) -> Response:
        request.state.resources.keys.check(request.headers.get("authorization"))
        if request.method == "GET" and not may_execute_by_get(request.headers):
            message = f"A GET request must have a header such as `{PREFLIGHT_HEADERS[0]}: 1`, or be a page's own."
            return _error_response(400, message, ErrorCode.PREFLIGHT_REQUIRED)
        return await self.run(request)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        """Return the operation of a request.

        Raises:
            HTTPException: the request contains no valid operation.
        """
        if request.method == "GET":
            return read_operation(self.parse_query_params(request.query_params))
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data" and self._is_allowed_origin(request):
            form = await cast(BoundedRequest, request).read_form()
            operations, files_map = (self.parse_json(_text_of(form.get(name))) for name in ("operations", "map"))
            return read_operation(place_files(operations, files_map, form))
        if kind != "application/json":
            # Browsers let any page send other types, and forms, without a CORS preflight request.
            raise HTTPException(400, "The Content-Type must be application/json, or a form with a file.")
        return read_operation(self.parse_json(await request.get_body()))

    def _is_allowed_origin(self, request: AsyncHTTPRequestAdapter) -> bool:
        """Return whether a request comes from an allowed origin, or has none."""
        origin = request.headers.get("origin")
        if origin is None or "*" in self.allowed_origins or is_same_origin(origin, request.headers.get("host")):
            return True
        return normalize_origin(origin) in self.allowed_origins

    async def render_graphql_ide(self, request: Request) -> Response:  # noqa: ARG002 - Strawberry's signature
        """Return GraphiQL, or instructions to build it."""
        if self._page.is_file():
            return FileResponse(self._page, headers=PAGE_HEADERS)
        return HTMLResponse(NOT_BUILT, status_code=503)

    def encode_json(self, data: object) -> str | bytes:
        """Encode JSON: as text for WebSockets, as bytes for HTTP."""
        encoded = orjson.dumps(data)
        return encoded.decode() if isinstance(data, AsText) else encoded

    def decode_json(self, data: str | bytes) -> object:
        """Decode JSON.

        Raises:
            JSONDecodeError: the data are not JSON.
        """
        return orjson.loads(data)


def _text_of(field: object) -> str:
    return field if isinstance(field, str) else ""


def _error_response(status_code: int, message: str, code: ErrorCode) -> JSONResponse:
    error = {"message": message, "extensions": {"code": code.value}}
    return JSONResponse({"errors": [error]}, status_code)
