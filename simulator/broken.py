"""This file breaks replies as networks and proxies do: another body, half a body, a dead connection, a long wait."""

import socket
import struct
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulator.faults import Brake, Fault

JSON_TYPE = "application/json; charset=utf-8"
_PAGE = "<html><head><title>Error</title></head><body>Something went wrong</body></html>"


async def broken(fault: Fault, make: Callable[[], Response], brake: Brake, receive: Receive) -> Response:
    """What a fault that is no VK error sends instead of the reply that `make` makes (see `Fault` for each kind)."""
    if fault.what == "http":
        return Response(_PAGE, fault.http or 200, media_type="text/html")
    if fault.what == "not_json":
        return Response("upstream is busy", media_type=JSON_TYPE)
    if fault.what == "timeout":
        await brake.pause(fault.delay_seconds, client_gone(receive))
        return _Silence()
    reply = make()
    if fault.what == "late":
        await brake.pause(fault.delay_seconds, client_gone(receive))
        return reply
    half = bytes(reply.body[: len(reply.body) // 2])
    return Response(half, media_type=JSON_TYPE) if fault.what == "truncated" else _Half(half, dict(reply.headers))


class _Silence(Response):
    """No reply: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        await reset(receive)


class _Half(Response):
    """The head of a whole reply, half of its body, and then the connection is reset."""

    def __init__(self, half: bytes, headers: dict[str, str]) -> None:
        super().__init__(half, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await reset(receive)


async def client_gone(receive: Receive) -> None:
    """Return when the client has closed the connection; the request's body has to be read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(receive: Receive) -> None:
    """End the connection with a TCP reset.

    ASGI has no word for it, so it takes the connection that uvicorn (0.54) keeps beside its `receive`.

    Raises:
        ConnectionResetError: there is no connection, as client and simulator share a process.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the simulator reset the connection")
    # closing with a linger of 0 seconds sends RST, not FIN (socket(7))
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await client_gone(receive)
