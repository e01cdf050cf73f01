"""Exports comments: another process writes the file in the run's own directory, then it is moved into place."""

import asyncio
import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.errors import DiskFull, QueryTimedOut, ServiceUnavailable
from app.exports.csv import FORMULA_STARTS
from app.exports.options import ExportFormat
from app.exports.parquet import require_parquet
from app.jobs.definitions import JobDefinition
from app.jobs.offload import in_process
from app.jobs.running_job import Progress, RunningJob
from app.store.comments import count_comments
from app.store.export_statements import csv_statement, rows_statement
from app.store.exports import upsert_export
from app.store.row_streams import SourceLost
from app.work.exporting.export_files import export_directory, recreate_directory, remove_run, sync_directory
from app.work.exporting.export_request import ExportRequest, ExportSummary
from app.work.exporting.write_export import WriteTask, Written, read_progress, write_at_low_priority
from app.work.kinds import JobKind

READING, WRITING, PACKING, DONE = "counting comments", "writing", "packing", "done"
POLL_SECONDS = 0.25
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The error numbers for no space left: on the disk, in the user's quota, or in a file."""


class ExportNotWritten(Exception):
    """The file could not be written, for another reason than lack of space: the operator has to check the disk."""


ExportJob = RunningJob[ExportRequest, None]


async def export_comments(job: ExportJob) -> ExportSummary:
    """Write the file that the job's arguments describe and return its facts.

    It has no checkpoint: a run starts from the beginning, whatever an earlier run of the job has left. If it does
    not finish, its files are removed.

    Raises:
        DiskFull: there is no space for the file.
        ServiceUnavailable: PostgreSQL became unavailable.
        ValidationFailed: this process cannot write such a file.
        LeaseLost: another worker has claimed the job.
        CancelRequested: a client has requested to cancel the job.
    """
    return await _Export(job).run()


class _Export:
    """One run of an export job."""

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._request = job.arguments
        self._options = self._request.options
        self._directory = export_directory(job.resources.settings) / str(job.id)
        # each run has its own directory, because a run that was declared dead may still be writing
        self._run_directory = self._directory / f"run-{job.epoch}.part"
        self._name = self._options.file_name(f"comments-{job.created_at:%Y-%m-%d}-{job.id}")
        self._total: int | None = None

    async def run(self) -> ExportSummary:
        if self._options.format is ExportFormat.PARQUET:
            require_parquet()
        try:
            # in a step, so that a run whose lease is lost does not remove the files of the next run
            async with self._job.step() as connection:
                await self._job.report(connection, Progress(READING), None)
                with _typed_failures():
                    await asyncio.to_thread(recreate_directory, self._directory, self._run_directory)
            task = await self._write_task()
            return await self._finish(task, await self._write(task))
        finally:
            await asyncio.to_thread(remove_run, self._run_directory)

    async def _write_task(self) -> WriteTask:
        database, options = self._job.resources.database, self._options
        names = [column.value for column in options.columns]
        mark = secrets.token_hex(8)
        async with database.connect() as connection:
            if options.format is ExportFormat.CSV:
                starts = FORMULA_STARTS if options.csv.escapes_formulas else ""
                statement = csv_statement(self._request.conditions, names, mark, starts, connection.dialect)
            else:
                statement = rows_statement(self._request.conditions, names, connection.dialect)
            # a count that takes too long only leaves the total unknown
            with suppress(QueryTimedOut):
                self._total = await count_comments(connection, self._request.conditions)
        return WriteTask(database.dsn, statement, options, self._run_directory, mark)

    async def _write(self, task: WriteTask) -> Written:
        """Write the file in another process and report its progress. Cancelling kills that process at once."""
        writing = asyncio.create_task(in_process(write_at_low_priority, task))
        try:
            while not (await asyncio.wait({writing}, timeout=POLL_SECONDS))[0]:
                rows, is_packing = read_progress(task)
                await self._report(Progress(PACKING if is_packing else WRITING, rows, self._total))
            with _typed_failures():
                return writing.result()
        finally:
            writing.cancel()
            # Wait even if cancelled again: the process must have ended before its directory is removed.
            while not writing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({writing})

    async def _finish(self, task: WriteTask, written: Written) -> ExportSummary:
        """Move the file into place and record it, in one step, so that only the run with the lease does so."""
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
                target = task.file.rename(self._directory / self._name)
                try:
                    await asyncio.to_thread(sync_directory, self._directory)
                except BaseException:
                    target.unlink()
                    raise
        return ExportSummary(
            name=self._name,
            format=options.format,
            compression=options.compression,
            rows=written.rows,
            bytes=file.bytes,
            sha256=file.sha256,
            columns=options.columns,
            truncated_texts=written.truncated_texts,
            expires_at=row.expires_at,
        )

    async def _report(self, progress: Progress) -> None:
        async with self._job.step() as connection:
            await self._job.report(connection, progress, None)


@contextmanager
def _typed_failures() -> Iterator[None]:
    """Convert disk errors, which a transaction would otherwise regard as errors of PostgreSQL's connection."""
    try:
        yield
    except SourceLost as error:
        raise ServiceUnavailable("PostgreSQL") from error
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull from error
        raise ExportNotWritten(str(error)) from error


EXPORT_COMMENTS = JobDefinition(
    kind=JobKind.EXPORT_COMMENTS,
    description="It exports comments to a file.",
    handler=export_comments,
    arguments=ExportRequest,
    checkpoint=type(None),
    result=ExportSummary,
)
