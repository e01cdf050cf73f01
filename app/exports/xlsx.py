"""XLSX workbooks, with typed times and numbers, and texts that never run as formulas."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.worksheet import Worksheet

from app.exports.files import NewFile
from app.exports.options import ExportColumn, Kind

MOST_ROWS = 1_048_576
"""The maximum number of rows of a sheet, including its header: Excel's limit."""
LONGEST_TEXT = 32_767
"""The maximum length of a cell in UTF-16 units: Excel's limit. Most emoji are two units."""
CUT = "… [cut]"
"""The end of a text that was cut."""
LARGEST_NUMBER = 10**15
"""Excel shows 15 digits of a number; longer numbers are written as texts."""
DAY_ZERO = datetime(1899, 12, 30, tzinfo=UTC)
FIRST_TIME = datetime(1900, 3, 1, tzinfo=UTC)
"""Excel has a 29 February 1900, which did not exist; earlier times are written as texts."""
DAY = timedelta(days=1)
WIDTHS = {Kind.TEXT: 24, Kind.INTEGER: 12, Kind.TIME: 19, Kind.BOOLEAN: 9, Kind.LIST: 18}
WIDE = {ExportColumn.TEXT: 80, ExportColumn.POST_TEXT: 40}

Write = Callable[[Worksheet, int, int, Any], object]  # Any: the values of one kind of column


class XlsxFile:
    """A workbook, with as many sheets as its rows need; each sheet has a header.

    Excel does not support time zones: times are UTC, as the header says. A text
    that is too long for a cell is cut, marked and counted. Characters that XML does
    not allow are escaped as in Excel, NUL as _x0000_. The texts of a list are joined
    with commas.

    Rows are kept as XML in `directory`, and twice while `close` compresses them:
    about twenty times the size of the finished file.
    """

    def __init__(
        self, file: NewFile, columns: Sequence[ExportColumn], directory: Path, *, most_rows: int = MOST_ROWS
    ) -> None:
        self._book = Workbook(file, {"constant_memory": True, "tmpdir": str(directory)})
        self._book.use_zip64()  # for sheets of 4 GiB and more
        self._head = self._book.add_format({"bold": True, "bottom": 1})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._columns = columns
        self._most_rows = most_rows
        self._writes = [self._write_of(column.kind) for column in columns]
        self.rows = self.truncated_texts = 0
        self._sheet, self._row = self._next_sheet()

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        """Add rows, each with one value per column."""
        for values in rows:
            if self._row == self._most_rows:
                self._sheet, self._row = self._next_sheet()
            sheet, number = self._sheet, self._row
            for position, (write, value) in enumerate(zip(self._writes, values, strict=True)):
                if value is not None:
                    write(sheet, number, position, value)
            self._row += 1
        self.rows += len(rows)

    def close(self) -> None:
        """Compress the sheets into the file, which takes a while."""
        try:
            self._book.close()
        except FileCreateError as error:
            # It wraps the OSError, which callers handle.
            raise error.args[0] from None

    def _next_sheet(self) -> tuple[Worksheet, int]:
        number = len(self._book.worksheets()) + 1
        sheet: Worksheet = self._book.add_worksheet("comments" if number == 1 else f"comments {number}")
        sheet.freeze_panes(1, 0)
        for position, column in enumerate(self._columns):
            sheet.set_column(position, position, WIDE.get(column, WIDTHS[column.kind]))
            name = f"{column.value} (UTC)" if column.kind is Kind.TIME else column.value
            sheet.write_string(0, position, name, self._head)
        return sheet, 1

    def _write_of(self, kind: Kind) -> Write:
        writes: dict[Kind, Write] = {
            Kind.TEXT: self._write_text,
            Kind.INTEGER: self._write_integer,
            Kind.TIME: self._write_time,
            Kind.BOOLEAN: Worksheet.write_boolean,
            Kind.LIST: self._write_list,
        }
        return writes[kind]

    def _write_text(self, sheet: Worksheet, row: int, position: int, text: str) -> None:
        # A character has at most two units, so most texts need not be encoded to be measured.
        if 2 * len(text) > LONGEST_TEXT and _units(text) > LONGEST_TEXT:
            text = _first_units(text, LONGEST_TEXT - len(CUT)) + CUT
            self.truncated_texts += 1
        sheet.write_string(row, position, text)

    def _write_list(self, sheet: Worksheet, row: int, position: int, texts: Sequence[str]) -> None:
        if texts:
            self._write_text(sheet, row, position, ", ".join(texts))

    def _write_integer(self, sheet: Worksheet, row: int, position: int, number: int) -> None:
        if abs(number) < LARGEST_NUMBER:
            sheet.write_number(row, position, number)
        else:
            sheet.write_string(row, position, str(number))

    def _write_time(self, sheet: Worksheet, row: int, position: int, at: datetime) -> None:
        if at >= FIRST_TIME:
            sheet.write_number(row, position, (at - DAY_ZERO) / DAY, self._time)
        else:
            sheet.write_string(row, position, at.astimezone(UTC).isoformat(" "))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _first_units(text: str, count: int) -> str:
    # Omit half of an emoji at the end.
    return text.encode("utf-16-le")[: 2 * count].decode("utf-16-le", errors="ignore")
