"""This file finds out whose page is asked for, and whether it is to be seen."""

from simulator.errors import ApiError, denied, invalid
from simulator.parameters import Parameters
from simulator.people import Community, Person
from simulator.world import Wall, World


def owner_of(world: World, parameters: Parameters) -> Person | Wall:
    """Whose page is asked for, by `owner_id` or `domain`.

    Raises:
        ApiError: 100 when it is nobody's, 15, 18, 19 or 30 when it is not to be seen.
    """
    if parameters.text("owner_id"):
        owner_id = parameters.required_integer("owner_id")
        who = world.population.person(owner_id) if owner_id > 0 else world.population.community(-owner_id)
    elif name := parameters.text("domain"):
        who = world.population.community_by_name(name) or world.population.person_by_name(name)
    else:
        raise invalid("owner_id is undefined")
    if who is None:
        raise invalid("owner_id is invalid" if parameters.text("owner_id") else "domain is invalid")
    return seen_wall(world, who) if isinstance(who, Community) else _seen_person(who)


def _seen_person(person: Person) -> Person:
    if person.deactivated:
        raise ApiError(18)
    if person.is_closed:
        raise ApiError(30)
    return person


def seen_wall(world: World, community: Community) -> Wall:
    """The wall of a community.

    Raises:
        ApiError: 15 or 19 when it is not to be seen.
    """
    if community.wall == "banned":
        raise ApiError(19)
    if community.wall == "deleted":
        raise denied("group was deleted")
    if community.wall in {"members", "private"}:
        raise denied("this wall available only for community members")
    wall = world.wall(community.id)
    if wall is None or community.wall == "disabled":
        raise denied("wall is disabled")
    return wall
