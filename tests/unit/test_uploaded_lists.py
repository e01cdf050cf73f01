import tracemalloc
from collections.abc import Callable, Sized

import pytest

from app.errors import ValidationFailed
from app.uploaded_lists import (
    LARGEST_FILE_BYTES,
    LONGEST_CELL,
    MOST_COLUMNS,
    MOST_LINES,
    KeywordRow,
    keywords_in,
    references_in,
)

Read = Callable[[str, bytes, int], Sized]
TOO_LONG = "a cell has more than 131072 characters; is a quote never closed?"


@pytest.mark.parametrize(
    ("name", "text", "references"),
    [
        ("a.txt", "durov\nclub1\n", ["durov", "club1"]),
        ("a.txt", "durov\r\nclub1\rvk.com/x\n\n \n-5", ["durov", "club1", "vk.com/x", "-5"]),
        ("a.txt", "durov, club1; public2\thttps://vk.com/a", ["durov", "club1", "public2"]),
        ("a.txt", "Ссылки\ndurov", ["durov"]),
        ("", "durov", ["durov"]),
        ("a.csv", "durov\nclub1", ["durov", "club1"]),
        ("a.CSV", "Name;Ссылка;Members\nДуров;vk.com/durov;1\n;;\nX;vk.com/x", ["vk.com/durov", "vk.com/x"]),
        ("a.csv", 'id,title\n1,"a, ""b"""\n-2,c', ["1", "-2"]),
        ("a.csv", '1,"a\nb"\n2,c', ["1", "2"]),
        ("a.tsv", "name\turl\nx\tvk.com/x\ny", ["vk.com/x"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1251", "utf-16"])
def test_references(name: str, text: str, references: list[str], encoding: str) -> None:
    assert references_in(name, text.encode(encoding), 10) == references


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.txt", 'да, конечно\n "цитата"\n\nC++', [(1, "да, конечно"), (2, '"цитата"'), (4, "C++")]),
        ("a.txt", "банк\tДеньги\tEXACT_WORD\nдом", [(1, "банк", "Деньги", "EXACT_WORD"), (2, "дом")]),
        ("a.csv", "банк;Деньги;substring\n;x\nдом;;", [(1, "банк", "Деньги", "substring"), (3, "дом")]),
        ("a.csv", "Режим,Слово,x\nEXACT_WORD,банк,1\n,дом", [(2, "банк", None, "EXACT_WORD"), (3, "дом")]),
        ("a.csv", 'phrase,category\n"да, конечно",Согласие', [(2, "да, конечно", "Согласие")]),
    ],
)
def test_keywords(name: str, text: str, rows: list[tuple[object, ...]]) -> None:
    expected = [KeywordRow(*row, *[None] * (4 - len(row))) for row in rows]  # type: ignore[arg-type] # the rest of a row is empty
    assert keywords_in(name, text.encode(), 10) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n ;\n", "is empty"),
        (b"PK\x03\x04\x00\x00", "is not a text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"),
        (b"\xff\xfea", "is not a text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"),
        (b"\xd0\x98\x98", "is not a text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"),
        (b"x" * (LARGEST_FILE_BYTES + 1), "is larger than 10 MB"),
        (b'1\n2\n"' + b"x\n" * 100_000, f"line 3: {TOO_LONG}"),
        (b"x" * 200_000, f"line 1: {TOO_LONG}"),
        (b'1\n"2\n3\n', "line 2: a cell continues on the next line; is a quote never closed?"),
        (b"\n" * (MOST_LINES + 1), f"has more than {MOST_LINES} lines"),
    ],
    ids=range(10),
)
def test_files_that_cannot_be_read(data: bytes, message: str) -> None:
    for read in (references_in, keywords_in):
        with pytest.raises(ValidationFailed) as caught:
            read("a.csv", data, 10)
        assert caught.value.fields == {"file": message}


def test_nothing_but_a_header() -> None:
    for read, header in ((references_in, "Ссылка"), (keywords_in, "Слово;Режим")):
        with pytest.raises(ValidationFailed, match="is empty"):
            read("a.csv", header.encode(), 10)


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
@pytest.mark.parametrize(("read", "noun"), [(references_in, "references"), (keywords_in, "keywords")])
def test_a_file_is_read_only_up_to_the_first_excess_entry(name: str, read: Read, noun: str) -> None:
    data = b"1\r" * (LARGEST_FILE_BYTES // 2)
    assert len(read(name, data[: 2 * 10_000], 10_000)) == 10_000
    tracemalloc.start()
    try:
        with pytest.raises(ValidationFailed, match=f"has more than 10000 {noun} in it"):
            read(name, data, 10_000)
        # the file as text and the parsed part: five million lines would take a hundred times as much
        assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST_FILE_BYTES
    finally:
        tracemalloc.stop()


def test_very_many_references_in_one_line() -> None:
    links = [f"https://vk.com/club{number}" for number in range(1, 10_001)]
    for delimiter in (" ", ", ", ";"):
        assert references_in("a.txt", delimiter.join(links).encode(), 10_000) == links
    with pytest.raises(ValidationFailed, match="has more than 9999 references in it"):
        references_in("a.txt", " ".join(links).encode(), 9_999)


def test_very_long_values_are_cut() -> None:
    [row] = keywords_in("a.txt", b"x" * 200_000 + b"\t" + b"y" * 2000 + b"\tz" * 200, 1)
    assert (row.phrase, row.category, row.matching) == ("x" * LONGEST_CELL, "y" * LONGEST_CELL, "z")
    assert references_in("a.txt", b"x" * 200_000 + b" 1", 2) == ["x" * LONGEST_CELL, "1"]
    assert references_in("a.csv", b"x" * 2000 + b"\n1", 2) == ["x" * LONGEST_CELL, "1"]
    header = ["name"] * MOST_COLUMNS
    assert references_in("a.csv", f"{';'.join(header)};url\n1;2".encode(), 2) == ["name", "1"]
