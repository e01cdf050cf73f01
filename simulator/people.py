"""Generates the inhabitants: people and communities, each computed from its id and the seed, none stored."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

from simulator import texts
from simulator.options import SimulatorOptions, WallState
from simulator.phrases import Dice, Speaker

PersonState = Literal["", "deleted", "banned"]

FIRST_PERSON_ID: Final = 1_700_000_000
PERSON_ID_STEP: Final = 3
# VK's schema types user ids as int64: each 97th inhabitant has an id beyond 32 bits.
WIDE_ID_EVERY: Final = 97
WIDE_ID_SHIFT: Final = 4_000_000_000
FIRST_GUEST_ID: Final = 220_000_001
GUEST_WALLS: Final[tuple[WallState, ...]] = (
    "open", "open", "open", "open", "members", "disabled", "comments closed", "banned",
)  # fmt: skip
TALKATIVE_GUESTS: Final = 4

_LATIN_LETTERS: Final = (
    "a", "b", "v", "g", "d", "e", "yo", "zh", "z", "i", "y", "k", "l", "m", "n", "o", "p", "r", "s", "t", "u", "f",
    "kh", "ts", "ch", "sh", "shch", "", "y", "", "e", "yu", "ya", "_",
)  # fmt: skip
_LATIN: Final = str.maketrans(dict(zip("абвгдеёжзийклмнопрстуфхцчшщъыьэюя ", _LATIN_LETTERS, strict=True)))


@dataclass(frozen=True, slots=True)
class Person:
    """An invented user of VK; `gender` is 0 for a man and 1 for a woman, `deactivated` is empty for a live account."""

    id: int
    first_name: str
    last_name: str
    gender: int
    screen_name: str
    deactivated: PersonState
    is_closed: bool
    city: int
    status: str
    followers: int

    @property
    def mention(self) -> str:
        """The mention of the person in VK's markup."""
        return f"[id{self.id}|{self.first_name}]"


@dataclass(frozen=True, slots=True)
class Community:
    """An invented community; `id` is positive as in groups.*, the owner id of its wall is the negative of it."""

    id: int
    name: str
    screen_name: str
    kind: str
    description: str
    activity: str
    city: int
    members: int
    wall: WallState

    @property
    def mention(self) -> str:
        """The mention of the community in VK's markup."""
        return f"[club{self.id}|{self.name}]"

    def speaker(self, gender: int) -> Speaker:
        """Return what sentences on this community's wall depend on."""
        city, place = texts.CITIES[self.city]
        return Speaker(gender, city, place)


