"""Adds communities by references that users write, with one VK request for many of them."""

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
    """The outcome for one reference."""

    ADDED = "ADDED"
    ALREADY_ADDED = "ALREADY_ADDED"
    CLOSED = "CLOSED"
    NOT_FOUND = "NOT_FOUND"
    MALFORMED = "MALFORMED"


@dataclass(frozen=True, slots=True)
class AddedGroup:
    """The outcome for one reference. `owner_id` is None if no community was found; `is_new`: it was added now."""

    reference: str
    outcome: AddOutcome
    message: str
    owner_id: int | None = None
    is_new: bool = False


async def add_groups(resources: Resources, references: Sequence[str]) -> list[AddedGroup]:
    """Add the communities that are not stored yet, refresh the others, and return the outcome for each reference.

    Usually costs one VK request, whatever the number of references.

    Raises:
        ValidationFailed: there are no references, or more than 10,000.
        VkFault: VK failed; nothing was added.
    """
    if not 1 <= len(references) <= MOST_REFERENCES:
        raise ValidationFailed({"references": f"must contain between 1 and {MOST_REFERENCES} references"})
    read = [(reference, read_group_reference(reference)) for reference in references]
    names = list(dict.fromkeys(parsed.name for _, parsed in read if isinstance(parsed, GroupReference)))
    found = await known_groups(resources.vk, names)
    async with resources.database.transaction() as connection:
        new = await groups.upsert_groups(connection, found) if found else set()
    log.info("groups_added", requested=len(references), found=len(found), new=len(new))
    by_name = {str(group.id): group for group in found} | {group.screen_name.lower(): group for group in found}
    outcomes = []
    for reference, parsed in read:
        outcome = _outcome(reference, parsed, by_name, new)
        outcomes.append(outcome)
        # a second reference to the same community reports it as already added
        new.discard(outcome.owner_id or 0)
    return outcomes


def _outcome(reference: str, parsed: GroupReference | str, found: dict[str, VkGroup], new: set[int]) -> AddedGroup:
    if isinstance(parsed, str):
        return AddedGroup(reference, AddOutcome.MALFORMED, f"{reference!r} {parsed}.")
    group = found.get(parsed.name)
    if group is None:
        return AddedGroup(reference, AddOutcome.NOT_FOUND, f"VK knows no community {parsed.name!r}.")
    is_new = -group.id in new
    verb = "was added" if is_new else "was already added"
    if group.is_closed:
        outcome, message = AddOutcome.CLOSED, f"{group.name} {verb}, but it is closed: only its members can read it."
    else:
        outcome, message = AddOutcome.ADDED if is_new else AddOutcome.ALREADY_ADDED, f"{group.name} {verb}."
    return AddedGroup(reference, outcome, message, -group.id, is_new)
