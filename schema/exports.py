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
from app.jobs.states import JobPriority
from schema import export_files as _files  # noqa: F401 - exports the enums that are used below
from schema.context import Info
from schema.errors import QueueFullError, ServiceUnavailableError, ValidationFailedError
from schema.filters import CommentFilter
from schema.jobs import Job


@strawberry.input(description="How CSV is written. What is left out suits Excel.")
class CsvInput:
    """Options of CSV."""

    delimiter: Delimiter = strawberry.field(
        default=Delimiter.SEMICOLON, description="What stands between the values of a line."
    )
    escape_formulas: bool = strawberry.field(
        default=True,
        description="Put an apostrophe before texts that begin with =, +, -, @, a tab or a line break: spreadsheets "
        "would run them as formulas. Switch it off only for programs that do not.",
    )
    byte_order_mark: bool = strawberry.field(
        default=True, description="Begin with a byte order mark, by which Excel knows that it is UTF-8."
    )


@strawberry.input(description="Which comments to write into what kind of file.")
class StartExportInput:
    """The input of startExport."""

    format: ExportFormat = strawberry.field(description="What kind of file.")
    filter: CommentFilter | None = strawberry.field(
        default=None, description="Which comments; all if it is left out. They come in the order of their keys."
    )
    columns: list[ExportColumn] | None = strawberry.field(
        default=None,
        description="Which columns, in this order. If left out: "
        + ", ".join(column.name for column in DEFAULT_COLUMNS)
        + ".",
    )
    compression: Compression | None = strawberry.field(
        default=None, description="How to pack the file; not at all if it is left out. Not for XLSX, which is packed."
    )
    csv: CsvInput | None = strawberry.field(default=None, description="How CSV is written; only for CSV.")
    priority: JobPriority = strawberry.field(default=JobPriority.NORMAL, description="How soon the job is taken.")
    timeout_seconds: float | None = strawberry.field(default=None, description="How long one try may take.")

    def options(self) -> ExportOptions:
        """Return what the file is to be like."""
        csv = self.csv or CsvInput()
        return ExportOptions(
            self.format,
            DEFAULT_COLUMNS if self.columns is None else tuple(self.columns),
            self.compression,
            CsvOptions(csv.delimiter, csv.escape_formulas, csv.byte_order_mark),
        )


@strawberry.type(description="The export waits for a worker. Follow it with `jobProgress`; its result is the file.")
class StartExportSuccess:
    """An export was started."""

    job: Job = strawberry.field(description="The job that writes the file.")


StartExportResult = Annotated[
    StartExportSuccess | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("StartExportResult", description="What became of startExport."),
]


@strawberry.type
class ExportMutation:
    """The mutation of this file."""

    @strawberry.mutation(description="Write comments into a file in the background.")
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
