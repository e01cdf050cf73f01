"""Folds texts for matching, so that what reads the same is the same, and knows where each character came from.

Letters lose their case, and the dots of ё. Left out is what nobody sees: soft hyphens, zero-width characters, stress
marks, variation selectors and skin tones of emoji, and the markup of VK's mentions, of `[club1|Банк]` all but the
name. Letters of another alphabet that stand in a Cyrillic word and look like Cyrillic ones become these.

Every step keeps the number of characters or leaves some out; none becomes two. So lists of the places where something
was left out lead from each folded character back to its source.

Nearly all characters stand for themselves, so texts are searched for the others only; and as these are mostly the same
few emoji, what becomes of them is remembered.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

JOINER: Final = "\u200d"
"""Makes one emoji of two. It is kept between emoji, where it matters, and left out elsewhere."""
_GENDERS: Final = "♀♂"
_FIRST_MARK: Final = "\u0300"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_SELECTORS: Final = "\ufe0e\ufe0f"
_LONGEST_RUN: Final = 20
_MOST_RUNS: Final = 10_000
"""What becomes of more of them is not remembered; some megabytes."""
_PLAIN: Final = (
    r"\0-\x1f\x7f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    r"0-9А-Яа-яЁё!-/:-@\[\\\]^_`{|}~«»“”„’‘–—…№₽•°€"
    "\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff"
)
"""What stands for itself, apart from case and ё: nearly all of nearly every Russian comment.

White space is listed: `\\s` would be no part of the bitmap in which the engine looks characters up, at half the speed.
"""
# not "[^...]+": with the class by itself at the beginning the engine skips what is plain twice as fast
_RUN: Final = re.compile(f"[^{_PLAIN}][^{_PLAIN}]*")
_MENTION: Final = re.compile(
    r"(\[(?:(?:id|club|public|event|app)-?\d+(?::[^|\[\]\s\0]{0,64})?|https?://[^|\[\]\s\0]+)\|)([^\[\]\0]+)(\])"
)
"""What is left out, the name, and what is left out again, so that splitting by it gives what stays and goes in turn."""
_STRESSED: Final = {"ѐ": "е", "ѝ": "и", "ќ": "к", "ѓ": "г"}
"""Cyrillic letters that a grave or acute accent makes one character with; on others it stays apart and is left out."""
_ONE_LETTER: Final = {"ё": "е", "ς": "σ"}
_LIKE_CYRILLIC: Final = dict(zip("abcehkmoptxyiαβεηικμορτχυ", "авсенкмортхуіавенікмортху", strict=True))
_LIKE_LATIN: Final = dict(zip("авсенкмортхуі", "abcehkmoptxyi", strict=True))
_TO_CYRILLIC: Final = str.maketrans(
    _LIKE_CYRILLIC | {letter.upper(): like.upper() for letter, like in _LIKE_CYRILLIC.items()}
)


class _Gaps(NamedTuple):
    """Where something was left out."""

    places: Sequence[int]
    """In the text without it, ascending."""
    sources: Sequence[int]
    """Where the text with it goes on at each of these places."""

    def origins(self, first: int, last: int) -> tuple[int, int]:
        """Return where two characters were before, which mostly stand close to each other."""
        places, sources = self
        gap = bisect_right(places, first)
        shift = sources[gap - 1] - places[gap - 1] if gap else 0
        origin = first + shift
        if gap < len(places) and places[gap] <= last:
            gap = bisect_right(places, last)
            shift = sources[gap - 1] - places[gap - 1]
        return origin, last + shift


class Folded(NamedTuple):
    """A folded text that remembers where its characters were in the source."""

    text: str
    source: str
    gaps: Sequence[_Gaps] = ()
    """Those that were made last come first."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the source a part of `text` is that is not empty, with the marks on its last character."""
        first, last = start, end - 1
        for gaps in self.gaps:
            first, last = gaps.origins(first, last)
        last += 1
        source = self.source
        while last < len(source) and source[last] >= _FIRST_MARK and _is_attached(source[last]):
            last += 1
        return first, last


def fold(source: str, *, keep_case: bool = False) -> Folded:
    """Fold a text; with `keep_case` its letters keep their case, and ё stays what it is."""
    text = source if keep_case else _lower(source)
    gaps: tuple[_Gaps, ...] = ()
    if "[" in text:
        text, gaps = _without_mentions(text)
    if _RUN.search(text) is None:
        return Folded(text, source, gaps)
    folded, more = _Writer(text, _CASED if keep_case else _CASELESS).fold()
    return Folded(folded, source, (more, *gaps) if more.places else gaps)


