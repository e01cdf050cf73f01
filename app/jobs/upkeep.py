"""Maintains the queue: periodic tasks, each run by one process at a time."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

from app import metrics
from app.errors import DATABASE_DELAYS
from app.job_states import JobPriority
from app.jobs.queue import restore_lost
from app.log import log
from app.resources import Resources
from app.store import entries, jobs, workers

REPAIR_AFTER_SECONDS = 30.0
"""The age at which an unfinished job without a queue entry, or an entry without a job, is repaired."""
PRIORITY_STEP = JobPriority.NORMAL.value - JobPriority.LOW.value
RESCUE_PRIORITY = JobPriority.CRITICAL.value + PRIORITY_STEP
REMOVE_BATCH_SIZE = 1_000
LOG_DAYS = 1.0


async def run_each(resources: Resources, steps: Iterable[Callable[[Resources], Awaitable[object]]]) -> None:
    """Run the steps one after the other. A step that fails does not stop the others; the next call tries it again."""
    for step in steps:
        try:
            await step(resources)
        except DATABASE_DELAYS:
            log.warning("upkeep_delayed", step=_name_of(step))
        except Exception:  # noqa: BLE001 - one broken step must not stop the upkeep of the queue
            log.exception("upkeep_failed", step=_name_of(step))


def _name_of(step: Callable[..., object]) -> str:
    return str(getattr(getattr(step, "func", step), "__name__", step))


async def restore(resources: Resources) -> None:
    """Enqueue unfinished jobs again whose queue entry is missing."""
    for job_id in await restore_lost(resources, REPAIR_AFTER_SECONDS):
        metrics.jobs_restored.inc()
        log.warning("job_restored", job_id=job_id)


async def drop_orphans(resources: Resources, kinds: Sequence[str]) -> None:
    """Delete queue entries of these kinds whose job has ended or does not exist."""
    async with resources.database.transaction() as connection:
        count = await entries.drop_orphans(connection, kinds, REPAIR_AFTER_SECONDS)
    if count:
        log.warning("entries_dropped", count=count)


async def raise_waiting(resources: Resources) -> None:
    """Raise the priority of LOW and NORMAL jobs that have waited long, up to HIGH."""
    async with resources.database.transaction() as connection:
        await entries.raise_waiting(
            connection, resources.settings.job_ageing_seconds, PRIORITY_STEP, JobPriority.HIGH.value
        )


async def raise_abandoned(resources: Resources) -> None:
    """Raise the priority of jobs whose worker has died above that of all waiting jobs."""
    async with resources.database.transaction() as connection:
        await entries.raise_abandoned(connection, resources.settings.job_heartbeat_timeout_seconds, RESCUE_PRIORITY)


async def clear(resources: Resources) -> None:
    """Remove ended jobs older than JOB_RETENTION_DAYS, old rows of PgQueuer's log, and dead workers."""
    if days := resources.settings.job_retention_days:
        async with resources.database.connect() as connection:
            before = await jobs.current_time(connection) - timedelta(days=days)
        log.info("jobs_removed", count=await remove_finished(resources, before))
    async with resources.database.transaction() as connection:
        await entries.delete_old_log(connection, LOG_DAYS, days or LOG_DAYS)
        await workers.forget_dead(connection)


async def remove_finished(resources: Resources, before: datetime | None = None) -> int:
    """Remove ended jobs (before a time) with their events, and return how many. The data that they stored stays."""
    count = 0
    while True:
        async with resources.database.transaction() as connection:
            removed = await jobs.remove_finished(connection, before, REMOVE_BATCH_SIZE)
        count += removed
        if removed < REMOVE_BATCH_SIZE:
            return count
