"""The definitions of all job kinds, and the periodic tasks, for workers.

The only module that knows all of them: it passes them to the task manager (`app.jobs`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial

from app.actions.set_monitoring import start_due
from app.errors import StartFailed
from app.jobs import upkeep
from app.jobs.definitions import EVERY_FIVE_SECONDS, HOURLY, AnyJobDefinition, Definitions, PeriodicTask
from app.jobs.worker import Worker, running
from app.resources import Resources
from app.work.analyzing.analyze_comments import ANALYZE_COMMENTS
from app.work.collecting.collect_comments import COLLECT_COMMENTS
from app.work.exporting.export_comments import EXPORT_COMMENTS
from app.work.exporting.export_files import clear_exports
from app.work.groups.refresh_groups import REFRESH_GROUPS
from app.work.groups.remove_groups import REMOVE_GROUPS
from app.work.kinds import JobKind
from app.work.matching.match_keywords import MATCH_KEYWORDS

_ALL: tuple[AnyJobDefinition, ...] = (
    ANALYZE_COMMENTS,
    COLLECT_COMMENTS,
    EXPORT_COMMENTS,
    MATCH_KEYWORDS,
    REFRESH_GROUPS,
    REMOVE_GROUPS,
)
DEFINITIONS: Definitions = {definition.kind.value: definition for definition in _ALL}


def periodic_tasks(resources: Resources) -> Mapping[str, PeriodicTask]:
    """Return the tasks that run every five seconds and every hour, each in one process at a time."""
    tick = (
        upkeep.restore,
        partial(upkeep.drop_orphans, kinds=list(DEFINITIONS)),
        upkeep.raise_waiting,
        upkeep.raise_abandoned,
        start_due,
    )
    return {
        "tick": (EVERY_FIVE_SECONDS, lambda: upkeep.run_each(resources, tick)),
        "clear": (HOURLY, lambda: upkeep.run_each(resources, (upkeep.clear, clear_exports))),
    }


def make_worker(resources: Resources, concurrency: int, definitions: Definitions = DEFINITIONS) -> Worker:
    """Return a worker of these kinds, with the limits of JOB_KIND_LIMITS.

    Raises:
        StartFailed: JOB_KIND_LIMITS names a kind that does not exist.
    """
    limits = resources.settings.job_kind_limits
    by_kind = {kind_named(name, "JOB_KIND_LIMITS").value: limit for name, limit in limits.items()}
    return Worker(resources, concurrency, definitions, by_kind, periodic_tasks(resources))


@asynccontextmanager
async def open_worker(
    resources: Resources, concurrency: int, kinds: Collection[JobKind] = ()
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a worker of these kinds (none given: all) while the context is open; yield a function that stops it.

    On exit, running jobs return to the queue within ten seconds.

    Raises:
        StartFailed: JOB_KIND_LIMITS names a kind that does not exist.
    """
    definitions = {kind.value: DEFINITIONS[kind.value] for kind in kinds or JobKind}
    async with running(make_worker(resources, concurrency, definitions)) as stop:
        yield stop


def kinds_named(names: str) -> list[JobKind]:
    """Parse the comma-separated kinds of `--kinds`.

    Raises:
        StartFailed: one of them does not exist.
    """
    return [kind_named(name.strip(), "--kinds") for name in names.split(",") if name.strip()]


def kind_named(name: str, where: str) -> JobKind:
    """Return the kind with this name. `where` names the option or setting that contains it.

    Raises:
        StartFailed: no kind has this name.
    """
    try:
        return JobKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in JobKind)
        raise StartFailed(f"{where}: '{name}' is not a kind of job. The kinds are {known}.") from None
