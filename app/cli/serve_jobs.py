"""Runs only a worker until SIGINT or SIGTERM."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

from prometheus_client import start_http_server

from app.background import open_worker
from app.cli.alive import heartbeat_file
from app.cli.processes import listen_failure
from app.cli.service import StopSignals, stop_signals
from app.errors import WorkerDied
from app.health import HealthCheck
from app.log import configure_logging, log
from app.resources import open_resources
from app.settings import Settings
from app.watchdog import watching_loop
from app.work.kinds import JobKind

MEASURE_SECONDS = 5.0
"""The interval at which a worker with metrics refreshes those that cover all processes."""

GARBAGE_THRESHOLD = 50_000
"""The number of new objects after which Python's cyclic garbage collector runs.

With Python's default, and without freezing the objects made at startup, a thousand
subscribers received an event after 1.3 s instead of 0.3 s (bench/jobs.py).
"""


async def serve_jobs(
    settings: Settings, concurrency: int, kinds: Sequence[JobKind] = (), metrics_port: int | None = None
) -> None:
    """Run only a worker, and write its heartbeat to DATA_DIR.

    Run only jobs of these kinds (none given: all). With `metrics_port`, serve its metrics
    at `/metrics` on that port.

    Raises:
        StartFailed: the resources cannot be opened, or the port is in use.
        WorkerDied: the worker ended unexpectedly.
    """
    configure_logging(settings)
    async with (
        stop_signals() as stop,
        open_resources(settings) as resources,
        open_worker(resources, concurrency, kinds),
        ending_with_worker(stop, resources.health),
        heartbeat_file(settings, resources.health),
    ):
        with watching_loop():
            async with (
                nullcontext() if metrics_port is None else _metrics_at(settings.host, metrics_port, resources.health)
            ):
                collect_garbage_rarely()
                log.info("working", concurrency=concurrency, kinds=[kind.value for kind in kinds or JobKind])
                await stop.requested.wait()
                log.info("stopping")


def collect_garbage_rarely() -> None:
    """Make the cyclic garbage collector run less often. Call it when all long-lived objects exist."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


@asynccontextmanager
async def ending_with_worker(stop: StopSignals, health: HealthCheck) -> AsyncIterator[None]:
    """Stop this process when its worker dies, and exit with a failure, so that it is restarted.

    Raises:
        WorkerDied: the worker has died.
    """

    async def follow() -> None:
        await health.worker_died.wait()
        stop.requested.set()

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
    if health.dead_worker:
        raise WorkerDied(health.dead_worker)


@asynccontextmanager
async def _metrics_at(host: str, port: int, health: HealthCheck) -> AsyncIterator[None]:
    """Serve this process's metrics over HTTP, and refresh those that cover all processes."""
    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        raise listen_failure(error, host, port, "Choose another --metrics-port.") from error
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
