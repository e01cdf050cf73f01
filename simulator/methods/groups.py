"""groups.getById, groups.search and groups.getMembers."""

from typing import Final

from simulator import texts
from simulator.errors import ApiError, denied, invalid
from simulator.parameters import OBJECT_ANSWERS_SINCE, Parameters
from simulator.people import FIRST_GUEST_ID, Community
from simulator.render import Json, community_json
from simulator.site import Site

_MAX_RESULTS: Final = 1000
_SORTS_BY_ID: Final = ("id_asc", "id_desc")
_SORTS_BY_TIME: Final = ("time_asc", "time_desc")
_BY_MEMBERS: Final = 6
_GONE: Final = {"banned", "deleted"}
_HIDDEN: Final = {*_GONE, "private"}


def get_by_id(site: Site, parameters: Parameters) -> Json | list[Json]:
    """groups.getById: communities by id or screen name, up to 500; unknown ones are omitted.

    Raises:
        ApiError: 100 if none is given or none is known.
    """
    named = "group_ids" if parameters.text("group_ids") else "group_id"
    parameters.required_text(named)
    known = [site.world.population.community_by_name(word) for word in parameters.words(named, most=500)]
    fields = parameters.words("fields")
    groups = [community_json(community, fields) for community in known if community is not None]
    if not groups:
        raise invalid(f"{named} is invalid")
    return {"groups": groups, "profiles": []} if parameters.version >= OBJECT_ANSWERS_SINCE else groups


def search(site: Site, parameters: Parameters) -> Json:
    """groups.search: communities whose name, screen name or description contains all words of `q` (default: 20).

    VK returns only the first 1,000 results whatever `offset` and `count` are. Private, banned and deleted ones are not
    found. `sort` 6 is by members, all other orders are the world's. There are no future events, and no community sells.

    Raises:
        ApiError: 100 if a parameter is invalid.
    """
    words = parameters.required_text("q").casefold().split()
    kind = parameters.choice("type", ("", "group", "page", "event"))
    city = parameters.integer("city_id", minimum=0)
    parameters.integer("country_id", minimum=0)
    sort = parameters.integer("sort", minimum=0, maximum=_BY_MEMBERS)
    offset = parameters.integer("offset", minimum=0)
    count = parameters.count(default=20, most=1000)
    excludes_all = parameters.flag("market") or (parameters.flag("future") and kind == "event")
    found = [
        community
        for community in ([] if excludes_all else _findable(site))
        if kind in {"", community.kind} and city in {0, community.city + 1} and _has_all(community, words)
    ]
    if sort == _BY_MEMBERS:
        found.sort(key=lambda community: -community.members)
    page = found[:_MAX_RESULTS][offset : offset + count]
    return {"count": len(found), "items": [community_json(community) for community in page]}


def get_members(site: Site, parameters: Parameters) -> Json:
    """groups.getMembers: ids of members, or profiles if `fields` are given (default: 1,000).

    With `filter` the result is empty: the token's owner has no friends in the world, and there are no subscriptions.

    Raises:
        ApiError: 125 if the community does not exist, 15 for what only its managers may see, and for a closed one.
    """
    community = site.world.population.community_by_name(parameters.required_text("group_id"))
    if community is None or community.wall in _GONE:
        raise ApiError(125)
    sort = parameters.choice("sort", (*_SORTS_BY_ID, *_SORTS_BY_TIME))
    chosen = parameters.choice("filter", ("", "friends", "donut", "unsure", "managers"))
    offset = parameters.integer("offset", minimum=0)
    count = parameters.count(default=1000, most=1000)
    if community.wall in {"members", "private"}:
        raise denied("group hide members")
    if sort in _SORTS_BY_TIME or chosen == "managers":
        raise denied("you should be group moderator")
    if chosen:
        return {"count": 0, "items": []}
    members = site.members.of(community)
    end = len(members) - offset if sort == "id_desc" else offset + count
    page = members[max(0, end - count) : max(0, end)] if sort == "id_desc" else members[offset:end]
    ids = page[::-1] if sort == "id_desc" else page
    if not parameters.text("fields"):
        return {"count": len(members), "items": ids}
    profiles = [site.members.profile(member, parameters.words("fields")) for member in ids]
    return {"count": len(members), "items": profiles}


def _findable(site: Site) -> list[Community]:
    """Return all communities that search finds, those with their own wall first."""
    population = site.world.population
    ids = (*range(1, population.groups + 1), *range(FIRST_GUEST_ID, FIRST_GUEST_ID + len(texts.GUESTS)))
    known = [population.community(group_id) for group_id in ids]
    return [community for community in known if community is not None and community.wall not in _HIDDEN]


def _has_all(community: Community, words: list[str]) -> bool:
    text = f"{community.name} {community.screen_name} {community.description}".casefold()
    return all(word in text for word in words)
