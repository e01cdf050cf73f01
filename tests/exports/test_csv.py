"""CSV: the output of COPY becomes a file for Excel, however it is split into chunks."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exports.csv import CsvFile
from app.exports.files import Sink
from app.exports.options import CsvOptions, Delimiter, ExportColumn

COLUMNS = (ExportColumn.VK_ID, ExportColumn.TEXT)
MARK = "0123abcd"


class Kept(Sink):
    """Stores what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False

    def write(self, data: bytes, /) -> int:
        """Store the data."""
        self.data += data
        return len(data)

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


def written(parts: Sequence[bytes], options: CsvOptions | None = None) -> tuple[bytes, int]:
    kept = Kept()
    file = CsvFile(kept, COLUMNS, options or CsvOptions(has_byte_order_mark=False), MARK)
    for part in parts:
        file.write(part)
    file.close()
    assert kept.is_closed
    return kept.data, file.rows


def test_the_header() -> None:
    assert written([]) == (b"vkId;text\r\n", 0)
    comma = CsvOptions(Delimiter.COMMA, has_byte_order_mark=True)
    assert written([f"1,a,{MARK}\n".encode()], comma) == (b"\xef\xbb\xbfvkId,text\r\n1,a\r\n", 1)


LINES = [f"1;a;{MARK}\n", f'2;"b\n{MARK};\r\n";{MARK}\n', f"3;;{MARK}\n", f'4;"{MARK}\n";{MARK}\n']
WHOLE = "".join(LINES).encode()
EXPECTED = f'vkId;text\r\n1;a\r\n2;"b\n{MARK};\r\n"\r\n3;\r\n4;"{MARK}\n"\r\n'.encode()


@given(st.lists(st.integers(0, len(WHOLE))))
def test_chunks_may_end_anywhere(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WHOLE)]
    parts = [WHOLE[start:end] for start, end in pairwise(places)]
    assert written(parts) == (EXPECTED, 4)


def test_a_line_without_an_end() -> None:
    with pytest.raises(ValueError, match="the last line is incomplete"):
        written([WHOLE[:-1]])
