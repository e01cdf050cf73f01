"""This file writes texts that are hard to store and to show: long, right to left, with NUL, with half a surrogate pair.

Half a pair is no Unicode text, so a stand-in takes its place until the reply is bytes (`with_halves`).
"""

from collections.abc import Callable
from typing import Final

from simulator.phrases import Dice, scramble

LONGEST_TEXT: Final = 16_000
"""Characters of the longest comment."""
# Noncharacters of Unicode, which no text of a person holds.
HIGH_HALF: Final = "\ufdd0"
LOW_HALF: Final = "\ufdd1"
_PARTS_PER_MILLION: Final = 1_000_000

_FAMILY: Final = "👨‍👩‍👧‍👦"
_FLAGS: Final = "🏳️‍🌈🇷🇺🇰🇿🏴󠁧󠁢󠁳󠁣󠁴󠁿"
_HANDS: Final = "👍🏻👍🏼👍🏽👍🏾👍🏿 🧑🏿‍🤝‍🧑🏻 👩🏽‍🚀"
_KEYCAPS: Final = "1️⃣ #️⃣ ☺︎ ☺️ ❤️‍🔥"


def is_strange(seed: int, share: float) -> bool:
    """Whether the comment or post of this seed is among the share (0 to 1) that has a strange text."""
    return share > 0 and scramble(seed ^ 0x5EED) % _PARTS_PER_MILLION < share * _PARTS_PER_MILLION


def strange_text(seed: int, friend: Callable[[], str]) -> str:
    """A strange text; `friend` gives the mention of a person or a community. Never longer than 16,000 characters."""
    dice = Dice(seed ^ 0x7E47)
    return dice.pick(_WRITERS)(dice, friend)[:LONGEST_TEXT]


def with_halves(reply: bytes) -> bytes:
    r"""The JSON with stand-ins for half surrogate pairs replaced by what VK sends, "\ud83d" and "\ude00" alone.

    A client's parser may refuse them (orjson does) or hand on a text that cannot be encoded (json does).
    """
    if _HIGH_BYTES in reply or _LOW_BYTES in reply:
        return reply.replace(_HIGH_BYTES, rb"\ud83d").replace(_LOW_BYTES, rb"\ude00")
    return reply


_HIGH_BYTES: Final = HIGH_HALF.encode()
_LOW_BYTES: Final = LOW_HALF.encode()


def _emoji(dice: Dice, _friend: Callable[[], str]) -> str:
    return f"{dice.pick((_FAMILY, _FLAGS, _HANDS, _KEYCAPS))} Ура! {dice.pick((_HANDS, _FAMILY))}"


def _mentions(dice: Dice, friend: Callable[[], str]) -> str:
    broken = dice.pick(("[id|никто]", "[id1|", "[club0|]", "[id99999999999999999999|все]", "*id1 (Паша)", "@all"))
    return f"{friend()}, {friend()} и {friend()}[club220000001|Соседи]: {broken} [https://vk.com/wall-1_1|тут]"


def _right_to_left(dice: Dice, _friend: Callable[[], str]) -> str:
    words = dice.pick(("שלום לכולם 123 abc", "مرحبا بالعالم ١٢٣", "סוף\u200f (начало)"))
    return f"\u202e{words}\u202c — \u2067{words}\u2069 — да"


def _combining(dice: Dice, _friend: Callable[[], str]) -> str:
    marks = "".join(chr(0x300 + dice.below(0x70)) for _ in range(30))
    return f"Мои\u0306 и\u0306од е\u0308ж Z{marks}a{marks}lgo e\u0301 ﷺ \u200bневидимка\ufeff"


def _controls(dice: Dice, _friend: Callable[[], str]) -> str:
    control = dice.pick(("\0", "\x01\x02\x1b[31m", "\u2028\u2029", "\x85\x7f"))
    return f"до{control}после\0\tконец\r\n"


def _halves(dice: Dice, _friend: Callable[[], str]) -> str:
    return dice.pick((f"Смайлик оборван {HIGH_HALF}", f"{LOW_HALF} смайлик оборван", f"{LOW_HALF}и{HIGH_HALF}!"))


def _markup(dice: Dice, _friend: Callable[[], str]) -> str:
    code = dice.pick(("<script>alert(1)</script>", "&lt;b&gt;<br>&amp;#33;", "'; DROP TABLE comments; --", "{{7*7}}"))
    return f'{code} "кавычки" \\u0041 \\ % _ \\x00 $1 {{}} =HYPERLINK("x")'


def _white(dice: Dice, _friend: Callable[[], str]) -> str:
    return dice.pick((" ", "\n", "\u00a0\u3000", "\t\n\n\r\n "))


def _long(dice: Dice, friend: Callable[[], str]) -> str:
    line = f"{friend()}, {_emoji(dice, friend)} строка без конца\n"
    return line * (LONGEST_TEXT // len(line) + 1)


_WRITERS: Final = (_emoji, _mentions, _right_to_left, _combining, _controls, _halves, _markup, _white, _long)
