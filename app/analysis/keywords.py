"""Finds keywords in texts: words in all their forms, exact words, substrings, phrases.

Every keyword is expanded once into all its possible forms, one automaton contains all forms of all keywords, and each
text is scanned once. Both are folded first (`folding`), so case, ё, look-alikes and invisible characters are ignored.

In all modes except SUBSTRING: if a keyword begins or ends with a letter or digit, the match must not be next to another
letter or digit. Other characters separate words, including `_` and `-`: `#ВТБ_банк` and `онлайн-банке` contain `банк`,
and `2015` does not contain `15`. The matches of one keyword never overlap: the leftmost one counts, and of several with
the same start the longest. Matches of different keywords may overlap.
"""

import unicodedata
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import accumulate, groupby, pairwise
from threading import Lock
from typing import Final, NamedTuple

from ahocorasick_rs import AhoCorasick

from app.analysis.folding import JOINER, Folded, as_cyrillic, fold, in_other_alphabet, is_emoji
from app.analysis.word_forms import word_forms

LONGEST_PHRASE: Final = 200
"""In characters."""
MOST_WORDS: Final = 10
_BETWEEN: Final = "\0"
"""Separates and surrounds texts that are searched together, so that every character has two neighbours."""
_CHUNK: Final = 16_384
"""Characters that are searched together (or one longer text): a call per text would double the cost."""

Positions = dict[int, list[int]]
"""Keyword id -> start, end, start, end ... of its matches, in code points of the text, ascending."""


class KeywordMatching(Enum):
    """How a keyword matches texts. The value is stored in rows."""

    WORD_FORMS = "WORD_FORMS"
    EXACT_WORD = "EXACT_WORD"
    SUBSTRING = "SUBSTRING"
    CASE_SENSITIVE = "CASE_SENSITIVE"


class Keyword(NamedTuple):
    """A keyword, as input of the matcher."""

    id: int
    phrase: str
    matching: KeywordMatching


class WordForms(NamedTuple):
    """A word of a phrase and its forms in a text, in lower case unless case matters."""

    word: str
    forms: tuple[str, ...]


def clean_phrase(phrase: str) -> str:
    """Return a phrase without surrounding white space, and with single spaces inside."""
    return " ".join(phrase.split())


def problem_of(phrase: str, matching: KeywordMatching) -> str | None:
    """Return why a clean phrase cannot be a keyword; None if it can."""
    if not phrase:
        return "is empty"
    if len(phrase) > LONGEST_PHRASE:
        return f"is longer than {LONGEST_PHRASE} characters"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in phrase):
        return "holds control characters or half a character"
    return _problem_of_words(phrase) if matching is not KeywordMatching.SUBSTRING else _problem_of_part(phrase)


def _problem_of_part(phrase: str) -> str | None:
    return None if fold(phrase).text.strip() else "holds nothing that can be seen"


def _problem_of_words(phrase: str) -> str | None:
    words = _pattern_of(phrase).words
    if not words:
        return "holds no letter, digit or emoji"
    return f"has more than {MOST_WORDS} words" if len(words) > MOST_WORDS else None


def forms_of(phrase: str, matching: KeywordMatching) -> list[WordForms]:
    """Return what each word of a phrase matches; a substring is one word."""
    if matching is KeywordMatching.SUBSTRING:
        return [WordForms(phrase, (fold(phrase).text,))]
    pattern = _pattern_of(phrase)
    return [WordForms(word, pattern.forms(number, matching)) for number, word in enumerate(pattern.words)]


# phrases


_QUOTES: Final = frozenset("\"'`´«»“”„‟’‘‚‛‹›＂")
_DASHES: Final = frozenset("-‐‑‒–—―−")
_BRACKETS: Final = frozenset("()[]{}<>")
_BEFORE: Final = _QUOTES | _DASHES | _BRACKETS | frozenset(",;:!?…")
_AFTER: Final = _BEFORE | {"."}
"""What may stand around a phrase without being part of it. A dot before a word is: `.NET`."""


