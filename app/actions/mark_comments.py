"""Marks comments as viewed or archived, and removes them: few by their keys, or very many by a filter, in steps."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import ValidationFailed
from app.log import log
from app.resources import Resources
from app.store import comment_marks, groups
from app.store.comment_conditions import CommentConditions
from app.store.comment_marks import Key, Marks

MOST_KEYS = 10_000
MOST_BY_FILTER = 100_000
"""So many comments a call changes at the most: some seconds of work. Another call goes on with the rest."""
STEP = 5_000
Wanted = Sequence[Key] | CommentConditions
Change = Callable[[AsyncConnection, Sequence[Key]], Awaitable[list[Key]]]
"""Changes comments whose walls are locked and returns the keys of those that it has changed."""


@dataclass(frozen=True, slots=True)
class Marked:
    """How many comments a call has changed, on which walls, and whether there are more to change."""

    count: int
    owner_ids: frozenset[int]
    has_more: bool


async def mark_comments(resources: Resources, wanted: Wanted, marks: Marks) -> Marked:
    """Mark comments, given by their keys or by conditions, as viewed or archived, or no longer.

    Each step of 5,000 is a transaction of its own: what is done when a later one fails stays done.

    Raises:
        ValidationFailed: no mark is given, or no key, or more than 10,000.
    """
    if marks == Marks():
        raise ValidationFailed({"viewed": "give viewed, archived or both"})
    done = await _by_steps(resources, wanted, marks, partial(comment_marks.mark, marks=marks))
    log.info("comments_marked", count=done.count, viewed=marks.viewed, archived=marks.archived)
    return done


async def remove_comments(resources: Resources, wanted: Wanted) -> Marked:
    """Remove comments for good, given by their keys or by conditions; no collection stores them again.

    Raises:
        ValidationFailed: no key is given, or more than 10,000, or conditions that restrict nothing.
    """
    if isinstance(wanted, CommentConditions) and not wanted.restrict():
        raise ValidationFailed({"filter": "restricts nothing; remove communities instead"})
    done = await _by_steps(resources, wanted, None, comment_marks.remove)
    log.info("comments_removed", count=done.count)
    return done


async def _by_steps(resources: Resources, wanted: Wanted, marks: Marks | None, change: Change) -> Marked:
    count, owner_ids, after = 0, set[int](), None
    if not isinstance(wanted, CommentConditions):
        if not 1 <= len(wanted) <= MOST_KEYS:
            raise ValidationFailed({"commentIds": f"give between 1 and {MOST_KEYS} of them"})
        changed = await _step(resources, sorted(set(wanted)), change)
        return Marked(len(changed), frozenset(owner_id for owner_id, _ in changed), has_more=False)
    while True:
        async with resources.database.connect() as connection:
            keys = await comment_marks.keys_after(connection, wanted, after, STEP, marks)
        if not keys or count >= MOST_BY_FILTER:
            return Marked(count, frozenset(owner_ids), has_more=bool(keys))
        changed = await _step(resources, keys, change)
        count += len(changed)
        owner_ids |= {owner_id for owner_id, _ in changed}
        after = keys[-1]


async def _step(resources: Resources, keys: Sequence[Key], change: Change) -> list[Key]:
    async with resources.database.transaction() as connection:
        await groups.lock_walls(connection, {owner_id for owner_id, _ in keys})
        return await change(connection, keys)
