"""Keywords: what matches, what does not, and where; the automaton finds the same as a slow search."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.analysis.folding import fold
from app.analysis.keywords import (
    Keyword,
    KeywordMatching,
    Matcher,
    clean_phrase,
    forms_of,
    problem_of,
)

FORMS, EXACT, PART, CASED = (
    KeywordMatching.WORD_FORMS,
    KeywordMatching.EXACT_WORD,
    KeywordMatching.SUBSTRING,
    KeywordMatching.CASE_SENSITIVE,
)


def matched_parts(phrase: str, text: str, matching: KeywordMatching = FORMS) -> list[str]:
    """Return the matched parts of a text, by their offsets."""
    assert problem_of(phrase, matching) is None
    positions = Matcher([Keyword(7, phrase, matching)]).match([text]).get(0, {}).get(7, [])
    return [text[start:end] for start, end in zip(positions[::2], positions[1::2], strict=True)]


@pytest.mark.parametrize(
    ("phrase", "text", "parts"),
    [
        # forms
        ("банк", "банками онлайн-банке «банк». Банкам", ["банками", "банке", "банк", "Банкам"]),
        ("банк", "банкет банкомат банкир Сбербанк банк24", []),
        ("человек", "людей, человеку", ["людей", "человеку"]),
        ("ребёнок", "дети ребенка", ["дети", "ребенка"]),
        ("ребенок", "ребёнку", ["ребёнку"]),
        ("идти", "шёл, шла и идёт", ["шёл", "шла", "идёт"]),
        ("хороший", "лучше хорошего", ["лучше", "хорошего"]),
        ("год", "пять лет", ["лет"]),
        ("банками", "в банке", ["банке"]),
        ("люди", "человека", ["человека"]),
        ("стать", "стало; статью", ["стало"]),
        ("печь", "печку печи пекла", ["печи", "пекла"]),
        # ё, look-alikes, invisible characters
        ("елка", "Ёлки ЕЛКИ", ["Ёлки", "ЕЛКИ"]),
        ("ёлка", "елки", ["елки"]),
        ("банк", "бaнк Бáнком", ["бaнк", "Бáнком"]),
        ("бaнк", "банк", ["банк"]),
        ("банк", "ба\u00adн\u200bка, ба\u0301нк\ufeff", ["ба\u00adн\u200bка", "ба\u0301нк"]),
        ("йод", "и\u0306од", ["и\u0306од"]),
        ("банк", "İİ İ банк", ["банк"]),
        # quotes, hashtags, mentions
        ("банк", "#банк #ВТБ_банк", ["банк", "банк"]),
        ("#банк", "банк #банки ##банк", ["#банки"]),
        ("банк", "[club1|Банк] [id5:bp-1_2|Банком]", ["Банк", "Банком"]),
        ("club1", "[club1|Банк] и club1", ["club1"]),
        ("id5", "[id5|Иван]", []),
        # emoji
        ("👍", "👍🏽👍 и 👍🏿", ["👍🏽", "👍", "👍🏿"]),
        ("👍🏽", "👍", ["👍"]),
        ("❤", "❤\ufe0f ❤\ufe0f\u200d🔥", ["❤\ufe0f"]),
        ("👩", "👩\u200d👩\u200d👧 👩🏽!", ["👩🏽"]),
        ("🤷", "🤷\u200d♂\ufe0f", ["🤷"]),
        ("🇺🇷", "🇷🇺🇷🇺", []),
        ("🇷🇺", "🇷🇺🇷🇺", ["🇷🇺", "🇷🇺"]),
        # names and abbreviations
        ("Тинькофф", "тинькоффа, тинькоффом", ["тинькоффа", "тинькоффом"]),
        ("вайлдберриз", "на вайлдберризе", ["вайлдберризе"]),
        ("Ютуб", "ютубом ютубера", ["ютубом"]),
        ("Сбер", "сберу сбербанк", ["сберу"]),
        ("авито", "авито авит авита", ["авито"]),
        ("Wildberries", "WILDBERRIES wildberriesa", ["WILDBERRIES"]),
        ("ВТБ", "втб ВТБ24 втба", ["втб"]),
        ("США", "в сша", ["сша"]),
        ("ГЫЛО", "гыло гыла", ["гыло"]),
        ("днс", "ДНС днса", ["ДНС"]),
        # numbers, marks
        ("15", "15 в 2015, «15». 15й", ["15", "15"]),
        ("C++", "C++ c++, C+++ C", ["C++", "c++"]),
        ("C++", "С++ с++ с + (С++)", ["С++", "с++", "С++"]),
        ("С++", "C++ с++ C", ["C++", "с++"]),
        ("язык С++", "языка C++, язык с", ["языка C++"]),
        ("C++ разработчик", "С++ разработчика; с разработчиком", ["С++ разработчика"]),
        ("c#", "С# С", ["С#"]),
        ("#а", "#A a", ["#A"]),
        ("А/В", "A/B тест, A/В, а в", ["A/B", "A/В"]),
        ("X5", "Х5, x5 и Х", ["Х5", "x5"]),
        ("В2В", "B2B", ["B2B"]),
        ("C", "с тобой, C.", ["C"]),
        ("в банке", "b банке, #в банке", ["в банке"]),
        ("#тор", "#top", []),
        ("Д++", "D++ Д++", ["Д++"]),
        (".NET", "на .NET и net", [".NET"]),
        ("«банк».", "банки", ["банки"]),
        ("100$", "100$ 100", ["100$"]),
        # phrases
        ("новый банк", "новые\r\n\n банки; новому  «банку»", ["новые\r\n\n банки", "новому  «банку"]),
        ("новый банк", "новый, банк. новый. Банк новый-банк новыйбанк", []),
        ("банк, который", "банка, которого; банк который; банки,которых", ["банка, которого", "банки,которых"]),
        ("онлайн-банк", "онлайн-банками онлайн банк онлайн - банк онлайн–банк", ["онлайн-банками", "онлайн–банк"]),
        ("не работает банк", "не работали банки", ["не работали банки"]),
        ("не работает", "и не\nработал, ане работал", ["не\nработал"]),
        ("очень очень", "очень очень очень", ["очень очень"]),
        ("язык C++", "языка C++11", ["языка C++"]),
        ("люблю 👍", "люблю👍🏽 люблю 👍🏽 люблю, 👍", ["люблю👍🏽", "люблю 👍🏽"]),
        ("O'Neill", "O’Neill ONeill", ["O’Neill"]),
        ("ВТБ_банк", "#ВТБ_банку", ["ВТБ_банку"]),
        ("банк новый", "[club1|Банк] новый", ["Банк] новый"]),
    ],
)
def test_word_forms(phrase: str, text: str, parts: list[str]) -> None:
    assert matched_parts(phrase, text) == parts


@pytest.mark.parametrize(
    ("phrase", "matching", "text", "parts"),
    [
        ("банк", EXACT, "банка БАНК, бaнк", ["БАНК", "бaнк"]),
        ("новый банк", EXACT, "новый\nбанк нового банка", ["новый\nбанк"]),
        ("банк", PART, "Сбербанк банкомат", ["банк", "банк"]),
        ("аа", PART, "ааааа", ["аа", "аа"]),
        ("ый б", PART, "новый банк", ["ый б"]),
        ("?!", PART, "да?! ну!?", ["?!"]),
        ("club1", PART, "[club1|Банк]", []),
        ("С++", PART, "C++14 и с++", ["C++", "с++"]),
        ("на С++", PART, "на C++", []),
        ("X5", EXACT, "Х5", ["Х5"]),
        ("В++", CASED, "B++ В++ b++ в++", ["B++", "В++"]),
        ("США", CASED, "США сша Сша США́ СШАх CША", ["США", "США́", "CША"]),
        ("Орёл", CASED, "Орёл Орел орёл", ["Орёл"]),
        ("Новый Банк", CASED, "Новый\nБанк, новый Банк", ["Новый\nБанк"]),
        ("İ", CASED, "İ i", ["İ"]),
    ],
)
def test_other_matchings(phrase: str, matching: KeywordMatching, text: str, parts: list[str]) -> None:
    assert matched_parts(phrase, text, matching) == parts


def test_many_keywords_in_many_texts() -> None:
    matcher = Matcher(
        [
            Keyword(1, "банк", FORMS),
            Keyword(2, "банк", PART),
            Keyword(3, "новый банк", FORMS),
            Keyword(4, "США", CASED),
            Keyword(5, "сша", EXACT),
        ]
    )
    long = "слово " * 4000
    texts = ["Новые банки", "", "США", f"{long}банк", "сша, Сбербанк", "нет"]
    assert matcher.match(texts) == {
        0: {1: [6, 11], 2: [6, 10], 3: [0, 11]},
        2: {4: [0, 3], 5: [0, 3]},
        3: {1: [24_000, 24_004], 2: [24_000, 24_004]},
        4: {5: [0, 3], 2: [9, 13]},
    }
    assert matcher.match([]) == {}
    assert matcher.match(["\0банк", "и\0банк\0", "\u0301к"]) == {0: {1: [1, 5], 2: [1, 5]}, 1: {1: [2, 6], 2: [2, 6]}}


def test_no_keywords_match_nothing() -> None:
    assert Matcher([]).match(["банк"]) == {}


@pytest.mark.parametrize(
    ("phrase", "matching", "problem"),
    [
        ("", FORMS, "is empty"),
        ("а" * 201, PART, "is longer than 200 characters"),
        ("а" * 200, PART, None),
        ("?! — «»", FORMS, "holds no letter, digit or emoji"),
        ("?!", PART, None),
        ("\u200b\u00ad", EXACT, "holds no letter, digit or emoji"),
        ("\u200b", PART, "holds nothing that can be seen"),
        ("\u200d", FORMS, "holds no letter, digit or emoji"),
        ("а\0б", PART, "holds control characters or half a character"),
        ("\ud83d", FORMS, "holds control characters or half a character"),
        ("а б в г д е ж з и к", FORMS, None),
        ("а б в г д е ж з и к л", CASED, "has more than 10 words"),
        ("👍", FORMS, None),
    ],
)
def test_phrases_that_cannot_be_keywords(phrase: str, matching: KeywordMatching, problem: str | None) -> None:
    assert problem_of(phrase, matching) == problem


def test_white_space_of_a_phrase_is_normalized() -> None:
    assert clean_phrase("  новый \n\tбанк ") == "новый банк"


def test_preview_of_forms() -> None:
    [bank] = forms_of("Банк", FORMS)
    assert bank.word == "Банк"
    assert bank.forms == ("банк", "банка", "банку", "банком", "банке", "банки", "банков", "банкам", "банками", "банках")
    assert [(word, len(forms) > 5) for word, forms in forms_of("новый банк", FORMS)] == [
        ("новый", True),
        ("банк", True),
    ]
    assert forms_of("Новый C++", EXACT) == [("Новый", ("новый",)), ("C", ("c++",))]
    assert forms_of("США", CASED) == [("США", ("США",))]
    assert forms_of("Новый Б", PART) == [("Новый Б", ("новый б",))]


# the automaton compared with a slow, simple search

PHRASES = [
    ("банк", FORMS),
    ("новый банк", FORMS),
    ("банк-банк", FORMS),
    ("ёж", FORMS),
    ("банк", EXACT),
    ("Банк", CASED),
    ("новый, банк", CASED),
    ("C++", EXACT),
    ("#банк", FORMS),
    ("15", EXACT),
    ("нк б", PART),
    ("е", PART),
    ("👍", FORMS),
]
KEYWORDS = [Keyword(number, phrase, matching) for number, (phrase, matching) in enumerate(PHRASES)]
MATCHER = Matcher(KEYWORDS)
PIECES = st.sampled_from(
    [
        "банк",
        "Банки",
        "бaнком",
        "ба\u00adнк",
        "ба\u0301нк",
        "новый",
        "Новые",
        "ЁЖ",
        "ежа",
        "банкет",
        "15",
        "2015",
        "C++",
        "С++",
        "👍🏽",
        "👍",
        "İ",
        "[club1|банк]",
        ", ",
        *"  \ncе-_#«».+\u200b",
    ]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def expression(keyword: Keyword) -> re.Pattern[str]:
    """Return a regular expression of all forms of a keyword, for folded texts."""
    words = [f"(?:{'|'.join(map(re.escape, forms))})" for _, forms in _folded(keyword)]
    if keyword.matching is PART:
        return re.compile(f"(?=({words[0]}))")
    gap = {"новый банк": '[\\s"«»]*', "банк-банк": "[«»]*-[«»]*", "новый, банк": "[\\s«»]*,[\\s«»]*"}
    body = {"#банк": "(?<!#)", "👍": ""}.get(keyword.phrase, "(?<![^\\W_])") + words[0]
    for word in words[1:]:
        body += f"(?![^\\W_]){gap[keyword.phrase]}(?<![^\\W_]){word}"
    end = {"C++": "(?!\\+)", "👍": ""}.get(keyword.phrase, "(?![^\\W_])")
    return re.compile(f"(?=({body}{end}))")


def _folded(keyword: Keyword) -> list[tuple[str, list[str]]]:
    # a single letter beside symbols may be Latin or Cyrillic
    both = {"c++": ["c++", "с++"]}
    return [
        (word, sorted({each for form in forms for each in both.get(form, [fold(form).text])}, key=len, reverse=True))
        for word, forms in forms_of(keyword.phrase, keyword.matching)
    ]


EXPRESSIONS = [expression(keyword) for keyword in KEYWORDS]


def reference_search(text: str) -> dict[int, list[int]]:
    """Search with one regular expression per keyword, at each position of the folded text."""
    folded = fold(text)
    matches: dict[int, list[int]] = {}
    for keyword, pattern in zip(KEYWORDS, EXPRESSIONS, strict=True):
        positions: list[int] = []
        for hit in pattern.finditer(folded.text):
            start, end = folded.span(*hit.span(1))
            if keyword.matching is CASED:
                exact = [fold(part, keep_case=True).text for part in (text[start:end], keyword.phrase)]
                if len({re.sub("[\\W_]", "", part) for part in exact}) > 1:
                    continue
            if not positions or start >= positions[-1]:
                positions += (start, end)
        if positions:
            matches[keyword.id] = positions
    return matches


@settings(max_examples=300)
@given(st.lists(TEXTS, max_size=3))
def test_the_automaton_finds_the_same_as_a_reference_search(texts: Sequence[str]) -> None:
    slow = {number: matches for number, text in enumerate(texts) if (matches := reference_search(text))}
    assert MATCHER.match(texts) == slow


@settings(max_examples=200)
@given(TEXTS)
def test_offsets_delimit_the_match(text: str) -> None:
    for keyword_id, positions in MATCHER.match([text]).get(0, {}).items():
        keyword = KEYWORDS[keyword_id]
        for start, end in zip(positions[::2], positions[1::2], strict=True):
            part = re.sub(r"\[club1\||\]", "", text[start:end])
            folded = re.sub("[\\s«»]", "", fold(part).text) if keyword.matching is not PART else fold(part).text
            possible = {""}
            for number, (_, forms) in enumerate(_folded(keyword)):
                mark = "" if number == 0 else "-" if "-" in keyword.phrase else "," if "," in keyword.phrase else ""
                possible = {f"{before}{mark}{form}" for before in possible for form in forms}
            assert folded in possible
