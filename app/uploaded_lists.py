"""Reads the lists that people upload, text or CSV as their programs write them: communities, and keywords.

Pure: bytes in, values or what is wrong with them out.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
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
T = TypeVar("T")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of an uploaded list: its line in the file, from 1, and its cells without white space around them."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """A keyword of an uploaded list; what is empty in it is None."""

    line: int
    phrase: str
    category: str | None
    matching: str | None


def references_in(name: str, data: bytes) -> list[str]:
    """Return the references to communities in a file: of a text each word, of a table (`name` ends in .csv) a column.

    That is the column with a known header (link, id, сообщество ...), else the
    first one. In a text, too, the first line may be such a header.

    Raises:
        ValidationFailed: the file is too large, is no text, or has nothing in it.
    """
    rows = _rows(name, data)
    columns = _columns(rows[0], LINK_HEADERS, GROUP_HEADERS)
    if columns:
        rows = rows[1:]
    column = columns.get(LINK_HEADERS, columns.get(GROUP_HEADERS, 0))
    found = [row.cells[column] for row in rows if column < len(row.cells)]
    if not _is_table(name):
        found = [word for line in found for word in re.split(r"[\s,;]+", line)]
    return _not_empty([each for each in found if each])


def keywords_in(name: str, data: bytes) -> list[KeywordRow]:
    """Return the keywords in a file: of a text each line; of a table (`name` ends in .csv) a row.

    A text may have columns that tabs part, as Excel writes them. With a header
    (phrase, category, matching; слово, категория, режим) the columns may stand
    in any order, without one they stand in this one.

    Raises:
        ValidationFailed: the file is too large, is no text, or has nothing in it.
    """
    rows = _rows(name, data)
    columns = _columns(rows[0], PHRASE_HEADERS, CATEGORY_HEADERS, MATCHING_HEADERS)
    if PHRASE_HEADERS in columns:
        rows = rows[1:]
    else:
        columns = {PHRASE_HEADERS: 0, CATEGORY_HEADERS: 1, MATCHING_HEADERS: 2}

    def cell(row: Row, header: frozenset[str]) -> str:
        place = columns.get(header, len(row.cells))
        return row.cells[place] if place < len(row.cells) else ""

    found = [
        KeywordRow(row.line, phrase, cell(row, CATEGORY_HEADERS) or None, cell(row, MATCHING_HEADERS) or None)
        for row in rows
        if (phrase := cell(row, PHRASE_HEADERS))
    ]
    return _not_empty(found)


def _columns(header: Row, *known: frozenset[str]) -> dict[frozenset[str], int]:
    """Return in which column each of the known headers stands; nothing where the row is no header."""
    found: dict[frozenset[str], int] = {}
    for place, cell in enumerate(header.cells):
        for names in known:
            if cell.lower() in names and names not in found and place not in found.values():
                found[names] = place
    return found


def _not_empty(found: list[T]) -> list[T]:
    if not found:
        raise ValidationFailed({"file": "has nothing in it"})
    return found


def _is_table(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))


def _rows(name: str, data: bytes) -> list[Row]:
    if len(data) > LARGEST_FILE_BYTES:
        raise ValidationFailed({"file": f"is larger than {LARGEST_FILE_BYTES // 2**20} MB"})
    lines = _lines(_text(data))
    # in a text commas and quotes are its own
    is_table = _is_table(name)
    if is_table:
        reader = csv.reader(lines, delimiter=_delimiter(lines))
    else:
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        rows = [Row(reader.line_num, tuple(cell.strip() for cell in cells)) for cells in reader]
    except csv.Error as error:
        raise ValidationFailed({"file": f"line {reader.line_num}: {error}"}) from error
    return _not_empty([row for row in rows if any(row.cells)])


def _text(data: bytes) -> str:
    """Decode what Excel, editors and shells write: UTF-8, UTF-16 with a mark, or else Windows-1251."""
    encodings = ["utf-16"] if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ["utf-8-sig", "windows-1251"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text):
            return text
    raise ValidationFailed({"file": "is no text in UTF-8 or Windows-1251; save tables as CSV"})


def _lines(text: str) -> list[str]:
    # any line ends, also those of old Macs; not str.splitlines, which knows some more that stand in texts
    return re.split(r"\r\n|\r|\n", text)


def _delimiter(lines: Sequence[str]) -> str:
    """Return what parts the columns: the one of `;`, tab and `,` that the most lines have; with none any will do."""
    some = [line for line in lines[:1000] if line.strip()]
    return max(DELIMITERS, key=lambda sign: sum(sign in line for line in some))
