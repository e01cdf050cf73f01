import pytest

from app.errors import ValidationFailed
from app.uploaded_lists import LARGEST_FILE_BYTES, KeywordRow, keywords_in, references_in


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
    assert references_in(name, text.encode(encoding)) == references


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
    wanted = [KeywordRow(*row, *[None] * (4 - len(row))) for row in rows]  # type: ignore[arg-type]
    assert keywords_in(name, text.encode()) == wanted


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has nothing in it"),
        (b"\n ;\n", "has nothing in it"),
        (b"PK\x03\x04\x00\x00", "is no text in UTF-8 or Windows-1251; save tables as CSV"),
        (b"\xff\xfea", "is no text in UTF-8 or Windows-1251; save tables as CSV"),
        (b"\xd0\x98\x98", "is no text in UTF-8 or Windows-1251; save tables as CSV"),
        (b"x" * (LARGEST_FILE_BYTES + 1), "is larger than 10 MB"),
        (b"x" * 200_000, "line 1: field larger than field limit (131072)"),
    ],
    ids=range(7),
)
def test_files_that_cannot_be_read(data: bytes, message: str) -> None:
    for read in (references_in, keywords_in):
        with pytest.raises(ValidationFailed) as caught:
            read("a.csv", data)
        assert caught.value.fields == {"file": message}


def test_nothing_but_a_header() -> None:
    for read, header in ((references_in, "Ссылка"), (keywords_in, "Слово;Режим")):
        with pytest.raises(ValidationFailed, match="has nothing in it"):
            read("a.csv", header.encode())