class _Gap(NamedTuple):
    """The separator of two words of a phrase: punctuation, and whether it contains white space."""

    marks: str
    is_spaced: bool

    @classmethod
    def of(cls, between: str) -> "_Gap":
        marks = "".join("-" if mark in _DASHES else mark for mark in between if not _is_air(mark, is_spaced=True))
        return cls(marks, any(map(str.isspace, between)))

    def cross(self, text: str, position: int, step: int) -> int:
        """Match the gap at `position` in direction `step` (1 or -1); return the position after it, or -1.

        If the phrase has white space in the gap, the text may have any amount, or none. Quotes are ignored.
        """
        for mark in self.marks[::step]:
            position = self._over_air(text, position, step)
            if text[position] != mark and not (mark == "-" and text[position] in _DASHES):
                return -1
            position += step
        return self._over_air(text, position, step)

    def _over_air(self, text: str, position: int, step: int) -> int:
        while _is_air(text[position], is_spaced=self.is_spaced):
            position += step
        return position


def _is_air(character: str, *, is_spaced: bool) -> bool:
    return character in _QUOTES or (is_spaced and character.isspace())


class _Pattern(NamedTuple):
    """A parsed phrase. Words are runs of letters and digits, or of emoji."""

    words: tuple[str, ...]
    gaps: tuple[_Gap, ...]
    """The separators of the words; one less than words."""
    before: str
    """Symbols that belong to the first word, such as #: `#банк`."""
    after: str
    """Symbols that belong to the last word: `C++`."""

    def forms(self, number: int, matching: KeywordMatching) -> tuple[str, ...]:
        """Return the forms of a word of the phrase, with the symbols that belong to it."""
        word = self.words[number]
        if matching is KeywordMatching.WORD_FORMS:
            forms = word_forms(word)
        else:
            forms = (word if matching is KeywordMatching.CASE_SENSITIVE else word.lower(),)
        before = self.before if number == 0 else ""
        after = self.after if number == len(self.words) - 1 else ""
        return tuple(f"{before}{form}{after}" for form in forms) if before or after else forms

    def folded(self, number: int, matching: KeywordMatching) -> dict[str, None]:
        """Return the folded forms of a word, in both alphabets if it may be written in either."""
        folded = dict.fromkeys(fold(form).text for form in self.forms(number, matching))
        if self.is_of_either_alphabet(number):
            folded |= dict.fromkeys(other for form in folded if (other := in_other_alphabet(form)))
        return folded

    def is_of_either_alphabet(self, number: int) -> bool:
        """Return whether a word consists of single letters next to symbols or digits: C++, X5, A/B.

        Without these they would be words of their own: C (a language) is not `с` (with).
        """
        word, last = self.words[number], len(self.words) - 1
        letters = [len("".join(run)) for is_letter, run in groupby(word, str.isalpha) if is_letter]
        beside = self.before if number == 0 else self.gaps[number - 1].marks
        beside += self.after if number == last else self.gaps[number].marks
        return set(letters) == {1} and (len(word) > len(letters) or not _AFTER.issuperset(beside))


def _pattern_of(phrase: str) -> _Pattern:
    text = fold(phrase, keep_case=True).text
    runs = [(kind, "".join(run)) for kind, run in groupby(text, _kind)]
    places = [number for number, (kind, _) in enumerate(runs) if kind]
    if not places:
        return _Pattern((), (), "", "")
    words = tuple(runs[place][1] for place in places)
    gaps = tuple(_Gap.of("".join(run for _, run in runs[one + 1 : other])) for one, other in pairwise(places))
    before = "".join(run for _, run in runs[: places[0]])
    after = "".join(run for _, run in runs[places[-1] + 1 :])
    return _Pattern(words, gaps, _glued_before(before), _glued_after(after))


def _kind(character: str) -> int:
    """Return 1 for characters of words, 2 for those of emoji, 0 for separators."""
    if character.isalnum():
        return 1
    return 2 if is_emoji(character) or character == JOINER else 0


def _glued_before(text: str) -> str:
    glued = text.rsplit(maxsplit=1)[-1] if text and not text[-1].isspace() else ""
    return glued.lstrip("".join(_BEFORE)) if glued.rstrip("".join(_BEFORE)) == glued else ""


def _glued_after(text: str) -> str:
    glued = text.split(maxsplit=1)[0] if text and not text[0].isspace() else ""
    return glued.rstrip("".join(_AFTER)) if glued.lstrip("".join(_AFTER)) == glued else ""


# searching


