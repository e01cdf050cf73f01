"""The job that writes a file: its result, and that it leaves no file when it does not finish."""

import asyncio
import csv
import errno
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openpyxl
import psutil
import pytest
import zstandard
from pyarrow import parquet
from sqlalchemy import Row, text

from app.actions.start_export import start_export
from app.background import open_worker, periodic_tasks
from app.errors import QueryTimedOut, ServiceUnavailable
from app.exports import parquet as our_parquet
from app.exports.options import (
    DEFAULT_COLUMNS,
    Compression,
    CsvOptions,
    Delimiter,
    ExportColumn,
    ExportFormat,
    ExportOptions,
)
from app.job_states import JobState
from app.jobs.offload import in_process
from app.jobs.queue import cancel
from app.jobs.running_job import CancelRequested, LeaseLost, RunningJob
from app.json_models import from_json
from app.resources import Resources, open_resources
from app.settings import Settings
from app.store.comment_conditions import CommentConditions
from app.store.row_streams import DriverStatement
from app.work.exporting import export_comments as handler
from app.work.exporting import export_files, write_export
from app.work.exporting.export_comments import ExportNotWritten, export_comments
from app.work.exporting.export_files import export_directory
from app.work.exporting.export_request import ExportRequest
from app.work.exporting.write_export import WriteTask, read_progress, write_at_low_priority
from app.work.kinds import JobKind
from tests.conftest import MakeSettings, Wall, until, write_wall
from tests.jobs.conftest import claim_job, ended, events_of, in_state, read_job, run_handler, running_job
from tests.jobs.exporting import write_with_little_room

COLUMNS = (ExportColumn.VK_ID, ExportColumn.TEXT)
CSV, LINES = ExportOptions(ExportFormat.CSV, COLUMNS), ExportOptions(ExportFormat.JSON_LINES, COLUMNS)
XLSX, PARQUET = ExportOptions(ExportFormat.XLSX, COLUMNS), ExportOptions(ExportFormat.PARQUET, COLUMNS)


def files(settings: Settings) -> list[str]:
    """Return all paths in the directory of exports."""
    root = export_directory(settings)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def export(resources: Resources, options: ExportOptions, **conditions: Any) -> Row[Any]:
    """Export comments with a running worker and return the job's row when it has ended."""
    row = await start_export(resources, CommentConditions(**conditions), options)
    return await ended(resources, row.id)


async def claimed_export(resources: Resources, options: ExportOptions = LINES) -> RunningJob[Any, Any]:
    """Queue an export and claim it, as a worker does."""
    job_id = (await start_export(resources, CommentConditions(), options)).id
    row = await claim_job(resources, job_id, "me")
    assert row
    return running_job(resources, row)


def texts(path: Path) -> list[str]:
    """Read the texts from a file."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data, path = gzip.decompress(data), path.with_suffix("")
    elif path.suffix == ".zst":
        data, path = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(), path.with_suffix("")
    if path.suffix == ".csv":
        return [row["text"] for row in csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";")]
    if path.suffix == ".jsonl":
        return [json.loads(line)["text"] for line in data.splitlines()]
    if path.suffix == ".xlsx":
        return [row[1] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)][1:]
    return list(parquet.read_table(path)["text"].to_pylist())


async def test_every_kind_of_file(resources: Resources, wall: Wall) -> None:
    expected = [f"Comment {place} of post {post}" for post in (0, 2) for place in range(4)]
    conditions = {"posts": ((-1, wall.post_ids[0]), (-1, wall.post_ids[2]))}
    async with open_worker(resources, 4):
        kinds = [
            ExportOptions(kind, COLUMNS, compression)
            for kind in ExportFormat
            for compression in (None, *Compression)
            if compression is None or kind is not ExportFormat.XLSX
        ]
        rows = await asyncio.gather(*(export(resources, options, **conditions) for options in kinds))
    for options, row in zip(kinds, rows, strict=True):
        assert row.state == "SUCCEEDED", row.failure
        result = row.result
        assert result["name"] == options.file_name(f"comments-{row.created_at:%Y-%m-%d}-{row.id}")
        path = export_directory(resources.settings) / str(row.id) / result["name"]
        data = path.read_bytes()
        assert (result["bytes"], result["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert (result["rows"], result["truncated_texts"], result["columns"]) == (8, 0, ["vkId", "text"])
        assert texts(path) == expected
        assert (row.done, row.total, row.stage) == (8, 8, "done")
        assert [each.name for each in path.parent.iterdir()] == [path.name]
        assert path.parent.stat().st_mode & 0o77 == 0
    async with resources.database.connect() as connection:
        found = (await connection.execute(text("SELECT job_id, rows, sha256 FROM exports ORDER BY job_id"))).all()
    assert [tuple(each) for each in found] == sorted((row.id, 8, row.result["sha256"]) for row in rows)


async def test_the_request_is_kept_with_the_job(resources: Resources) -> None:
    options = ExportOptions(
        ExportFormat.CSV,
        DEFAULT_COLUMNS,
        Compression.ZSTD,
        CsvOptions(Delimiter.COMMA, False, False),  # noqa: FBT003 - the fields are those of a CSV file
    )
    request = ExportRequest.of(CommentConditions(search="a", none_of=(CommentConditions(min_likes=1),)), options)
    row = await start_export(resources, request.conditions, options)
    assert from_json(ExportRequest, (await read_job(resources, row.id)).arguments) == request


# slow exports


@pytest.fixture
def _slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make PostgreSQL take 10 ms per row of JSON lines, with many rows."""
    slow = DriverStatement(
        "SELECT n, 'x' FROM generate_series(1, 1000000) n, LATERAL (SELECT pg_sleep(0.01 + 0 * n)) s"
    )
    monkeypatch.setattr(handler, "rows_statement", lambda *_: slow)
    monkeypatch.setattr(handler, "POLL_SECONDS", 0.05)


