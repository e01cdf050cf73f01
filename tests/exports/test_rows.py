"""Files of rows, read back by other libraries: JSON lines, XLSX and Parquet."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape
from pyarrow import parquet

from app.errors import ValidationFailed
from app.exports import parquet as our_parquet
from app.exports import xlsx
from app.exports.files import FileFacts, NewFile
from app.exports.options import Compression, ExportColumn, ExportFormat, ExportOptions
from app.exports.parquet import ParquetFile, require_parquet
from app.exports.writers import row_file
from app.exports.xlsx import CUT, MOST_ROWS, XlsxFile
from tests.exports.nasty import NASTY

COLUMNS = (
    ExportColumn.VK_ID,
    ExportColumn.TEXT,
    ExportColumn.PUBLISHED_AT,
    ExportColumn.IS_REPLY,
    ExportColumn.KEYWORDS,
)
AT = datetime(2026, 3, 1, 12, 30, 59, 123_000, tzinfo=UTC)
ROWS: list[tuple[Any, ...]] = [
    (1, "a", AT, True, ["b", "c, d"]),
    (-(2**40), "\x00нуль\x00", datetime(2006, 10, 10, tzinfo=timezone(timedelta(hours=3))), False, []),
    (None, None, None, None, None),
]


def write(path: Path, kind: ExportFormat, rows: Sequence[Sequence[Any]], **arguments: Any) -> FileFacts:
    """Write rows into a file in two batches."""
    file = NewFile(path)
    written = row_file(file, ExportOptions(kind, **{"columns": COLUMNS, **arguments}), path.parent)
    written.write(rows[:1])
    written.write(rows[1:])
    written.close()
    assert written.rows == len(rows)
    assert written.truncated_texts == 0
    facts = file.finish()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return facts


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, ExportFormat.JSON_LINES, ROWS)
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    found = [json.loads(line) for line in lines]
    assert found[0] == {
        "vkId": 1,
        "text": "a",
        "publishedAt": "2026-03-01T12:30:59.123000+00:00",
        "isReply": True,
        "keywords": ["b", "c, d"],
    }
    assert (found[1]["text"], found[1]["publishedAt"]) == ("\x00нуль\x00", "2006-10-10T00:00:00+03:00")
    assert list(found[2].values()) == [None] * 5


@pytest.mark.parametrize("compression", [None, *Compression])
def test_parquet(tmp_path: Path, compression: Compression | None) -> None:
    path = tmp_path / "file"
    write(path, ExportFormat.PARQUET, ROWS, compression=compression)
    table = parquet.read_table(path)
    assert [str(field.type) for field in table.schema] == [
        "int64", "string", "timestamp[us, tz=UTC]", "bool", "list<element: string>",
    ]  # fmt: skip
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    packed = parquet.ParquetFile(path).metadata.row_group(0).column(1).compression
    assert packed == ("GZIP" if compression is Compression.GZIP else "ZSTD")


def test_row_groups_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_parquet, "ROWS_OF_A_GROUP", 4)
    monkeypatch.setattr(our_parquet, "CHARACTERS_OF_A_GROUP", 10)
    file = NewFile(tmp_path / "file")
    written = ParquetFile(file, COLUMNS[:2], None)
    for text in ("", "", "", "", "", "a" * 10, "", ""):
        written.write([(1, text)])
    written.close()
    file.finish()
    facts = parquet.ParquetFile(tmp_path / "file").metadata
    assert [facts.row_group(number).num_rows for number in range(facts.num_row_groups)] == [4, 2, 2]
    empty = NewFile(tmp_path / "empty")
    ParquetFile(empty, COLUMNS, None).close()
    empty.finish()
    assert parquet.read_table(tmp_path / "empty").num_rows == 0


def test_parquet_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    require_parquet()
    monkeypatch.setattr(our_parquet, "find_spec", lambda _: None)
    with pytest.raises(ValidationFailed, match=r"format: .* pip install pyarrow"):
        require_parquet()


# XLSX


def sheets(path: Path) -> list[list[tuple[Any, ...]]]:
    """Read a workbook."""
    book = openpyxl.load_workbook(path)
    return [[tuple(cell.value for cell in row) for row in sheet.iter_rows()] for sheet in book.worksheets]


def test_xlsx(tmp_path: Path) -> None:
    path = tmp_path / "file.xlsx"
    write(path, ExportFormat.XLSX, [*ROWS, (10**15, "", datetime(1899, 1, 1, tzinfo=UTC), True, ["=1"])])
    [[head, first, second, third, fourth]] = sheets(path)
    assert head == ("vkId", "text", "publishedAt (UTC)", "isReply", "keywords")
    assert first == (1, "a", datetime(2026, 3, 1, 12, 30, 59, 123_000), True, "b, c, d")  # noqa: DTZ001 - Excel has no time zones
    assert second == (-(2**40), "_x0000_нуль_x0000_", datetime(2006, 10, 9, 21), False, None)  # noqa: DTZ001 - Excel has no time zones
    assert third == (None,) * 5
    assert fourth == (str(10**15), "", "1899-01-01 00:00:00+00:00", True, "=1")
    book = openpyxl.load_workbook(path)
    assert book.worksheets[0]["C2"].is_date
    assert book.worksheets[0]["E5"].data_type == "s"
    assert book.worksheets[0].freeze_panes == "A2"


def write_texts(path: Path, texts: Sequence[str], most_rows: int = MOST_ROWS) -> int:
    """Write texts into a workbook and return how many were cut."""
    file = NewFile(path)
    written = XlsxFile(file, [ExportColumn.TEXT], path.parent, most_rows=most_rows)
    written.write([(text,) for text in texts])
    written.close()
    file.finish()
    return written.truncated_texts


def read_texts(path: Path) -> list[str]:
    """Read the texts of a workbook as Excel does: unescape characters that XML lacks, and restore CR LF."""
    return [unescape(row[0] or "") for sheet in sheets(path) for row in sheet[1:]]


def test_nasty_texts_in_xlsx(tmp_path: Path) -> None:
    path = tmp_path / "file.xlsx"
    long = {text for text in NASTY if len(text.encode("utf-16-le")) > 2 * 32_767}
    assert write_texts(path, NASTY) == len(long) == 3
    for text, found in zip(NASTY, read_texts(path), strict=True):
        if text in long:
            assert found.endswith(CUT)
            assert text.startswith(found.removesuffix(CUT))
            assert 32_766 <= len(found.encode("utf-16-le")) // 2 <= 32_767
        else:
            assert found == text


XML = st.characters(exclude_categories=["Cs"])


@given(st.lists(st.text(XML, max_size=20), max_size=10))
def test_any_text_in_xlsx(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("book") / "file.xlsx"
    assert write_texts(path, texts) == 0
    assert read_texts(path) == texts


@pytest.mark.parametrize(("rows", "sizes"), [(0, [0]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_further_sheets(tmp_path: Path, rows: int, sizes: list[int]) -> None:
    path = tmp_path / "file.xlsx"
    write_texts(path, [str(number) for number in range(rows)], most_rows=4)
    found = sheets(path)
    assert [len(sheet) - 1 for sheet in found] == sizes
    assert {sheet[0] for sheet in found} == {("text",)}
    assert read_texts(path) == [str(number) for number in range(rows)]
    names = openpyxl.load_workbook(path).sheetnames
    assert names == ["comments", "comments 2", "comments 3"][: len(sizes)]


def test_the_maximum_of_rows_is_that_of_the_library(tmp_path: Path) -> None:
    """XlsxWriter silently drops rows beyond its maximum, which must be equal to this project's."""
    file = NewFile(tmp_path / "file.xlsx")
    written = XlsxFile(file, [ExportColumn.TEXT], tmp_path)
    sheet = written._sheet  # noqa: SLF001 - a sheet of a million rows takes minutes
    assert sheet.write_string(MOST_ROWS - 1, 0, "in") == 0
    assert sheet.write_string(MOST_ROWS, 0, "out") == -1
    written._row = MOST_ROWS - 1  # noqa: SLF001 - a sheet of a million rows takes minutes
    written.write([("last",), ("first of the next",)])
    assert written._row == 2  # noqa: SLF001 - a sheet of a million rows takes minutes
    written.close()
    file.finish()
    with ZipFile(tmp_path / "file.xlsx") as book:
        assert b'<row r="1048576">' in book.read("xl/worksheets/sheet1.xml").replace(b' spans="1:1"', b"")
        assert b"first of the next" in book.read("xl/worksheets/sheet2.xml")


def test_a_full_disk_for_xlsx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's error for a full disk is converted back to that of the system."""
    file = NewFile(tmp_path / "file.xlsx")
    written = XlsxFile(file, [ExportColumn.TEXT], tmp_path)
    written.write([("a",)])

    def refuse(_: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(file, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            written.close()
    file.abandon()
    assert xlsx.LONGEST_TEXT == 32_767
