"""Generates texts that are hard to store and to show: long, right to left, with NUL, with lone surrogates.

A lone surrogate is not valid Unicode, so a placeholder replaces it until the reply is bytes (`with_lone_surrogates`).
"""

from collections.abc import Callable
from typing import Final

from simulator.phrases import Dice, scramble

LONGEST_TEXT: Final = 16_000
"""The length of the longest comment in characters."""
# Unicode noncharacters, which people's texts do not contain.
HIGH_PLACEHOLDER: Final = "\ufdd0"
LOW_PLACEHOLDER: Final = "\ufdd1"
_PARTS_PER_MILLION: Final = 1_000_000

_FAMILY: Final = "👨‍👩‍👧‍👦"
_FLAGS: Final = "🏳️‍🌈🇷🇺🇰🇿🏴󠁧󠁢󠁳󠁣󠁴󠁿"
_HANDS: Final = "👍🏻👍🏼👍🏽👍🏾👍🏿 🧑🏿‍🤝‍🧑🏻 👩🏽‍🚀"
_KEYCAPS: Final = "1️⃣ #️⃣ ☺︎ ☺️ ❤️‍🔥"


def is_strange(seed: int, share: float) -> bool:
    """Return whether the comment or post of this seed belongs to the share (0 to 1) with a strange text."""
    return share > 0 and scramble(seed ^ 0x5EED) % _PARTS_PER_MILLION < share * _PARTS_PER_MILLION


def strange_text(seed: int, friend: Callable[[], str]) -> str:
    """Return a strange text of up to 16,000 characters; `friend` returns the mention of a person or a community."""
    dice = Dice(seed ^ 0x7E47)
    return dice.pick(_WRITERS)(dice, friend)[:LONGEST_TEXT]


def with_lone_surrogates(reply: bytes) -> bytes:
    r"""Return the JSON with lone surrogates instead of their placeholders, as VK sends them: "\ud83d" and "\ude00".

    A client's parser may reject them (orjson does) or return a text that cannot be encoded (json does).
    """
    if _HIGH_BYTES in reply or _LOW_BYTES in reply:
        return reply.replace(_HIGH_BYTES, rb"\ud83d").replace(_LOW_BYTES, rb"\ude00")
    return reply


_HIGH_BYTES: Final = HIGH_PLACEHOLDER.encode()
_LOW_BYTES: Final = LOW_PLACEHOLDER.encode()


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
    return dice.pick(
        (
            f"Смайлик оборван {HIGH_PLACEHOLDER}",
            f"{LOW_PLACEHOLDER} смайлик оборван",
            f"{LOW_PLACEHOLDER}и{HIGH_PLACEHOLDER}!",
        )
    )


def _markup(dice: Dice, _friend: Callable[[], str]) -> str:
    code = dice.pick(("<script>alert(1)</script>", "&lt;b&gt;<br>&amp;#33;", "'; DROP TABLE comments; --", "{{7*7}}"))
    return f'{code} "кавычки" \\u0041 \\ % _ \\x00 $1 {{}} =HYPERLINK("x")'


def _white(dice: Dice, _friend: Callable[[], str]) -> str:
    return dice.pick((" ", "\n", "\u00a0\u3000", "\t\n\n\r\n "))


def _long(dice: Dice, friend: Callable[[], str]) -> str:
    line = f"{friend()}, {_emoji(dice, friend)} строка без конца\n"
    return line * (LONGEST_TEXT // len(line) + 1)


_WRITERS: Final = (_emoji, _mentions, _right_to_left, _combining, _controls, _halves, _markup, _white, _long)
