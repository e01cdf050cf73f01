"""The options of an export."""

import pytest

from app.exports.options import DEFAULT_COLUMNS, Compression, ExportColumn, ExportFormat, ExportOptions, Kind
from app.store.export_statements import COLUMNS


@pytest.mark.parametrize(
    ("kind", "compression", "name"),
    [
        (ExportFormat.CSV, None, "a.csv"),
        (ExportFormat.CSV, Compression.GZIP, "a.csv.gz"),
        (ExportFormat.JSON_LINES, Compression.ZSTD, "a.jsonl.zst"),
        (ExportFormat.XLSX, None, "a.xlsx"),
        (ExportFormat.PARQUET, Compression.GZIP, "a.parquet"),
    ],
)
def test_file_names(kind: ExportFormat, compression: Compression | None, name: str) -> None:
    assert ExportOptions(kind, compression=compression).file_name("a") == name


def test_every_column_has_sql_and_a_kind() -> None:
    assert [column.value for column in ExportColumn] == list(COLUMNS)
    assert len(set(DEFAULT_COLUMNS)) == len(DEFAULT_COLUMNS)
    assert {column.kind for column in ExportColumn} == set(Kind)
    assert ExportColumn.TEXT.kind is Kind.TEXT
