"""Measures collecting: requests, time, storing and memory, each against something named, in one run.

`python -m bench.collect` takes some minutes; with `--quick` it measures small walls, which shows that it runs.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from app.db.engine import open_database
from app.settings import read_settings
from app.store import comments, groups, posts
from app.store.collections import begin_collection
from app.vk.wire import CALLS_PER_EXECUTE, PAGE_SIZE, THREAD_PREVIEW
from app.wall import VkComment, VkGroup, VkPost
from bench.surroundings import empty_database, in_a_process_of_its_own, postgresql, simulated_vk
from simulator import SimulatorOptions
from simulator.world import World

VK_REQUESTS_PER_SECOND = 3
UNTHROTTLED = 10_000
STORED_AT_ONCE = 2_500
"""How many comments a full pack brings."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The walls that are measured, as (posts, comments)."""

    requests: Sequence[tuple[int, int]]
    paced: tuple[int, int]
    stored: int
    memory: Sequence[tuple[int, int]]


FULL = Sizes(
    requests=[(60, 30_000), (1_000, 100_000), (5_000, 300_000)],
    paced=(1_000, 100_000),
    stored=100_000,
    memory=[(100, 10_000), (1_000, 100_000), (10_000, 1_000_000)],
)
QUICK = Sizes(requests=[(20, 3_000)], paced=(20, 3_000), stored=5_000, memory=[(20, 3_000)])


