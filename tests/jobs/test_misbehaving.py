"""Workers that are blocked, killed or cut off: other workers resume their jobs, or the jobs are abandoned."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from app.jobs.running_job import Progress, RunningJob
from app.resources import Resources, open_resources
from tests.conftest import MakeSettings, until
from tests.jobs.conftest import ended, events_of, queue_job, read_job, working
from tests.processes import environment
from tests.timeouts import WAIT_SECONDS


@contextmanager
def misbehaving(url: str, way: str, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker whose jobs block its event loop until the file `go_on` exists, or end its process."""
    env = environment(DATABASE_URL=url, DATA_DIR=directory, JOB_HEARTBEAT_TIMEOUT_SECONDS=1, LOG_FORMAT="json")
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - a constant command
            [sys.executable, "-m", "tests.jobs.misbehaving", way, str(directory / "go_on")],
            env=env,
            cwd=Path(__file__).parents[2],
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def has_reported(directory: Path, event: str) -> bool:
    """Return whether a worker has reported this event, or logged it."""
    lines = (directory / "log").read_text().splitlines()
    return any(json.loads(line)["event"] == event for line in lines if line.startswith("{") and line.endswith("}"))


async def test_another_worker_resumes_a_job_that_blocks_its_loop(
    make_settings: MakeSettings, database_url: str, tmp_path: Path
) -> None:
    """When the loop continues, the run cannot write, and notices it."""
    seen: list[Any] = []

    async def handler(job: RunningJob[Any, Any]) -> dict[str, Any]:
        seen.append(job.checkpoint)
        return {}

    async with open_resources(make_settings(job_heartbeat_timeout_seconds=1)) as resources:
        job_id = await queue_job(resources)
        with misbehaving(database_url, "blocks", tmp_path):
            await until(lambda: has_reported(tmp_path, "half_done"))
            async with working(resources, handler):
                row = await ended(resources, job_id)
            assert has_reported(tmp_path, "loop_blocked")
            (tmp_path / "go_on").touch()
            await until(lambda: has_reported(tmp_path, "noticed") and has_reported(tmp_path, "lease_lost"))
        assert (row.state, row.epoch, row.checkpoint) == ("SUCCEEDED", 2, {"half": 1})
        assert seen == [{"half": 1}]
        reasons = [facts.get("reason") for kind, facts in await events_of(resources, job_id) if kind == "STATE_CHANGED"]
    assert reasons == ["REQUESTED", "CLAIMED", "RESCUED", "DONE"]


async def test_a_job_that_ends_its_process_is_abandoned(
    make_settings: MakeSettings, database_url: str, tmp_path: Path
) -> None:
    runs = 0

    async def handler(_: RunningJob[Any, Any]) -> dict[str, Any]:
        nonlocal runs
        runs += 1
        return {}

    async with open_resources(make_settings(job_heartbeat_timeout_seconds=1, job_max_attempts=2)) as resources:
        job_id = await queue_job(resources)
        for _ in range(2):
            with misbehaving(database_url, "dies", tmp_path) as process:
                await asyncio.to_thread(process.wait, WAIT_SECONDS)
                assert process.returncode == 9
        async with working(resources, handler):
            row = await ended(resources, job_id)
    assert (row.state, row.attempts, runs) == ("FAILED", 2, 0)
    assert row.failure["code"] == "JOB_GAVE_UP"
    assert row.failure["message"] == "The job was started 2 times without reaching an end, so it is not retried."


class Connection:
    """A connection to PostgreSQL that can be cut: existing connections end, and new ones fail."""

    def __init__(self, url: str, directory: Path) -> None:
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = f".s.PGSQL.{options['port']}"
        self._far_end, self._near_end = Path(options["host"]) / name, directory / name
        self.url = urlunsplit(parts._replace(query=urlencode(options | {"host": str(directory)})))
        self._is_cut = False
        self._ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Close all connections, and reject new ones."""
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Connection"]:
        """Forward connections while the context lasts."""
        server = await asyncio.start_unix_server(self._connect, self._near_end)
        try:
            yield self
        finally:
            self.cut()
            server.close()
            await server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_unix_connection(str(self._far_end))
        self._ends |= {writer, far_writer}
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        self._ends -= {writer, far_writer}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_a_worker_that_is_cut_off_from_postgresql(
    make_settings: MakeSettings, resources: Resources, database_url: str, tmp_path: Path
) -> None:
    """Another worker resumes its job; once reconnected to PostgreSQL, its run cannot write, and it serves the queue."""
    runs_far: list[int] = []
    is_back = asyncio.Event()
    far_ends: list[str] = []

    async def far_body(job: RunningJob[Any, Any]) -> dict[str, Any]:
        runs_far.append(job.id)
        if len(runs_far) == 1:
            try:
                await is_back.wait()
                async with job.step() as connection:
                    await job.report(connection, Progress("late", 9), {"late": True})
            except BaseException as error:
                far_ends.append(type(error).__name__)
                raise
        return {"far": True}

    async def near_body(_: RunningJob[Any, Any]) -> dict[str, Any]:
        return {"near": True}

    async with Connection(database_url, tmp_path).laid() as cable:
        far_settings = make_settings(job_heartbeat_timeout_seconds=1, database_url=cable.url)
        near_settings = make_settings(job_heartbeat_timeout_seconds=1)
        async with open_resources(far_settings) as far, working(far, far_body):
            first = await queue_job(resources, -1)
            await until(lambda: runs_far)
            cable.cut()
            async with open_resources(near_settings) as near, working(near, near_body):
                row = await ended(resources, first)
            assert (row.state, row.epoch, row.result) == ("SUCCEEDED", 2, {"near": True})
            cable.mend()
            is_back.set()
            await until(lambda: far_ends)
            second = await queue_job(resources, -2)
            assert (await ended(resources, second)).result == {"far": True}
    # the lost lease is noticed by its next step, or before by the check of its jobs
    assert far_ends[0] in ("LeaseLost", "CancelledError")
    assert (await read_job(resources, first)).result == {"near": True}
