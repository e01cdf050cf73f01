"""The heartbeat file of a worker process, which listens on no port: the worker touches it while it can work."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.errors import Fault
from app.health import HealthCheck, HealthStatus
from app.log import log
from app.settings import Settings

HEARTBEAT_FILE = "worker.alive"
"""The file in DATA_DIR whose modification time is the worker's last heartbeat."""
HEARTBEAT_SECONDS = 3.0
HEARTBEAT_TIMEOUT_SECONDS = 15.0
"""From this age a heartbeat is too old: several intervals, each of which may wait for PostgreSQL."""


class NotAlive(Fault):
    """The worker on this DATA_DIR has no recent heartbeat."""


@asynccontextmanager
async def heartbeat_file(settings: Settings, health: HealthCheck) -> AsyncIterator[None]:
    """Write heartbeats while the context is open, as long as this event loop runs and PostgreSQL answers it.

    If the file cannot be written, the worker continues: the error is logged, and
    `require_alive` reports the missing heartbeat.
    """
    path = settings.data_dir / HEARTBEAT_FILE
    writing = asyncio.create_task(_write_heartbeats(path, health))
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.wait({writing})
        with suppress(OSError):
            path.unlink()


async def _write_heartbeats(path: Path, health: HealthCheck) -> None:
    while True:
        try:
            postgresql = await health.postgresql()
            if postgresql.status is HealthStatus.HEALTHY:
                _touch(path)
            else:
                log.warning("no_sign_of_life", reason=f"PostgreSQL {postgresql.detail}")
        except (OSError, Fault) as error:
            log.warning("no_sign_of_life", reason=str(error))
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def require_alive(settings: Settings) -> None:
    """Check the heartbeat of the worker on this DATA_DIR.

    Raises:
        NotAlive: the heartbeat is missing or too old.
    """
    path = settings.data_dir / HEARTBEAT_FILE
    try:
        age_seconds = time.time() - path.stat().st_mtime
    except OSError as error:
        raise NotAlive(f"No worker runs on {settings.data_dir}: {error.strerror}.") from error
    if age_seconds > HEARTBEAT_TIMEOUT_SECONDS:
        raise NotAlive(f"The worker on {settings.data_dir} has written no heartbeat for {age_seconds:.0f} s.")
