"""Reads the mood of a text off its emoji and brackets: `))`, `:(`, 👍, 😡.

A weak signal, and no more than that: it knows nothing of words, so of a text without such marks it says nothing, and
irony is lost on it. Added up over many comments it shows where people are pleased or angry.
"""

import re
from enum import Enum
from typing import Final

_GLAD: Final = frozenset(
    "😀😃😄😁😆😅😂🤣🙂😊😇🥰😍🤩😘😗😚😙😋😛😜🤪😝🤗😎🥳😺😸😹😻👍👌👏🙌🤝💪❤♥🧡💛💚💙💜🤍💖💗💓💕💞💘💝🔥🎉🎊✨🌹💐🌸🏆🥇✌🤟🤘☺😌😏🖤🤎"
)
_SAD: Final = frozenset("😞😔😟😕🙁☹😣😖😫😩😢😭😤😠😡🤬😨😰😥😓😒🙄😬🤢🤮😾😿🙀👎💔🤦😱😧😦😪🤡💩🖕😑👿😈☠💀")
_SMILEYS: Final = re.compile(
    r"(?P<glad>(?<!\w)(?:[:;=xXХх]-?[DД]+|xd+)\b|[:;=]['’]?-?[)\]]+|(?<!\w)[:;]-?\*+|(?<![\w:])\^_?\^"
    # the other way round, and a heart
    r"|(?<![\w(])\([:=](?![\w(/])|<3+(?!\d))"
    # but not an aside: `Размеры:(S, M)`
    r"|(?P<sad>[:;=]['’]?-?[(\[]+(?!\w[^()\[\]]*[)\]])|(?<!\w)[:;=]['’]?-?[/\\](?![/\\\w]))"
)
_BRACKETS: Final = re.compile(r"[()]")
_GLAD_EMOJI: Final = re.compile(f"[{''.join(_GLAD)}]")
_SAD_EMOJI: Final = re.compile(f"[{''.join(_SAD)}]")
_MARKS: Final = re.compile(f"[()^:;=<{''.join(_GLAD | _SAD)}]|[xXХх]-?[dDД]")


class Mood(Enum):
    """What the marks of a text say. The value is how rows hold it."""

    POSITIVE = 1
    NEUTRAL = 0
    NEGATIVE = -1


def mood_of(text: str) -> int:
    """Return 1 where more marks of a text are glad than sad, -1 where fewer are, 0 where there are none or as many.

    Runs of brackets count once, brackets that close what was opened before do
    not, nor do those of a list: `1)`.
    """
    if _MARKS.search(text) is None:
        return 0
    glad, sad = len(_GLAD_EMOJI.findall(text)), len(_SAD_EMOJI.findall(text))
    smileys = [found.lastgroup for found in _SMILEYS.finditer(text)]
    glad += smileys.count("glad")
    sad += smileys.count("sad")
    if "(" in text or ")" in text:
        more_glad, more_sad = _brackets(_SMILEYS.sub(" ", text))
        glad += more_glad
        sad += more_sad
    return (glad > sad) - (glad < sad)


def _brackets(text: str) -> tuple[int, int]:
    """Count the runs of brackets that smile, and those that frown."""
    opened: list[int] = []
    closing: list[int] = []
    for found in _BRACKETS.finditer(text):
        place = found.start()
        if found[0] == "(":
            opened.append(place)
        elif opened:
            opened.pop()
        elif not _ends_number(text, place):
            closing.append(place)
    # a bracket before a word opens an aside that was never closed
    frowning = [place for place in opened if not text[place + 1 : place + 2].isalnum()]
    return _runs(closing), _runs(frowning)


def _ends_number(text: str, place: int) -> bool:
    """Tell whether a bracket stands behind the number or the letter of an item of a list."""
    start = place
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    item = text[start:place]
    is_last = text[place + 1 : place + 2] != ")"
    return is_last and (item.isdecimal() or len(item) == 1)


def _runs(places: list[int]) -> int:
    known = set(places)
    return sum(place - 1 not in known for place in places)
