"""JSON lines: one object per line, in UTF-8, with the names of GraphQL."""

from collections.abc import Sequence

import orjson

from app.exports.files import Sink
from app.exports.options import ExportColumn


class JsonLinesFile:
    """A file of JSON lines. Times are ISO 8601 with offset; missing values are null."""

    truncated_texts = 0

    def __init__(self, sink: Sink, columns: Sequence[ExportColumn]) -> None:
        self._sink = sink
        self._names = [column.value for column in columns]
        self.rows = 0

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        """Add rows, each with one value per column."""
        names = self._names
        lines = [orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        self._sink.write(b"".join(lines))
        self.rows += len(lines)

    def close(self) -> None:
        """Finish the file."""
        self._sink.close()
