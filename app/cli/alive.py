"""The sign of life of a worker, which listens nowhere: a file that it touches again and again while it can work."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.errors import Fault
from app.health import HealthCheck, HealthStatus
from app.log import log
from app.settings import Settings

SIGN = "worker.alive"
"""The file in DATA_DIR whose time says when a worker could work last."""
BEAT_SECONDS = 3.0
FRESH_SECONDS = 15.0
"""The age from which on the sign is none: some beats, each of which may wait for PostgreSQL for a while."""


class NotAlive(Fault):
    """No worker on this DATA_DIR has shown life lately."""


@asynccontextmanager
async def showing_life(settings: Settings, health: HealthCheck) -> AsyncIterator[None]:
    """Keep the sign of life fresh while the context lasts, as long as this loop runs and PostgreSQL answers it.

    A sign that cannot be written is no reason not to work: it is logged, and
    `require_alive` tells.
    """
    path = settings.data_dir / SIGN
    beating = asyncio.create_task(_beat(path, health))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait({beating})
        with suppress(OSError):
            path.unlink()


async def _beat(path: Path, health: HealthCheck) -> None:
    while True:
        try:
            postgresql = await health.postgresql()
            if postgresql.status is HealthStatus.HEALTHY:
                _touch(path)
            else:
                log.warning("no_sign_of_life", reason=f"PostgreSQL {postgresql.detail}")
        except (OSError, Fault) as error:
            log.warning("no_sign_of_life", reason=str(error))
        await asyncio.sleep(BEAT_SECONDS)


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def require_alive(settings: Settings) -> None:
    """Look at the sign of life on this DATA_DIR.

    Raises:
        NotAlive: it is missing, or too old.
    """
    path = settings.data_dir / SIGN
    try:
        age_seconds = time.time() - path.stat().st_mtime
    except OSError as error:
        raise NotAlive(f"No worker runs on {settings.data_dir}: {error.strerror}.") from error
    if age_seconds > FRESH_SECONDS:
        raise NotAlive(f"The worker on {settings.data_dir} has shown no life for {age_seconds:.0f} s.")
