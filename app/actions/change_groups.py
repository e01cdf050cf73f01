"""Changes users' notes and labels of communities, and enqueues the jobs that refresh and remove communities."""

from collections.abc import Sequence
from typing import TypedDict

from app.errors import ValidationFailed
from app.jobs.queue import NewJob, start_job
from app.resources import Resources
from app.store import groups
from app.store.rows import GroupRow, JobRow
from app.work.groups.refresh_groups import REFRESH_GROUPS, RefreshRequest
from app.work.groups.remove_groups import REMOVE_GROUPS, RemovalRequest

MOST_GROUPS = 10_000
LONGEST_NOTE = 2_000
MOST_LABELS, LONGEST_LABEL = 20, 50


class GroupChanges(TypedDict, total=False):
    """What a user can change of a community; None removes the note."""

    note: str | None
    labels: Sequence[str]


async def update_group(resources: Resources, owner_id: int, changes: GroupChanges) -> GroupRow:
    """Change the `note` (None removes it) or `labels` of a community, if `changes` contains them; return its row.

    Raises:
        ValidationFailed: the note or a label is too long, or there are too many labels.
        GroupNotFound: the community has not been added.
    """
    values: dict[str, object] = {}
    problems: dict[str, str] = {}
    if "note" in changes:
        note = (changes["note"] or "").strip()
        values["note"] = note or None
        if len(note) > LONGEST_NOTE or "\0" in note:
            problems["note"] = f"must have at most {LONGEST_NOTE} characters and no NUL"
    if "labels" in changes:
        labels = list(dict.fromkeys(" ".join(label.split()) for label in changes["labels"]))
        values["labels"] = labels
        if len(labels) > MOST_LABELS:
            problems["labels"] = f"must contain at most {MOST_LABELS} labels"
        for number, label in enumerate(labels):
            if not 1 <= len(label) <= LONGEST_LABEL or not label.isprintable():
                problems[f"labels.{number}"] = f"must have between 1 and {LONGEST_LABEL} characters, all printable"
    if problems:
        raise ValidationFailed(problems)
    async with resources.database.transaction() as connection:
        return await groups.update_group(connection, owner_id, values)


async def start_refresh(resources: Resources, owner_ids: Sequence[int] | None) -> JobRow:
    """Enqueue a job that refreshes communities from VK (None: all of them), and return its row.

    Raises:
        ValidationFailed: `owner_ids` is empty, or has more than 10,000.
        GroupNotFound: one of them has not been added.
        QueueFull: too many jobs wait.
    """
    selected = None if owner_ids is None else _checked(owner_ids)
    return await start_job(resources, NewJob(REFRESH_GROUPS, RefreshRequest(selected)))


async def start_removal(resources: Resources, owner_ids: Sequence[int]) -> JobRow:
    """Enqueue a job that removes communities with all their stored data, and return its row.

    Until it has ended, none of them can be collected completely.

    Raises:
        ValidationFailed: `owner_ids` is empty, or has more than 10,000.
        GroupNotFound: one of them has not been added; nothing is removed.
        JobAlreadyRunning: one of them is being collected or removed; nothing is removed.
        QueueFull: too many jobs wait.
    """
    return await start_job(resources, NewJob(REMOVE_GROUPS, RemovalRequest(_checked(owner_ids))))


def _checked(owner_ids: Sequence[int]) -> tuple[int, ...]:
    unique = tuple(sorted(set(owner_ids)))
    if not 1 <= len(unique) <= MOST_GROUPS:
        raise ValidationFailed({"groupIds": f"must contain between 1 and {MOST_GROUPS} ids"})
    return unique
