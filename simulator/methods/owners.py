"""Finds the owner that a request names, and checks that it is visible."""

from simulator.errors import ApiError, denied, invalid
from simulator.parameters import Parameters
from simulator.people import Community, Person
from simulator.world import Wall, World


def owner_of(world: World, parameters: Parameters) -> Person | Wall:
    """Return the owner that `owner_id` or `domain` names.

    Raises:
        ApiError: 100 if there is no such owner, 15, 18, 19 or 30 if it is not visible.
    """
    if parameters.text("owner_id"):
        owner_id = parameters.required_integer("owner_id")
        owner = world.population.person(owner_id) if owner_id > 0 else world.population.community(-owner_id)
    elif name := parameters.text("domain"):
        owner = world.population.community_by_name(name) or world.population.person_by_name(name)
    else:
        raise invalid("owner_id is undefined")
    if owner is None:
        raise invalid("owner_id is invalid" if parameters.text("owner_id") else "domain is invalid")
    return visible_wall(world, owner) if isinstance(owner, Community) else _visible_person(owner)


def _visible_person(person: Person) -> Person:
    if person.deactivated:
        raise ApiError(18)
    if person.is_closed:
        raise ApiError(30)
    return person


def visible_wall(world: World, community: Community) -> Wall:
    """Return the wall of a community.

    Raises:
        ApiError: 15 or 19 if it is not visible.
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
