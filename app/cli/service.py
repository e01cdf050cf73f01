"""What all processes that serve until SIGINT or SIGTERM share: the signals, and an HTTP server that ends in order."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvicorn

from app.cli.processes import end_with_parent

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_SECONDS = 2
"""How long open requests and sockets may take when the server is stopped."""
LARGEST_MESSAGE_BYTES = 2**24
"""The largest message of a WebSocket, where a server sets no bound of its own."""


@dataclass(slots=True)
class Stop:
    """The wish that this process ends: `asked` is set by SIGTERM and SIGINT, `hurried` by SIGINT only."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def stop_signals() -> AsyncIterator[Stop]:
    """Lend what SIGINT and SIGTERM set. They do nothing else, so that everything is closed in order."""
    stop, loop = Stop(), asyncio.get_running_loop()

    def hurry() -> None:
        stop.asked.set()
        stop.hurried.set()

    loop.add_signal_handler(signal.SIGTERM, stop.asked.set)
    loop.add_signal_handler(signal.SIGINT, hurry)
    end_with_parent()
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it raises what it caught again at its end, in the middle of our closing."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_app(
    app: "ASGIApp",
    sock: socket.socket,
    stop: Stop,
    *,
    drain: Callable[[], Awaitable[None]] | None = None,
    largest_message_bytes: int = LARGEST_MESSAGE_BYTES,
) -> None:
    """Serve until the process is to end; then `drain`, and only then close the connections: WebSockets with 1012."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=largest_message_bytes,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopping = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if drain and not serving.done():
        await drain()
    server.should_exit = True
    await serving
