"""Removes communities with all that is stored of them: comments in batches, then what is left of each at once."""

from dataclasses import asdict, dataclass
from typing import Any

from app.jobs.progress import Progress, RunningJob
from app.store import comment_marks, groups, posts
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
    wanted = CommentConditions(owner_ids=(owner_id,))
    while True:
        async with job.step() as connection:
            await groups.lock_walls(connection, [owner_id])
            keys = await comment_marks.keys_after(connection, wanted, None, BATCH)
            if len(keys) < BATCH:
                # what is left goes with the community, posts and their last comments by the database's own triggers
                await groups.delete_group(connection, owner_id)
                counts.groups += 1
                after = owner_id
            else:
                await posts.forget_collected(connection, owner_id)
                await comment_marks.delete(connection, keys)
            counts.comments += len(keys)
            progress = Progress(STAGE, counts.comments, max(total, counts.comments))
            await job.report(connection, progress, {"after": after, "counts": asdict(counts)})
        if len(keys) < BATCH:
            return
