"""Parquet, written by pyarrow, an optional dependency (extra `parquet`)."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from app.errors import ValidationFailed
from app.exports.files import NewFile
from app.exports.options import Compression, ExportColumn, Kind

ROWS_OF_A_GROUP = 20_000
CHARACTERS_OF_A_GROUP = 8_000_000
"""A row group also ends when its texts are longer than this, because it is in memory as a whole."""


def require_parquet() -> None:
    """Check that pyarrow is installed.

    Raises:
        ValidationFailed: it is not; the message says how to install it.
    """
    if find_spec("pyarrow") is None:
        message = "Parquet needs the package pyarrow on the server. Install it there: pip install pyarrow"
        raise ValidationFailed({"format": message})


class ParquetFile:
    """A file of typed columns in row groups. Times are UTC to the microsecond, lists are lists of strings."""

    truncated_texts = 0

    def __init__(self, file: NewFile, columns: Sequence[ExportColumn], compression: Compression | None) -> None:
        # Imported lazily: it takes 30 MB, and may not be installed.
        import pyarrow as pa  # noqa: PLC0415 - lazy import
        from pyarrow import parquet  # noqa: PLC0415 - lazy import

        types = {
            Kind.TEXT: pa.string(),
            Kind.INTEGER: pa.int64(),
            Kind.TIME: pa.timestamp("us", tz="UTC"),
            Kind.BOOLEAN: pa.bool_(),
            Kind.LIST: pa.list_(pa.string()),
        }
        self._schema = pa.schema([(column.value, types[column.kind]) for column in columns])
        # The system's allocator returns freed memory to the system at once; others delay that.
        self._pool = pa.system_memory_pool()
        self._arrow: Any = pa  # Any: pyarrow has no type hints
        codec = "GZIP" if compression is Compression.GZIP else "ZSTD"
        options = {"compression": codec, "memory_pool": self._pool}
        self._file: Any = parquet.ParquetWriter(file, self._schema, **options)  # Any: as above
        self._texts = [place for place, column in enumerate(columns) if column.kind is Kind.TEXT]
        self._batches: list[object] = []
        self._kept = self._characters = 0
        self.rows = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:  # Any: the value of a column has its kind
        """Add rows, each with one value per column."""
        # Convert them at once: Arrow needs a fifth of the memory that Python needs for a row.
        columns = [
            self._arrow.array([row[index] for row in rows], field.type, memory_pool=self._pool)
            for index, field in enumerate(self._schema)
        ]
        self._batches.append(self._arrow.RecordBatch.from_arrays(columns, schema=self._schema))
        self._kept += len(rows)
        self._characters += sum(len(row[place] or "") for row in rows for place in self._texts)
        self.rows += len(rows)
        if self._kept >= ROWS_OF_A_GROUP or self._characters >= CHARACTERS_OF_A_GROUP:
            self._write_group()

    def close(self) -> None:
        """Write the last row group and the file's footer."""
        if self._batches:
            self._write_group()
        self._file.close()

    def _write_group(self) -> None:
        table = self._arrow.Table.from_batches(self._batches)
        self._file.write_table(table, row_group_size=self._kept)
        self._batches, self._kept, self._characters = [], 0, 0
