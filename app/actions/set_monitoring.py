"""Monitoring: repeats the collection of communities, each at its own interval."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import JobAlreadyRunning, QueueFull, ValidationFailed
from app.job_states import JobPriority, MoveReason
from app.jobs.queue import NewJob, count_waiting_jobs, enqueue
from app.log import log
from app.notifications import job_topic
from app.resources import Resources
from app.store import groups, monitorings
from app.store.rows import DueMonitoringRow, JobRow, LockedMonitoringRow, MonitoringRow
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.collecting.collection import CollectionRequest

LONGEST_INTERVAL_MINUTES = 30 * 24 * 60


class MonitoringDefaults(TypedDict):
    """The columns of a monitoring that are set when it is first used."""

    is_enabled: bool
    interval_seconds: int
    priority: int


DEFAULTS: MonitoringDefaults = {"is_enabled": False, "interval_seconds": 3600, "priority": JobPriority.LOW.value}
"""The monitoring of a community for which none has been set."""
LONGEST_FIRST_WAIT_SECONDS = 60.0
BATCH = 100
"""The most communities that one tick starts; its transaction blocks their other jobs meanwhile."""


async def set_monitoring(
    resources: Resources,
    owner_id: int,
    *,
    enabled: bool | None = None,
    interval_minutes: int | None = None,
    priority: JobPriority | None = None,
) -> MonitoringRow:
    """Set the monitoring of a community and return its row; None leaves a value unchanged.

    When monitoring becomes enabled, its first run starts after a random time of at most
    a tenth of the interval and at most a minute, so that the first runs of many are spread.

    Raises:
        ValidationFailed: the interval is less than a minute or more than 30 days.
        GroupNotFound: the community has not been added.
    """
    if interval_minutes is not None and not 1 <= interval_minutes <= LONGEST_INTERVAL_MINUTES:
        raise ValidationFailed({"intervalMinutes": f"must be between 1 and {LONGEST_INTERVAL_MINUTES}"})
    async with resources.database.transaction() as connection:
        await groups.require_groups(connection, [owner_id])
        old = await monitorings.lock_monitoring(connection, owner_id, DEFAULTS)
        is_enabled = old.is_enabled if enabled is None else enabled
        interval_seconds = old.interval_seconds if interval_minutes is None else 60 * interval_minutes
        values = {
            "is_enabled": is_enabled,
            "interval_seconds": interval_seconds,
            "priority": old.priority if priority is None else priority.value,
            "next_run_at": _next_run(old, interval_seconds) if is_enabled else None,
        }
        row = await monitorings.write_monitoring(connection, owner_id, values)
    log.info("monitoring_set", owner_id=owner_id, enabled=row.is_enabled, interval_seconds=row.interval_seconds)
    return row


def _next_run(old: LockedMonitoringRow, interval_seconds: int) -> datetime:
    """Return the next run of a monitoring that is now enabled; `old` is its former row."""
    if old.next_run_at is None:  # it was not enabled
        wait_seconds = random.uniform(0.0, min(interval_seconds / 10, LONGEST_FIRST_WAIT_SECONDS))  # noqa: S311 - jitter
        return old.now + timedelta(seconds=wait_seconds)
    if interval_seconds != old.interval_seconds:
        return min(old.next_run_at, old.now + timedelta(seconds=interval_seconds))
    return old.next_run_at


async def run_monitoring(resources: Resources, owner_id: int) -> tuple[JobRow, MonitoringRow]:
    """Enqueue a collection of a community now, whether its monitoring is enabled or not. Return job and monitoring.

    If it is enabled, its next run is one interval from now.

    Raises:
        GroupNotFound: the community has not been added.
        JobAlreadyRunning: it is being collected or removed already.
        QueueFull: too many jobs wait.
    """
    topics: list[str] = []
    async with resources.notifications.publish_on_commit(topics) as connection:
        await groups.require_groups(connection, [owner_id])
        old = await monitorings.lock_monitoring(connection, owner_id, DEFAULTS)
        job = await enqueue(connection, resources, _collection(owner_id, old.priority, MoveReason.REQUESTED))
        next_run_at = old.now + timedelta(seconds=old.interval_seconds) if old.is_enabled else None
        values = {"job_id": job.id, "next_run_at": next_run_at}
        row = await monitorings.write_monitoring(connection, owner_id, values)
        topics.append(job_topic(job.id))
    log.info("monitoring_started", owner_id=owner_id, job_id=job.id)
    return job, row


@dataclass(frozen=True, slots=True)
class _StartOutcome:
    """The outcome for due monitorings, by owner id."""

    started: dict[int, int] = field(default_factory=dict)
    """The job that was enqueued."""
    busy: dict[int, int] = field(default_factory=dict)
    """The job that collects the community already."""
    postponed: dict[int, datetime] = field(default_factory=dict)
    """The time when it was due: the queue was full."""


async def start_due(resources: Resources) -> int:
    """Enqueue a collection of each community whose monitoring is due, at most 100, and return how many.

    Each community is enqueued once, however many processes call this concurrently. A community
    that is being collected already waits for its next run; if the queue is full, the rest stay due.
    """
    topics: list[str] = []
    async with resources.notifications.publish_on_commit(topics) as connection:
        due = await monitorings.claim_due(connection, BATCH)
        if due:
            await count_waiting_jobs(connection, resources.settings.queue_limit, len(due))
        outcome = await _start(connection, resources, due)
        await monitorings.note_jobs(connection, outcome.started)
        await monitorings.make_due_again(connection, outcome.postponed)
        topics += [job_topic(job_id) for job_id in outcome.started.values()]
    for owner_id, job_id in outcome.started.items():
        log.info("monitoring_started", owner_id=owner_id, job_id=job_id)
    for owner_id, job_id in outcome.busy.items():
        log.info("monitoring_skipped", owner_id=owner_id, job_id=job_id)
    if outcome.postponed:
        log.warning("monitoring_delayed", reason="the queue is full", communities=len(outcome.postponed))
    return len(outcome.started)


async def _start(connection: AsyncConnection, resources: Resources, due: Sequence[DueMonitoringRow]) -> _StartOutcome:
    outcome = _StartOutcome()
    # Use the order in which jobs of many communities claim them. Otherwise such a job's transaction and this one could
    # each wait for a community that the other one has claimed (deadlock).
    rows = sorted(due, key=lambda row: row.owner_id)
    for place, row in enumerate(rows):
        try:
            async with connection.begin_nested():
                new = _collection(row.owner_id, row.priority, MoveReason.SCHEDULED)
                outcome.started[row.owner_id] = (await enqueue(connection, resources, new)).id
        except JobAlreadyRunning as fault:
            outcome.busy[row.owner_id] = fault.job_id
        except QueueFull:
            outcome.postponed.update({later.owner_id: later.due_at for later in rows[place:]})
            break
    return outcome


def _collection(owner_id: int, priority: int, reason: MoveReason) -> NewJob[CollectionRequest]:
    return NewJob(COLLECT_COMMENTS, CollectionRequest((owner_id,)), JobPriority(priority), reason=reason)
