"""What workers do in the background: the handler of each kind of job, and the periodic tasks.

The only module that knows all of them: the task manager (`app.jobs`) is given them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial

from app.actions.set_monitoring import start_due
from app.errors import StartFailed
from app.jobs import upkeep
from app.jobs.handlers import EVERY_FIVE_SECONDS, HOURLY, Handlers, PeriodicTask
from app.jobs.worker import Worker, running
from app.resources import Resources
from app.work.analyzing.analyze_comments import analyze_comments
from app.work.collecting.collect_comments import collect_comments
from app.work.exporting.export_comments import export_comments
from app.work.exporting.export_files import clear_exports
from app.work.groups.refresh_groups import refresh_groups
from app.work.groups.remove_groups import remove_groups
from app.work.kinds import JobKind
from app.work.matching.match_keywords import match_keywords

HANDLERS: Handlers = {
    JobKind.ANALYZE_COMMENTS.value: analyze_comments,
    JobKind.COLLECT_COMMENTS.value: collect_comments,
    JobKind.EXPORT_COMMENTS.value: export_comments,
    JobKind.MATCH_KEYWORDS.value: match_keywords,
    JobKind.REFRESH_GROUPS.value: refresh_groups,
    JobKind.REMOVE_GROUPS.value: remove_groups,
}


def periodic_tasks(resources: Resources) -> Mapping[str, PeriodicTask]:
    """Return what is done every few seconds and every hour, by one process at a time."""
    tick = (
        upkeep.restore,
        partial(upkeep.drop_orphans, kinds=list(HANDLERS)),
        upkeep.raise_waiting,
        upkeep.raise_abandoned,
        start_due,
    )
    return {
        "tick": (EVERY_FIVE_SECONDS, lambda: upkeep.run_each(resources, tick)),
        "clear": (HOURLY, lambda: upkeep.run_each(resources, (upkeep.clear, clear_exports))),
    }


def make_worker(resources: Resources, concurrency: int, handlers: Handlers = HANDLERS) -> Worker:
    """Return a worker of these kinds, with the limits that JOB_KIND_LIMITS sets.

    Raises:
        StartFailed: JOB_KIND_LIMITS names a kind that does not exist.
    """
    limits = resources.settings.job_kind_limits
    by_kind = {kind_named(name, "JOB_KIND_LIMITS").value: limit for name, limit in limits.items()}
    return Worker(resources, concurrency, handlers, by_kind, periodic_tasks(resources))


@asynccontextmanager
async def open_worker(
    resources: Resources, concurrency: int, kinds: Collection[JobKind] = ()
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a worker of these kinds (of all, if none is named) while the context lasts; lends a function that stops it.

    Running jobs go back to the queue at its end, within ten seconds.

    Raises:
        StartFailed: JOB_KIND_LIMITS names a kind that does not exist.
    """
    handlers = {kind.value: HANDLERS[kind.value] for kind in kinds or JobKind}
    async with running(make_worker(resources, concurrency, handlers)) as stop:
        yield stop


def kinds_named(names: str) -> list[JobKind]:
    """Return the kinds that a person has named, separated by commas.

    Raises:
        StartFailed: one of them does not exist.
    """
    return [kind_named(name.strip(), "--kinds") for name in names.split(",") if name.strip()]


def kind_named(name: str, where: str) -> JobKind:
    """Return the kind with this name, which somebody has written in an option or setting (`where`).

    Raises:
        StartFailed: there is none.
    """
    try:
        return JobKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in JobKind)
        raise StartFailed(f"{where}: there is no kind of job '{name}'; there are {known}.") from None
