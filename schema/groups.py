"""Adding communities: the mutation and what it answers for each reference. Their type is in `schema.wall`."""

from typing import Annotated

import strawberry

from app.communities import AddOutcome, add_groups
from schema.context import Info
from schema.errors import (
    ServiceUnavailableError,
    ValidationFailedError,
    VkAccessDeniedError,
    VkRateLimitedError,
    VkRequestRefusedError,
    VkTokenError,
    VkUnavailableError,
)
from schema.node import relation
from schema.wall import Group


@strawberry.type(description="What became of one reference.")
class AddedGroup:
    """The answer to one reference."""

    owner_id: strawberry.Private[int | None]
    reference: str = strawberry.field(description="The reference as it was given.")
    outcome: AddOutcome = strawberry.field(description="What became of it.")
    message: str = strawberry.field(description="The same in a sentence.")
    group: Group | None = relation(
        "groups",
        lambda added: None if added.owner_id is None else (added.owner_id,),
        Group | None,
        "The community; null where there is none.",
    )


@strawberry.input(description="Which communities to add.")
class AddGroupsInput:
    """The input of addGroups."""

    references: list[str] = strawberry.field(
        description="Ids, negative ids, screen names or links (vk.com, vk.ru, m.vk.com, club1, public1), up to 10,000."
    )


@strawberry.type(description="What became of each reference, in their order.")
class AddGroupsSuccess:
    """All references were looked at."""

    outcomes: list[AddedGroup] = strawberry.field(description="One for each reference, in their order.")
    added_count: int = strawberry.field(description="How many communities are new here.")


AddGroupsResult = Annotated[
    AddGroupsSuccess
    | ValidationFailedError
    | VkUnavailableError
    | VkAccessDeniedError
    | VkRateLimitedError
    | VkTokenError
    | VkRequestRefusedError
    | ServiceUnavailableError,
    strawberry.union("AddGroupsResult", description="What became of addGroups."),
]


@strawberry.type
class GroupMutation:
    """The mutations of this file."""

    @strawberry.mutation(description="Add communities, so that they can be collected. Known ones are refreshed.")
    async def add_groups(
        self,
        info: Info,
        input: Annotated[AddGroupsInput, strawberry.argument(description="Which communities.")],
    ) -> AddGroupsResult:
        """Add communities."""
        outcomes = await add_groups(info.context.resources, input.references)
        return AddGroupsSuccess(
            outcomes=[
                AddedGroup(
                    owner_id=added.owner_id, reference=added.reference, outcome=added.outcome, message=added.message
                )
                for added in outcomes
            ],
            added_count=sum(added.outcome is AddOutcome.ADDED for added in outcomes),
        )