def least_requests(posts_count: int, comments_count: int) -> int:
    """Return how many requests a wall takes at the least, were all its sizes known beforehand.

    Calls: a page of posts for each 100; for each post with comments a page for
    each 100 top comments, which bring up to 10 replies each; for each longer
    thread a page for each 100 of its other replies. 25 calls make a request, but
    the first page of posts is one of its own, as nothing else is known before it.
    That pages overlap, and that others have to be seen before more are known, is not in it.
    """
    wall = World(SimulatorOptions(posts=posts_count, comments=comments_count)).wall(1)
    assert wall  # noqa: S101 - there is a community 1
    calls = _pages(len(wall.posts))
    for post in wall.posts.values():
        calls += _pages(len(post.comments))
        calls += sum(_pages(len(top.replies) - THREAD_PREVIEW) for top in post.comments)
    return 1 + -(-(calls - 1) // CALLS_PER_EXECUTE)


def _pages(items: int) -> int:
    return max(0, -(-items // PAGE_SIZE))


class Bench:
    """The measurements of one run, on one PostgreSQL."""

    def __init__(self, url: str, sizes: Sizes) -> None:
        self._url = url
        self._sizes = sizes
        self._numbers = count()

    async def database(self) -> str:
        """Return the address of a new database."""
        return await empty_database(self._url, f"bench_{next(self._numbers)}")

    async def collected(self, vk: str, per_second: float) -> dict[str, Any]:
        """Collect the community of a simulated VK into a new database, in a process of its own."""
        return await in_a_process_of_its_own(
            "bench.collector",
            database_url=await self.database(),
            vk_api_url=vk,
            vk_tokens="a-token",
            vk_requests_per_second=per_second,
        )

    async def requests(self) -> Table:
        """Compare the requests with the least possible, and with those of vk_api."""
        table = Table("wall", "requests", "least", "ratio", "goal", "vk_api", "vk_api / ours", title="HTTP requests")
        for posts_count, comments_count in self._sizes.requests:
            async with simulated_vk(posts_count, comments_count, rps=0) as vk:
                ours = await self.collected(vk, UNTHROTTLED)
                theirs = await in_a_process_of_its_own("bench.vk_tools", vk_api_url=vk)
            least = least_requests(posts_count, comments_count)
            table.add_row(
                _wall(posts_count, ours["comments"]), str(ours["requests"]), str(least),
                f"{ours['requests'] / least:.3f}", "<= 1.05", str(theirs["requests"]),
                f"{theirs['requests'] / ours['requests']:.1f}",
            )  # fmt: skip
        return table

    async def pace(self) -> Table:
        """Compare the time at VK's rate with what the requests take at the least, and with vk_api's time."""
        posts_count, comments_count = self._sizes.paced
        async with simulated_vk(posts_count, comments_count, VK_REQUESTS_PER_SECOND) as vk:
            ours = await self.collected(vk, VK_REQUESTS_PER_SECOND)
            theirs = await in_a_process_of_its_own("bench.vk_tools", vk_api_url=vk, waits="1")
        table = Table("", "requests", "seconds", "requests / 3", "ratio", "goal", title="Time at 3 requests a second")
        for name, told, goal in (("ours", ours, "<= 1.1"), ("vk_api", theirs, "")):
            least = told["requests"] / VK_REQUESTS_PER_SECOND
            table.add_row(
                f"{name}, {_wall(posts_count, told['comments'])}", str(told["requests"]), f"{told['seconds']:.1f}",
                f"{least:.1f}", f"{told['seconds'] / least:.3f}", goal,
            )  # fmt: skip
        return table

    async def storing(self) -> Table:
        """Compare how fast comments are stored with a plain COPY of the same rows into a table without indexes."""
        found = invented_comments(self._sizes.stored)
        url = await self.database()
        copied = await _copy(url, found)
        stored = await _store(url, found)
        table = Table("rows", "stored/s", "COPY/s", "ratio", "goal", title="Storing, in steps of 2,500 comments")
        table.add_row(f"{len(found):,}", f"{stored:,.0f}", f"{copied:,.0f}", f"{stored / copied:.2f}", ">= 0.4")
        return table

    async def memory(self) -> Table:
        """Measure the speed without a limit, and the most memory a collecting process takes."""
        table = Table("wall", "seconds", "comments/s", "peak memory", "goal", title="Without a rate limit")
        for posts_count, comments_count in self._sizes.memory:
            async with simulated_vk(posts_count, comments_count, rps=0) as vk:
                told = await self.collected(vk, UNTHROTTLED)
            table.add_row(
                _wall(posts_count, told["comments"]), f"{told['seconds']:.1f}",
                f"{told['comments'] / told['seconds']:,.0f}", f"{told['peak_bytes'] / 2**20:.0f} MiB", "< 300 MB",
            )  # fmt: skip
        return table


def _wall(posts_count: int, comments_count: int) -> str:
    return f"{comments_count:,} comments under {posts_count:,} posts"


def invented_comments(total: int) -> list[VkComment]:
    """Return comments as VK sends them, in the order they are collected in: the simulator's."""
    wall = World(SimulatorOptions(posts=max(1, total // 100), comments=total)).wall(1)
    assert wall  # noqa: S101 - there is a community 1
    return [
        VkComment(
            -1, each.id, post.id, each.author, each.date, wall.text_of(each), each.likes, [],
            each.top.id if each.top else None, each.answers.id if each.answers else None, is_deleted=False,
        )
        for post in wall.posts.values()
        for each in post.all_comments()
    ]  # fmt: skip


async def _copy(url: str, found: Sequence[VkComment]) -> float:
    """Return how many rows a second COPY writes into a table with the columns of ours and nothing else."""
    now = datetime.now(UTC)
    columns = (
        "owner_id", "id", "post_id", "from_id", "text", "published_at", "like_count", "attachments", "thread_id",
        "reply_to_id", "is_deleted", "first_seen_at", "last_seen_at",
    )  # fmt: skip
    rows = [
        (
            each.owner_id, each.id, each.post_id, each.from_id, each.text, datetime.fromtimestamp(each.date, UTC),
            each.likes, "[]", each.thread_id, each.reply_to_id, each.is_deleted, now, now,
        )
        for each in found
    ]  # fmt: skip
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE plain AS SELECT * FROM comments WITH NO DATA")
        started = time.perf_counter()
        await connection.copy_records_to_table("plain", records=rows, columns=columns)
        return len(rows) / (time.perf_counter() - started)
    finally:
        await connection.close()


async def _store(url: str, found: Sequence[VkComment]) -> float:
    """Return how many comments a second are stored as a collection does it, step by step."""
    post_ids = sorted({each.post_id for each in found})
    async with open_database(read_settings(), url) as database:
        async with database.transaction() as connection:
            await groups.upsert_groups(connection, [VkGroup(1, "g", "G")])
            await posts.upsert_posts(
                connection,
                [VkPost(-1, post_id, -1, 0, "", 0, 0, 0, 0, is_pinned=False, attachments=[]) for post_id in post_ids],
            )
        async with database.transaction() as connection:
            number = await begin_collection(connection)
        started = time.perf_counter()
        for start in range(0, len(found), STORED_AT_ONCE):
            async with database.transaction() as connection:
                await comments.upsert_comments(connection, found[start : start + STORED_AT_ONCE], number)
        return len(found) / (time.perf_counter() - started)


async def run(sizes: Sizes) -> None:
    """Measure and print."""
    console = Console()
    with postgresql() as url:
        bench = Bench(url, sizes)
        for measure in (bench.requests, bench.pace, bench.storing, bench.memory):
            console.print(await measure())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small walls")
    asyncio.run(run(QUICK if parser.parse_args().quick else FULL))
