"""Members of communities and people who like things: ids in VK's order, and their profiles.

A community may have more members than the world has inhabitants. The others are deleted accounts, as VK still counts
and lists them.
"""

from collections.abc import Collection, Iterable
from typing import Final

from simulator.people import FIRST_PERSON_ID, PERSON_ID_STEP, Community, Population
from simulator.phrases import scramble
from simulator.render import Json, person_json

_MOST_DELETED: Final = 1_000_000


class Members:
    """Members and likers, computed from numbers as people are; a list of members is kept after its first use."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._members: dict[int, list[int]] = {}

    def of(self, community: Community) -> list[int]:
        """Return the ids of a community's members, ascending, as many as `members_count`. Do not change the list."""
        if community.id not in self._members:
            start = scramble(community.id) % self._population.size
            self._members[community.id] = sorted(self._ids(start, community.members))
        return self._members[community.id]

    def likers(self, seed: int, count: int) -> list[int]:
        """Return the ids of `count` distinct people; an equal seed gives equal ids, a larger count appends to them."""
        return [*self._ids(scramble(seed) % self._population.size, count)]

    def profile(self, person_id: int, fields: Collection[str] = ()) -> Json | None:
        """Return a user in the form of users.get, also a deleted one; None if the id was never in use."""
        person = self._population.person(person_id)
        if person is not None:
            return person_json(person, fields, brief=True)
        number, rest = divmod(person_id - FIRST_PERSON_ID, PERSON_ID_STEP)
        if rest or not self._population.size <= number < self._population.size + _MOST_DELETED:
            return None
        return {"id": person_id, "first_name": "DELETED", "last_name": "", "deactivated": "deleted"}

    def _ids(self, start: int, count: int) -> Iterable[int]:
        """Yield the ids of all inhabitants, beginning at this number, then those of deleted accounts."""
        size = self._population.size
        for number in range(min(count, size)):
            yield self._population.person_id(start + number)
        for number in range(size, count):
            yield FIRST_PERSON_ID + number * PERSON_ID_STEP
