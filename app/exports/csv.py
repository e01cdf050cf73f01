"""CSV, formatted by PostgreSQL; this module adds what Excel needs, and defines which characters begin formulas."""

from collections.abc import Sequence

from app.exports.files import Sink
from app.exports.options import CsvOptions, ExportColumn

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"
"""A text cell that begins with one of these may run as a formula; a leading apostrophe prevents that.

Source: OWASP, "CSV Injection", as of 2026; full-width characters begin formulas in Japanese and Chinese Excel.
"""
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""Without it Excel reads UTF-8 as the code page of its locale."""
LINE_END = b"\r\n"


class CsvFile:
    """A CSV file with the line ends of RFC 4180.

    Its input are lines of PostgreSQL's COPY whose last value is a `mark`. COPY ends
    lines with a line feed, which may also occur within a text; the mark is random,
    so the mark followed by a line feed can only be the end of a line.
    """

    def __init__(self, sink: Sink, columns: Sequence[ExportColumn], options: CsvOptions, mark: str) -> None:
        self._sink = sink
        delimiter = options.delimiter.value
        self._end = f"{delimiter}{mark}\n".encode()
        self._rest = b""
        self.rows = 0
        head = delimiter.join(column.value for column in columns)
        start = BYTE_ORDER_MARK if options.has_byte_order_mark else ""
        sink.write(f"{start}{head}".encode() + LINE_END)

    def write(self, lines: bytes) -> None:
        """Add more of the lines; they may be split anywhere."""
        lines = self._rest + lines
        cut = lines.rfind(self._end) + len(self._end)
        if cut < len(self._end):
            self._rest = lines
            return
        whole, self._rest = lines[:cut], lines[cut:]
        self.rows += whole.count(self._end)
        self._sink.write(whole.replace(self._end, LINE_END))

    def close(self) -> None:
        """Finish the file.

        Raises:
            ValueError: the last line is incomplete.
        """
        if self._rest:
            raise ValueError("the last line is incomplete")
        self._sink.close()
