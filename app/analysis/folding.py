"""Folds texts for matching, so that what reads the same is the same, and knows where each character came from.

Letters lose their case, and the dots of ё. Left out is what nobody sees: soft hyphens, zero-width characters, stress
marks, variation selectors and skin tones of emoji, and the markup of VK's mentions, of `[club1|Банк]` all but the
name. Letters of another alphabet that stand in a Cyrillic word and look like Cyrillic ones become these.

Every step keeps the number of characters or leaves some out; none becomes two. So a list of the places where
something was left out leads from each folded character back to its source.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

JOINER: Final = "\u200d"
"""Makes one emoji of two. It is kept between emoji, where it matters, and left out elsewhere."""
_GENDERS: Final = "♀♂"
_FIRST_MARK: Final = "\u0300"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_PLAIN: Final = (
    r"\0-\x1f\x7f\s0-9А-Яа-яЁё!-/:-@\\\]^_`{|}~«»“”„’‘–—…№₽•°€"
    "\U0001f300-\U0001f3fa\U0001f400-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001f9ff"
)
"""What stands for itself, apart from case and ё: nearly all of nearly every Russian comment."""
# A bracket may begin a mention, so it always begins a run. The class comes first, as the engine then skips fast.
_RUN: Final = re.compile(f"[^{_PLAIN}][^{_PLAIN}\\[]*")
_MENTION: Final = re.compile(
    r"\[(?:(?:id|club|public|event|app)-?\d+(?::[^|\[\]\s\0]{0,64})?|https?://[^|\[\]\s\0]+)\|(?P<name>[^\[\]\0]+)\]"
)
_STRESSED: Final = {"ѐ": "е", "ѝ": "и", "ќ": "к", "ѓ": "г"}
"""Cyrillic letters that a grave or acute accent makes one character with; on others it stays apart and is left out."""
_ONE_LETTER: Final = {"ё": "е", "ς": "σ"}
_LIKE_CYRILLIC: Final = dict(zip("abcehkmoptxyiαβεηικμορτχυ", "авсенкмортхуіавенікмортху", strict=True))
_LIKE_LATIN: Final = dict(zip("авсенкмортхуі", "abcehkmoptxyi", strict=True))


class Folded(NamedTuple):
    """A folded text that remembers where its characters were in the source."""

    text: str
    source: str
    places: Sequence[int]
    """Where in `text` something was left out, ascending."""
    sources: Sequence[int]
    """Where the source goes on at each of these places."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the source a part of `text` is that is not empty, with the marks on its last character."""
        first, last = self._origin(start), self._origin(end - 1) + 1
        while last < len(self.source) and self.source[last] >= _FIRST_MARK and _is_attached(self.source[last]):
            last += 1
        return first, last

    def _origin(self, position: int) -> int:
        gap = bisect_right(self.places, position) - 1
        return position if gap < 0 else self.sources[gap] + position - self.places[gap]


def fold(source: str, *, keep_case: bool = False) -> Folded:
    """Fold a text; with `keep_case` its letters keep their case, and ё stays what it is."""
    text = source if keep_case else _lower(source)
    if _RUN.search(text) is None:
        return Folded(text, source, (), ())
    return _Writer(text, _CASED if keep_case else _CASELESS).fold(source)


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

    def __missing__(self, character: str) -> str:
        if unicodedata.category(character) in ("Mn", "Me", "Cf") or ord(character) in _SKIN_TONES:
            folded = ""
        else:
            # 𝐀, Ａ and ² are letters and digits in disguise
            plain = unicodedata.normalize("NFKC", character) if character.isalnum() else character
            folded = self.composed(plain if len(plain) == 1 else character)
        self[character] = folded
        return folded

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

    def fold(self, source: str) -> Folded:
        text = self._text
        name_start, name_end = -1, -1
        for run in _RUN.finditer(text):
            start, end = run.span()
            if name_end >= 0 and name_end < start:
                self._leave_out(name_end, name_end + 1)
                name_end = -1
            if end <= name_start:
                continue
            start = max(start, name_start)
            if text[start] == "[":
                if mention := _MENTION.match(text, start):
                    name_start, name_end = mention.span("name")
                    self._leave_out(start, name_start)
                start = max(start + 1, min(name_start, end))
            if start < end:
                self._fold_run(start, end)
        if name_end >= 0:
            self._leave_out(name_end, name_end + 1)
        self._copy(len(text))
        return Folded(self._unmixed("".join(self._parts)), source, self._places, self._sources)

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
        if self._text[start:end].isascii():
            # Latin letters: the usual case, and nothing to do but where a Cyrillic letter is beside them
            beside = self._text[max(0, start - 1) : start], self._text[end : end + 1]
            if any(map(_is_cyrillic, beside)):
                self._foreign.append(self._length + start - self._copied)
            return
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
