"""Updates communities from VK: their names, members, pictures, and whether they are closed."""

from dataclasses import dataclass, field

from app.jobs.definitions import JobDefinition
from app.jobs.running_job import Progress, RunningJob
from app.store import groups
from app.vk.groups import known_groups
from app.work.kinds import JobKind

STAGE = "refreshing communities"
BATCH = 5_000


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """The communities to refresh (owner ids), None for all."""

    owner_ids: tuple[int, ...] | None = None


@dataclass(slots=True)
class RefreshCounts:
    """Communities requested from VK, those of them that have changed, and those that VK no longer knows."""

    groups: int = 0
    changed: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class RefreshCheckpoint:
    """The last refreshed community (owner id), None before the first, and the counts so far."""

    after: int | None = None
    counts: RefreshCounts = field(default_factory=RefreshCounts)


async def refresh_groups(job: RunningJob[RefreshRequest, RefreshCheckpoint]) -> RefreshCounts:
    """Refresh the communities of the job's arguments, or all of them. Resume from the checkpoint.

    A community that VK no longer knows stays as it is and counts as missing.

    Raises:
        VkFault: VK failed.
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
    """
    checkpoint = job.checkpoint or RefreshCheckpoint()
    after, counts = checkpoint.after, checkpoint.counts
    selected = job.arguments.owner_ids
    async with job.resources.database.connect() as connection:
        total = await groups.count_groups(connection, groups.GroupConditions()) if selected is None else len(selected)
    while True:
        async with job.resources.database.connect() as connection:
            owner_ids = await groups.owner_ids_after(connection, after, BATCH, selected)
        if not owner_ids:
            return counts
        found = await known_groups(job.resources.vk, [str(-owner_id) for owner_id in owner_ids])
        async with job.step() as connection:
            counts.changed += await groups.refresh_groups(connection, found)
            counts.groups += len(owner_ids)
            counts.missing += len(set(owner_ids) - {-group.id for group in found})
            after = owner_ids[-1]
            progress = Progress(STAGE, counts.groups, max(total, counts.groups))
            await job.report(connection, progress, RefreshCheckpoint(after, counts))


REFRESH_GROUPS = JobDefinition(
    kind=JobKind.REFRESH_GROUPS,
    description="It refreshes communities from VK.",
    handler=refresh_groups,
    arguments=RefreshRequest,
    checkpoint=RefreshCheckpoint,
    result=RefreshCounts,
    groups=lambda request: request.owner_ids or (),
)
