"""Starts an analysis: validates the request and enqueues a job."""

from collections.abc import Sequence

from app.actions.start_collection import LONGEST_TIMEOUT_SECONDS, MOST_GROUPS
from app.errors import ValidationFailed
from app.job_states import JobPriority
from app.jobs.queue import NewJob, start_job
from app.json_models import contains_nul, to_json
from app.resources import Resources
from app.store.comment_conditions import CommentConditions
from app.store.rows import JobRow
from app.work.analyzing.analyze_comments import ANALYZE_COMMENTS, AnalysisRequest


async def start_analysis(
    resources: Resources,
    *,
    owner_ids: Sequence[int] | None = None,
    conditions: CommentConditions | None = None,
    full: bool = False,
    priority: JobPriority = JobPriority.NORMAL,
    timeout_seconds: float | None = None,
) -> JobRow:
    """Enqueue a job that analyses comments and return its row.

    It analyses the comments of these communities (None: all) that meet the
    conditions. Several analyses may run at once.

    Raises:
        ValidationFailed: the request is not valid, or selects too much.
        GroupNotFound: a community has not been added.
        QueueFull: too many jobs wait.
    """
    selected = None if owner_ids is None else tuple(dict.fromkeys(owner_ids))
    request = AnalysisRequest(selected, conditions or CommentConditions(), full)
    _check(request, timeout_seconds)
    return await start_job(resources, NewJob(ANALYZE_COMMENTS, request, priority, timeout_seconds))


def _check(request: AnalysisRequest, timeout_seconds: float | None) -> None:
    problems: dict[str, str] = {}
    if request.owner_ids is not None and not 1 <= len(request.owner_ids) <= MOST_GROUPS:
        problems["groupIds"] = f"must contain between 1 and {MOST_GROUPS} ids, or be omitted"
    if contains_nul(to_json(request)):
        problems["filter"] = "contains a text with a NUL character, which no comment has"
    if timeout_seconds is not None and not 1 <= timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
        problems["timeoutSeconds"] = f"must be between 1 and {LONGEST_TIMEOUT_SECONDS}"
    if problems:
        raise ValidationFailed(problems)
