"""Runs what serves until SIGINT or SIGTERM: the web server, a worker, the simulator."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette

from app.cli.alive import showing_life
from app.cli.processes import end_with_parent, listen
from app.jobs.worker import open_worker
from app.log import configure_logging, log
from app.main import create_app
from app.resources import open_resources
from app.settings import Settings, read_settings
from app.simulator import SimulatorOptions, create_simulator
from schema.transport.requests import LARGEST_BYTES

GRACE_SECONDS = 2
"""How long open requests and sockets may take when the server is stopped."""


async def serve_web(settings: Settings) -> None:
    """Run the web server, with a worker in it unless WORKERS is 0.

    Raises:
        StartFailed: the port is in use, or the resources cannot be opened.
    """
    configure_logging(settings)
    with listen(settings.host, settings.port) as sock:
        async with AsyncExitStack() as stack:
            stopped = await stack.enter_async_context(_stop_signals())
            resources = await stack.enter_async_context(open_resources(settings))
            if settings.workers:
                await stack.enter_async_context(open_worker(resources, settings.workers))
            host, port = sock.getsockname()[:2]
            log.info("serving", host=host, port=port, workers=settings.workers, auth=settings.auth)
            await _serve(create_app(resources), sock, stopped)
            log.info("stopping")


async def serve_jobs(settings: Settings, concurrency: int) -> None:
    """Run a worker and nothing else, and show in DATA_DIR that it is alive.

    Raises:
        StartFailed: the resources cannot be opened.
    """
    configure_logging(settings)
    async with (
        _stop_signals() as stopped,
        open_resources(settings) as resources,
        open_worker(resources, concurrency),
        showing_life(settings, resources.health),
    ):
        log.info("working", concurrency=concurrency)
        await stopped.wait()
        log.info("stopping")


async def serve_simulator(options: SimulatorOptions, port: int) -> None:
    """Run a simulated VK on the loopback interface.

    Raises:
        StartFailed: the port is in use.
    """
    configure_logging(read_settings())
    with listen("127.0.0.1", port, "Choose another --port.") as sock:
        async with _stop_signals() as stopped:
            log.info("simulating", url=f"http://127.0.0.1:{sock.getsockname()[1]}", groups=options.groups)
            await _serve(create_simulator(options), sock, stopped)


@asynccontextmanager
async def _stop_signals() -> AsyncIterator[asyncio.Event]:
    """Lend an event that SIGINT and SIGTERM set. They do nothing else, so that everything is closed in order."""
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    end_with_parent()
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: it raises what it caught again at its end, in the middle of our closing."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: Starlette, sock: socket.socket, stopped: asyncio.Event) -> None:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=2 * LARGEST_BYTES,  # the endpoint itself refuses what is over the limit, with a reason
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
