"""What each kind of job does: the one place that knows all of them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.errors import StartFailed
from app.jobs.running_job import RunningJob
from app.jobs.states import JobKind
from app.work.analyzing.analyze_comments import analyze_comments
from app.work.collecting.collect_comments import collect_comments
from app.work.exporting.export_comments import export_comments
from app.work.groups.refresh_groups import refresh_groups
from app.work.groups.remove_groups import remove_groups
from app.work.matching.match_keywords import match_keywords

Body = Callable[[RunningJob], Awaitable[dict[str, Any]]]
"""Runs on the event loop, which it must not keep busy, and returns the job's result."""
PlainBody = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Runs in a process of its own, with the job's arguments; cancelled, it is killed, and it starts anew when retried."""
Bodies = Mapping[JobKind, Body | PlainBody]

BODIES: Bodies = {
    JobKind.ANALYZE_COMMENTS: analyze_comments,
    JobKind.COLLECT_COMMENTS: collect_comments,
    JobKind.EXPORT_COMMENTS: export_comments,
    JobKind.MATCH_KEYWORDS: match_keywords,
    JobKind.REFRESH_GROUPS: refresh_groups,
    JobKind.REMOVE_GROUPS: remove_groups,
}


def kinds_named(names: str) -> list[JobKind]:
    """Return the kinds that a person has named, separated by commas.

    Raises:
        StartFailed: one of them does not exist.
    """
    return [_kind(name.strip(), "--kinds") for name in names.split(",") if name.strip()]


def limits_of(bodies: Bodies, limits: Mapping[str, int]) -> dict[str, int]:
    """Return how many jobs of each of these kinds run at once; 0 is no limit.

    Raises:
        StartFailed: JOB_KIND_LIMITS names a kind that does not exist.
    """
    known = {_kind(name, "JOB_KIND_LIMITS"): limit for name, limit in limits.items()}
    return {kind.value: known.get(kind, 0) for kind in bodies}


def _kind(name: str, where: str) -> JobKind:
    try:
        return JobKind(name)
    except ValueError:
        known = ", ".join(kind.value for kind in JobKind)
        raise StartFailed(f"{where}: there is no kind of job '{name}'; there are {known}.") from None
