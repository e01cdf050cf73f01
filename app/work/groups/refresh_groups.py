"""Asks VK for communities anew: their names, members, pictures, and whether they are closed."""

from dataclasses import asdict, dataclass
from typing import Any

from app.jobs.running_job import Progress, RunningJob
from app.store import groups
from app.vk.groups import known_groups

STAGE = "refreshing communities"
BATCH = 5_000


@dataclass(slots=True)
class Counts:
    """What was asked for, of which VK says something else than before, and what it does not know any more."""

    groups: int = 0
    changed: int = 0
    missing: int = 0


async def refresh_groups(job: RunningJob) -> dict[str, Any]:
    """Refresh the communities of the job's arguments, or all of them; goes on from the job's checkpoint.

    One that VK does not know any more stays as it is, and counts as missing.

    Raises:
        VkFault: VK failed.
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
    """
    checkpoint = job.checkpoint or {"after": None, "counts": {}}
    after, counts = checkpoint["after"], Counts(**checkpoint["counts"])
    wanted = job.arguments["owner_ids"]
    async with job.resources.database.connect() as connection:
        total = await groups.count_groups(connection, groups.GroupConditions()) if wanted is None else len(wanted)
    while True:
        async with job.resources.database.connect() as connection:
            owner_ids = await groups.owner_ids_after(connection, after, BATCH, wanted)
        if not owner_ids:
            return asdict(counts)
        found = await known_groups(job.resources.vk, [str(-owner_id) for owner_id in owner_ids])
        async with job.step() as connection:
            counts.changed += await groups.refresh_groups(connection, found)
            counts.groups += len(owner_ids)
            counts.missing += len(set(owner_ids) - {-group.id for group in found})
            after = owner_ids[-1]
            progress = Progress(STAGE, counts.groups, max(total, counts.groups))
            await job.report(connection, progress, {"after": after, "counts": asdict(counts)})
