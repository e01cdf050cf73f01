"""All forms of a Russian word, by pymorphy3 and its dictionary."""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Protocol

from pymorphy3 import MorphAnalyzer

_LEAST_SHARE = 0.05
"""For a homonym (печь, the noun and the verb), the least score of a reading relative to the likeliest one."""
_CYRILLIC = re.compile("[а-яё]+")
_VOWELS = frozenset("аеёиоуыэюя")
_HARD_CONSONANTS = frozenset("бвдзлмнпрстф")
_HARD_ENDINGS = ("", "а", "у", "ом", "е", "ы", "ов", "ам", "ами", "ах")
_OPEN_CLASSES = ("NOUN", "ADJF", "INFN")
"""New words are nouns, adjectives and verbs."""
_LONGEST_ABBREVIATION = 5
_one_at_a_time = Lock()


class _Tag(Protocol):
    """The grammatical tag of a reading."""

    POS: str | None


class _Reading(Protocol):
    """One reading of a word by pymorphy3, which has no type hints."""

    word: str
    normal_form: str
    tag: _Tag
    score: float
    lexeme: "list[_Reading]"
    methods_stack: Sequence[Sequence[object]]


@lru_cache(maxsize=50_000)
def word_forms(word: str) -> tuple[str, ...]:
    """Return all forms of a word in lower case, including itself; a word that is not Russian has only one.

    A word that is a normal form is treated as that: `банк` is not the genitive of
    `банка`. Any other word is treated as a form of its likeliest normal form:
    `банками` of `банк`. A word that is not in the dictionary is declined if it looks
    declinable, and otherwise has one form; in capitals and with up to five letters
    it is an abbreviation and has one form.
    """
    lower = word.lower()
    if not _CYRILLIC.fullmatch(lower):
        return (lower,)
    with _one_at_a_time:
        readings = _analyzer().parse(lower)
        forms = _known(lower, readings) if readings[0].is_known else _unknown(word, readings)
    return tuple(dict.fromkeys([lower, *(form for form in forms if _CYRILLIC.fullmatch(form))]))


@cache
def _analyzer() -> MorphAnalyzer:
    return MorphAnalyzer()


def _known(word: str, readings: Sequence[_Reading]) -> list[str]:
    """Return the forms of a word of the dictionary."""
    # Each grammatical case of a word is a separate reading with its own score: sum them up per word.
    scores: dict[tuple[str, str], float] = defaultdict(float)
    by_word: dict[tuple[str, str], list[_Reading]] = defaultdict(list)
    for reading in readings:
        key = reading.normal_form, str(reading.tag.POS)
        scores[key] += reading.score
        by_word[key].append(reading)
    own = [key for key in scores if key[0] == word]
    selected = own or [max(scores, key=lambda key: scores[key])]
    likeliest = max(scores[key] for key in selected)
    return [
        form.word
        for key in selected
        if scores[key] >= _LEAST_SHARE * likeliest
        for reading in _one_per_lexeme(by_word[key])
        for form in reading.lexeme
    ]


def _one_per_lexeme(readings: Sequence[_Reading]) -> list[_Reading]:
    return list({reading.methods_stack[-1][2]: reading for reading in readings}.values())


def _unknown(word: str, readings: Sequence[_Reading]) -> list[str]:
    """Return the forms of a word that is not in the dictionary, if it ends like a declinable word."""
    lower = word.lower()
    is_abbreviation = word.isupper() and len(word) <= _LONGEST_ABBREVIATION
    if is_abbreviation or _VOWELS.isdisjoint(lower):
        return []
    own = [reading for reading in readings if reading.normal_form == lower and reading.tag.POS in _OPEN_CLASSES]
    if own:
        return [form.word for form in own[0].lexeme]
    if readings[0].tag.POS == "NOUN" and lower[-1] in _HARD_CONSONANTS:
        # pymorphy3 guesses another lemma, such as `ютуба` for `ютуб`; names with this ending are declined like `клуб`.
        return [lower + ending for ending in _HARD_ENDINGS]
    return []
