"""The way from rows to a file of any format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from app.exports.files import NewFile, sink_of
from app.exports.jsonl import JsonLinesFile
from app.exports.options import ExportFormat, ExportOptions
from app.exports.parquet import ParquetFile
from app.exports.xlsx import XlsxFile


class RowFile(Protocol):
    """A file that rows are written to."""

    rows: int
    """How many were written."""
    cut_texts: int
    """How many texts were too long for the format, and were cut."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, each with a value a column: str, int, aware datetime, bool, a sequence of str, or None."""

    def close(self) -> None:
        """Finish what is in the file. The file itself stays open."""


def row_file(file: NewFile, options: ExportOptions, directory: Path) -> RowFile:
    """Return what writes rows as wished; `directory` is where it may keep files meanwhile. CSV is not made of rows."""
    if options.format is ExportFormat.XLSX:
        return XlsxFile(file, options.columns, directory)
    if options.format is ExportFormat.PARQUET:
        return ParquetFile(file, options.columns, options.compression)
    return JsonLinesFile(sink_of(file, options.compression), options.columns)
