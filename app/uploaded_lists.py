"""Parses uploaded lists of communities and keywords, as text or CSV in the usual encodings and delimiters.

Pure: bytes in, values or an error out. A file is read line by line, and only up to the first entry over the limit, so
any file takes a few times its size in memory and less than a second.
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
"""Far above the limits of entries: a file can only reach it with nearly all lines empty."""
UNCLOSED = "is a quote never closed?"
LONGEST_CELL = 1000
"""In characters; longer cells are cut, because no keyword and no reference is that long."""
T = TypeVar("T")
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x20)])
_WORD = re.compile(r"[^\s,;]+")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an uploaded list: its line in the file, from 1, and its cells without surrounding white space."""

    line: int
    cells: tuple[str, ...]


_NOTHING = Row(0, ())


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """A keyword of an uploaded list; empty cells are None."""

    line: int
    phrase: str
    category: str | None
    matching: str | None


def references_in(name: str, data: bytes, most: int) -> list[str]:
    """Return the references to communities in a file: each word of a text, or a column of a table (.csv, .tsv).

    The column is the one with a known header (link, id, сообщество ...), otherwise
    the first one. The first line of a text may be such a header, too.

    Raises:
        ValidationFailed: the file is too large, not a text, empty, or has more than `most` references.
    """
    rows = _rows(name, data)
    first = next(rows, _NOTHING)
    columns = _columns(first, LINK_HEADERS, GROUP_HEADERS)
    column = columns.get(LINK_HEADERS, columns.get(GROUP_HEADERS, 0))
    cells = (_on_one_line(row, column) for row in (rows if columns else chain([first], rows)))
    if _is_table(name):
        return _at_most((cell[:LONGEST_CELL] for cell in cells if cell), most, "references")
    words = (word.group()[:LONGEST_CELL] for cell in cells for word in _WORD.finditer(cell))
    return _at_most(words, most, "references")


def keywords_in(name: str, data: bytes, most: int) -> list[KeywordRow]:
    """Return the keywords in a file: one per line of a text, or per row of a table (.csv, .tsv).

    A text may have columns separated by tabs, as Excel writes them. With a header
    (phrase, category, matching; слово, категория, режим) the columns may be in any
    order, without a header they are in this order.

    Raises:
        ValidationFailed: the file is too large, not a text, empty, or has more than `most` keywords.
    """
    rows = _rows(name, data)
    first = next(rows, _NOTHING)
    columns = _columns(first, PHRASE_HEADERS, CATEGORY_HEADERS, MATCHING_HEADERS)
    if PHRASE_HEADERS not in columns:
        rows = chain([first], rows)
        columns = {PHRASE_HEADERS: 0, CATEGORY_HEADERS: 1, MATCHING_HEADERS: 2}

    def cell(row: Row, header: frozenset[str]) -> str:
        index = columns.get(header, len(row.cells))
        return row.cells[index][:LONGEST_CELL] if index < len(row.cells) else ""

    keywords = (
        KeywordRow(row.line, phrase, cell(row, CATEGORY_HEADERS) or None, cell(row, MATCHING_HEADERS) or None)
        for row in rows
        if (phrase := _on_one_line(row, columns[PHRASE_HEADERS])[:LONGEST_CELL])
    )
    return _at_most(keywords, most, "keywords")


def _on_one_line(row: Row, column: int) -> str:
    """Return a cell; an empty string if the row is shorter.

    Raises:
        ValidationFailed: the cell contains a line break, probably because a quote was never closed.
    """
    cell = row.cells[column] if column < len(row.cells) else ""
    if "\n" in cell:
        raise ValidationFailed({"file": f"line {row.line}: a cell continues on the next line; {UNCLOSED}"})
    return cell


def _columns(header: Row, *known: frozenset[str]) -> dict[frozenset[str], int]:
    """Return the column of each of the known headers; an empty dict if the row is not a header."""
    columns: dict[frozenset[str], int] = {}
    for index, cell in enumerate(header.cells):
        for names in known:
            if cell.lower() in names and names not in columns and index not in columns.values():
                columns[names] = index
    return columns


def _at_most(values: Iterable[T], most: int, noun: str) -> list[T]:
    first = list(islice(values, most + 1))
    if not first:
        raise ValidationFailed({"file": "is empty"})
    if len(first) > most:
        raise ValidationFailed({"file": f"has more than {most} {noun} in it"})
    return first


def _is_table(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))


def _rows(name: str, data: bytes) -> Iterator[Row]:
    """Yield the rows that are not empty."""
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
    # In a text, commas and quotes are ordinary characters.
    for number, line in enumerate(lines, 1):
        yield number, line.split("\t", MOST_COLUMNS)


def _table(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    sample = list(islice(lines, 1000))
    reader = csv.reader(chain(sample, lines), delimiter=_delimiter(sample))
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        message = f"line {line}: a cell has more than {csv.field_size_limit()} characters; {UNCLOSED}"
        raise ValidationFailed({"file": message}) from error


def _lines(data: bytes) -> Iterator[str]:
    """Return the lines of a file in an encoding of Excel, editors and shells: UTF-8, UTF-16 with BOM, Windows-1251."""
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "windows-1251"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        plain = text.encode() if encoding == "utf-16" else data
        if len(plain.translate(None, _CONTROLS)) == len(plain):
            # Any line ends, including those of old Macs; not str.splitlines, which also splits at characters in texts.
            return TextIOWrapper(BytesIO(data), encoding, newline=None)
    raise ValidationFailed({"file": "is not a text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"})


def _delimiter(lines: Iterable[str]) -> str:
    """Return the delimiter of the columns: the one of `;`, tab and `,` that most lines contain."""
    not_empty = [line for line in lines if line.strip()]
    return max(DELIMITERS, key=lambda delimiter: sum(delimiter in line for line in not_empty))
