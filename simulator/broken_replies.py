"""Breaks replies as networks and proxies do: another body, half a body, a reset connection, a long delay."""

import socket
import struct
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulator.faults import Brake, Fault

JSON_TYPE = "application/json; charset=utf-8"
_PAGE = "<html><head><title>Error</title></head><body>Something went wrong</body></html>"


async def broken_reply(fault: Fault, make: Callable[[], Response], brake: Brake, receive: Receive) -> Response:
    """Return what a fault other than a VK error sends instead of the reply of `make` (see `Fault` for each kind)."""
    if fault.effective_kind == "http":
        return Response(_PAGE, fault.http or 200, media_type="text/html")
    if fault.effective_kind == "not_json":
        return Response("upstream is busy", media_type=JSON_TYPE)
    if fault.effective_kind == "timeout":
        await brake.pause(fault.delay_seconds, client_gone(receive))
        return _NoReply()
    reply = make()
    if fault.effective_kind == "late":
        await brake.pause(fault.delay_seconds, client_gone(receive))
        return reply
    half = bytes(reply.body[: len(reply.body) // 2])
    return (
        Response(half, media_type=JSON_TYPE)
        if fault.effective_kind == "truncated"
        else _HalfReply(half, dict(reply.headers))
    )


class _NoReply(Response):
    """No reply: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await reset(receive)


class _HalfReply(Response):
    """The head of a whole reply, half of its body, then the connection is reset."""

    def __init__(self, half: bytes, headers: dict[str, str]) -> None:
        super().__init__(half, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await reset(receive)


async def client_gone(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(receive: Receive) -> None:
    """Close the connection with a TCP reset.

    ASGI has no message for this, so it uses the transport that uvicorn (0.54) has beside its `receive`.

    Raises:
        ConnectionResetError: there is no connection, because client and simulator share a process.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the simulator reset the connection")
    # closing with a linger of 0 seconds sends RST, not FIN (socket(7))
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await client_gone(receive)
