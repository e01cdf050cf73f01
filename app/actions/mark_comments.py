"""Marks comments as viewed or archived, or removes them: selected by keys, or in steps by a filter."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ValidationFailed
from app.log import log
from app.resources import Resources
from app.store import comment_marks, locks
from app.store.comment_conditions import CommentConditions
from app.store.comment_marks import Key, Marks

MOST_KEYS = 10_000
MOST_BY_FILTER = 100_000
"""The most comments that one call changes, some seconds of work. Another call continues with the rest."""
STEP_COMMENTS = 5_000
Selection = Sequence[Key] | CommentConditions
CommentChange = Callable[[AsyncConnection, Sequence[Key]], Awaitable[list[Key]]]
"""Changes comments whose walls are locked, and returns the keys of the comments that it has changed."""


@dataclass(frozen=True, slots=True)
class Marked:
    """How many comments a call has changed, on which walls, and whether matching comments remain."""

    count: int
    owner_ids: frozenset[int]
    has_more: bool


async def mark_comments(resources: Resources, selection: Selection, marks: Marks) -> Marked:
    """Set or clear the viewed and archived marks of comments, selected by keys or by conditions.

    Each step of 5,000 comments is committed separately: if a later step fails, the earlier ones stay.

    Raises:
        ValidationFailed: no mark is given, or no key, or more than 10,000.
    """
    if marks == Marks():
        raise ValidationFailed({"viewed": "must be set if archived is not"})
    done = await _apply_in_steps(resources, selection, marks, partial(comment_marks.mark, marks=marks))
    log.info("comments_marked", count=done.count, viewed=marks.viewed, archived=marks.archived)
    return done


async def remove_comments(resources: Resources, selection: Selection) -> Marked:
    """Remove comments permanently, selected by keys or by conditions; no collection stores them again.

    Raises:
        ValidationFailed: no key is given, or more than 10,000, or conditions that restrict nothing.
    """
    if isinstance(selection, CommentConditions) and not selection.are_restrictive():
        raise ValidationFailed({"filter": "selects all comments; to remove all of them, remove the communities"})
    done = await _apply_in_steps(resources, selection, None, comment_marks.remove)
    log.info("comments_removed", count=done.count)
    return done


async def _apply_in_steps(
    resources: Resources, selection: Selection, marks: Marks | None, change: CommentChange
) -> Marked:
    count, owner_ids, after = 0, set[int](), None
    if not isinstance(selection, CommentConditions):
        if not 1 <= len(selection) <= MOST_KEYS:
            raise ValidationFailed({"commentIds": f"must contain between 1 and {MOST_KEYS} ids"})
        changed = await _step(resources, sorted(set(selection)), change)
        return Marked(len(changed), frozenset(owner_id for owner_id, _ in changed), has_more=False)
    while True:
        async with resources.database.connect() as connection:
            keys = await comment_marks.keys_after(connection, selection, after, STEP_COMMENTS, marks)
        if not keys or count >= MOST_BY_FILTER:
            return Marked(count, frozenset(owner_ids), has_more=bool(keys))
        changed = await _step(resources, keys, change)
        count += len(changed)
        owner_ids |= {owner_id for owner_id, _ in changed}
        after = keys[-1]


async def _step(resources: Resources, keys: Sequence[Key], change: CommentChange) -> list[Key]:
    async with resources.database.transaction() as connection:
        await locks.lock_walls(connection, {owner_id for owner_id, _ in keys})
        return await change(connection, keys)
