"""Removes communities with all their stored data in batches: comments, posts, counts, waves."""

from dataclasses import dataclass, field

from app.jobs.definitions import JobDefinition
from app.jobs.running_job import Progress, RunningJob
from app.store import comment_marks, groups, locks, posts, waves
from app.store.comment_conditions import CommentConditions
from app.store.comments import count_comments
from app.work.kinds import JobKind

STAGE = "removing comments"
BATCH = 5_000


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """The communities to remove (owner ids), in ascending order."""

    owner_ids: tuple[int, ...]


@dataclass(slots=True)
class RemovalCounts:
    """Removed communities and comments."""

    groups: int = 0
    comments: int = 0


@dataclass(frozen=True, slots=True)
class RemovalCheckpoint:
    """The last removed community (owner id), None before the first, and the counts so far."""

    after: int | None = None
    counts: RemovalCounts = field(default_factory=RemovalCounts)


RemovalJob = RunningJob[RemovalRequest, RemovalCheckpoint]


async def remove_groups(job: RemovalJob) -> RemovalCounts:
    """Remove the communities of the job's arguments. Resume from the checkpoint.

    If cancelled, keep the communities that are not reached yet and the remaining comments
    of the current one; the next collection of that community reads the removed ones again.

    Raises:
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
    """
    checkpoint = job.checkpoint or RemovalCheckpoint()
    # Skip the communities up to the last removed one: if a client has added one of them again, it must stay.
    after, counts = checkpoint.after, checkpoint.counts
    owner_ids = [owner_id for owner_id in job.arguments.owner_ids if after is None or owner_id > after]
    async with job.resources.database.connect() as connection:
        left = await count_comments(connection, CommentConditions(owner_ids=tuple(owner_ids)))
        known = await groups.owner_ids_after(connection, after, max(1, len(owner_ids)), owner_ids)
    total = counts.comments + left
    for owner_id in known:
        await _remove(job, owner_id, after, counts, total)
        after = owner_id
    return counts


async def _remove(job: RemovalJob, owner_id: int, after: int | None, counts: RemovalCounts, total: int) -> None:
    """Remove one community, in steps of bounded size because each statement has a time limit."""
    selected = CommentConditions(owner_ids=(owner_id,))
    is_removed = False
    while not is_removed:
        async with job.step() as connection:
            # lock in the same order as an analysis: the waves, then the walls
            await locks.lock_waves(connection)
            keys = await comment_marks.keys_after(connection, selected, None, BATCH)
            in_waves = await waves.waves_of_comments(connection, keys)
            await locks.lock_walls(connection, {owner_id} | await waves.walls_of_waves(connection, in_waves))
            if keys:
                await posts.forget_collected(connection, owner_id)
                await comment_marks.delete(connection, keys)
                # without these comments, waves may be below the minimum size
                await waves.dissolve_waves(connection, await waves.recount_waves(connection, in_waves))
                counts.comments += len(keys)
            elif not await groups.delete_some_of_wall(connection, owner_id, BATCH):
                await groups.delete_group(connection, owner_id)
                counts.groups += 1
                after, is_removed = owner_id, True
            progress = Progress(STAGE, counts.comments, max(total, counts.comments))
            await job.report(connection, progress, RemovalCheckpoint(after, counts))


REMOVE_GROUPS = JobDefinition(
    kind=JobKind.REMOVE_GROUPS,
    description="It removes communities with all their stored data.",
    handler=remove_groups,
    arguments=RemovalRequest,
    checkpoint=RemovalCheckpoint,
    result=RemovalCounts,
    groups=lambda request: request.owner_ids,
    claims=lambda request: request.owner_ids,
    removes_claims=True,
)