class Population:
    """All people and communities of one world, by id, number or screen name.

    `render` stores the profiles that it has rendered in `rendered_profiles`, by id and fields.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        self._seed = options.seed
        self.groups = options.groups
        self.pool = max(60, options.comments // 4)
        self.size = self.pool * max(1, options.groups)
        self._communities = {made.id: made for made in (*self._hosts(), *self._guests())}
        self._names: dict[str, Community] = {made.screen_name: made for made in self._communities.values()}
        self._known = lru_cache(maxsize=100_000)(self._find_person)
        self._changed: dict[int, Person] = {}
        self.rendered_profiles: dict[tuple[int, tuple[str, ...]], dict[str, Any]] = {}
        for group_id, state in options.walls.items():
            self.set_wall(group_id, state)

    def person_id(self, number: int) -> int:
        """Return the id of the inhabitant with this number, 0 to `size` - 1; larger numbers start over."""
        number %= self.size
        wide = WIDE_ID_SHIFT if number % WIDE_ID_EVERY == WIDE_ID_EVERY - 1 else 0
        return FIRST_PERSON_ID + number * PERSON_ID_STEP + wide

    def person(self, person_id: int) -> Person | None:
        """Return the person with this id; None if the id is unknown."""
        return self._known(person_id)

    def _find_person(self, person_id: int) -> Person | None:
        narrow = person_id - WIDE_ID_SHIFT if person_id >= FIRST_PERSON_ID + WIDE_ID_SHIFT else person_id
        number, rest = divmod(narrow - FIRST_PERSON_ID, PERSON_ID_STEP)
        if rest or not 0 <= number < self.size or self.person_id(number) != person_id:
            return None
        return self._changed.get(person_id) or self._make_person(number)

    def set_person(self, person_id: int, state: PersonState) -> None:
        """Delete or ban a person's account, or restore it ("").

        Raises:
            LookupError: no person has this id.
        """
        person = self.person(person_id)
        if person is None:
            raise LookupError(f"no person has the id {person_id}")
        self._changed[person_id] = replace(person, deactivated=state)
        self._known.cache_clear()
        self.rendered_profiles.clear()

    def set_wall(self, group_id: int, state: WallState) -> None:
        """Close, ban or delete a community, or reopen it.

        Raises:
            LookupError: no community has this id.
        """
        community = self.community(group_id)
        if community is None:
            raise LookupError(f"no community has the id {group_id}")
        self._communities[group_id] = self._names[community.screen_name] = replace(community, wall=state)
        self.rendered_profiles.clear()

    def community(self, group_id: int) -> Community | None:
        """Return the community with this positive id; None if the id is unknown."""
        return self._communities.get(group_id)

    def community_by_name(self, name: str) -> Community | None:
        """Return the community with this screen name, id, or one of VK's short forms (club1, public1, event1)."""
        for prefix in ("club", "public", "event", ""):
            digits = name.removeprefix(prefix)
            if name.startswith(prefix) and is_number(digits):
                return self.community(int(digits))
        return self._names.get(name)

    def person_by_name(self, name: str) -> Person | None:
        """Return the person with this id or screen name (id1, or a Latin name that ends with the number)."""
        digits = name.removeprefix("id")
        if is_number(digits):
            return self.person(int(digits))
        number = name.rpartition("_")[2]
        person = self.person(self.person_id(int(number))) if is_number(number) else None
        return person if person is not None and person.screen_name == name else None

    def guest_id(self, number: int) -> int:
        """Return the positive id of one of the communities that comment on other communities' walls."""
        return FIRST_GUEST_ID + number % TALKATIVE_GUESTS

    def _make_person(self, number: int) -> Person:
        dice = Dice(self._seed * 0x1_0000_0000 + number)
        gender = dice.below(2)
        first_name = dice.pick(texts.WOMEN if gender else texts.MEN)
        last_name = dice.pick(texts.SURNAMES)[gender]
        state = dice.below(1000)
        person_id = self.person_id(number)
        plain = dice.below(10) < 6  # noqa: PLR2004 - six in ten have no screen name of their own
        return Person(
            id=person_id,
            first_name=first_name,
            last_name=last_name,
            gender=gender,
            screen_name=f"id{person_id}" if plain else f"{last_name} {number}".lower().translate(_LATIN),
            deactivated="deleted" if state < 20 else "banned" if state < 35 else "",  # noqa: PLR2004 - per mille
            is_closed=dice.below(4) == 0,
            city=dice.below(len(texts.CITIES)),
            status=dice.pick(texts.STATUSES),
            followers=dice.below(600),
        )

    def _hosts(self) -> list[Community]:
        return [self._host(group_id) for group_id in range(1, self.groups + 1)]

    def _host(self, group_id: int) -> Community:
        theme = theme_of(group_id)
        lap, city = divmod((group_id - 1) // len(texts.THEMES), len(texts.CITIES))
        first = group_id <= len(texts.THEMES)
        suffix = "" if first else f" — {texts.CITIES[city][0]}" + (f" {lap + 1}" if lap else "")
        return Community(
            id=group_id,
            name=theme.name + suffix,
            screen_name=theme.screen_name if first else f"{theme.screen_name}_{group_id}",
            kind=theme.kind,
            description=theme.description,
            activity=theme.activity,
            city=city,
            members=4_000 + Dice(self._seed * 7919 + group_id).below(180_000),
            wall="open",
        )

    def _guests(self) -> list[Community]:
        return [
            Community(
                id=FIRST_GUEST_ID + number,
                name=name,
                screen_name=screen_name,
                kind="group",
                description=f"{name}: живём дружно, пишем по делу.",
                activity="Сообщество",
                city=0,
                members=900 + Dice(self._seed * 104_729 + number).below(30_000),
                wall=GUEST_WALLS[number],
            )
            for number, (name, screen_name) in enumerate(texts.GUESTS)
        ]


def theme_of(group_id: int) -> texts.Theme:
    """Return the theme of a community with its own wall: the five themes alternate."""
    return texts.THEMES[(group_id - 1) % len(texts.THEMES)]


def is_number(text: str) -> bool:
    """Return whether the text is a plain decimal number that fits into 64 bits."""
    return text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - 10**18 is below 2**63
