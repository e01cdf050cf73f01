"""Writes comments into a file: in a process of its own and a directory of the run; what is whole moves to its place."""

import asyncio
import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app.errors import DiskFull, QueryTimedOut, ServiceUnavailable
from app.exports.csv import FORMULA_STARTS
from app.exports.options import ExportFormat
from app.exports.parquet import require_parquet
from app.jobs.offload import in_process
from app.jobs.running_job import Progress, RunningJob
from app.store.comments import count_comments
from app.store.export_statements import csv_statement, rows_statement
from app.store.exports import upsert_export
from app.store.row_streams import SourceLost
from app.work.exporting.export_files import export_directory, make_anew, remove_run, sync_names
from app.work.exporting.export_request import ExportRequest
from app.work.exporting.write_export import WritingOrder, Written, read_told, write_in_peace

READING, WRITING, PACKING, DONE = "counting comments", "writing", "packing", "done"
LOOK_SECONDS = 0.25
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where no room is left: on the disk, for this user, in a file."""


class ExportNotWritten(Exception):
    """The disk refuses a file, and not for being full: the operator has to look at it."""


async def export_comments(job: RunningJob) -> dict[str, Any]:
    """Write the file that the job's arguments ask for and return what it is.

    A run begins at the beginning, whatever a former one of the job has left. What
    this one has written is gone if it does not come to its end.

    Raises:
        DiskFull: there is no room for the file.
        ServiceUnavailable: PostgreSQL went away meanwhile.
        ValidationFailed: this process cannot write such a file.
        TakenAway: another worker has the job.
        CancelRequested: the job is to end.
    """
    return await _Export(job).run()


class _Export:
    """One run of one export."""

    def __init__(self, job: RunningJob) -> None:
        self._job = job
        self._request = ExportRequest.of(job.arguments)
        self._options = self._request.options
        self._directory = export_directory(job.resources.settings) / str(job.id)
        # a run that was declared dead may still be writing: each has a directory of its own
        self._own = self._directory / f"run-{job.epoch}.part"
        self._name = self._options.file_name(f"comments-{job.created_at:%Y-%m-%d}-{job.id}")
        self._total: int | None = None

    async def run(self) -> dict[str, Any]:
        if self._options.format is ExportFormat.PARQUET:
            require_parquet()
        try:
            # in a step: who has lost the job must not remove what its next run has begun to write
            async with self._job.step() as connection:
                await self._job.report(connection, Progress(READING), None)
                with _typed_failures():
                    await asyncio.to_thread(make_anew, self._directory, self._own)
            order = await self._order()
            return await self._finish(order, await self._write(order))
        finally:
            await asyncio.to_thread(remove_run, self._own)

    async def _order(self) -> WritingOrder:
        database, options = self._job.resources.database, self._options
        names = [column.value for column in options.columns]
        mark = secrets.token_hex(8)
        async with database.connect() as connection:
            if options.format is ExportFormat.CSV:
                starts = FORMULA_STARTS if options.csv.escapes_formulas else ""
                statement = csv_statement(self._request.conditions, names, mark, starts, connection.dialect)
            else:
                statement = rows_statement(self._request.conditions, names, connection.dialect)
            # what takes too long to be counted can be written nevertheless
            with suppress(QueryTimedOut):
                self._total = await count_comments(connection, self._request.conditions)
        return WritingOrder(database.dsn, statement, options, self._own, mark)

    async def _write(self, order: WritingOrder) -> Written:
        """Let a process write, and tell how far it is. Whoever ends this ends that process at once."""
        writing = asyncio.create_task(in_process(write_in_peace, order))
        try:
            while not (await asyncio.wait({writing}, timeout=LOOK_SECONDS))[0]:
                rows, is_packing = read_told(order)
                await self._report(Progress(PACKING if is_packing else WRITING, rows, self._total))
            with _typed_failures():
                return writing.result()
        finally:
            writing.cancel()
            # it is waited for, as it must not write where its directory is being removed
            await asyncio.gather(writing, return_exceptions=True)

    async def _finish(self, order: WritingOrder, written: Written) -> dict[str, Any]:
        """Move the file to its place and record it, in one step: only the run that has the job does that."""
        job, options, file = self._job, self._options, written.file
        values = {
            "job_id": job.id,
            "name": self._name,
            "format": options.format.value,
            "compression": options.compression and options.compression.value,
            "rows": written.rows,
            "bytes": file.bytes,
            "sha256": file.sha256,
        }
        async with job.step() as connection:
            row = await upsert_export(connection, values, job.resources.settings.export_retention_days)
            await job.report(connection, Progress(DONE, written.rows, written.rows), None)
            with _typed_failures():
                target = order.file.rename(self._directory / self._name)
                try:
                    await asyncio.to_thread(sync_names, self._directory)
                except BaseException:
                    target.unlink()
                    raise
        facts = {name: value for name, value in values.items() if name != "job_id"}
        return facts | {
            "columns": [column.value for column in options.columns],
            "cut_texts": written.cut_texts,
            "expires_at": row.expires_at.isoformat(),
        }

    async def _report(self, progress: Progress) -> None:
        async with self._job.step() as connection:
            await self._job.report(connection, progress, None)


@contextmanager
def _typed_failures() -> Iterator[None]:
    """Tell failures of the disk from those of PostgreSQL: within a transaction, an OSError counts as one of these."""
    try:
        yield
    except SourceLost as error:
        raise ServiceUnavailable("PostgreSQL") from error
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull from error
        raise ExportNotWritten(str(error)) from error
