"""This file says who belongs to communities and likes things: ids in VK's order, and profiles of all of them.

A community may have more members than the world has inhabitants. The others are accounts that were deleted, as VK
goes on counting and listing them.
"""

from collections.abc import Collection, Iterable
from typing import Final

from simulator.people import FIRST_PERSON_ID, PERSON_ID_STEP, Community, Population
from simulator.phrases import scramble
from simulator.render import Json, person_json

_MOST_DELETED: Final = 1_000_000


class Members:
    """Members and admirers, computed from numbers as people are; lists of members are kept once they were asked for."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._members: dict[int, list[int]] = {}

    def of(self, community: Community) -> list[int]:
        """The ids of a community's members, ascending: as many as `members_count` says. Not to be changed."""
        if community.id not in self._members:
            start = scramble(community.id) % self._population.size
            self._members[community.id] = sorted(self._ids(start, community.members))
        return self._members[community.id]

    def admirers(self, seed: int, count: int) -> list[int]:
        """The ids of so many people, each once; the same ones for the same seed, and more behind them for more."""
        return [*self._ids(scramble(seed) % self._population.size, count)]

    def profile(self, person_id: int, fields: Collection[str] = ()) -> Json | None:
        """A user as users.get tells it, also one that left VK; None where nobody ever had the id."""
        person = self._population.person(person_id)
        if person is not None:
            return person_json(person, fields, brief=True)
        number, rest = divmod(person_id - FIRST_PERSON_ID, PERSON_ID_STEP)
        if rest or not self._population.size <= number < self._population.size + _MOST_DELETED:
            return None
        return {"id": person_id, "first_name": "DELETED", "last_name": "", "deactivated": "deleted"}

    def _ids(self, start: int, count: int) -> Iterable[int]:
        """Inhabitants from this number on until all are told, then accounts that were deleted."""
        size = self._population.size
        for number in range(min(count, size)):
            yield self._population.person_id(start + number)
        for number in range(size, count):
            yield FIRST_PERSON_ID + number * PERSON_ID_STEP
