"""Signs of sentiment in texts."""

import pytest

from app.analysis.moods import Mood, mood_of

GLAD = [
    "Спасибо)",
    "ура)))",
    ":)",
    "класс =)",
    "XD",
    "хД",
    "👍🏻",
    "люблю ❤️",
    "ок ^^",
    "(да) хорошо))",
    ";-)",
    ":D",
    ")",
    "xd",
    "спасибо (:",
    "<3",
    "🖤",
    ":*",
]
SAD = ["очень :(жаль", "жаль(", "((", ":(", "=((", "😡", "ну вот :-(", "эх :/", "1) нет(("]
NONE = [
    "", "текст", "(в скобках)", "1) раз 2) два", "а) раз", "(см. ниже", "смешно) но жаль(", "🤔", "f(x)", "a:b",
    "10:30",     "((вложенные))", "км/ч: 5", "XXL", "(1)",
    "Итого=(5+3)", "вт:(9-18)", "Размеры:(S, M)", "a=*b", "x=[1, 2]", "1<35", "hd",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "mood"), [(text, mood) for texts, mood in ((GLAD, 1), (SAD, -1), (NONE, 0)) for text in texts]
)
def test_moods(text: str, mood: int) -> None:
    assert mood_of(text) == mood
    assert Mood(mood).value == mood


def test_runs_count_once() -> None:
    assert mood_of(")))))) ( (") == -1
    assert mood_of("( ( ))") == 0


def test_long_texts_take_linear_time() -> None:
    for piece in (")", "(", "() ", ":)", "a)", ")a", ":(", ":(a", "(:", "<3", "xd"):
        mood_of(piece * 10_000)
