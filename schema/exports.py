"""The mutation that starts an export."""

from typing import Annotated

import strawberry

from app.actions.start_export import start_export
from app.exports.options import (
    DEFAULT_COLUMNS,
    Compression,
    CsvOptions,
    Delimiter,
    ExportColumn,
    ExportFormat,
    ExportOptions,
)
from app.job_states import JobPriority
from schema import export_files as _files  # noqa: F401 - exports the enums that are used below
from schema.context import Info
from schema.errors import QueueFullError, ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.jobs import Job


@strawberry.input(description="Options of CSV. The defaults suit Excel.")
class CsvInput:
    """Options of CSV."""

    delimiter: Delimiter = strawberry.field(default=Delimiter.SEMICOLON, description="The separator of values.")
    escape_formulas: bool = strawberry.field(
        default=True,
        description="`true`: put an apostrophe before texts that begin with =, +, -, @, a tab or a line "
        "break, which spreadsheets would run as formulas; `false`: do not, for programs that run "
        "no formulas.",
    )
    byte_order_mark: bool = strawberry.field(
        default=True, description="`true`: start the file with a byte order mark, by which Excel detects UTF-8."
    )


@strawberry.input(description="Which comments to export, and how.")
class StartExportInput:
    """The input of startExport."""

    format: ExportFormat = strawberry.field(description="The file format.")
    filter: CommentFilter | None = strawberry.field(
        default=None, description="Which comments, in key order; null: all."
    )
    columns: list[ExportColumn] | None = strawberry.field(
        default=None,
        description="The columns, in this order. Default: "
        + ", ".join(column.name for column in DEFAULT_COLUMNS)
        + ".",
    )
    compression: Compression | None = strawberry.field(
        default=None,
        description="The compression of the file; null: none. Not allowed for XLSX, which is compressed already.",
    )
    csv: CsvInput | None = strawberry.field(default=None, description="Options of CSV; only allowed for CSV.")
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="The priority of the job.")
    timeout_seconds: float | None = strawberry.field(
        default=None, description="The timeout of one attempt, in seconds."
    )

    def options(self) -> ExportOptions:
        """Return the options of the file."""
        csv = self.csv or CsvInput()
        return ExportOptions(
            self.format,
            DEFAULT_COLUMNS if self.columns is None else tuple(self.columns),
            self.compression,
            CsvOptions(csv.delimiter, csv.escape_formulas, csv.byte_order_mark),
        )


@strawberry.type(
    description="The export waits for a worker. Follow it with `jobProgress`; the result contains the file's URL."
)
class StartExportSuccess:
    """An export was started."""

    job: Job = strawberry.field(description="The job that writes the file.")


StartExportResult = Annotated[
    StartExportSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("StartExportResult", description="The result of startExport."),
]


@strawberry.type
class ExportMutation:
    """The mutation of this file."""

    @strawberry.mutation(description="Export comments to a file in the background.")
    async def start_export(
        self,
        info: Info,
        input: Annotated[StartExportInput, strawberry.argument(description="Which comments, and how.")],
    ) -> StartExportResult:
        """Start an export."""
        row = await start_export(
            info.context.resources,
            (input.filter or CommentFilter()).conditions(),
            input.options(),
            priority=input.priority,
            timeout_seconds=input.timeout_seconds,
        )
        return StartExportSuccess(job=Job.of(row))
