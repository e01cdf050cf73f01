"""Keeps the queue in order: what PgQueuer's clock runs every few seconds and every hour, in one process at a time."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from app import metrics
from app.actions.set_monitoring import start_due
from app.errors import ServiceUnavailable
from app.jobs.engine import Clock
from app.jobs.queue import restore_lost
from app.jobs.states import JobKind, JobPriority
from app.log import log
from app.resources import Resources
from app.store import entries, exports, jobs, workers
from app.work.exporting.export_files import remove_unneeded

EVERY_FIVE_SECONDS = "* * * * * */5"
HOURLY = "17 * * * *"
SILENT_SECONDS = 30.0
"""How long an unfinished job without an entry in the queue, or an entry without a job, is left alone."""
PRIORITY_STEP = JobPriority.NORMAL.value - JobPriority.LOW.value
RESCUE_PRIORITY = JobPriority.CRITICAL.value + PRIORITY_STEP
REMOVED_AT_ONCE = 1_000
LOG_DAYS = 1.0


def clock_of(resources: Resources) -> Clock:
    """Return what is done when."""
    return {
        "tick": (
            EVERY_FIVE_SECONDS,
            lambda: _each(resources, restore, drop_orphans, raise_waiting, raise_abandoned, start_due),
        ),
        "clear": (HOURLY, lambda: _each(resources, clear, clear_exports)),
    }


async def _each(resources: Resources, *steps: Callable[[Resources], Awaitable[object]]) -> None:
    """Do one thing after the other; what fails is tried again the next time, and keeps none of the others from work."""
    for step in steps:
        try:
            await step(resources)
        except ServiceUnavailable:
            log.warning("upkeep_delayed", step=step.__name__)
        except Exception:  # noqa: BLE001 - whatever it was, the queue has to be kept in order
            log.exception("upkeep_failed", step=step.__name__)


async def restore(resources: Resources) -> None:
    """Put unfinished jobs back into the queue that have lost their entry there."""
    for job_id in await restore_lost(resources, SILENT_SECONDS):
        metrics.jobs_restored.inc()
        log.warning("job_restored", job_id=job_id)


async def drop_orphans(resources: Resources) -> None:
    """Delete entries of the queue whose job has ended, or is gone."""
    async with resources.database.transaction() as connection:
        count = await entries.drop_orphans(connection, [kind.value for kind in JobKind], SILENT_SECONDS)
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


async def clear_exports(resources: Resources) -> None:
    """Remove the files of exports that have expired or whose jobs are gone, and what crashed runs have left."""
    async with resources.database.transaction() as connection:
        await exports.remove_expired(connection)
    async with resources.database.connect() as connection:
        if count := await remove_unneeded(connection, resources.settings):
            log.info("exports_removed", count=count)


async def remove_finished(resources: Resources, before: datetime | None = None) -> int:
    """Remove jobs that have ended (before a time), with their events, and return how many. What they stored stays."""
    count = 0
    while True:
        async with resources.database.transaction() as connection:
            removed = await jobs.remove_finished(connection, before, REMOVED_AT_ONCE)
        count += removed
        if removed < REMOVED_AT_ONCE:
            return count
