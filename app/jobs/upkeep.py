"""Keeps the queue in order: what runs every few seconds and every hour, in one process at a time."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

from app import metrics
from app.errors import ServiceUnavailable
from app.jobs.queue import restore_lost
from app.jobs.states import JobPriority
from app.log import log
from app.resources import Resources
from app.store import entries, jobs, workers

SILENT_SECONDS = 30.0
"""How long an unfinished job without an entry in the queue, or an entry without a job, is left alone."""
PRIORITY_STEP = JobPriority.NORMAL.value - JobPriority.LOW.value
RESCUE_PRIORITY = JobPriority.CRITICAL.value + PRIORITY_STEP
REMOVED_AT_ONCE = 1_000
LOG_DAYS = 1.0


async def run_each(resources: Resources, steps: Iterable[Callable[[Resources], Awaitable[object]]]) -> None:
    """Run steps one after the other. One that fails is tried again the next time, and does not stop the others."""
    for step in steps:
        try:
            await step(resources)
        except ServiceUnavailable:
            log.warning("upkeep_delayed", step=_name_of(step))
        except Exception:  # noqa: BLE001 - whatever it was, the queue has to be kept in order
            log.exception("upkeep_failed", step=_name_of(step))


def _name_of(step: Callable[..., object]) -> str:
    return str(getattr(getattr(step, "func", step), "__name__", step))


async def restore(resources: Resources) -> None:
    """Put unfinished jobs back into the queue that have lost their entry there."""
    for job_id in await restore_lost(resources, SILENT_SECONDS):
        metrics.jobs_restored.inc()
        log.warning("job_restored", job_id=job_id)


async def drop_orphans(resources: Resources, kinds: Sequence[str]) -> None:
    """Delete entries of these kinds whose job has ended, or is gone."""
    async with resources.database.transaction() as connection:
        count = await entries.drop_orphans(connection, kinds, SILENT_SECONDS)
    if count:
        log.warning("entries_dropped", count=count)


async def raise_waiting(resources: Resources) -> None:
    """Let jobs rise that have waited long: LOW and NORMAL ones, to HIGH at the most."""
    async with resources.database.transaction() as connection:
        await entries.raise_waiting(
            connection, resources.settings.job_ageing_seconds, PRIORITY_STEP, JobPriority.HIGH.value
        )


async def raise_abandoned(resources: Resources) -> None:
    """Let jobs whose worker has died be claimed before all that wait."""
    async with resources.database.transaction() as connection:
        await entries.raise_abandoned(connection, resources.settings.job_heartbeat_timeout_seconds, RESCUE_PRIORITY)


async def clear(resources: Resources) -> None:
    """Remove what is older than the settings keep: jobs that have ended, PgQueuer's log, workers that are gone."""
    if days := resources.settings.job_retention_days:
        async with resources.database.connect() as connection:
            before = await jobs.current_time(connection) - timedelta(days=days)
        log.info("jobs_removed", count=await remove_finished(resources, before))
    async with resources.database.transaction() as connection:
        await entries.delete_old_log(connection, LOG_DAYS, days or LOG_DAYS)
        await workers.forget_dead(connection)


async def remove_finished(resources: Resources, before: datetime | None = None) -> int:
    """Remove jobs that have ended (before a time), with their events, and return how many. What they stored stays."""
    count = 0
    while True:
        async with resources.database.transaction() as connection:
            removed = await jobs.remove_finished(connection, before, REMOVED_AT_ONCE)
        count += removed
        if removed < REMOVED_AT_ONCE:
            return count
