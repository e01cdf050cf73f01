"""Changes what people note of communities, and asks for the jobs that refresh and remove them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from app.errors import ValidationFailed
from app.events import job_topic
from app.jobs.queue import NewJob, enqueue
from app.log import log
from app.resources import Resources
from app.store import groups
from app.work.kinds import JobKind

MOST_GROUPS = 10_000
LONGEST_NOTE = 2_000
MOST_LABELS, LONGEST_LABEL = 20, 50


async def update_group(resources: Resources, owner_id: int, wishes: Mapping[str, Any]) -> Row[Any]:
    """Change a community's `note` (None is none) or `labels`, those that `wishes` has, and return its row.

    Raises:
        ValidationFailed: the note or a label is too long, or there are too many labels.
        GroupNotFound: the community has not been added.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    if "note" in wishes:
        values["note"] = (wishes["note"] or "").strip() or None
        if len(values["note"] or "") > LONGEST_NOTE or "\0" in (values["note"] or ""):
            wrong["note"] = f"may have {LONGEST_NOTE} characters at most, none of them NUL"
    if "labels" in wishes:
        values["labels"] = list(dict.fromkeys(" ".join(label.split()) for label in wishes["labels"]))
        if len(values["labels"]) > MOST_LABELS:
            wrong["labels"] = f"may be {MOST_LABELS} at most"
        for number, label in enumerate(values["labels"]):
            if not 1 <= len(label) <= LONGEST_LABEL or not label.isprintable():
                wrong[f"labels.{number}"] = f"must have between 1 and {LONGEST_LABEL} characters that can be shown"
    if wrong:
        raise ValidationFailed(wrong)
    async with resources.database.transaction() as connection:
        return await groups.update_group(connection, owner_id, values)


async def start_refresh(resources: Resources, owner_ids: Sequence[int] | None) -> Row[Any]:
    """Queue a job that asks VK for communities anew, all of them where None is given, and return its row.

    Raises:
        ValidationFailed: none is given, or more than 10,000.
        GroupNotFound: one of them has not been added.
        QueueFull: too many jobs wait.
    """
    wanted = None if owner_ids is None else _checked(owner_ids)
    return await _start(resources, NewJob(JobKind.REFRESH_GROUPS, {"owner_ids": wanted}), wanted or ())


async def start_removal(resources: Resources, owner_ids: Sequence[int]) -> Row[Any]:
    """Queue a job that removes communities with all that is stored of them, and return its row.

    No collection of them as a whole starts until it has ended.

    Raises:
        ValidationFailed: none is given, or more than 10,000.
        GroupNotFound: one of them has not been added; nothing is removed.
        JobAlreadyRunning: one of them is being collected, or removed; nothing is removed.
        QueueFull: too many jobs wait.
    """
    wanted = _checked(owner_ids)
    return await _start(
        resources, NewJob(JobKind.REMOVE_GROUPS, {"owner_ids": wanted}, wanted, removes_claims=True), wanted
    )


def _checked(owner_ids: Sequence[int]) -> list[int]:
    unique = sorted(set(owner_ids))
    if not 1 <= len(unique) <= MOST_GROUPS:
        raise ValidationFailed({"groupIds": f"give between 1 and {MOST_GROUPS} of them"})
    return unique


async def _start(resources: Resources, new: NewJob, owner_ids: Sequence[int]) -> Row[Any]:
    topics: list[str] = []
    async with resources.events.telling(topics) as connection:
        await groups.require_groups(connection, owner_ids)
        row = await enqueue(connection, resources, new)
        topics.append(job_topic(row.id))
    log.info("job_queued", job_id=row.id, kind=row.kind, groups=len(owner_ids))
    return row
