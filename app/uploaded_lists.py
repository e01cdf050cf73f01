"""Reads the lists that people upload, text or CSV as their programs write them: communities, and keywords.

Pure: bytes in, values or what is wrong with them out. A file is read line by line, and no further than to the first
entry that is one too many, so that whatever is in it takes a few times its size and less than a second.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import chain, islice
from typing import TypeVar

from app.errors import ValidationFailed

LARGEST_FILE_BYTES = 10 * 1024 * 1024
LINK_HEADERS = frozenset({
    "link", "links", "url", "urls", "id", "ids", "group_id", "screen_name", "reference", "references", "address",
    "ссылка", "ссылки", "адрес", "адреса",
})  # fmt: skip
GROUP_HEADERS = frozenset(
    {"group", "groups", "community", "communities", "группа", "группы", "сообщество", "сообщества"}
)
PHRASE_HEADERS = frozenset({"phrase", "keyword", "keywords", "word", "слово", "слова", "фраза", "ключевое слово"})
CATEGORY_HEADERS = frozenset({"category", "group", "категория", "группа", "рубрика"})
MATCHING_HEADERS = frozenset({"matching", "mode", "режим"})
DELIMITERS = ";\t,"
MOST_COLUMNS = 100
MOST_LINES = 500_000
"""Of which nearly all would be empty."""
UNCLOSED = "is there a quote that is never closed?"
LONGEST_CELL = 1000
"""Characters; what is longer is cut, as no keyword and no reference is that long."""
T = TypeVar("T")
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x20)])
_WORD = re.compile(r"[^\s,;]+")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an uploaded list: its line in the file, from 1, and its cells without white space around them."""

    line: int
    cells: tuple[str, ...]


_NOTHING = Row(0, ())


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """A keyword of an uploaded list; what is empty in it is None."""

    line: int
    phrase: str
    category: str | None
    matching: str | None


def references_in(name: str, data: bytes, most: int) -> list[str]:
    """Return the references to communities in a file: of a text each word, of a table (`name` ends in .csv) a column.

    That is the column with a known header (link, id, сообщество ...), else the
    first one. In a text, too, the first line may be such a header.

    Raises:
        ValidationFailed: the file is too large, is no text, or has nothing in it, or more than `most` of them.
    """
    rows = _rows(name, data)
    first = next(rows, _NOTHING)
    columns = _columns(first, LINK_HEADERS, GROUP_HEADERS)
    column = columns.get(LINK_HEADERS, columns.get(GROUP_HEADERS, 0))
    cells = (_on_one_line(row, column) for row in (rows if columns else chain([first], rows)))
    if _is_table(name):
        return _some((cell[:LONGEST_CELL] for cell in cells if cell), most, "references")
    words = (word.group()[:LONGEST_CELL] for cell in cells for word in _WORD.finditer(cell))
    return _some(words, most, "references")


def keywords_in(name: str, data: bytes, most: int) -> list[KeywordRow]:
    """Return the keywords in a file: of a text each line; of a table (`name` ends in .csv) a row.

    A text may have columns that tabs part, as Excel writes them. With a header
    (phrase, category, matching; слово, категория, режим) the columns may stand
    in any order, without one they stand in this one.

    Raises:
        ValidationFailed: the file is too large, is no text, or has nothing in it, or more than `most` of them.
    """
    rows = _rows(name, data)
    first = next(rows, _NOTHING)
    columns = _columns(first, PHRASE_HEADERS, CATEGORY_HEADERS, MATCHING_HEADERS)
    if PHRASE_HEADERS not in columns:
        rows = chain([first], rows)
        columns = {PHRASE_HEADERS: 0, CATEGORY_HEADERS: 1, MATCHING_HEADERS: 2}

    def cell(row: Row, header: frozenset[str]) -> str:
        place = columns.get(header, len(row.cells))
        return row.cells[place][:LONGEST_CELL] if place < len(row.cells) else ""

    found = (
        KeywordRow(row.line, phrase, cell(row, CATEGORY_HEADERS) or None, cell(row, MATCHING_HEADERS) or None)
        for row in rows
        if (phrase := _on_one_line(row, columns[PHRASE_HEADERS])[:LONGEST_CELL])
    )
    return _some(found, most, "keywords")


def _on_one_line(row: Row, column: int) -> str:
    """Return a cell; there is none in shorter rows.

    Raises:
        ValidationFailed: it has a line break: all up to the next quote would be taken for one thing.
    """
    cell = row.cells[column] if column < len(row.cells) else ""
    if "\n" in cell:
        raise ValidationFailed({"file": f"line {row.line}: a cell goes on in the next line; {UNCLOSED}"})
    return cell


def _columns(header: Row, *known: frozenset[str]) -> dict[frozenset[str], int]:
    """Return in which column each of the known headers stands; nothing where the row is no header."""
    found: dict[frozenset[str], int] = {}
    for place, cell in enumerate(header.cells):
        for names in known:
            if cell.lower() in names and names not in found and place not in found.values():
                found[names] = place
    return found


def _some(found: Iterable[T], most: int, noun: str) -> list[T]:
    some = list(islice(found, most + 1))
    if not some:
        raise ValidationFailed({"file": "has nothing in it"})
    if len(some) > most:
        raise ValidationFailed({"file": f"has more than {most} {noun} in it"})
    return some


def _is_table(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))


def _rows(name: str, data: bytes) -> Iterator[Row]:
    """Yield the rows in which there is anything."""
    if len(data) > LARGEST_FILE_BYTES:
        raise ValidationFailed({"file": f"is larger than {LARGEST_FILE_BYTES // 2**20} MB"})
    lines = _lines(data)
    for line, cells in _table(lines) if _is_table(name) else _text(lines):
        if line > MOST_LINES:
            raise ValidationFailed({"file": f"has more than {MOST_LINES} lines"})
        stripped = tuple(cell.strip() for cell in cells[:MOST_COLUMNS])
        if any(stripped):
            yield Row(line, stripped)


def _text(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    # in a text commas and quotes are its own
    for number, line in enumerate(lines, 1):
        yield number, line.split("\t", MOST_COLUMNS)


def _table(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    some = list(islice(lines, 1000))
    reader = csv.reader(chain(some, lines), delimiter=_delimiter(some))
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        message = f"line {line}: a cell has more than {csv.field_size_limit()} characters; {UNCLOSED}"
        raise ValidationFailed({"file": message}) from error


def _lines(data: bytes) -> Iterator[str]:
    """Return the lines of what Excel, editors and shells write: UTF-8, UTF-16 with a mark, or else Windows-1251."""
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "windows-1251"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        plain = text.encode() if encoding == "utf-16" else data
        if len(plain.translate(None, _CONTROLS)) == len(plain):
            # any line ends, also those of old Macs; not str.splitlines, which knows some more that stand in texts
            return TextIOWrapper(BytesIO(data), encoding, newline=None)
    raise ValidationFailed({"file": "is no text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"})


def _delimiter(lines: Iterable[str]) -> str:
    """Return what parts the columns: the one of `;`, tab and `,` that the most lines have; with none any will do."""
    some = [line for line in lines if line.strip()]
    return max(DELIMITERS, key=lambda sign: sum(sign in line for line in some))
