"""users.get and utils.resolveScreenName."""

from typing import Final

from simulator.errors import ApiError
from simulator.parameters import Parameters
from simulator.people import is_number
from simulator.render import Json
from simulator.site import Site

_CASES: Final = ("nom", "gen", "dat", "acc", "ins", "abl")


def get(site: Site, parameters: Parameters) -> list[Json]:
    """users.get: people by id or screen name, up to 1,000; unknown ones are omitted.

    Without `user_ids`, a user token gets its owner. Names are in the nominative whatever `name_case` is.

    Raises:
        ApiError: 100 if `user_ids` is missing with another token, 113 if no id is known.
    """
    parameters.choice("name_case", _CASES)
    population = site.world.population
    if not parameters.text("user_ids") and parameters.caller == "user":
        ids: list[int | None] = [population.person_id(0)]
    else:
        parameters.required_text("user_ids")
        ids = [_id_of(site, word) for word in parameters.words("user_ids", most=1000)]
    fields = parameters.words("fields")
    people = [site.members.profile(person_id, fields) for person_id in dict.fromkeys(ids) if person_id is not None]
    known = [person for person in people if person is not None]
    if not known:
        raise ApiError(113)
    return known


def resolve_screen_name(site: Site, parameters: Parameters) -> Json:
    """utils.resolveScreenName: the type (group, page or user) and the positive id of a screen name.

    Raises:
        ApiError: 104 if the name is unknown.
    """
    name = parameters.required_text("screen_name")
    community = site.world.population.community_by_name(name)
    if community is not None:
        return {"type": community.kind, "object_id": community.id, "group_id": community.id}
    person = site.world.population.person_by_name(name)
    if person is None:
        raise ApiError(104)
    return {"type": "user", "object_id": person.id}


def _id_of(site: Site, word: str) -> int | None:
    """Return the id that a word names: a number, id with a number, or a screen name."""
    digits = word.removeprefix("id")
    if is_number(digits):
        return int(digits)
    person = site.world.population.person_by_name(word)
    return None if person is None else person.id
