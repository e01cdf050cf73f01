"""What the task manager is given to run: the definition of each job kind, and periodic tasks."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from app.jobs.running_job import RunningJob
from app.json_models import from_json
from app.log import log
from app.resources import Resources
from app.store.rows import JobRow

Arguments = TypeVar("Arguments")
Checkpoint = TypeVar("Checkpoint")
Result = TypeVar("Result")

Handler = Callable[[RunningJob[Arguments, Checkpoint]], Awaitable[Result]]
"""Runs on the event loop, which it must not block, and returns the job's result."""
ProcessHandler = Callable[[Arguments], Result]
"""Runs in its own process with the job's arguments. Cancelling kills the process; a retry starts from the beginning."""


def _no_groups(_: object) -> Collection[int]:
    return ()


@dataclass(frozen=True, slots=True)
class JobDefinition(Generic[Arguments, Checkpoint, Result]):
    """A job kind: its name, its handler, and the models in which a job's row stores its data (see `app.json_models`).

    `description` is for clients. `groups` returns the communities (owner ids) that a job
    with these arguments is about. `claims` returns those that no other job may collect or
    remove until this one has ended. With `removes_claims`, communities that are missing at a
    retry are no error: the job itself may have removed them.
    """

    kind: Enum
    description: str
    handler: Handler[Arguments, Checkpoint, Result] | ProcessHandler[Arguments, Result]
    arguments: type[Arguments]
    checkpoint: type[Checkpoint]
    result: type[Result]
    groups: Callable[[Arguments], Collection[int]] = _no_groups
    claims: Callable[[Arguments], Collection[int]] = _no_groups
    removes_claims: bool = False

    def running_job(self, resources: Resources, row: JobRow) -> RunningJob[Arguments, Checkpoint]:
        """Return the run that starts with this row, which a worker has claimed.

        A checkpoint of another form, which another version has written, is ignored: the job starts again.

        Raises:
            pydantic.ValidationError: the stored arguments do not have the declared types.
        """
        arguments = from_json(self.arguments, row.arguments)
        try:
            checkpoint = None if row.checkpoint is None else from_json(self.checkpoint, row.checkpoint)
        except ValidationError as error:
            log.warning("checkpoint_ignored", job_id=row.id, reason=f"{error.error_count()} values are wrong")
            checkpoint = None
        return RunningJob(resources, row, arguments, checkpoint)


AnyJobDefinition = JobDefinition[Any, Any, Any]  # the task manager passes models on, whatever their types are
Definitions = Mapping[str, AnyJobDefinition]
"""Name of a job kind -> its definition."""
PeriodicTask = tuple[str, Callable[[], Awaitable[None]]]
"""A cron expression, whose optional sixth field is seconds, and the function to call."""
EVERY_FIVE_SECONDS = "* * * * * */5"
HOURLY = "17 * * * *"
