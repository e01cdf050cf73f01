"""A process that runs PgQueuer alone, with jobs that never end, until it is killed."""

import asyncio
import os
from uuid import UUID

from pgqueuer.types import QueueManagerId

from app.cli.processes import end_with_parent
from bench.queues import run_hanging


async def work() -> None:
    """Work until this process, or its parent, ends."""
    end_with_parent()
    manager_id = QueueManagerId(UUID(os.environ["MANAGER_ID"]))
    await run_hanging(os.environ["DATABASE_URL"], manager_id, float(os.environ["HEARTBEAT_SECONDS"]))


if __name__ == "__main__":
    asyncio.run(work())
