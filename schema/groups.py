"""Mutations that add, change, refresh and remove communities. The type Group is in `schema.wall`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, TypeVar

import strawberry

from app.actions.add_groups import MOST_REFERENCES, AddOutcome, add_groups
from app.actions.change_groups import GroupChanges, start_refresh, start_removal, update_group
from app.uploaded_lists import references_in
from schema.context import Info
from schema.errors import (
    GroupNotFoundError,
    QueueFullError,
    ServiceUnavailableError,
    ValidationFailedError,
    VkAccessDeniedError,
    VkRateLimitedError,
    VkRequestRefusedError,
    VkTokenError,
    VkUnavailableError,
)
from schema.jobs import Job, JobAlreadyRunningError
from schema.node import key_of, relation
from schema.scalars import Upload
from schema.wall import GROUPS, Group


@strawberry.type(description="The outcome for one reference.")
class AddedGroup:
    """The outcome for one reference."""

    owner_id: strawberry.Private[int | None]
    reference: str = strawberry.field(description="The reference as given.")
    outcome: AddOutcome = strawberry.field(description="The outcome.")
    message: str = strawberry.field(description="The outcome in a sentence.")
    group: Group | None = relation(
        GROUPS,
        lambda added: None if added.owner_id is None else (added.owner_id,),
        Group | None,
        "The community; null if the reference names none.",
    )


@strawberry.input(description="Which communities to add.")
class AddGroupsInput:
    """The input of addGroups."""

    references: list[str] = strawberry.field(
        description="Ids, negative ids, screen names or links (vk.com, vk.ru, m.vk.com, club1, public1), at "
        "most 10,000."
    )


@strawberry.type(description="The outcome for each reference, in their order.")
class AddGroupsSuccess:
    """All references were processed."""

    outcomes: list[AddedGroup] = strawberry.field(description="One outcome per reference, in their order.")
    added_count: int = strawberry.field(description="The number of added communities.")


S = TypeVar("S", bound=AddGroupsSuccess)


AddGroupsResult = Annotated[
    AddGroupsSuccess
    | ValidationFailedError
    | VkUnavailableError
    | VkAccessDeniedError
    | VkRateLimitedError
    | VkTokenError
    | VkRequestRefusedError
    | ServiceUnavailableError,
    strawberry.union("AddGroupsResult", description="The result of addGroups."),
]


@strawberry.input(description="A file with communities to add.")
class ImportGroupsInput:
    """The input of importGroups."""

    file: Upload = strawberry.field(
        description="Text or CSV, at most 10 MB, in UTF-8 or Windows-1251: one reference per line, or a table "
        "with a column of references. References are as in `addGroups`, at most 10,000."
    )


@strawberry.type(description="The outcome for each reference in the file, in their order.")
class ImportGroupsSuccess(AddGroupsSuccess):
    """All references were processed."""


ImportGroupsResult = Annotated[
    ImportGroupsSuccess
    | ValidationFailedError
    | VkUnavailableError
    | VkAccessDeniedError
    | VkRateLimitedError
    | VkTokenError
    | VkRequestRefusedError
    | ServiceUnavailableError,
    strawberry.union("ImportGroupsResult", description="The result of importGroups."),
]


@strawberry.input(description="Note and labels of a community. Omitted fields stay unchanged.")
class UpdateGroupInput:
    """The input of updateGroup."""

    group_id: strawberry.ID = strawberry.field(description="The global id of the community.")
    note: str | None = strawberry.field(
        default=strawberry.UNSET, description="A note, at most 2,000 characters; null removes it."
    )
    labels: list[str] | None = strawberry.field(
        default=strawberry.UNSET, description="The new labels, at most 20 of 50 characters; null removes all."
    )


@strawberry.type(description="The community was changed.")
class UpdateGroupSuccess:
    """A community was changed."""

    group: Group = strawberry.field(description="The changed community.")


UpdateGroupResult = Annotated[
    UpdateGroupSuccess | GroupNotFoundError | ValidationFailedError | ServiceUnavailableError,
    strawberry.union("UpdateGroupResult", description="The result of updateGroup."),
]


@strawberry.input(description="Which communities to refresh from VK.")
class RefreshGroupsInput:
    """The input of refreshGroups."""

    group_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="These communities, at most 10,000; null: all."
    )


@strawberry.type(description="The refresh waits for a worker. Follow it with `jobProgress`.")
class RefreshGroupsSuccess:
    """A refresh was started."""

    job: Job = strawberry.field(description="The job that refreshes.")


RefreshGroupsResult = Annotated[
    RefreshGroupsSuccess | GroupNotFoundError | ValidationFailedError | QueueFullError | ServiceUnavailableError,
    strawberry.union("RefreshGroupsResult", description="The result of refreshGroups."),
]


@strawberry.input(description="Which communities to remove, with all their stored data.")
class RemoveGroupsInput:
    """The input of removeGroups."""

    group_ids: list[strawberry.ID] = strawberry.field(description="The communities, at most 10,000.")


@strawberry.type(description="The removal waits for a worker. Follow it with `jobProgress`.")
class RemoveGroupsSuccess:
    """A removal was started."""

    job: Job = strawberry.field(description="The job that removes.")


RemoveGroupsResult = Annotated[
    RemoveGroupsSuccess
    | GroupNotFoundError
    | JobAlreadyRunningError
    | ValidationFailedError
    | QueueFullError
    | ServiceUnavailableError,
    strawberry.union("RemoveGroupsResult", description="The result of removeGroups."),
]


async def _added(info: Info, references: Sequence[str], success: type[S]) -> S:
    added = await add_groups(info.context.resources, references)
    outcomes = [
        AddedGroup(owner_id=each.owner_id, reference=each.reference, outcome=each.outcome, message=each.message)
        for each in added
    ]
    return success(outcomes=outcomes, added_count=sum(each.is_new for each in added))


def _owner_ids(ids: Sequence[strawberry.ID]) -> list[int]:
    return [key_of(value, "Group", f"groupIds.{number}")[0] for number, value in enumerate(ids)]


@strawberry.type
class GroupMutation:
    """The mutations of this file."""

    @strawberry.mutation(description="Add communities, so that they can be collected. Existing ones are refreshed.")
    async def add_groups(
        self,
        info: Info,
        input: Annotated[AddGroupsInput, strawberry.argument(description="Which communities.")],
    ) -> AddGroupsResult:
        """Add communities."""
        return await _added(info, input.references, AddGroupsSuccess)

    @strawberry.mutation(description="Add the communities of a file. Existing ones are refreshed.")
    async def import_groups(
        self,
        info: Info,
        input: Annotated[ImportGroupsInput, strawberry.argument(description="Which file.")],
    ) -> ImportGroupsResult:
        """Add the communities of a file."""
        references = await asyncio.to_thread(references_in, input.file.name, input.file.data, MOST_REFERENCES)
        return await _added(info, references, ImportGroupsSuccess)

    @strawberry.mutation(description="Change the note or the labels of a community.")
    async def update_group(
        self,
        info: Info,
        input: Annotated[UpdateGroupInput, strawberry.argument(description="Which community, and what.")],
    ) -> UpdateGroupResult:
        """Change a community."""
        changes: GroupChanges = {}
        if input.note is not strawberry.UNSET:
            changes["note"] = input.note
        if input.labels is not strawberry.UNSET:
            changes["labels"] = input.labels or []
        row = await update_group(info.context.resources, key_of(input.group_id, "Group", "groupId")[0], changes)
        return UpdateGroupSuccess(group=Group.of(row))

    @strawberry.mutation(description="Refresh communities from VK: their names, members, and whether they are closed.")
    async def refresh_groups(
        self,
        info: Info,
        input: Annotated[RefreshGroupsInput, strawberry.argument(description="Which communities.")],
    ) -> RefreshGroupsResult:
        """Refresh communities."""
        owner_ids = None if input.group_ids is None else _owner_ids(input.group_ids)
        return RefreshGroupsSuccess(job=Job.of(await start_refresh(info.context.resources, owner_ids)))

    @strawberry.mutation(
        description="Remove communities with their posts and comments. If one of them is being collected, "
        "none is removed."
    )
    async def remove_groups(
        self,
        info: Info,
        input: Annotated[RemoveGroupsInput, strawberry.argument(description="Which communities.")],
    ) -> RemoveGroupsResult:
        """Remove communities."""
        row = await start_removal(info.context.resources, _owner_ids(input.group_ids))
        return RemoveGroupsSuccess(job=Job.of(row))
