"""The types that the task manager is given to run: a handler for each job kind, and periodic tasks."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.jobs.running_job import RunningJob

Handler = Callable[[RunningJob], Awaitable[dict[str, Any]]]
"""Runs on the event loop, which it must not block, and returns the job's result."""
ProcessHandler = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Runs in its own process with the job's arguments. Cancelling kills the process; a retry starts from the beginning."""
Handlers = Mapping[str, Handler | ProcessHandler]
"""Name of a job kind -> its handler."""
PeriodicTask = tuple[str, Callable[[], Awaitable[None]]]
"""A cron expression, whose optional sixth field is seconds, and the function to call."""
EVERY_FIVE_SECONDS = "* * * * * */5"
HOURLY = "17 * * * *"