class _Word(NamedTuple):
    """The folded forms of a word of a phrase."""

    forms: frozenset[str]
    lengths: tuple[int, ...]
    """The lengths of the forms, longest first."""

    @classmethod
    def of(cls, forms: Iterable[str]) -> "_Word":
        known = frozenset(forms)
        return cls(known, tuple(sorted({len(form) for form in known}, reverse=True)))

    def match(self, text: str, position: int, step: int) -> int:
        """Match this word at `position` in direction `step` (1 or -1); return the position after it, or -1."""
        for length in self.lengths:
            start, end = (position, position + length) if step > 0 else (position + 1 - length, position + 1)
            if text[max(start, 0) : end] in self.forms and _is_whole(text, start, end):
                return end if step > 0 else start - 1
        return -1


class _Phrase(NamedTuple):
    """A phrase of several words; the automaton contains only one of them, the anchor."""

    words: tuple[_Word, ...]
    gaps: tuple[_Gap, ...]
    anchor: int

    @classmethod
    def of(cls, words: Sequence[_Word], gaps: tuple[_Gap, ...]) -> "_Phrase":
        # Long words are rare, so few hits must be checked further.
        anchor = max(range(len(words)), key=lambda number: words[number].lengths[-1])
        return cls(tuple(words), gaps, anchor)

    def around(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Return the span of the phrase whose anchor has this span, or None if the phrase does not match."""
        position = end
        for gap, word in zip(self.gaps[self.anchor :], self.words[self.anchor + 1 :], strict=True):
            position = gap.cross(text, position, 1)
            position = word.match(text, position, 1) if position >= 0 else -1
            if position < 0:
                return None
        end, position = position, start - 1
        for gap, word in zip(self.gaps[: self.anchor][::-1], self.words[: self.anchor][::-1], strict=True):
            position = gap.cross(text, position, -1)
            position = word.match(text, position, -1) if position >= 0 else -1
            if position < 0:
                return None
        return position + 1, end


class _Target(NamedTuple):
    """The keyword, and the phrase, of which a hit of the automaton may be part."""

    keyword_id: int
    is_substring: bool = False
    phrase: _Phrase | None = None
    exactly: str | None = None
    """The required spelling of the match if case matters."""


class Matcher:
    """Finds many keywords at once. Immutable: it can be used from any thread.

    A matcher of 5,000 keywords is built in 0.3 s; the first one of a process loads the dictionary in another 0.5 s.
    """

    def __init__(self, keywords: Iterable[Keyword]) -> None:
        """Build a matcher of valid keywords, for which `problem_of` returns None."""
        targets: dict[str, list[_Target]] = defaultdict(list)
        for keyword in keywords:
            for form, target in _targets_of(keyword):
                targets[form].append(target)
        self._targets = [tuple(found) for found in targets.values()]
        self._are_words = [
            form[0].isalnum() and form[-1].isalnum() and not any(target.is_substring for target in found)
            for form, found in targets.items()
        ]
        self._automaton = AhoCorasick(targets, store_patterns=False) if targets else None

    def match(self, texts: Sequence[str]) -> dict[int, Positions]:
        """Search texts: index of a text -> its matches; texts without matches are absent."""
        found: dict[int, Positions] = {}
        if self._automaton is not None:
            for first, chunk in _chunks(texts):
                self._match_chunk(self._automaton, first, chunk, found)
        return found

    def _match_chunk(
        self, automaton: AhoCorasick, first: int, texts: Sequence[str], found: dict[int, Positions]
    ) -> None:
        folded = fold(f"{_BETWEEN}{_BETWEEN.join(texts)}{_BETWEEN}")
        starts = list(accumulate((len(text) + 1 for text in texts), initial=1))
        touched: set[tuple[int, int]] = set()
        for keyword_id, start, end in self._hits(
            folded, automaton.find_matches_as_indexes(folded.text, overlapping=True)
        ):
            number = bisect_right(starts, start) - 1
            offset = starts[number]
            number += first
            of_text = found.get(number)
            if of_text is None:
                of_text = found[number] = {}
            if keyword_id in of_text:
                of_text[keyword_id] += (start - offset, end - offset)
                touched.add((number, keyword_id))
            else:
                of_text[keyword_id] = [start - offset, end - offset]
        for number, keyword_id in touched:
            found[number][keyword_id] = _apart(found[number][keyword_id])

    def _hits(self, folded: Folded, raw: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
        """Yield the hits that are matches: keyword id, and start and end in the source."""
        text, targets, are_words = folded.text, self._targets, self._are_words
        # Most hits are within other words: discard these first, with as little work as possible.
        likely = [
            (form, start, end)
            for form, start, end in raw
            if not (are_words[form] and (text[start - 1].isalnum() or text[end].isalnum()))
        ]
        for form, start, end in likely:
            is_whole = are_words[form] or _is_whole(text, start, end)
            for keyword_id, is_substring, phrase, exactly in targets[form]:
                if not is_whole and not is_substring:
                    continue
                span = phrase.around(text, start, end) if phrase else (start, end)
                if span is None:
                    continue
                first, last = folded.span(*span)
                if exactly is None or _as_written(folded.source[first:last]) == exactly:
                    yield keyword_id, first, last


def _targets_of(keyword: Keyword) -> Iterator[tuple[str, _Target]]:
    """Yield the folded forms that the automaton searches for, each with its target."""
    if keyword.matching is KeywordMatching.SUBSTRING:
        for part in _parts_of(keyword.phrase):
            yield part, _Target(keyword.id, is_substring=True)
        return
    pattern = _pattern_of(keyword.phrase)
    forms = [pattern.folded(number, keyword.matching) for number in range(len(pattern.words))]
    exactly = _as_written(keyword.phrase) if keyword.matching is KeywordMatching.CASE_SENSITIVE else None
    phrase = _Phrase.of([_Word.of(each) for each in forms], pattern.gaps) if len(forms) > 1 else None
    target = _Target(keyword.id, phrase=phrase, exactly=exactly)
    for form in forms[phrase.anchor if phrase else 0]:
        yield form, target


def _parts_of(phrase: str) -> Iterable[str]:
    """Return the folded forms of a literal substring."""
    part = fold(phrase).text
    pattern = _pattern_of(phrase)
    other = in_other_alphabet(part) if len(pattern.words) == 1 and pattern.is_of_either_alphabet(0) else None
    return (part, other) if other else (part,)


def _as_written(text: str) -> str:
    """Return the letters, digits and emoji of a text with their case, with look-alikes as Cyrillic letters."""
    return as_cyrillic("".join(character for character in fold(text, keep_case=True).text if _kind(character)))


def _is_whole(text: str, start: int, end: int) -> bool:
    """Return whether the span is not part of a longer word or emoji."""
    return (
        _is_edge(text[start], text[start - 1]) and _is_edge(text[end - 1], text[end]) and not _is_half_flag(text, start)
    )


def _is_edge(last: str, beyond: str) -> bool:
    if last.isalnum():
        return not beyond.isalnum()
    return beyond != JOINER if is_emoji(last) else beyond != last


def _is_half_flag(text: str, start: int) -> bool:
    """Return whether the span begins within a flag: each pair of consecutive regional indicators is one flag."""
    first = start
    while "🇦" <= text[first] <= "🇿":
        first -= 1
    return first < start and (start - first) % 2 == 0


def _apart(positions: list[int]) -> list[int]:
    """Return non-overlapping starts and ends: leftmost first, of several with the same start the longest."""
    spans = sorted(zip(positions[::2], positions[1::2], strict=True), key=lambda span: (span[0], -span[1]))
    apart: list[int] = []
    for start, end in spans:
        if not apart or start >= apart[-1]:
            apart += (start, end)
    return apart


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield chunks of texts of limited total length, each with the index of its first text."""
    first, length = 0, 0
    for number, text in enumerate(texts):
        length += len(text)
        if length > _CHUNK and number > first:
            yield first, texts[first:number]
            first, length = number, len(text)
    if texts:
        yield first, texts[first:]


# cached matchers


_building = Lock()


@lru_cache(maxsize=4)
def _matcher_of(keywords: tuple[Keyword, ...]) -> Matcher:
    return Matcher(keywords)


def matches_of(keywords: tuple[Keyword, ...], texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts for keywords, as `Matcher.match` does; caches matchers. Do not call it in the event loop."""
    with _building:  # threads that need the same matcher wait until one of them has built it
        matcher = _matcher_of(keywords)
    return matcher.match(texts)
