"""What the task manager is given to run: a handler for each kind of job, and periodic tasks. It knows no kind."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.jobs.running_job import RunningJob

Handler = Callable[[RunningJob], Awaitable[dict[str, Any]]]
"""Runs on the event loop, which it must not block, and returns the job's result."""
ProcessHandler = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Runs in a process of its own with the job's arguments; a cancelled one is killed, a retried one starts anew."""
Handlers = Mapping[str, Handler | ProcessHandler]
"""The name of a kind -> its handler."""
PeriodicTask = tuple[str, Callable[[], Awaitable[None]]]
"""When, as a cron expression whose sixth field is seconds, and what."""
EVERY_FIVE_SECONDS = "* * * * * */5"
HOURLY = "17 * * * *"
