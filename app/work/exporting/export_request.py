"""The arguments and the result of an export job."""

from dataclasses import dataclass
from datetime import datetime

from app.exports.options import Compression, CsvOptions, ExportColumn, ExportFormat, ExportOptions
from app.store.comment_conditions import CommentConditions


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which comments to export, and to which file format (see `ExportOptions`)."""

    conditions: CommentConditions
    format: ExportFormat
    columns: tuple[ExportColumn, ...]
    compression: Compression | None
    csv: CsvOptions

    @classmethod
    def of(cls, conditions: CommentConditions, options: ExportOptions) -> "ExportRequest":
        """Return the request for these comments and options."""
        return cls(conditions, options.format, options.columns, options.compression, options.csv)

    @property
    def options(self) -> ExportOptions:
        """The options of the file."""
        return ExportOptions(self.format, self.columns, self.compression, self.csv)


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """The result: the facts of the file. `truncated_texts` is the number of texts that were truncated."""

    name: str
    format: ExportFormat
    compression: Compression | None
    rows: int
    bytes: int
    sha256: str
    columns: tuple[ExportColumn, ...]
    truncated_texts: int
    expires_at: datetime
