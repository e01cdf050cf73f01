"""Measures collecting: requests, time, storing and memory, each against a named reference, in one run.

`python -m bench.collect` takes some minutes; `--quick` measures small walls, only to show that it runs.
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
from bench.environment import empty_database, postgresql, run_in_process, simulated_vk
from simulator import SimulatorOptions
from simulator.world import World

VK_REQUESTS_PER_SECOND = 3
UNTHROTTLED = 10_000
STORED_AT_ONCE = 2_500
"""The number of comments of a full pack."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The walls to measure, as (posts, comments)."""

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


def minimum_requests(posts_count: int, comments_count: int) -> int:
    """Return the minimum of requests for a wall, if all its sizes were known in advance.

    Calls: one page of posts per 100 posts; per post with comments, one page per 100
    top comments, which include up to 10 replies each; per longer thread, one page per
    100 of its other replies. 25 calls fit into a request, but the first page of posts
    needs its own, because nothing else is known before it. The overlap of pages, and
    pages that must be seen before others are known, are not included.
    """
    wall = World(SimulatorOptions(posts=posts_count, comments=comments_count)).wall(1)
    assert wall  # noqa: S101 - community 1 exists
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
        """Return the URL of a new database."""
        return await empty_database(self._url, f"bench_{next(self._numbers)}")

    async def collected(self, vk: str, per_second: float) -> dict[str, Any]:
        """Collect the community of a simulated VK into a new database, in a new process."""
        return await run_in_process(
            "bench.collector",
            database_url=await self.database(),
            vk_api_url=vk,
            vk_tokens="a-token",
            vk_requests_per_second=per_second,
        )

    async def requests(self) -> Table:
        """Compare the number of requests with the minimum, and with that of vk_api."""
        table = Table(
            "wall", "requests", "minimum", "ratio", "goal", "vk_api", "vk_api / project", title="HTTP requests"
        )
        for posts_count, comments_count in self._sizes.requests:
            async with simulated_vk(posts_count, comments_count, rps=0) as vk:
                project = await self.collected(vk, UNTHROTTLED)
                vk_api = await run_in_process("bench.vk_tools", vk_api_url=vk)
            least = minimum_requests(posts_count, comments_count)
            table.add_row(
                _wall(posts_count, project["comments"]), str(project["requests"]), str(least),
                f"{project['requests'] / least:.3f}", "<= 1.05", str(vk_api["requests"]),
                f"{vk_api['requests'] / project['requests']:.1f}",
            )  # fmt: skip
        return table

    async def pace(self) -> Table:
        """Compare the time at VK's rate limit with the minimum for the requests, and with vk_api's time."""
        posts_count, comments_count = self._sizes.paced
        async with simulated_vk(posts_count, comments_count, VK_REQUESTS_PER_SECOND) as vk:
            project = await self.collected(vk, VK_REQUESTS_PER_SECOND)
            vk_api = await run_in_process("bench.vk_tools", vk_api_url=vk, waits="1")
        table = Table("", "requests", "seconds", "requests / 3", "ratio", "goal", title="Time at 3 requests per second")
        for name, run, goal in (("this project", project, "<= 1.1"), ("vk_api", vk_api, "")):
            least = run["requests"] / VK_REQUESTS_PER_SECOND
            table.add_row(
                f"{name}, {_wall(posts_count, run['comments'])}", str(run["requests"]), f"{run['seconds']:.1f}",
                f"{least:.1f}", f"{run['seconds'] / least:.3f}", goal,
            )  # fmt: skip
        return table

    async def storing(self) -> Table:
        """Compare storing comments with a plain COPY of the same rows into a table without indexes."""
        found = invented_comments(self._sizes.stored)
        url = await self.database()
        copied = await _copy(url, found)
        stored = await _store(url, found)
        table = Table("rows", "stored/s", "COPY/s", "ratio", "goal", title="Storing, in steps of 2,500 comments")
        table.add_row(f"{len(found):,}", f"{stored:,.0f}", f"{copied:,.0f}", f"{stored / copied:.2f}", ">= 0.4")
        return table

    async def memory(self) -> Table:
        """Measure the speed without a rate limit, and the peak memory of a collecting process."""
        table = Table("wall", "seconds", "comments/s", "peak memory", "goal", title="Without a rate limit")
        for posts_count, comments_count in self._sizes.memory:
            async with simulated_vk(posts_count, comments_count, rps=0) as vk:
                run = await self.collected(vk, UNTHROTTLED)
            table.add_row(
                _wall(posts_count, run["comments"]), f"{run['seconds']:.1f}",
                f"{run['comments'] / run['seconds']:,.0f}", f"{run['peak_bytes'] / 2**20:.0f} MiB", "< 300 MB",
            )  # fmt: skip
        return table


def _wall(posts_count: int, comments_count: int) -> str:
    return f"{comments_count:,} comments under {posts_count:,} posts"


def invented_comments(total: int) -> list[VkComment]:
    """Return the simulator's comments in VK's form, in the order of a collection."""
    wall = World(SimulatorOptions(posts=max(1, total // 100), comments=total)).wall(1)
    assert wall  # noqa: S101 - community 1 exists
    return [
        VkComment(
            -1, each.id, post.id, each.author, each.date, wall.text_of(each), each.likes, [],
            each.top.id if each.top else None, each.answers.id if each.answers else None, is_deleted=False,
        )
        for post in wall.posts.values()
        for each in post.all_comments()
    ]  # fmt: skip


async def _copy(url: str, found: Sequence[VkComment]) -> float:
    """Return how many rows per second COPY writes into a table with the same columns, without indexes."""
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
    """Return how many comments per second are stored in the steps of a collection."""
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
    """Measure, and print the tables."""
    console = Console()
    with postgresql() as url:
        bench = Bench(url, sizes)
        for measure in (bench.requests, bench.pace, bench.storing, bench.memory):
            console.print(await measure())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small walls")
    asyncio.run(run(QUICK if parser.parse_args().quick else FULL))
