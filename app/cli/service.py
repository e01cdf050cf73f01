"""Shared by all processes that serve until SIGINT or SIGTERM: the signals, and an HTTP server with orderly shutdown."""

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
"""How long open requests and sockets may take to end when the server is stopped."""
LARGEST_MESSAGE_BYTES = 2**24
"""The default limit of a WebSocket message."""


@dataclass(slots=True)
class StopSignals:
    """The stop requests for this process: SIGTERM and SIGINT set `requested`, SIGINT also sets `immediate`."""

    requested: asyncio.Event = field(default_factory=asyncio.Event)
    immediate: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def stop_signals() -> AsyncIterator[StopSignals]:
    """Yield the events that SIGINT and SIGTERM set. The signals do nothing else, so everything is closed in order."""
    stop, loop = StopSignals(), asyncio.get_running_loop()

    def stop_immediately() -> None:
        stop.requested.set()
        stop.immediate.set()

    loop.add_signal_handler(signal.SIGTERM, stop.requested.set)
    loop.add_signal_handler(signal.SIGINT, stop_immediately)
    end_with_parent()
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: at its end it raises the caught signals again, during our own shutdown."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_app(
    app: "ASGIApp",
    sock: socket.socket,
    stop: StopSignals,
    *,
    drain: Callable[[], Awaitable[None]] | None = None,
    largest_message_bytes: int = LARGEST_MESSAGE_BYTES,
) -> None:
    """Serve until a stop is requested; then call `drain`, and only then close the connections: WebSockets with 1012."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=largest_message_bytes,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopping = asyncio.create_task(stop.requested.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if drain and not serving.done():
        await drain()
    server.should_exit = True
    await serving
