"""CSV, as PostgreSQL formats it: this adds what Excel wants to see, and knows what runs as a formula."""

from collections.abc import Sequence

from app.exports.files import Sink
from app.exports.options import CsvOptions, ExportColumn

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"
"""A cell of text that begins with one of these may run as a formula; an apostrophe before it keeps it a text.

Source: OWASP, "CSV Injection", as of 2026; full width signs count where Excel speaks Japanese or Chinese.
"""
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""Without it Excel takes UTF-8 for the code page of its country."""
LINE_END = b"\r\n"


class CsvFile:
    """A file of CSV, with lines that end as RFC 4180 has it.

    It takes lines of PostgreSQL's COPY whose last value is a `mark`. COPY ends
    lines with a line feed, which may also be within a text; the mark is random,
    so that it, followed by a line feed, can only be the end of a line.
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
        """Take more of the lines; they may be cut anywhere."""
        lines = self._rest + lines
        cut = lines.rfind(self._end) + len(self._end)
        if cut < len(self._end):
            self._rest = lines
            return
        whole, self._rest = lines[:cut], lines[cut:]
        self.rows += whole.count(self._end)
        self._sink.write(whole.replace(self._end, LINE_END))

    def close(self) -> None:
        """Finish the file."""
        if self._rest:
            raise ValueError("the last line is not whole")
        self._sink.close()
