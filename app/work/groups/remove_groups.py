"""Removes communities with all that is stored of them, in batches: comments, posts, what was counted, waves."""

from dataclasses import asdict, dataclass
from typing import Any

from app.jobs.running_job import Progress, RunningJob
from app.store import comment_marks, groups, posts, waves
from app.store.comment_conditions import CommentConditions
from app.store.comments import count_comments

STAGE = "removing comments"
BATCH = 5_000


@dataclass(slots=True)
class Counts:
    """What was removed."""

    groups: int = 0
    comments: int = 0


async def remove_groups(job: RunningJob) -> dict[str, Any]:
    """Remove the communities of the job's arguments; goes on where a former run has ended.

    Cancelled, it leaves the communities that it has not come to, and of the one
    that it is at, the comments that are not removed yet; the next collection of
    it reads the others again.

    Raises:
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
    """
    checkpoint = job.checkpoint or {"after": None, "counts": {}}
    # behind the last one that is done: somebody may have added that again, which is not what was to be removed
    after, counts = checkpoint["after"], Counts(**checkpoint["counts"])
    owner_ids = [owner_id for owner_id in job.arguments["owner_ids"] if after is None or owner_id > after]
    async with job.resources.database.connect() as connection:
        left = await count_comments(connection, CommentConditions(owner_ids=tuple(owner_ids)))
        known = await groups.owner_ids_after(connection, after, max(1, len(owner_ids)), owner_ids)
    total = counts.comments + left
    for owner_id in known:
        await _remove(job, owner_id, after, counts, total)
        after = owner_id
    return asdict(counts)


async def _remove(job: RunningJob, owner_id: int, after: int | None, counts: Counts, total: int) -> None:
    """Remove one community, in steps of bounded size: each statement has a time limit."""
    wanted = CommentConditions(owner_ids=(owner_id,))
    is_removed = False
    while not is_removed:
        async with job.step() as connection:
            # in the order of an analysis: the waves, then the walls
            await waves.lock_waves(connection)
            keys = await comment_marks.keys_after(connection, wanted, None, BATCH)
            in_waves = await waves.waves_of_comments(connection, keys)
            await groups.lock_walls(connection, {owner_id} | await waves.walls_of_waves(connection, in_waves))
            if keys:
                await posts.forget_collected(connection, owner_id)
                await comment_marks.delete(connection, keys)
                # without these comments, waves may be too small to remain waves
                await waves.dissolve_waves(connection, await waves.recount_waves(connection, in_waves))
                counts.comments += len(keys)
            elif not await groups.delete_some_of_wall(connection, owner_id, BATCH):
                await groups.delete_group(connection, owner_id)
                counts.groups += 1
                after, is_removed = owner_id, True
            progress = Progress(STAGE, counts.comments, max(total, counts.comments))
            await job.report(connection, progress, {"after": after, "counts": asdict(counts)})
