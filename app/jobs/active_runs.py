"""The runs of one worker that are in progress, and the reason to stop each one once there is one."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from app.jobs.runs import StopReason
from app.json_types import JsonValue

RunKey = tuple[int, int]
"""Job id, epoch: an old run that is still cleaning up may coexist with the job's next run."""


@dataclass(slots=True)
class Run:
    """A running handler, and the reason to stop it once there is one."""

    handler: "asyncio.Task[JsonValue]"
    stop_requested: "asyncio.Future[StopReason]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the handler was stopped; None if it was not."""
        return self.stop_requested.result() if self.stop_requested.done() else None

    def stop(self, reason: StopReason) -> None:
        """Stop the handler. Only the first reason counts."""
        if not self.stop_requested.done():
            self.stop_requested.set_result(reason)
            self.handler.cancel()


class ActiveRuns(dict[RunKey, Run]):
    """The runs in progress, by job id and epoch."""

    def stop(self, keys: Collection[RunKey], reason: StopReason) -> None:
        """Stop those of these runs that are still in progress."""
        for key in self.keys() & set(keys):
            self[key].stop(reason)
