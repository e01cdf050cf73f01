"""A process that runs PgQueuer alone, with jobs that never end: one that may be killed."""

import asyncio
import os
from uuid import UUID

from pgqueuer.types import QueueManagerId

from app.cli.processes import end_with_parent
from bench.queues import hang_alone


async def work() -> None:
    """Work until this process, or the one that started it, ends."""
    end_with_parent()
    manager_id = QueueManagerId(UUID(os.environ["MANAGER_ID"]))
    await hang_alone(os.environ["DATABASE_URL"], manager_id, float(os.environ["HEARTBEAT_SECONDS"]))


if __name__ == "__main__":
    asyncio.run(work())
