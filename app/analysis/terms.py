"""The terms of texts: lemmas of their words without stop words; and the terms that are characteristic of a scope."""

import math
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from threading import Lock
from typing import Final

from pymorphy3 import MorphAnalyzer

from app.analysis.folding import fold

FEWEST_LETTERS: Final = 3
MOST_LETTERS: Final = 40
_MOST_WORDS_KNOWN: Final = 100_000
_WORD: Final = re.compile(f"[а-я]{{{FEWEST_LETTERS},}}|[a-z]{{{FEWEST_LETTERS},}}|[^\\W\\d_]{{{FEWEST_LETTERS},}}")
_CYRILLIC: Final = re.compile("[а-я]+")
_LAUGHTER: Final = (frozenset("аеиоыэхпв"), "х"), (frozenset("aehol"), "h")
"""Words of these letters only that contain the second letter more than once: ахаха, хех, haha."""
_DRAWN_OUT: Final = re.compile(r"(.)\1{2,}")
_EMPTY_CLASSES: Final = frozenset({"PREP", "CONJ", "PRCL", "NPRO", "NUMR", "INTJ", "PRED"})
_EMPTY_KINDS: Final = frozenset({"Apro", "Anum", "Init"})
"""Adjectival pronouns, ordinal numbers, initials."""
_STOP_WORDS: Final = frozenset(
    """
    быть мочь стать хотеть бывать являться делать сделать иметь знать сказать говорить думать идти пойти дать давать
    очень просто только ещё еще уже тут там здесь сейчас теперь потом тогда когда где куда откуда почему зачем как так
    также тоже вообще вот даже лишь почти совсем снова опять всегда никогда иногда часто редко сразу скоро давно долго
    больше меньше много мало немного несколько столько сколько можно нельзя надо нужно весь всё сам самый каждый любой
    другой иной один два три раз должный нужный большой наш ваш свой мой твой чей конечно наверное может видимо кстати
    например вроде типа прям прямо блин короче этот тот такой какой который никакой некоторый потому поэтому чтобы если
    хотя пока после перед через между около именно действительно возможно либо пусть вон мол чтоб щас ваще lol есть
    ничего the and you for are but not with that this was have has from they your what all can will just who how
    """.split()  # noqa: SIM905 - as a list, it would fill a page
)


def terms_of(text: str) -> list[str]:
    """Return the terms of a text without links and mentions, each once, in their order.

    Words have at least three letters; Russian words are in their normal form, with
    ё as in the dictionary, others in lower case. Stop words are omitted: pronouns,
    prepositions, conjunctions, particles, numerals and other very frequent words, and laughter.
    """
    terms = (term_of(word) for word in dict.fromkeys(_WORD.findall(fold(text).text)))
    return list(dict.fromkeys(term for term in terms if term))


_one_at_a_time = Lock()


@lru_cache(maxsize=_MOST_WORDS_KNOWN)
def term_of(word: str) -> str | None:
    """Return the term of a folded word; None for a stop word."""
    plain = _DRAWN_OUT.sub(r"\1", word)
    if not FEWEST_LETTERS <= len(plain) <= MOST_LETTERS or plain in _STOP_WORDS or _is_laughter(word):
        return None
    if not _CYRILLIC.fullmatch(plain):
        return plain
    with _one_at_a_time:
        reading = _analyzer().parse(plain)[0]
    tag = reading.tag
    if tag.POS in _EMPTY_CLASSES or not _EMPTY_KINDS.isdisjoint(tag.grammemes):
        return None
    lemma = str(reading.normal_form)
    return None if lemma in _STOP_WORDS or len(lemma) < FEWEST_LETTERS else lemma


def _is_laughter(word: str) -> bool:
    return any(word.count(breath) > 1 and letters.issuperset(word) for letters, breath in _LAUGHTER)


@cache
def _analyzer() -> MorphAnalyzer:
    return MorphAnalyzer()


def standing_out(comments_with: int, comments: int, comments_with_everywhere: int, comments_everywhere: int) -> float:
    """Return how characteristic a term is of a scope: TF-IDF, with the scope for TF and all comments for IDF.

    The share of the scope's comments that contain the term, times the logarithm of
    its rarity in all comments. It is high for terms that are frequent in the scope
    and rare elsewhere; 0 for a term that every comment contains.
    """
    if not comments_with:
        return 0.0
    share = comments_with / comments
    rarity = math.log((1 + comments_everywhere) / (1 + min(comments_with_everywhere, comments_everywhere)))
    return share * rarity


def ranked(
    counts: Iterable[tuple[str, int, int]], comments: int, comments_everywhere: int, limit: int
) -> list[tuple[str, int, float]]:
    """Return the `limit` most characteristic terms, as (term, comments in the scope that contain it, score).

    `counts` are terms with the number of comments that contain them, in the scope and in all.
    """
    scored = [
        (term, inside, standing_out(inside, comments, everywhere, comments_everywhere))
        for term, inside, everywhere in counts
    ]
    return sorted(scored, key=lambda each: (-each[2], -each[1], each[0]))[:limit]
