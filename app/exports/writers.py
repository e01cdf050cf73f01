"""Writers of rows for each file format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from app.exports.files import NewFile, sink_of
from app.exports.jsonl import JsonLinesFile
from app.exports.options import ExportFormat, ExportOptions
from app.exports.parquet import ParquetFile
from app.exports.xlsx import XlsxFile


class RowFile(Protocol):
    """A writer of rows into a file."""

    rows: int
    """How many rows were written."""
    truncated_texts: int
    """How many texts were cut because they were too long for the format."""

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        """Add rows, each with one value per column: str, int, aware datetime, bool, a sequence of str, or None."""

    def close(self) -> None:
        """Write the end of the content. The file itself stays open."""


def row_file(file: NewFile, options: ExportOptions, directory: Path) -> RowFile:
    """Return the writer for these options, which may keep temporary files in `directory`. For CSV see `CsvFile`."""
    if options.format is ExportFormat.XLSX:
        return XlsxFile(file, options.columns, directory)
    if options.format is ExportFormat.PARQUET:
        return ParquetFile(file, options.columns, options.compression)
    return JsonLinesFile(sink_of(file, options.compression), options.columns)
