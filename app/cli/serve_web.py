"""Runs the web server, including a worker unless WORKERS is 0, until SIGINT or SIGTERM."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from app.background import open_worker
from app.cli.processes import listen
from app.cli.serve_jobs import collect_garbage_rarely, ending_with_worker
from app.cli.service import StopSignals, serve_app, stop_signals
from app.log import configure_logging, log
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings
from app.watchdog import watching_loop
from schema.transport.requests import LARGEST_BYTES


async def serve_web(settings: Settings) -> None:
    """Run the web server, including a worker unless WORKERS is 0.

    Raises:
        StartFailed: the port is in use, or the resources cannot be opened.
        WorkerDied: the worker ended unexpectedly.
    """
    configure_logging(settings)
    with listen(settings.host, settings.port) as sock:
        async with AsyncExitStack() as stack:
            stop = await stack.enter_async_context(stop_signals())
            stack.enter_context(watching_loop())
            resources = await stack.enter_async_context(open_resources(settings))
            stop_worker: Callable[[], Awaitable[None]] | None = None
            if settings.workers:
                stop_worker = await stack.enter_async_context(open_worker(resources, settings.workers))
                await stack.enter_async_context(ending_with_worker(stop, resources.health))
            host, port = sock.getsockname()[:2]
            log.info("serving", host=host, port=port, workers=settings.workers, auth=settings.auth)
            app = create_app(resources)
            collect_garbage_rarely()
            await serve_app(
                app,
                sock,
                stop,
                drain=lambda: _drain(resources, stop, stop_worker),
                largest_message_bytes=2
                * LARGEST_BYTES,  # the endpoint rejects a message above its limit, with a reason
            )
            log.info("stopping")


async def _drain(resources: Resources, stop: StopSignals, stop_worker: Callable[[], Awaitable[None]] | None) -> None:
    """Give load balancers, through the readiness check, and workers time to take over before connections are closed.

    After Ctrl-C, wait only for the worker's jobs.
    """
    started_at = time.monotonic()
    resources.health.is_draining = True
    log.info("draining")
    if stop_worker:
        await stop_worker()
    left_seconds = resources.settings.drain_seconds - (time.monotonic() - started_at)
    immediate = asyncio.ensure_future(stop.immediate.wait())
    await asyncio.wait({immediate}, timeout=max(0.0, left_seconds))
    immediate.cancel()
