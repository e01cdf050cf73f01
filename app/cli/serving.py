"""Runs what serves until SIGINT or SIGTERM: the web server, a worker, the simulator."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field

import uvicorn
from prometheus_client import start_http_server
from starlette.applications import Starlette

from app.cli.alive import showing_life
from app.cli.processes import end_with_parent, listen, refused
from app.errors import WorkerDied
from app.health import HealthCheck
from app.jobs.kinds import BODIES
from app.jobs.states import JobKind
from app.jobs.worker import open_worker
from app.log import configure_logging, log
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings, read_settings
from app.simulator import SimulatorOptions, create_simulator
from app.watchdog import watching_loop
from schema.transport.requests import LARGEST_BYTES

GRACE_SECONDS = 2
"""How long open requests and sockets may take when the server is stopped."""
MEASURE_SECONDS = 5.0
"""How often a worker with metrics measures what is counted for all processes together."""

GARBAGE_THRESHOLD = 50_000
"""How many objects are made before Python looks for cycles among them.

With its own number, and with all that was made at the start looked at again, a
thousand subscribers heard of an event after 1.3 s instead of 0.3 s (bench/jobs.py).
"""


@dataclass(slots=True)
class _Stop:
    """The wish that this process ends: `asked` is set by SIGTERM and SIGINT, `hurried` by SIGINT only."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)


async def serve_web(settings: Settings) -> None:
    """Run the web server, with a worker in it unless WORKERS is 0.

    Raises:
        StartFailed: the port is in use, or the resources cannot be opened.
        WorkerDied: the worker ended before the process was to end.
    """
    configure_logging(settings)
    with listen(settings.host, settings.port) as sock:
        async with AsyncExitStack() as stack:
            stop = await stack.enter_async_context(_stop_signals())
            stack.enter_context(watching_loop())
            resources = await stack.enter_async_context(open_resources(settings))
            stop_worker: Callable[[], Awaitable[None]] | None = None
            if settings.workers:
                stop_worker = await stack.enter_async_context(open_worker(resources, settings.workers))
                await stack.enter_async_context(_ending_with_worker(stop, resources.health))
            host, port = sock.getsockname()[:2]
            log.info("serving", host=host, port=port, workers=settings.workers, auth=settings.auth)
            app = create_app(resources)
            _collect_garbage_rarely()
            await _serve(app, sock, stop, lambda: _drain(resources, stop, stop_worker))
            log.info("stopping")


def _collect_garbage_rarely() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


async def _drain(resources: Resources, stop: _Stop, stop_worker: Callable[[], Awaitable[None]] | None) -> None:
    """Let others take over before connections are closed: those who ask whether this server is ready, and workers.

    After Ctrl-C nobody is waited for but the jobs.
    """
    begun = time.monotonic()
    resources.health.is_draining = True
    log.info("draining")
    if stop_worker:
        await stop_worker()
    left_seconds = resources.settings.drain_seconds - (time.monotonic() - begun)
    hurried = asyncio.ensure_future(stop.hurried.wait())
    await asyncio.wait({hurried}, timeout=max(0.0, left_seconds))
    hurried.cancel()


async def serve_jobs(
    settings: Settings, concurrency: int, kinds: Sequence[JobKind] = (), metrics_port: int | None = None
) -> None:
    """Run a worker and nothing else, and show in DATA_DIR that it is alive.

    It takes jobs of these kinds only, where some are named. With a port its
    metrics are at `/metrics` there.

    Raises:
        StartFailed: the resources cannot be opened, or the port is in use.
        WorkerDied: the worker ended before the process was to end.
    """
    configure_logging(settings)
    bodies = {kind: body for kind, body in BODIES.items() if kind in kinds or not kinds}
    async with (
        _stop_signals() as stop,
        open_resources(settings) as resources,
        open_worker(resources, concurrency, bodies),
        _ending_with_worker(stop, resources.health),
        showing_life(settings, resources.health),
    ):
        with watching_loop():
            async with (
                nullcontext() if metrics_port is None else _metrics_at(settings.host, metrics_port, resources.health)
            ):
                _collect_garbage_rarely()
                log.info("working", concurrency=concurrency, kinds=[kind.value for kind in bodies])
                await stop.asked.wait()
                log.info("stopping")


@asynccontextmanager
async def _ending_with_worker(stop: _Stop, health: HealthCheck) -> AsyncIterator[None]:
    """End this process in order when its worker dies, and with a failure, so that it is started again.

    Raises:
        WorkerDied: the worker has died.
    """

    async def follow() -> None:
        await health.worker_died.wait()
        stop.asked.set()

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
    if health.dead_worker:
        raise WorkerDied(health.dead_worker)


@asynccontextmanager
async def _metrics_at(host: str, port: int, health: HealthCheck) -> AsyncIterator[None]:
    """Serve this process' metrics by HTTP, and keep those fresh that are of all processes together."""
    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        raise refused(error, host, port, "Choose another --metrics-port.") from error
    log.info("metrics", port=server.server_port)
    measuring = asyncio.create_task(_measure(health))
    try:
        yield
    finally:
        measuring.cancel()
        await asyncio.wait({measuring})
        server.shutdown()
        server.server_close()


async def _measure(health: HealthCheck) -> None:
    while True:
        await health.measure()
        await asyncio.sleep(MEASURE_SECONDS)


async def serve_simulator(options: SimulatorOptions, port: int) -> None:
    """Run a simulated VK on the loopback interface.

    Raises:
        StartFailed: the port is in use.
    """
    configure_logging(read_settings())
    with listen("127.0.0.1", port, "Choose another --port.") as sock:
        async with _stop_signals() as stop:
            log.info("simulating", url=f"http://127.0.0.1:{sock.getsockname()[1]}", groups=options.groups)
            await _serve(create_simulator(options), sock, stop)


@asynccontextmanager
async def _stop_signals() -> AsyncIterator[_Stop]:
    """Lend what SIGINT and SIGTERM set. They do nothing else, so that everything is closed in order."""
    stop, loop = _Stop(), asyncio.get_running_loop()

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


async def _serve(
    app: Starlette, sock: socket.socket, stop: _Stop, drain: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Serve until the process is to end; then `drain`, and only then close the connections: WebSockets with 1012."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws_max_size=2 * LARGEST_BYTES,  # the endpoint itself refuses what is over the limit, with a reason
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
