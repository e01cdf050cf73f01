"""Watches the runs of a worker: writes heartbeats, stops cancelled jobs, and notices a database clock set back."""

import time
from collections.abc import Sequence
from datetime import datetime

from app.errors import DATABASE_DELAYS
from app.jobs.active_runs import ActiveRuns
from app.jobs.database_clock import DatabaseClock
from app.jobs.runs import LONGEST_BACKOFF_SECONDS, StopReason
from app.log import log
from app.notifications import CANCELLATIONS
from app.resources import Resources
from app.store import jobs, workers
from app.store.clock_steps import correct_future_times
from app.vk.client import COOLDOWN_SECONDS

CANCEL_CHECK_SECONDS = 0.5
"""The interval at which running jobs are checked for cancel requests whose notification was lost."""
HEARTBEAT_SECONDS = 3.0


class Watch:
    """Watches the runs of the worker `name`, which runs `concurrency` jobs of these `kinds` at once.

    The worker's own heartbeat is written only while `is_serving` is set.
    """

    def __init__(
        self, resources: Resources, name: str, concurrency: int, kinds: Sequence[str], runs: ActiveRuns
    ) -> None:
        self.is_serving = False
        self._resources = resources
        self._name = name
        self._concurrency = concurrency
        self._kinds = list(kinds)
        self._runs = runs
        self._clock = DatabaseClock()
        self._heartbeat_seconds = min(HEARTBEAT_SECONDS, resources.settings.job_heartbeat_timeout_seconds / 3)

    async def run(self) -> None:
        """Stop cancelled jobs and write the heartbeats of the worker and its jobs, in an endless loop."""
        last_heartbeat_at = -self._heartbeat_seconds
        with self._resources.notifications.subscribe(CANCELLATIONS) as wake:
            while True:
                now = time.monotonic()
                try:
                    if now - last_heartbeat_at >= self._heartbeat_seconds:
                        last_heartbeat_at = now
                        await self.write_heartbeats()
                    await self._stop_cancelled()
                except DATABASE_DELAYS:
                    log.warning("watch_delayed")
                except Exception:  # noqa: BLE001 - whatever the error, running jobs have to be watched
                    log.exception("watch_failed")
                await wake.wait(min(CANCEL_CHECK_SECONDS, self._heartbeat_seconds))

    async def write_heartbeats(self) -> None:
        """Write heartbeats, and stop the jobs whose lease is lost."""
        running = list(self._runs)
        async with self._resources.database.transaction() as connection:
            if self.is_serving:
                await workers.write_heartbeat(connection, self._name, self._concurrency, self._kinds)
            lost = await jobs.write_heartbeats(connection, running) if running else set()
            now, at = await jobs.current_time(connection), time.monotonic()
        # A run that has just written its end also counts as lost, but then its handler has returned already.
        self._runs.stop(lost, StopReason.LEASE_LOST)
        await self._correct_times(now, at)

    async def _stop_cancelled(self) -> None:
        if not self._runs:
            return
        async with self._resources.database.connect() as connection:
            cancelled = await jobs.cancelled_among(connection, {job_id for job_id, _ in self._runs})
        self._runs.stop([key for key in self._runs if key[0] in cancelled], StopReason.CANCEL)

    async def _correct_times(self, now: datetime, at: float) -> None:
        """Correct stored times that are in the future because PostgreSQL's clock was set back."""
        if self._clock.was_set_back(now, at):
            async with self._resources.database.transaction() as connection:
                count = await correct_future_times(connection, LONGEST_BACKOFF_SECONDS, max(COOLDOWN_SECONDS.values()))
            if count:
                log.warning("future_times_corrected", count=count)
        self._clock.note(now, at)
