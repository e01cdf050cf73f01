"""Estimates the sentiment (mood) of a text from its emoji, smileys and brackets: `))`, `:(`, 👍, 😡.

A weak signal: it ignores words and irony, and a text without such marks is neutral. Summed over many comments it shows
where people are pleased or angry.
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
    # reversed smileys, and a heart
    r"|(?<![\w(])\([:=](?![\w(/])|<3+(?!\d))"
    # but not a parenthesis: `Размеры:(S, M)`
    r"|(?P<sad>[:;=]['’]?-?[(\[]+(?!\w[^()\[\]]*[)\]])|(?<!\w)[:;=]['’]?-?[/\\](?![/\\\w]))"
)
_BRACKETS: Final = re.compile(r"[()]")
_GLAD_EMOJI: Final = re.compile(f"[{''.join(_GLAD)}]")
_SAD_EMOJI: Final = re.compile(f"[{''.join(_SAD)}]")
_MARKS: Final = re.compile(f"[()^:;=<{''.join(_GLAD | _SAD)}]|[xXХх]-?[dDД]")


class Mood(Enum):
    """The sentiment of a text by its marks. The value is stored in rows."""

    POSITIVE = 1
    NEUTRAL = 0
    NEGATIVE = -1


def mood_of(text: str) -> int:
    """Return the sentiment: 1 if a text has more glad than sad marks, -1 if fewer, 0 if equally many or none.

    A run of brackets counts once. Matching pairs of brackets and the brackets of
    list items (`1)`) do not count.
    """
    if _MARKS.search(text) is None:
        return 0
    glad, sad = len(_GLAD_EMOJI.findall(text)), len(_SAD_EMOJI.findall(text))
    smileys = [match.lastgroup for match in _SMILEYS.finditer(text)]
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
    for match in _BRACKETS.finditer(text):
        place = match.start()
        if match[0] == "(":
            opened.append(place)
        elif opened:
            opened.pop()
        elif not _ends_number(text, place):
            closing.append(place)
    # A bracket before a word is an unclosed parenthesis.
    frowning = [place for place in opened if not text[place + 1 : place + 2].isalnum()]
    return _runs(closing), _runs(frowning)


def _ends_number(text: str, place: int) -> bool:
    """Return whether a bracket follows the number or the letter of a list item."""
    start = place
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    item = text[start:place]
    is_last = text[place + 1 : place + 2] != ")"
    return is_last and (item.isdecimal() or len(item) == 1)


def _runs(places: list[int]) -> int:
    known = set(places)
    return sum(place - 1 not in known for place in places)
