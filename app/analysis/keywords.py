"""Finds keywords in texts: words in all their forms, exact words, substrings, phrases.

Every keyword is expanded once into what it may look like, all of that goes into one automaton, and a text is gone
through once. Both are folded before (`folding`), so case, ё, look-alikes and what nobody sees make no difference.

What matches, whatever the mode: where a keyword begins or ends with a letter or digit, none may stand beside it, but
for SUBSTRING. Other characters part words, also `_` and `-`: `#ВТБ_банк` and `онлайн-банке` hold `банк`, and `2015`
does not hold `15`. Of one keyword the leftmost match counts, and of several that begin there the longest, so that its
matches never overlap; those of different keywords may.
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
"""Characters."""
MOST_WORDS: Final = 10
_BETWEEN: Final = "\0"
"""Parts texts that are searched together, and stands around them, so that every character has two neighbours."""
_CHUNK: Final = 16_384
"""Characters that are searched together, or one text: passing each text on by itself would cost as much again."""

Positions = dict[int, list[int]]
"""Keyword id -> start, end, start, end ... of its matches, in code points of the text, ascending."""


class KeywordMatching(Enum):
    """What of a text a keyword matches. The value is how rows hold it."""

    WORD_FORMS = "WORD_FORMS"
    EXACT_WORD = "EXACT_WORD"
    SUBSTRING = "SUBSTRING"
    CASE_SENSITIVE = "CASE_SENSITIVE"


class Keyword(NamedTuple):
    """A keyword as the matcher takes it."""

    id: int
    phrase: str
    matching: KeywordMatching


class WordForms(NamedTuple):
    """A word of a phrase and what it may look like in a text, in lower case unless that matters."""

    word: str
    forms: tuple[str, ...]


def clean_phrase(phrase: str) -> str:
    """Return a phrase without white space around it, and with single spaces in it."""
    return " ".join(phrase.split())


def problem_of(phrase: str, matching: KeywordMatching) -> str | None:
    """Say why a clean phrase cannot be a keyword; None if it can."""
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
    """What stands between two words of a phrase: punctuation, and whether there is white space, too."""

    marks: str
    is_spaced: bool

    @classmethod
    def of(cls, between: str) -> "_Gap":
        marks = "".join("-" if mark in _DASHES else mark for mark in between if not _is_air(mark, is_spaced=True))
        return cls(marks, any(map(str.isspace, between)))

    def cross(self, text: str, position: int, step: int) -> int:
        """Go over such a gap and return what is behind it, or -1; `position` is the gap's first character.

        With white space in the phrase there may be any, or none. Quotes may stand anywhere.
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
    """A phrase taken apart. Words are runs of letters and digits, or of emoji."""

    words: tuple[str, ...]
    gaps: tuple[_Gap, ...]
    """What is between the words; one less than there are words."""
    before: str
    """What belongs to the first word, as # does: `#банк`."""
    after: str
    """What belongs to the last word: `C++`."""

    def forms(self, number: int, matching: KeywordMatching) -> tuple[str, ...]:
        """Return what a word of it may look like, with what belongs to it."""
        word = self.words[number]
        if matching is KeywordMatching.WORD_FORMS:
            forms = word_forms(word)
        else:
            forms = (word if matching is KeywordMatching.CASE_SENSITIVE else word.lower(),)
        before = self.before if number == 0 else ""
        after = self.after if number == len(self.words) - 1 else ""
        return tuple(f"{before}{form}{after}" for form in forms) if before or after else forms

    def folded(self, number: int, matching: KeywordMatching) -> dict[str, None]:
        """Return the folded forms of a word, in both alphabets where nobody can tell in which one it is written."""
        folded = dict.fromkeys(fold(form).text for form in self.forms(number, matching))
        if self.is_of_either_alphabet(number):
            folded |= dict.fromkeys(other for form in folded if (other := in_other_alphabet(form)))
        return folded

    def is_of_either_alphabet(self, number: int) -> bool:
        """Tell whether a word has single letters only, with symbols or digits beside them: C++, X5, A/B.

        Alone they would be words: C (a language) is not `с`, with.
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
    """Return 1 for what words are made of, 2 for what emoji are made of, 0 for what is between."""
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
    """Of the forms, the longest first."""

    @classmethod
    def of(cls, forms: Iterable[str]) -> "_Word":
        known = frozenset(forms)
        return cls(known, tuple(sorted({len(form) for form in known}, reverse=True)))

    def take(self, text: str, position: int, step: int) -> int:
        """Return what is behind this word, which has its first character at `position` in that direction; or -1."""
        for length in self.lengths:
            start, end = (position, position + length) if step > 0 else (position + 1 - length, position + 1)
            if text[max(start, 0) : end] in self.forms and _is_whole(text, start, end):
                return end if step > 0 else start - 1
        return -1


class _Phrase(NamedTuple):
    """A phrase of several words, which is looked up by one of them."""

    words: tuple[_Word, ...]
    gaps: tuple[_Gap, ...]
    anchor: int

    @classmethod
    def of(cls, words: Sequence[_Word], gaps: tuple[_Gap, ...]) -> "_Phrase":
        # long words are rare, so few hits have to be looked at more closely
        anchor = max(range(len(words)), key=lambda number: words[number].lengths[-1])
        return cls(tuple(words), gaps, anchor)

    def around(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """Return where the phrase begins and ends whose anchor is here, or None if it is not."""
        position = end
        for gap, word in zip(self.gaps[self.anchor :], self.words[self.anchor + 1 :], strict=True):
            position = gap.cross(text, position, 1)
            position = word.take(text, position, 1) if position >= 0 else -1
            if position < 0:
                return None
        end, position = position, start - 1
        for gap, word in zip(self.gaps[: self.anchor][::-1], self.words[: self.anchor][::-1], strict=True):
            position = gap.cross(text, position, -1)
            position = word.take(text, position, -1) if position >= 0 else -1
            if position < 0:
                return None
        return position + 1, end


class _Target(NamedTuple):
    """What a hit of the automaton may be part of."""

    keyword_id: int
    is_substring: bool = False
    phrase: _Phrase | None = None
    exactly: str | None = None
    """How the match has to be written, where case matters."""


class Matcher:
    """Finds many keywords at once. Made once and used from any thread.

    One of 5,000 keywords is made in 0.3 s; the first one of a process loads the dictionary, in another 0.5 s.
    """

    def __init__(self, keywords: Iterable[Keyword]) -> None:
        """Make a matcher of keywords of which `problem_of` says nothing."""
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
        """Search texts: number of a text -> its matches; texts without any are absent."""
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
        """Yield keyword ids and places in the source of those hits that are matches."""
        text, targets, are_words = folded.text, self._targets, self._are_words
        # most hits are within other words: these are sorted out first, and as fast as can be
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
    """Yield what the automaton has to look for, folded, with what it is part of."""
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
    """Return what a literal substring may look like, folded."""
    part = fold(phrase).text
    pattern = _pattern_of(phrase)
    other = in_other_alphabet(part) if len(pattern.words) == 1 and pattern.is_of_either_alphabet(0) else None
    return (part, other) if other else (part,)


def _as_written(text: str) -> str:
    """Return the letters, digits and emoji of a text as they are written, in whichever alphabet."""
    return as_cyrillic("".join(character for character in fold(text, keep_case=True).text if _kind(character)))


def _is_whole(text: str, start: int, end: int) -> bool:
    """Tell whether what stands here goes on neither to the left nor to the right."""
    return (
        _is_edge(text[start], text[start - 1]) and _is_edge(text[end - 1], text[end]) and not _is_half_flag(text, start)
    )


def _is_edge(last: str, beyond: str) -> bool:
    if last.isalnum():
        return not beyond.isalnum()
    return beyond != JOINER if is_emoji(last) else beyond != last


def _is_half_flag(text: str, start: int) -> bool:
    """Tell whether the half of a flag stands before this: two letters of a row make one flag, and then the next two."""
    first = start
    while "🇦" <= text[first] <= "🇿":
        first -= 1
    return first < start and (start - first) % 2 == 0


def _apart(positions: list[int]) -> list[int]:
    """Return starts and ends that do not overlap: the leftmost first, of several that begin there the longest."""
    spans = sorted(zip(positions[::2], positions[1::2], strict=True), key=lambda span: (span[0], -span[1]))
    apart: list[int] = []
    for start, end in spans:
        if not apart or start >= apart[-1]:
            apart += (start, end)
    return apart


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield runs of texts that are short enough together, each with the number of its first text."""
    first, length = 0, 0
    for number, text in enumerate(texts):
        length += len(text)
        if length > _CHUNK and number > first:
            yield first, texts[first:number]
            first, length = number, len(text)
    if texts:
        yield first, texts[first:]


# for whoever matches again and again


_building = Lock()


@lru_cache(maxsize=4)
def _matcher_of(keywords: tuple[Keyword, ...]) -> Matcher:
    return Matcher(keywords)


def matches_of(keywords: tuple[Keyword, ...], texts: Sequence[str]) -> dict[int, Positions]:
    """Search texts for keywords, as `Matcher.match` does; the last matchers are kept. Not for the event loop."""
    with _building:  # several that need the same one at once wait for one of them to make it
        matcher = _matcher_of(keywords)
    return matcher.match(texts)
