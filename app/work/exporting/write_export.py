"""Writes the file of an export in its own process: reads from PostgreSQL, and reports its progress in a small file.

Imports only what it needs, because its memory comes on top of the web process's.
"""

import asyncio
import gc
import os
import struct
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from app.exports.csv import CsvFile
from app.exports.files import FileFacts, NewFile, sink_of
from app.exports.options import ExportFormat, ExportOptions
from app.exports.writers import row_file
from app.store.row_streams import DriverStatement, copy_csv, reading, row_batches

NICENESS = 10
"""A low CPU priority, so that short requests to the web process come first."""
BATCH_ROWS = 500
PROGRESS_SECONDS = 0.1
_PROGRESS = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class WriteTask:
    """What to write: which rows, how, and where. `mark` ends the lines of CSV."""

    dsn: str = field(repr=False)  # may contain a password
    statement: DriverStatement
    options: ExportOptions
    directory: Path
    mark: str = ""

    @property
    def file(self) -> Path:
        """The path of the file."""
        return self.directory / "file"

    @property
    def progress_file(self) -> Path:
        """The path of the file that contains the progress."""
        return self.directory / "progress"


@dataclass(frozen=True, slots=True)
class Written:
    """The result: rows, how many of their texts were truncated, and the facts of the file."""

    rows: int
    truncated_texts: int
    file: FileFacts


def write_at_low_priority(task: WriteTask) -> Written:
    """Call `write_export` with a low CPU priority for this process."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    return write_export(task)


def write_export(task: WriteTask) -> Written:
    """Write the rows to a new file and flush it to the disk.

    Raises:
        OSError: the disk is full, or the file cannot be written.
        SourceLost: PostgreSQL cannot be reached, or became unavailable.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_write(task))
    except BaseException as error:
        _close_open_files(error)
        raise


def _close_open_files(error: BaseException) -> None:
    """Close the files that a failed export has left open: until then they use disk space, even when deleted.

    Writing a workbook opens files that are closed only at its end, and this process may wait long for its next call.
    """
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    gc.collect()


def read_progress(task: WriteTask) -> tuple[int, bool]:
    """Return how many rows are written so far, and whether only the packing remains."""
    try:
        rows, is_packing = _PROGRESS.unpack(task.progress_file.read_bytes())
    except (FileNotFoundError, struct.error):
        return 0, False
    return rows, bool(is_packing)


class _ProgressFile:
    """Writes the progress into a file of constant size."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._written_at = 0.0
        self.write(0)

    def write(self, rows: int, *, is_packing: bool = False) -> None:
        now = time.monotonic()
        if is_packing or now - self._written_at >= PROGRESS_SECONDS:
            self._written_at = now
            os.pwrite(self._file, _PROGRESS.pack(rows, is_packing), 0)

    def close(self) -> None:
        os.close(self._file)


async def _write(task: WriteTask) -> Written:
    file = NewFile(task.file)
    try:
        progress = _ProgressFile(task.progress_file)
        try:
            write: Callable[[WriteTask, NewFile, _ProgressFile], Awaitable[tuple[int, int]]]
            write = _write_csv if task.options.format is ExportFormat.CSV else _write_rows
            rows, truncated_texts = await write(task, file, progress)
        finally:
            progress.close()
        return Written(rows, truncated_texts, file.finish())
    finally:
        file.abandon()


async def _write_csv(task: WriteTask, file: NewFile, progress: _ProgressFile) -> tuple[int, int]:
    options = task.options
    written = CsvFile(sink_of(file, options.compression), options.columns, options.csv, task.mark)

    def write(lines: bytes) -> None:
        written.write(lines)
        progress.write(written.rows)

    async with reading(task.dsn) as connection:
        await copy_csv(connection, task.statement, options.csv.delimiter.value, write)
    progress.write(written.rows, is_packing=True)
    written.close()
    return written.rows, 0


async def _write_rows(task: WriteTask, file: NewFile, progress: _ProgressFile) -> tuple[int, int]:
    written = row_file(file, task.options, task.directory)
    async with reading(task.dsn) as connection:
        async for rows in row_batches(connection, task.statement, BATCH_ROWS):
            written.write(rows)
            progress.write(written.rows)
    progress.write(written.rows, is_packing=True)
    written.close()
    return written.rows, written.truncated_texts
