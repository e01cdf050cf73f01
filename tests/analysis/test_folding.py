"""Folding: the differences between texts that it removes, and the positions of folded characters in the source."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.analysis import folding
from app.analysis.folding import fold

STRANGE = st.lists(
    st.sampled_from("аеёийкАЁЙ aeBёİIßς𝐀ａ²\u0300\u0301\u0306\u0308\u00ad\u200b\u200d\ufe0f👍👩🏽♂❤🇷🇺[]|id1:15 \n«-_\0")
    | st.sampled_from(["[id1|", "[club12:bp-1_2|", "]", "[https://vk.com/a|"]),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("Ёлка ЕЩЁ", "елка еще"),
        ("İstanbul", "istanbul"),
        ("ΑΣ ας", "ασ ασ"),
        ("и\u0306од Е\u0308ж", "йод еж"),
        ("за\u0301мок замо\u0300к ѝ ќ", "замок замок и к"),
        ("e\u0301 é", "é é"),
        ("ба\u00adн\u200bк\ufeff", "банк"),
        ("\u0301банк", "банк"),
        ("👍🏽 ❤\ufe0f 🤷\u200d♂\ufe0f", "👍 ❤ 🤷"),
        ("👩\u200d👩\u200d👧 👩\u200dа \u200d", "👩\u200d👩\u200d👧 👩а "),
        ("𝐁ａnk м² ﷺ", "bank м2 ﷺ"),
        ("[club1|Банк] [id1:bp-1_2|Bank]", "банк bank"),
        ("[https://vk.com/bank|сюда][club1|Банк]ам", "сюдабанкам"),
        ("B[id1|анк] [club1|c]ша е[id1|\u0308]", "ванк сша е"),
        ("[id1|", "[id1|"),
        ("[не|то] [club1|] [A|B]", "[не|то] [club1|] [a|b]"),
        ("бaнк CШA Бáнк", "банк сша банк"),
        ("б\u00ada\u00adнк", "банк"),
        ("βанк", "ванк"),
        ("pаypаl", "paypal"),
        ("iPhoneный ВMW", "iphoneный bmw"),
        ("кафé é", "кафе é"),
        ("а\u00ad\u0308 \u00ad\u0308", "ӓ "),
        ("ツя ツ ℃ ℃", "ツя ツ ℃ ℃"),
        ("❤\ufe0f" * 30, "❤" * 30),
    ],
)
def test_folded_characters(source: str, folded: str) -> None:
    assert fold(source).text == folded


@pytest.mark.parametrize(
    ("source", "folded"),
    [("Ёлка CШA İ ѝЍЀ", "Ёлка США İ иИЕ"), ("и\u0306И\u0306", "йЙ"), ("Ｆ[id1|Я]", "FЯ"), ("Бáнк БAнк", "Банк БАнк")],
)
def test_letters_may_keep_their_case(source: str, folded: str) -> None:
    assert fold(source, keep_case=True).text == folded


def test_where_folded_characters_come_from() -> None:
    source = "İ, [club1|Ба\u00adнк\u0301]а 👍🏽!"
    folded = fold(source)
    assert folded.text == "i, банка 👍!"
    pieces = [source[slice(*folded.span(place, place + 1))] for place in range(len(folded.text))]
    assert pieces == ["İ", ",", " ", "Б", "а", "н", "к\u0301", "а", " ", "👍🏽", "!"]
    assert source[slice(*folded.span(3, 7))] == "Ба\u00adнк\u0301"


@given(STRANGE)
def test_folded_characters_come_in_the_order_of_the_source(source: str) -> None:
    for keep_case in (False, True):
        folded = fold(source, keep_case=keep_case)
        spans = [folded.span(place, place + 1) for place in range(len(folded.text))]
        assert all(0 <= start < end <= len(source) for start, end in spans)
        assert all(one[0] < other[0] for one, other in pairwise(spans))


@given(st.text(max_size=40))
def test_any_text_can_be_folded(source: str) -> None:
    folded = fold(source)
    assert len(folded.text) <= len(source)
    assert fold(source.replace("ё", "е")).text == folded.text


@given(st.lists(STRANGE.map(lambda text: text.replace("\0", "")), max_size=5))
def test_texts_are_folded_together_as_separately(texts: list[str]) -> None:
    for keep_case in (False, True):
        together = fold("\0".join(["", *texts, ""]), keep_case=keep_case)
        assert together.text.split("\0")[1:-1] == [fold(text, keep_case=keep_case).text for text in texts]


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_MOST_RUNS", 3)
    runs = [f"{sign}\ufe0f" for sign in "☀☂☃☄★☎☔"]
    assert [fold(run).text for run in runs] == list("☀☂☃☄★☎☔")
    assert [fold(f"{run}{run} {run}").text for run in runs] == [f"{run[0]}{run[0]} {run[0]}" for run in runs]
    assert len(folding._CASELESS.runs) <= 3  # noqa: SLF001 - no public attribute shows the cache
