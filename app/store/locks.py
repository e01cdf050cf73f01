"""The advisory locks of transactions, and the order in which transactions acquire all locks.

Two transactions that acquire the same two locks in opposite orders deadlock. So each transaction
acquires those that it needs in this order:

1. rows of jobs, by ascending id (`jobs.lock_job`, `jobs.lock_jobs`): in a step of a handler, the end of a run, or a
   cancel request
2. near-duplicate clusters: `lock_waves`
3. walls, by ascending owner id: `lock_walls`
4. keywords: shared by transactions that write matches, exclusive for those that change keywords
5. rows of communities, by descending owner id (`groups.require_groups`); key-share locks, which only a removal
   of the community conflicts with
6. the row of a monitoring (`monitorings.lock_monitoring`, `monitorings.claim_due`)
7. the last places of the queue: `lock_queue`
8. communities reserved for a job, by descending owner id (`jobs.claim_groups`)

A transaction that only looks for free rows (queue entries, due monitorings, tokens, health slots) skips locked ones,
so it never waits. tests/store/test_lock_order.py plays transactions against each other.
"""

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def lock_waves(connection: AsyncConnection) -> None:
    """Lock waves against other transactions that change them until this one ends; wait for the lock."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('waves', 0))"))


async def lock_walls(connection: AsyncConnection, owner_ids: Collection[int]) -> None:
    """Lock walls against other writers of their posts and comments until the transaction ends; wait for the locks.

    Two collections may write to one wall, one of single posts and one of the
    whole wall: the lock keeps them from deadlocking on the same rows.
    """
    statement = text("""
        SELECT pg_advisory_xact_lock(hashtextextended('wall', owner_id))
          FROM (SELECT owner_id FROM unnest(CAST(:owner_ids AS bigint[])) AS w(owner_id) ORDER BY owner_id) AS walls
    """)
    await connection.execute(statement, {"owner_ids": list(owner_ids)})


async def lock_keywords(connection: AsyncConnection) -> None:
    """Lock out all other transactions that store comments or matches, or change keywords, until this one ends.

    Wait for those that are running.
    """
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('keywords', 0))"))


async def share_keywords(connection: AsyncConnection) -> None:
    """Keep keywords from changing until the transaction ends; others may share them at the same time."""
    await connection.execute(text("SELECT pg_advisory_xact_lock_shared(hashtextextended('keywords', 0))"))


async def lock_queue(connection: AsyncConnection) -> None:
    """Acquire the lock of the queue's last places until the transaction ends; wait while another one holds it."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('queue', 0))"))