def _without_mentions(text: str) -> tuple[str, tuple[_Gaps, ...]]:
    parts = _MENTION.split(text)
    if len(parts) == 1:
        return text, ()
    stays = parts[::2]
    places = list(accumulate(map(len, stays)))
    sources = list(accumulate(map(len, parts)))
    return "".join(stays), (_Gaps(places[:-1], sources[1::2]),)


def _lower(source: str) -> str:
    lower = source.lower()
    if len(lower) != len(source):  # the only letter that becomes two
        lower = source.replace("İ", "i").lower()
    return lower.replace("ё", "е")


def is_emoji(character: str) -> bool:
    """Tell whether a character is an emoji or another symbol that is neither letter nor punctuation."""
    return unicodedata.category(character) == "So"


def _is_attached(character: str) -> bool:
    return character >= "\u0300" and (unicodedata.category(character) in ("Mn", "Me") or ord(character) in _SKIN_TONES)


def _is_cyrillic(character: str) -> bool:
    return "\u0400" <= character <= "\u052f"


class _Folds(dict[str, str]):
    """Character -> what it becomes: one character, or nothing. Filled as characters are met."""

    def __init__(self, *, keep_case: bool) -> None:
        super().__init__()
        self._keep_case = keep_case
        self.runs: dict[str, _Run | None] = {}
        """What becomes of runs that were met, where that does not depend on what is around them."""

    def __missing__(self, character: str) -> str:
        if unicodedata.category(character) in ("Mn", "Me", "Cf") or ord(character) in _SKIN_TONES:
            folded = ""
        else:
            # 𝐀, Ａ and ² are letters and digits in disguise
            plain = unicodedata.normalize("NFKC", character) if character.isalnum() else character
            folded = self.composed(plain if len(plain) == 1 else character)
        self[character] = folded
        return folded

    def remember(self, run: str) -> "_Run | None":
        """Find out what becomes of a run, None if that depends on what is around it, and remember it in `runs`."""
        if len(self.runs) >= _MOST_RUNS:
            self.runs.clear()
        self.runs[run] = found = self._fold_alone(run)
        return found

    def _fold_alone(self, run: str) -> "_Run | None":
        composes = any(each not in _SELECTORS and unicodedata.category(each) in ("Mn", "Me") for each in run)
        joins = any(one == JOINER and other not in _GENDERS for one, other in pairwise(f"{run}\0"))
        if composes or joins or len(run) > _LONGEST_RUN:
            return None
        text, gaps = _Writer(run, self).fold_all()
        if any(map(_is_cyrillic, text)):
            return None
        return _Run(
            text,
            list(zip(gaps.places, gaps.sources, strict=True)),
            has_letters=any(map(str.isalpha, text)),
            is_changed=text != run,
        )

    def composed(self, letter: str) -> str:
        """Return what a letter becomes that may carry a mark."""
        if self._keep_case:
            lower = letter.lower()
            plain = _STRESSED.get(lower, lower)
            return letter if plain == lower else plain.upper() if letter != lower else plain
        lower = letter.lower()
        return _ONE_LETTER.get(lower) or _STRESSED.get(lower, lower)


_CASELESS: Final = _Folds(keep_case=False)
_CASED: Final = _Folds(keep_case=True)


class _Run(NamedTuple):
    """What becomes of a run of characters that are not plain."""

    text: str
    gaps: Sequence[tuple[int, int]]
    """Places in `text` where something was left out, and where the run goes on."""
    has_letters: bool
    is_changed: bool


_LATIN: Final = _Run("", (), has_letters=True, is_changed=False)
_UNKNOWN: Final = _Run("", (), has_letters=False, is_changed=False)


