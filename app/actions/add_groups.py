"""Adds communities by whatever people write for them, asking VK for many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from app.errors import ValidationFailed
from app.log import log
from app.resources import Resources
from app.store import groups
from app.vk.groups import known_groups
from app.vk.references import GroupReference, read_group_reference
from app.wall import VkGroup

MOST_REFERENCES = 10_000


class AddOutcome(Enum):
    """What became of one reference."""

    ADDED = "ADDED"
    ALREADY_ADDED = "ALREADY_ADDED"
    CLOSED = "CLOSED"
    NOT_FOUND = "NOT_FOUND"
    MALFORMED = "MALFORMED"


@dataclass(frozen=True, slots=True)
class AddedGroup:
    """What became of one reference; `owner_id` is the community's where there is one, which may be new here."""

    reference: str
    outcome: AddOutcome
    message: str
    owner_id: int | None = None
    is_new: bool = False


async def add_groups(resources: Resources, references: Sequence[str]) -> list[AddedGroup]:
    """Add the communities that are not there yet, refresh the others, and say what became of each reference.

    Costs one request to VK as a rule, whatever their number.

    Raises:
        ValidationFailed: there are no references, or more than 10,000.
        VkFault: VK failed; nothing was added.
    """
    if not 1 <= len(references) <= MOST_REFERENCES:
        raise ValidationFailed({"references": f"give between 1 and {MOST_REFERENCES} of them"})
    read = [(reference, read_group_reference(reference)) for reference in references]
    names = list(dict.fromkeys(wanted.name for _, wanted in read if isinstance(wanted, GroupReference)))
    found = await known_groups(resources.vk, names)
    async with resources.database.transaction() as connection:
        new = await groups.upsert_groups(connection, found) if found else set()
    log.info("groups_added", asked=len(references), found=len(found), new=len(new))
    by_name = {str(group.id): group for group in found} | {group.screen_name.lower(): group for group in found}
    outcomes = []
    for reference, wanted in read:
        outcome = _outcome(reference, wanted, by_name, new)
        outcomes.append(outcome)
        # a second reference to the same community finds it there already
        new.discard(outcome.owner_id or 0)
    return outcomes


def _outcome(reference: str, wanted: GroupReference | str, found: dict[str, VkGroup], new: set[int]) -> AddedGroup:
    if isinstance(wanted, str):
        return AddedGroup(reference, AddOutcome.MALFORMED, f"{reference!r} {wanted}.")
    group = found.get(wanted.name)
    if group is None:
        return AddedGroup(reference, AddOutcome.NOT_FOUND, f"VK knows no community {wanted.name!r}.")
    is_new = -group.id in new
    verb = "was added" if is_new else "was here already"
    if group.is_closed:
        outcome, message = AddOutcome.CLOSED, f"{group.name} {verb}, but only its members may read it."
    else:
        outcome, message = AddOutcome.ADDED if is_new else AddOutcome.ALREADY_ADDED, f"{group.name} {verb}."
    return AddedGroup(reference, outcome, message, -group.id, is_new)
