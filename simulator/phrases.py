"""Generates sentences: fills the templates of `texts` by a seed; an equal seed gives an equal sentence."""

import functools
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeVar

from simulator import texts

T = TypeVar("T")

# Returns the mention of a friend; called only if a template contains one, because generating a person takes time.
Friend = Callable[[], str]

_MULTIPLIER: Final = 6364136223846793005
_INCREMENT: Final = 1442695040888963407
_MASK: Final = (1 << 64) - 1
_FEW: Final = 1 << 20


def scramble(number: int) -> int:
    """Return a well mixed 64-bit number, equal for equal arguments in each process (a splitmix64 step)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


class Dice:
    """Draws choices from one 64-bit seed, cheaply: each draw uses up digits of the seed; a short one is remixed."""

    __slots__ = ("_bits", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = self._bits = scramble(seed)

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        if self._bits < _FEW:
            self._seed = (self._seed * _MULTIPLIER + _INCREMENT) & _MASK
            self._bits = scramble(self._seed)
        self._bits, drawn = divmod(self._bits, limit)
        return drawn

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        # below() is inlined, because a text makes ten of these calls
        if self._bits < _FEW:
            self._seed = (self._seed * _MULTIPLIER + _INCREMENT) & _MASK
            self._bits = scramble(self._seed)
        self._bits, drawn = divmod(self._bits, len(choices))
        return choices[drawn]


@dataclass(frozen=True, slots=True)
class Speaker:
    """What a sentence depends on: gender of its author (0 he, 1 she), and its city in two cases."""

    gender: int
    city: str
    place: str


class _Slot(NamedTuple):
    """The filler of a slot: a form of the item, a drawn word, a form that agrees, a mention, the city or the place."""

    kind: Literal["item", "words", "speaker", "agreement", "mention", "city", "place"]
    place: int = 0
    words: tuple[str, ...] = ()


@functools.cache
def _pieces(template: str) -> tuple[tuple[str, _Slot | None], ...]:
    parsed = string.Formatter().parse(template)
    return tuple((literal, None if slot is None else _slot(slot)) for literal, slot, _, _ in parsed)


def _slot(name: str) -> _Slot:
    if name in _ITEM_CASES:
        return _Slot("item", _ITEM_CASES[name])
    if name in texts.SLOTS:
        return _Slot("words", words=tuple(texts.SLOTS[name]))
    if name in texts.SPEAKER:
        return _Slot("speaker", words=texts.SPEAKER[name])
    if name in texts.AGREEMENT:
        return _Slot("agreement", words=texts.AGREEMENT[name])
    return {"mention": _Slot("mention"), "city": _Slot("city"), "place": _Slot("place")}[name]


def fill(template: str, dice: Dice, item: texts.Item, speaker: Speaker, friend: Friend) -> str:
    """Return the template with its slots filled: forms of the item, words that agree, drawn words, a friend's mention.

    Raises:
        KeyError: the template names an unknown slot.
    """
    written: list[str] = []
    for literal, slot in _pieces(template):
        written.append(literal)
        if slot is None:
            continue
        kind = slot.kind
        if kind == "words":
            written.append(dice.pick(slot.words))
        elif kind == "item":
            written.append(item[slot.place])  # type: ignore[arg-type] # an item's slot always has its place
        elif kind == "speaker":
            written.append(slot.words[speaker.gender])
        elif kind == "agreement":
            written.append(slot.words[item.gender])
        else:
            written.append(friend() if kind == "mention" else speaker.city if kind == "city" else speaker.place)
    return "".join(written)


_ITEM_CASES: Final = {"nom": 0, "gen": 1, "acc": 2}


def sentence_case(text: str) -> str:
    """Return the text with its first letter in upper case; a mention ("[id1|...") stays unchanged."""
    return text[:1].upper() + text[1:]


def comment_text(dice: Dice, theme: texts.Theme, topic: texts.Topic, speaker: Speaker, friend: Friend) -> str:
    """Return a person's comment on a post of this topic; `friend` returns the mention of a friend."""
    item = dice.pick(topic.items)
    mood = dice.below(100)
    if mood < 17:  # noqa: PLR2004 - a share of comments in percent, as the shares below
        return _cased(fill(dice.pick(texts.SHORT), dice, item, speaker, friend), dice)
    template, tails = _template(dice, mood, theme, topic)
    core = fill(template, dice, item, speaker, friend)
    if dice.below(5) == 0 and not core.startswith("["):
        core = dice.pick(texts.OPENERS) + core
    text = _cased(core, dice)
    return text + _ending(text, tails, dice, item, speaker, friend)


