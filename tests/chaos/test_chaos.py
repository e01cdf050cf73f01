"""Chaos runs, its clocks step, and its comparisons detect each kind of error."""

import subprocess
import sys
from subprocess import DEVNULL, PIPE, STDOUT

import asyncpg
import pytest

from app.actions.add_groups import add_groups
from app.actions.change_keywords import RequestedKeyword, add_keywords
from app.actions.start_collection import start_collection
from app.analysis.keywords import KeywordMatching
from app.background import open_worker
from app.resources import Resources
from tests import processes
from tests.acceptance.installation import PostgresServer
from tests.acceptance.outcomes import Outcome
from tests.chaos.clocks import open_clocks
from tests.chaos.truth import (
    WATCH_WRITERS,
    Comparison,
    compare_csv,
    compare_deletions,
    compare_jobs,
    compare_json_lines,
    compare_keywords,
    compare_rollups,
    compare_walls,
)
from tests.conftest import Simulator
from tests.jobs.conftest import ended
from tests.timeouts import TEST_SECONDS

CHANGES = {
    "comments": "DELETE FROM comments WHERE id = (SELECT max(id) FROM comments)",
    "comments: texts": "UPDATE comments SET text = text || '!' WHERE NOT is_deleted",
    "comments: likes": "UPDATE comments SET like_count = like_count + 1",
    "comments: authors": "UPDATE comments SET from_id = 5",
    "comments: times": "UPDATE comments SET published_at = published_at + interval '1 second'",
    "comments: places": "UPDATE comments SET reply_to_id = 5",
    "comments: deletions": "UPDATE comments SET is_deleted = NOT is_deleted",
    "comments: deletions amid faults": "UPDATE comments SET is_deleted = true",
    "posts": "UPDATE posts SET is_deleted = true",
    "rollup comment_hours": "UPDATE comment_hours SET likes = likes + 1",
    "rollup author_months": "DELETE FROM author_months",
    "rollup post_stats": "UPDATE post_stats SET later = later + 1",
    "rollup keyword_months": "UPDATE keyword_months SET matches = matches + 1",
    "rollup language_months": "INSERT INTO language_months VALUES (-1, '2026-01-01', 'ru', 1)",
    "rollup term_months": "INSERT INTO term_months VALUES (-1, '2026-01-01', 1, 1)",
    "search texts": "UPDATE comment_search SET folded = ''",
    "keyword matches": "UPDATE comment_keywords SET positions = positions || '{1000, 1001}'",
    "jobs: final states": "UPDATE jobs SET state = 'CANCELLED'",
    "jobs: events and epochs": "DELETE FROM job_events WHERE seq = 2",
    "jobs: writers of an epoch": "INSERT INTO chaos.writers SELECT job_id, epoch, 'another' FROM chaos.writers",
    "jobs: nothing left": "INSERT INTO job_groups SELECT -1, id FROM jobs LIMIT 1",
}
"""The comparison that must detect an error -> a statement that causes the error."""


async def collect(resources: Resources) -> None:
    await add_groups(resources, ["1"])
    await add_keywords(resources, [RequestedKeyword("а", KeywordMatching.SUBSTRING)])
    row = await start_collection(resources, owner_ids=[-1], full=True)
    async with open_worker(resources, 1):
        await ended(resources, row.id)


async def compare(postgres: PostgresServer, simulator: Simulator) -> list[Comparison]:
    return [
        await compare_deletions(postgres, simulator, [1], []),
        *await compare_walls(postgres, simulator, [1]),
        *await compare_rollups(postgres),
        await compare_keywords(postgres),
        *await compare_jobs(postgres, await Outcome.of(postgres), [], []),
    ]


class InTransaction(PostgresServer):
    """Reads in a connection's transaction, so that a test's changes are visible and rolled back."""

    def __init__(self, url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(url)
        self._connection = connection

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Read rows."""
        return await self._connection.fetch(sql, *values)


async def test_each_comparison_detects_its_errors(vk_resources: Resources, simulator: Simulator) -> None:
    url = vk_resources.database.dsn
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(WATCH_WRITERS)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE \"{name}\" SET chaos.node = 'node-1'")
        await vk_resources.database.engine.dispose()
        await collect(vk_resources)
        postgres = InTransaction(url, connection)
        right = await compare(postgres, simulator)
        assert [each for each in right if each.differences] == []
        assert {each.subject for each in right} == {*CHANGES, "jobs: events that followers saw"}
        for subject, change in CHANGES.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(change)
            wrong = await compare(postgres, simulator)
            await transaction.rollback()
            assert subject in {each.subject for each in wrong if each.differences}
    finally:
        await connection.close()


def test_exports_are_compared() -> None:
    rows = [[-1, 2, None, True, 'a;"b"\r\n', ["one", "two"]]]
    as_csv = b'head\r\n-1;2;;true;"a;""b""\r\n";one, two\r\n'
    as_lines = b'{"a":-1,"b":2,"c":null,"d":true,"e":"a;\\"b\\"\\r\\n","f":["one","two"]}\n'
    assert compare_csv(as_csv, rows).differences == compare_json_lines(as_lines, rows).differences == []
    assert len(compare_csv(as_csv.replace(b"true", b"false"), rows).differences) == 1
    assert len(compare_json_lines(as_lines.replace(b"one", b"1"), rows).differences) == 1
    assert len(compare_json_lines(b"", rows).differences) == 1


def test_clocks_step() -> None:
    with open_clocks() as clocks:
        if clocks is None:
            pytest.skip("no compiler, or preloading has no effect")
        clock = clocks.add("test")
        command = [sys.executable, "-uc", "import time\nwhile input(): print(time.time(), time.monotonic())"]
        with subprocess.Popen(  # noqa: S603 - a constant command
            command, env=processes.environment(**clock.environment), stdin=PIPE, stdout=PIPE, text=True
        ) as process:
            assert process.stdin
            assert process.stdout
            shown = []
            for seconds in (0, -86_400, 86_400, 0):
                clock.set(seconds)
                process.stdin.write("read\n")
                process.stdin.flush()
                real, monotonic = map(float, process.stdout.readline().split())
                assert clock.is_shown(real)
                shown.append(monotonic)
            process.stdin.write("\n")
        assert process.returncode == 0
        assert shown == sorted(shown)
        assert shown[-1] - shown[0] < 86_400


def test_a_short_play_finds_no_difference() -> None:
    env = processes.unmeasured(processes.environment())
    command = [sys.executable, "-m", "tests.chaos", "--minutes", "0.1", "--seed", "1"]
    played = subprocess.run(  # noqa: S603 - a constant command
        command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, timeout=TEST_SECONDS, check=False
    )
    assert played.returncode == 0, played.stdout
    assert ": 0 differences." in played.stdout
