"""Runs a worker and nothing else until SIGINT or SIGTERM."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

from prometheus_client import start_http_server

from app.background import open_worker
from app.cli.alive import showing_life
from app.cli.processes import refused
from app.cli.service import Stop, stop_signals
from app.errors import WorkerDied
from app.health import HealthCheck
from app.log import configure_logging, log
from app.resources import open_resources
from app.settings import Settings
from app.watchdog import watching_loop
from app.work.kinds import JobKind

MEASURE_SECONDS = 5.0
"""How often a worker with metrics measures what is counted for all processes together."""

GARBAGE_THRESHOLD = 50_000
"""How many objects are made before Python looks for cycles among them.

With its own number, and with all that was made at the start looked at again, a
thousand subscribers heard of an event after 1.3 s instead of 0.3 s (bench/jobs.py).
"""


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
    async with (
        stop_signals() as stop,
        open_resources(settings) as resources,
        open_worker(resources, concurrency, kinds),
        ending_with_worker(stop, resources.health),
        showing_life(settings, resources.health),
    ):
        with watching_loop():
            async with (
                nullcontext() if metrics_port is None else _metrics_at(settings.host, metrics_port, resources.health)
            ):
                collect_garbage_rarely()
                log.info("working", concurrency=concurrency, kinds=[kind.value for kind in kinds or JobKind])
                await stop.asked.wait()
                log.info("stopping")


def collect_garbage_rarely() -> None:
    """Look for cycles among objects less often; call it when everything that stays has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


@asynccontextmanager
async def ending_with_worker(stop: Stop, health: HealthCheck) -> AsyncIterator[None]:
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