def _template(dice: Dice, mood: int, theme: texts.Theme, topic: texts.Topic) -> tuple[str, tuple[str, ...]]:
    """Return a template of this mood, and the smileys that go with it."""
    for limit, general, goods, own, tails in (
        (41, texts.PRAISE, texts.GOODS_PRAISE, theme.praise, texts.GLAD_TAILS),
        (61, texts.COMPLAINTS, texts.GOODS_COMPLAINTS, theme.complaints, texts.SAD_TAILS),
        (83, texts.QUESTIONS, texts.GOODS_QUESTIONS, theme.questions, texts.TAILS),
    ):
        if mood < limit:
            source = dice.below(3)
            if source == 0:
                return dice.pick(own if topic.goods or not theme.sells else _without_item(own)), tails
            return dice.pick(goods if topic.goods and source == 1 else general), tails
    return dice.pick(texts.CHAT), texts.TAILS


@functools.cache
def _without_item(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Return those that do not name the item: "latte without sugar" makes sense, "raffle without sugar" does not."""
    return tuple(each for each in templates if not any(slot and slot.kind == "item" for _, slot in _pieces(each)))


def _ending(text: str, tails: tuple[str, ...], dice: Dice, item: texts.Item, speaker: Speaker, friend: Friend) -> str:
    """Return another sentence, a smiley, or an empty text."""
    if dice.below(3) == 0:
        detail = fill(dice.pick(texts.DETAILS), dice, item, speaker, friend).lstrip()
        return f"{'' if text[-1] in '?!…)' else '.'} {sentence_case(detail)}"
    return dice.pick(tails) if dice.below(2) == 0 else ""


def _cased(text: str, dice: Dice) -> str:
    return sentence_case(text) if dice.below(5) else text


def reply_text(dice: Dice, theme: texts.Theme, topic: texts.Topic, speaker: Speaker, friend: Friend) -> str:
    """Return a person's reply in a thread: mostly a short answer, otherwise a comment like any other."""
    if dice.below(4) == 0:
        return comment_text(dice, theme, topic, speaker, friend)
    item = dice.pick(topic.items)
    text = _cased(fill(dice.pick(texts.REPLIES), dice, item, speaker, friend), dice)
    return text + _ending(text, texts.TAILS, dice, item, speaker, friend)


def answer_text(dice: Dice, theme: texts.Theme, topic: texts.Topic, speaker: Speaker) -> str:
    """Return the community's own answer to a comment."""
    template = dice.pick(theme.answers if dice.below(3) == 0 else texts.ANSWERS)
    return sentence_case(fill(template, dice, dice.pick(topic.items), speaker, str))


def post_text(dice: Dice, topic: texts.Topic, speaker: Speaker, *, visitor: bool) -> str:
    """Return the text of a post, by the community itself, or by a visitor who wrote on the wall."""
    item = dice.pick(topic.items)
    if visitor:
        return sentence_case(fill(dice.pick(texts.VISITOR_POSTS), dice, item, speaker, str))
    parts = (dice.pick(texts.POST_OPENERS), dice.pick(topic.posts), dice.pick(texts.POST_CLOSERS))
    opener, body, closer = (fill(part, dice, item, speaker, str) for part in parts)
    return opener + sentence_case(body) + closer