class _Writer:
    """Folds one text that holds more than plain characters; what is plain is copied as it is."""

    def __init__(self, text: str, folds: _Folds) -> None:
        self._text = text
        self._folds = folds
        self._parts: list[str] = []
        self._length = 0
        self._copied = 0
        self._places: list[int] = []
        self._sources: list[int] = []
        self._foreign: list[int] = []
        """Where letters of another alphabet are that may stand in a Cyrillic word; places in the folded text."""

    def fold(self) -> tuple[str, _Gaps]:
        """Return the folded text, and where something was left out."""
        runs = self._folds.runs
        for match in _RUN.finditer(self._text):
            run, (start, end) = match.group(), match.span()
            # of Latin words there are too many to remember
            known = _LATIN if run.isascii() else runs.get(run, _UNKNOWN)
            if known is _UNKNOWN:
                known = self._folds.remember(run)
            if known is None or (known.has_letters and self._is_in_cyrillic(start, end)):
                self._fold_run(start, end)
            elif known.is_changed:
                self._take(known, start, end)
        return self._folded()

    def fold_all(self) -> tuple[str, _Gaps]:
        """Return the same of a text of which nothing is plain."""
        self._fold_run(0, len(self._text))
        return self._folded()

    def _folded(self) -> tuple[str, _Gaps]:
        self._copy(len(self._text))
        return self._unmixed("".join(self._parts)), _Gaps(self._places, self._sources)

    def _is_in_cyrillic(self, start: int, end: int) -> bool:
        text = self._text
        return (start > 0 and _is_cyrillic(text[start - 1])) or (end < len(text) and _is_cyrillic(text[end]))

    def _take(self, known: _Run, start: int, end: int) -> None:
        self._copy(start)
        for place, source in known.gaps:
            self._places.append(self._length + place)
            self._sources.append(start + source)
        if known.text:
            self._parts.append(known.text)
            self._length += len(known.text)
        self._copied = end

    def _copy(self, end: int) -> None:
        if end > self._copied:
            self._parts.append(self._text[self._copied : end])
            self._length += end - self._copied
            self._copied = end

    def _leave_out(self, start: int, end: int) -> None:
        self._copy(start)
        self._copied = end
        self._places.append(self._length)
        self._sources.append(end)

    def _fold_run(self, start: int, end: int) -> None:
        position = start
        while position < end:
            position += self._fold_odd(position)

    def _fold_odd(self, position: int) -> int:
        """Fold one character and return how many were taken of the text."""
        character = self._text[position]
        if character == JOINER:
            return self._fold_joiner(position)
        folded = self._folds[character]
        if folded == "":
            self._leave_out(position, position + 1)
            self._compose(character)
            return 1
        if folded != character:
            self._copy(position)
            self._parts.append(folded)
            self._length += 1
            self._copied = position + 1
        if folded.isalpha():
            self._foreign.append(self._length - 1 + position + 1 - self._copied)
        return 1

    def _fold_joiner(self, position: int) -> int:
        following = self._text[position + 1 : position + 2]
        if following and following in _GENDERS:
            self._leave_out(position, position + 2)
            return 2
        self._copy(position)
        if not (following and is_emoji(following) and self._parts and is_emoji(self._parts[-1][-1])):
            self._leave_out(position, position + 1)
        return 1

    def _compose(self, mark: str) -> None:
        """Make one letter of the last one and a mark where there is such a letter, й of и and its bow; ё becomes е."""
        if not self._parts:
            return
        last = self._parts[-1]
        letter = unicodedata.normalize("NFC", last[-1] + mark)
        if len(letter) == 1:
            self._parts[-1] = last[:-1] + self._folds.composed(letter)

    def _unmixed(self, text: str) -> str:
        done = 0
        for place in self._foreign:
            if place < done:
                continue
            start, done = place, place
            while start > 0 and text[start - 1].isalpha():
                start -= 1
            while done < len(text) and text[done].isalpha():
                done += 1
            text = text[:start] + _in_one_alphabet(text[start:done]) + text[done:]
        return text


def as_cyrillic(text: str) -> str:
    """Return a text whose letters are Cyrillic where they look like that."""
    return text.translate(_TO_CYRILLIC)


def in_other_alphabet(text: str) -> str | None:
    """Return a folded text in the letters of the other alphabet that look the same, or None where one has no such."""
    letters = {letter for letter in text if letter.isalpha()}
    for table in (_LIKE_CYRILLIC, _LIKE_LATIN):
        if letters <= table.keys():
            return "".join(table.get(character, character) for character in text)
    return None


def _in_one_alphabet(word: str) -> str:
    """Return a word with letters of two alphabets in one: all look-alikes give way, or none does."""
    foreign = {letter for letter in word if not _is_cyrillic(letter)}
    for strangers, table in ((foreign, _LIKE_CYRILLIC), (set(word) - foreign, _LIKE_LATIN)):
        like = {letter: _alike(letter, table) for letter in strangers}
        if len(strangers) < len(set(word)) and all(like.values()):
            return "".join(like.get(letter) or letter for letter in word)
    return word


def _alike(letter: str, table: dict[str, str]) -> str:
    """Return the letter of the other alphabet that looks like this one, or nothing; an accent does not matter."""
    found = table.get(unicodedata.normalize("NFD", letter.lower())[0], "")
    return found.upper() if letter.isupper() else found
