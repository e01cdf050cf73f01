"""Folds (normalizes) texts for matching, so that equal-looking texts are equal, and maps positions back to the source.

Letters lose their case, and ё becomes е. Invisible characters are removed: soft hyphens, zero-width characters, stress
marks, variation selectors and skin tones of emoji, and the markup of VK's mentions: only the name of `[club1|Банк]`
stays. Letters of another alphabet in a Cyrillic word that look like Cyrillic ones are replaced by these.

Each step keeps or removes characters; none becomes two. So lists of the positions of removed characters suffice to map
each folded character back to its source.

Nearly all characters stay unchanged, so texts are searched only for the others; as these are mostly the same few emoji,
their folded forms are cached.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

JOINER: Final = "\u200d"
"""Joins two emoji to one. It is kept between emoji, where it matters, and removed elsewhere."""
_GENDERS: Final = "♀♂"
_FIRST_MARK: Final = "\u0300"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_SELECTORS: Final = "\ufe0e\ufe0f"
_LONGEST_RUN: Final = 20
_MOST_RUNS: Final = 10_000
"""The size of the cache of runs; some megabytes."""
_PLAIN: Final = (
    r"\0-\x1f\x7f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    r"0-9А-Яа-яЁё!-/:-@\[\\\]^_`{|}~«»“”„’‘–—…№₽•°€"
    "\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff"
)
"""Characters that stay unchanged, apart from case and ё: nearly all characters of Russian comments.

White space is listed explicitly: with `\\s` the engine could not use its bitmap of characters, and is half as fast.
"""
# Not "[^...]+": with the class alone at the beginning, the engine skips plain characters twice as fast.
_RUN: Final = re.compile(f"[^{_PLAIN}][^{_PLAIN}]*")
_MENTION: Final = re.compile(
    r"(\[(?:(?:id|club|public|event|app)-?\d+(?::[^|\[\]\s\0]{0,64})?|https?://[^|\[\]\s\0]+)\|)([^\[\]\0]+)(\])"
)
"""Groups: removed markup, name, removed markup; so splitting by it gives kept and removed parts alternately."""
_STRESSED: Final = {"ѐ": "е", "ѝ": "и", "ќ": "к", "ѓ": "г"}
"""Cyrillic letters with a composed form for a grave or acute accent; on other letters it is separate and removed."""
_ONE_LETTER: Final = {"ё": "е", "ς": "σ"}
_LIKE_CYRILLIC: Final = dict(zip("abcehkmoptxyiαβεηικμορτχυ", "авсенкмортхуіавенікмортху", strict=True))
_LIKE_LATIN: Final = dict(zip("авсенкмортхуі", "abcehkmoptxyi", strict=True))
_TO_CYRILLIC: Final = str.maketrans(
    _LIKE_CYRILLIC | {letter.upper(): like.upper() for letter, like in _LIKE_CYRILLIC.items()}
)


class _Gaps(NamedTuple):
    """The positions where characters were removed."""

    places: Sequence[int]
    """Positions in the text after the removal, ascending."""
    sources: Sequence[int]
    """The position in the text before the removal for each of `places`."""

    def origins(self, first: int, last: int) -> tuple[int, int]:
        """Return the positions of two characters before the removal; fast if they are close to each other."""
        places, sources = self
        gap = bisect_right(places, first)
        shift = sources[gap - 1] - places[gap - 1] if gap else 0
        origin = first + shift
        if gap < len(places) and places[gap] <= last:
            gap = bisect_right(places, last)
            shift = sources[gap - 1] - places[gap - 1]
        return origin, last + shift


class Folded(NamedTuple):
    """A folded text with the mapping of its positions to the source."""

    text: str
    source: str
    gaps: Sequence[_Gaps] = ()
    """The gaps of each step, the last step first."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span in the source of a non-empty span of `text`, including the marks on its last character."""
        first, last = start, end - 1
        for gaps in self.gaps:
            first, last = gaps.origins(first, last)
        last += 1
        source = self.source
        while last < len(source) and source[last] >= _FIRST_MARK and _is_attached(source[last]):
            last += 1
        return first, last


def fold(source: str, *, keep_case: bool = False) -> Folded:
    """Fold a text; with `keep_case`, letters keep their case, and ё stays."""
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
    if len(lower) != len(source):  # İ is the only letter whose lower case has two characters
        lower = source.replace("İ", "i").lower()
    return lower.replace("ё", "е")


def is_emoji(character: str) -> bool:
    """Return whether a character is an emoji or another symbol that is neither letter nor punctuation."""
    return unicodedata.category(character) == "So"


def _is_attached(character: str) -> bool:
    return character >= "\u0300" and (unicodedata.category(character) in ("Mn", "Me") or ord(character) in _SKIN_TONES)


def _is_cyrillic(character: str) -> bool:
    return "\u0400" <= character <= "\u052f"


