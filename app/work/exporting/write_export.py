"""Writes the file of an export, in a process of its own: it reads from PostgreSQL, and tells how far it is in a file.

It imports nothing that it does not need: all that it has in memory is there beside the web process.
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
"""Who asks a small question of the web process comes first."""
ROWS_AT_ONCE = 500
TELL_SECONDS = 0.1
_TOLD = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class WritingOrder:
    """What to write: which rows, how, and where. `mark` ends the lines of CSV."""

    dsn: str = field(repr=False)  # may hold a password
    statement: DriverStatement
    options: ExportOptions
    directory: Path
    mark: str = ""

    @property
    def file(self) -> Path:
        """Where the file is written."""
        return self.directory / "file"

    @property
    def told(self) -> Path:
        """Where it is told how far the writing is."""
        return self.directory / "told"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: rows, how many of their texts were cut, and the file as it is on the disk."""

    rows: int
    cut_texts: int
    file: FileFacts


def write_in_peace(order: WritingOrder) -> Written:
    """Do what `write_export` does, as a process that lets others go first."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    return write_export(order)


def write_export(order: WritingOrder) -> Written:
    """Write the rows to a new file, which is on the disk at the end.

    Raises:
        OSError: the disk is full, or is none.
        SourceLost: PostgreSQL cannot be reached, or went away meanwhile.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_write(order))
    except BaseException as error:
        _let_go(error)
        raise


def _let_go(error: BaseException) -> None:
    """Close the files that a failed writing has left open: until then they take room, also without a name.

    A workbook has some that only its end closes, and this process may wait long for the next file.
    """
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__
    gc.collect()


def read_told(order: WritingOrder) -> tuple[int, bool]:
    """Return how many rows are written by now, and whether that is all and only the packing is left."""
    try:
        rows, is_packing = _TOLD.unpack(order.told.read_bytes())
    except (FileNotFoundError, struct.error):
        return 0, False
    return rows, bool(is_packing)


class _Teller:
    """Tells in a file, which never grows, how far the writing is."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._told_at = 0.0
        self.tell(0)

    def tell(self, rows: int, *, is_packing: bool = False) -> None:
        now = time.monotonic()
        if is_packing or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            os.pwrite(self._file, _TOLD.pack(rows, is_packing), 0)

    def close(self) -> None:
        os.close(self._file)


async def _write(order: WritingOrder) -> Written:
    file = NewFile(order.file)
    try:
        teller = _Teller(order.told)
        try:
            write: Callable[[WritingOrder, NewFile, _Teller], Awaitable[tuple[int, int]]]
            write = _write_csv if order.options.format is ExportFormat.CSV else _write_rows
            rows, cut_texts = await write(order, file, teller)
        finally:
            teller.close()
        return Written(rows, cut_texts, file.finish())
    finally:
        file.abandon()


async def _write_csv(order: WritingOrder, file: NewFile, teller: _Teller) -> tuple[int, int]:
    options = order.options
    written = CsvFile(sink_of(file, options.compression), options.columns, options.csv, order.mark)

    def take(lines: bytes) -> None:
        written.write(lines)
        teller.tell(written.rows)

    async with reading(order.dsn) as connection:
        await copy_csv(connection, order.statement, options.csv.delimiter.value, take)
    teller.tell(written.rows, is_packing=True)
    written.close()
    return written.rows, 0


async def _write_rows(order: WritingOrder, file: NewFile, teller: _Teller) -> tuple[int, int]:
    written = row_file(file, order.options, order.directory)
    async with reading(order.dsn) as connection:
        async for rows in row_batches(connection, order.statement, ROWS_AT_ONCE):
            written.write(rows)
            teller.tell(written.rows)
    teller.tell(written.rows, is_packing=True)
    written.close()
    return written.rows, written.cut_texts
