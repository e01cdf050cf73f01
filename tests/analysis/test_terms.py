"""Terms of texts, and the characteristic ones among them."""

import pytest

from app.analysis.terms import ranked, standing_out, term_of, terms_of


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Кофейни и кофейня, в кофейне", ["кофейня"]),
        ("Очень хороший кофе, но дорого", ["хороший", "кофе", "дорого"]),
        ("Ребёнок и ребенку", ["ребёнок"]),
        ("Это было просто так, я же не знаю", []),
        ("ахахаха хех хохохо haha lol", []),
        ("Онлайн-банк", ["онлайн", "банк"]),
        ("дорогооооо", ["дорого"]),
        ("iPhone and the MacBook", ["iphone", "macbook"]),
        ("2015 год 15", ["год"]),
        ("пять первый", []),
        ("цeна", ["цена"]),
        ("咖啡店", ["咖啡店"]),
        ("ыва " + "щ" * 50 + "ф", []),
        ("й" + "цукенгшщзх" * 5, []),
        ("", []),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    found = terms_of(text)
    assert [term for term in found if term != "ыва"] == terms


def test_lemmas_are_cached() -> None:
    before = term_of.cache_info().hits
    assert term_of("банками") == term_of("банками") is not None
    assert term_of.cache_info().hits > before


def test_characteristic_terms() -> None:
    assert standing_out(0, 10, 5, 100) == 0
    assert standing_out(10, 10, 100, 100) == 0
    assert standing_out(10, 10, 200, 100) == 0  # counted a moment later
    # frequent here and rare elsewhere, frequent everywhere, rare everywhere
    here, everywhere, rare = (
        standing_out(*each) for each in ((5, 10, 6, 1_000), (5, 10, 500, 1_000), (1, 10, 1, 1_000))
    )
    assert here > rare > everywhere


def test_ranking() -> None:
    found = [("кофе", 5, 500), ("бариста", 5, 6), ("чай", 5, 6), ("сок", 1, 1)]
    best = ranked(found, 10, 1_000, 3)
    assert [term for term, _, _ in best] == ["бариста", "чай", "сок"]
    assert best[0] == ("бариста", 5, standing_out(5, 10, 6, 1_000))