async def wait_for_rows(resources: Resources, job_id: int) -> None:
    """Wait until a slow export is writing."""
    await until(lambda: _is_writing(resources.settings, job_id))


def _is_writing(settings: Settings, job_id: int) -> bool:
    return any(export_directory(settings).glob(f"{job_id}/*.part/progress"))


@pytest.mark.usefixtures("_slow", "wall")
async def test_cancel(resources: Resources) -> None:
    job_id = (await start_export(resources, CommentConditions(), LINES)).id
    async with open_worker(resources, 1):
        await wait_for_rows(resources, job_id)
        children = psutil.Process().children(recursive=True)
        await cancel(resources, job_id)
        row = await ended(resources, job_id)  # the export itself would take hours
    assert row.state == "CANCELLED"
    assert row.total == 12
    assert files(resources.settings) == []
    assert children


@pytest.mark.usefixtures("_slow", "wall")
async def test_a_run_that_is_cancelled_twice_waits_for_its_process(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step notices the cancel request, and then the worker cancels the handler during its cleanup."""
    has_ended: list[bool] = []

    async def ends_late(write: Any, task: WriteTask) -> Any:
        try:
            return await in_process(write, task)
        except asyncio.CancelledError:
            run.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            has_ended.append(True)
            raise

    monkeypatch.setattr(handler, "in_process", ends_late)
    monkeypatch.setattr(handler, "remove_run", lambda _: has_ended.append(False))
    job = await claimed_export(resources)
    run = asyncio.create_task(export_comments(job))
    await wait_for_rows(resources, job.id)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert has_ended == [True, False]


@pytest.mark.usefixtures("_slow")
async def test_timeout(resources: Resources) -> None:
    job_id = (await start_export(resources, CommentConditions(), LINES, timeout_seconds=1)).id
    async with open_worker(resources, 1):
        row = await ended(resources, job_id)
    assert (row.state, row.failure["code"]) == ("FAILED", "JOB_TIMED_OUT")
    assert files(resources.settings) == []


@pytest.mark.usefixtures("_slow")
async def test_the_next_worker_restarts_an_export_of_a_stopped_one(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = (await start_export(resources, CommentConditions(), LINES)).id
    async with open_worker(resources, 1):
        await wait_for_rows(resources, job_id)
    await in_state(resources, job_id, JobState.QUEUED)
    assert files(resources.settings) == []
    monkeypatch.undo()
    async with open_worker(resources, 1):
        row = await ended(resources, job_id)
    assert row.state == "SUCCEEDED"
    assert files(resources.settings) == [str(job_id), f"{job_id}/{row.result['name']}"]


@asynccontextmanager
async def running(job: RunningJob[Any, Any]) -> AsyncIterator["asyncio.Task[dict[str, Any]]"]:
    """Run the handler of an export while the block lasts."""
    run = asyncio.create_task(run_handler(job, JobKind.EXPORT_COMMENTS))
    await wait_for_rows(job.resources, job.id)
    yield run
    run.cancel()


@pytest.mark.usefixtures("_slow")
async def test_postgresql_closes_the_connection_meanwhile(resources: Resources) -> None:
    async with running(await claimed_export(resources)) as run:
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vk-comments export'"

        async def ended_one() -> bool:
            async with resources.database.connect() as connection:
                return (await connection.execute(text(sql + " AND datname = current_database()"))).rowcount == 1

        await until(ended_one)
        with pytest.raises(ServiceUnavailable):
            await run
    assert files(resources.settings) == []


@pytest.mark.usefixtures("_slow")
async def test_a_run_that_lost_its_lease(resources: Resources) -> None:
    job = await claimed_export(resources)
    async with running(job) as run:
        other = export_directory(resources.settings) / str(job.id) / "run-2.part"
        other.mkdir()
        async with resources.database.transaction() as connection:
            await connection.execute(text("UPDATE jobs SET epoch = epoch + 1"))
        with pytest.raises(LeaseLost):
            await run
    # the file of the next run exists
    assert files(resources.settings) == [str(job.id), f"{job.id}/run-2.part"]
    with pytest.raises(LeaseLost):
        await export_comments(job)
    assert files(resources.settings) == [str(job.id), f"{job.id}/run-2.part"]


async def test_a_run_that_lost_its_lease_at_the_end_moves_no_file(
    resources: Resources, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wall.owner_id == -1

    async def and_lose(*arguments: Any) -> Any:
        written = await in_process(*arguments)
        async with resources.database.transaction() as connection:
            await connection.execute(text("UPDATE jobs SET cancel_requested_at = now()"))
        return written

    monkeypatch.setattr(handler, "in_process", and_lose)
    monkeypatch.setattr(handler, "POLL_SECONDS", 60)
    with pytest.raises(CancelRequested):
        await export_comments(await claimed_export(resources))
    assert files(resources.settings) == []


# failures


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "vk-comments-test", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:  # noqa: S603 - a path of this test
        pytest.skip("nothing can be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)  # noqa: S603, S607 - a path of this test


@pytest.mark.parametrize("options", [CSV, LINES, XLSX, PARQUET], ids=lambda options: options.format.name)
async def test_a_full_disk(make_settings: MakeSettings, small_disk: Path, options: ExportOptions) -> None:
    async with open_resources(make_settings(data_dir=small_disk)) as resources:
        await write_wall(resources, posts_count=1)
        async with resources.database.transaction() as connection:
            # incompressible texts
            await connection.execute(
                text(
                    "UPDATE comments SET text = (SELECT string_agg(md5(id * n || ''), '') FROM generate_series(1, 3000) n)"  # noqa: E501 - one statement
                )
            )
        async with open_worker(resources, 1):
            row = await export(resources, options)
        assert (row.state, row.failure["code"], row.attempts) == ("FAILED", "DISK_FULL", 1)
        assert files(resources.settings) == []
        assert b"\0" not in row.failure["message"].encode()


@pytest.mark.usefixtures("wall")
async def test_a_file_that_may_not_grow(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "write_at_low_priority", write_with_little_room)
    columns = tuple(ExportColumn)
    async with open_worker(resources, 1):
        row = await export(resources, ExportOptions(ExportFormat.JSON_LINES, columns))
    assert (row.state, row.failure["code"]) == ("FAILED", "DISK_FULL")
    assert files(resources.settings) == []


@pytest.mark.usefixtures("wall")
async def test_a_process_that_ends_while_it_starts_is_not_a_disk_failure(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)
    async with open_resources(make_settings(job_max_attempts=100)) as resources, open_worker(resources, 1):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/nothing/is/here")
            job_id = (await start_export(resources, CommentConditions(), LINES)).id
            await until(lambda: _has_failed_once(resources, job_id))
        row = await ended(resources, job_id)
        events = await events_of(resources, job_id)
    assert {facts["failure"]["code"] for kind, facts in events if kind == "ATTEMPT_FAILED"} == {"JOB_PROCESS_DIED"}
    assert row.state == "SUCCEEDED"


async def _has_failed_once(resources: Resources, job_id: int) -> bool:
    return any(kind == "ATTEMPT_FAILED" for kind, _ in await events_of(resources, job_id))


async def test_no_directory_can_be_made(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "exports").touch()
    async with open_resources(make_settings()) as resources:
        with pytest.raises(ExportNotWritten, match="Not a directory"):
            await export_comments(await claimed_export(resources))


async def test_a_rename_that_cannot_be_flushed_to_disk(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(handler, "sync_directory", fail)
    with pytest.raises(ExportNotWritten, match="Input/output error"):
        await export_comments(await claimed_export(resources))
    assert files(resources.settings) == []
    async with resources.database.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM exports")) == 0


async def test_a_worker_without_pyarrow(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = (await start_export(resources, CommentConditions(), PARQUET)).id
    monkeypatch.setattr(our_parquet, "find_spec", lambda _: None)
    async with open_worker(resources, 1):
        row = await ended(resources, job_id)
    assert (row.state, row.failure["code"]) == ("FAILED", "VALIDATION_FAILED")
    assert "pip install" in row.failure["message"]


@pytest.mark.usefixtures("wall")
async def test_a_count_that_times_out(resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    async def give_up(*_: object) -> int:
        raise QueryTimedOut

    monkeypatch.setattr(handler, "count_comments", give_up)
    job = await claimed_export(resources, CSV)
    assert (await export_comments(job)).rows == 12
    assert [facts["stage"] for kind, facts in await events_of(resources, job.id) if kind == "STAGE_CHANGED"][
        -1
    ] == "done"


@pytest.mark.usefixtures("wall")
async def test_files_of_a_crashed_run_are_removed(resources: Resources) -> None:
    job = await claimed_export(resources)
    directory = export_directory(resources.settings) / str(job.id)
    for name in ("run-0.part", "run-1.part"):
        (directory / name).mkdir(parents=True)
        (directory / name / "file").write_bytes(b"half")
    (directory / "comments.jsonl").write_bytes(b"not recorded")
    result = await export_comments(job)
    assert files(resources.settings) == [str(job.id), f"{job.id}/{result.name}"]


# the process that writes


async def task_of(resources: Resources, options: ExportOptions, directory: Path) -> WriteTask:
    """Return the task that the process receives."""
    job = await claimed_export(resources, options)
    order = await handler._Export(job)._write_task()  # noqa: SLF001 - only the handler can make a task
    return WriteTask(order.dsn, order.statement, options, directory, order.mark)


@pytest.mark.usefixtures("wall")
@pytest.mark.parametrize("options", [CSV, XLSX], ids=lambda options: options.format.name)
async def test_writing(
    resources: Resources, options: ExportOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function that runs in a separate process, called in this one."""
    priorities: list[int] = []
    monkeypatch.setattr(os, "setpriority", lambda *arguments: priorities.append(arguments[-1]))
    monkeypatch.setattr(write_export, "PROGRESS_SECONDS", 0.0)
    order = await task_of(resources, options, tmp_path)
    assert read_progress(order) == (0, False)
    written = await asyncio.to_thread(write_at_low_priority, order)
    assert read_progress(order) == (12, True)
    assert priorities == [max(10, os.getpriority(os.PRIO_PROCESS, 0))]
    assert written.rows == 12
    assert written.file.bytes == order.file.stat().st_size
    assert resources.database.dsn not in repr(order)
    with pytest.raises(FileExistsError):
        await asyncio.to_thread(write_at_low_priority, order)


@pytest.mark.usefixtures("wall")
async def test_a_run_that_lost_its_job_leaves_the_files_of_the_next_run(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await claimed_export(resources)
    orders: list[WriteTask] = []
    has_written, may_go_on = asyncio.Event(), asyncio.Event()

    async def one_after_the_other(write: Any, order: WriteTask) -> Any:
        orders.append(order)
        if len(orders) == 1:
            await has_written.wait()
            async with job.step():  # here the run notices that its lease is lost
                pytest.fail("two runs have one job")
        written = await in_process(write, order)
        has_written.set()
        await may_go_on.wait()
        return written

    monkeypatch.setattr(handler, "in_process", one_after_the_other)
    former = asyncio.create_task(export_comments(job))
    await until(lambda: orders)
    row = await claim_job(resources, job.id, "another")
    assert row
    assert row.epoch == job.epoch + 1
    following = asyncio.create_task(run_handler(running_job(resources, row), JobKind.EXPORT_COMMENTS))
    with pytest.raises(LeaseLost):
        await former
    may_go_on.set()
    assert (await following)["rows"] == 12


# upkeep


async def clear(resources: Resources) -> None:
    _, action = periodic_tasks(resources)["clear"]
    await action()


async def test_expired_and_abandoned_files_are_removed(resources: Resources) -> None:
    await clear(resources)  # the directory may not exist yet
    kept = await export_comments(await claimed_export(resources))
    expired, waiting = await claimed_export(resources), await claimed_export(resources)
    await export_comments(expired)
    root = export_directory(resources.settings)
    (root / "77" / "run-1.part").mkdir(parents=True)
    (root / str(waiting.id) / "run-1.part").mkdir(parents=True)
    (root / "else").mkdir()
    for path in root.iterdir():
        os.utime(path, (time.time() - 100, time.time() - 100))
    (root / "78" / "run-1.part").mkdir(parents=True)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE jobs SET finished_at = now(), state = 'SUCCEEDED' WHERE id <> :id"), {"id": waiting.id})  # fmt: skip  # noqa: E501 - one statement
        await connection.execute(text("UPDATE exports SET expires_at = now() WHERE job_id = :id"), {"id": expired.id})
    await clear(resources)
    names = {path.name for path in root.iterdir()}
    assert names == {kept.name.rpartition("-")[2].removesuffix(".jsonl"), str(waiting.id), "else", "78"}
    async with resources.database.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM exports")) == 1


def test_another_process_removes_the_same(tmp_path: Path) -> None:
    assert export_files._remove_old([tmp_path / "gone"]) == 0  # noqa: SLF001 - the race cannot be caused otherwise
