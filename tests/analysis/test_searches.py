import pytest

from app.analysis.searches import MOST_WORDS, forms_of_search


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("кредит", ["кредит"]),
        ('"Новый кредит" -чай or ёлка', ["Новый", "кредит", "чай", "елка"]),
        ("онлайн-банк банк2 x5 vk.com и VK", []),
        ("кредит, кредит! (люди)", ["кредит", "люди"]),
        ("быстро", []),
        ("", []),
    ],
)
def test_words_with_forms(search: str, words: list[str]) -> None:
    assert [forms[0] for forms in forms_of_search(search)] == [word.lower() for word in words]


def test_forms() -> None:
    [people] = forms_of_search("люди")
    assert {"человек", "людям", "людей"} <= set(people)
    [fir] = forms_of_search("Ёлками")
    assert {"елками", "елка"} <= set(fir)
    assert not any("ё" in form for form in fir)
    assert len(forms_of_search("дом кот лес стол мост " + " ".join(f"слово{'а' * n}" for n in range(30)))) <= MOST_WORDS