class _Folds(dict[str, str]):
    """Character -> its folded form: one character, or an empty string. Filled on demand."""

    def __init__(self, *, keep_case: bool) -> None:
        super().__init__()
        self._keep_case = keep_case
        self.runs: dict[str, _Run | None] = {}
        """The folded forms of runs; None for runs whose form depends on the surrounding characters."""

    def __missing__(self, character: str) -> str:
        if unicodedata.category(character) in ("Mn", "Me", "Cf") or ord(character) in _SKIN_TONES:
            folded = ""
        else:
            # 𝐀, Ａ and ² are variants of ordinary letters and digits.
            plain = unicodedata.normalize("NFKC", character) if character.isalnum() else character
            folded = self.composed(plain if len(plain) == 1 else character)
        self[character] = folded
        return folded

    def remember(self, run: str) -> "_Run | None":
        """Fold a run and cache the result in `runs`; None if it depends on the surrounding characters."""
        if len(self.runs) >= _MOST_RUNS:
            self.runs.clear()
        self.runs[run] = folded = self._fold_alone(run)
        return folded

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
        """Return the folded form of a letter that may have a diacritical mark."""
        if self._keep_case:
            lower = letter.lower()
            plain = _STRESSED.get(lower, lower)
            return letter if plain == lower else plain.upper() if letter != lower else plain
        lower = letter.lower()
        return _ONE_LETTER.get(lower) or _STRESSED.get(lower, lower)


_CASELESS: Final = _Folds(keep_case=False)
_CASED: Final = _Folds(keep_case=True)


class _Run(NamedTuple):
    """The folded form of a run of characters that are not plain."""

    text: str
    gaps: Sequence[tuple[int, int]]
    """Positions in `text` where characters were removed, and the position in the run after each removal."""
    has_letters: bool
    is_changed: bool


_LATIN: Final = _Run("", (), has_letters=True, is_changed=False)
_UNKNOWN: Final = _Run("", (), has_letters=False, is_changed=False)


class _Writer:
    """Folds one text with characters that are not plain; plain characters are copied unchanged."""

    def __init__(self, text: str, folds: _Folds) -> None:
        self._text = text
        self._folds = folds
        self._parts: list[str] = []
        self._length = 0
        self._copied = 0
        self._places: list[int] = []
        self._sources: list[int] = []
        self._foreign: list[int] = []
        """Positions in the folded text of letters of another alphabet that may be within a Cyrillic word."""

    def fold(self) -> tuple[str, _Gaps]:
        """Return the folded text and the positions of removed characters."""
        runs = self._folds.runs
        for match in _RUN.finditer(self._text):
            run, (start, end) = match.group(), match.span()
            # Latin words are too many to be cached.
            known = _LATIN if run.isascii() else runs.get(run, _UNKNOWN)
            if known is _UNKNOWN:
                known = self._folds.remember(run)
            if known is None or (known.has_letters and self._is_in_cyrillic(start, end)):
                self._fold_run(start, end)
            elif known.is_changed:
                self._append(known, start, end)
        return self._folded()

    def fold_all(self) -> tuple[str, _Gaps]:
        """Return the same for a text without plain characters."""
        self._fold_run(0, len(self._text))
        return self._folded()

    def _folded(self) -> tuple[str, _Gaps]:
        self._copy(len(self._text))
        return self._unmixed("".join(self._parts)), _Gaps(self._places, self._sources)

    def _is_in_cyrillic(self, start: int, end: int) -> bool:
        text = self._text
        return (start > 0 and _is_cyrillic(text[start - 1])) or (end < len(text) and _is_cyrillic(text[end]))

    def _append(self, known: _Run, start: int, end: int) -> None:
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

    def _remove(self, start: int, end: int) -> None:
        self._copy(start)
        self._copied = end
        self._places.append(self._length)
        self._sources.append(end)

    def _fold_run(self, start: int, end: int) -> None:
        position = start
        while position < end:
            position += self._fold_odd(position)

    def _fold_odd(self, position: int) -> int:
        """Fold the character at `position` and return how many characters of the text were consumed."""
        character = self._text[position]
        if character == JOINER:
            return self._fold_joiner(position)
        folded = self._folds[character]
        if folded == "":
            self._remove(position, position + 1)
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
            self._remove(position, position + 2)
            return 2
        self._copy(position)
        if not (following and is_emoji(following) and self._parts and is_emoji(self._parts[-1][-1])):
            self._remove(position, position + 1)
        return 1

    def _compose(self, mark: str) -> None:
        """Compose the last letter and a mark if such a letter exists, as й from и and a breve; ё becomes е."""
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
    """Return a text with all letters that look like Cyrillic ones replaced by these."""
    return text.translate(_TO_CYRILLIC)


def in_other_alphabet(text: str) -> str | None:
    """Return a folded text in look-alike letters of the other alphabet; None if a letter has no look-alike."""
    letters = {letter for letter in text if letter.isalpha()}
    for table in (_LIKE_CYRILLIC, _LIKE_LATIN):
        if letters <= table.keys():
            return "".join(table.get(character, character) for character in text)
    return None


def _in_one_alphabet(word: str) -> str:
    """Return a word of mixed alphabets in one alphabet if all letters of the other have look-alikes, or unchanged."""
    foreign = {letter for letter in word if not _is_cyrillic(letter)}
    for strangers, table in ((foreign, _LIKE_CYRILLIC), (set(word) - foreign, _LIKE_LATIN)):
        like = {letter: _alike(letter, table) for letter in strangers}
        if len(strangers) < len(set(word)) and all(like.values()):
            return "".join(like.get(letter) or letter for letter in word)
    return word


def _alike(letter: str, table: dict[str, str]) -> str:
    """Return the look-alike of a letter in the other alphabet, ignoring accents; an empty string if it has none."""
    look_alike = table.get(unicodedata.normalize("NFD", letter.lower())[0], "")
    return look_alike.upper() if letter.isupper() else look_alike
