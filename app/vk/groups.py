"""Requests communities from VK by id or screen name."""

from collections.abc import Sequence

from app.vk.batch import Batch
from app.vk.client import VkClient
from app.vk.replies import read_groups
from app.vk.wire import GROUPS_PER_CALL, VkFault, groups_by_id, known_shape
from app.wall import VkGroup


async def known_groups(vk: VkClient, names: Sequence[str]) -> list[VkGroup]:
    """Request communities by id or screen name, thousands at once; those that VK does not know are absent.

    Raises:
        VkFault: VK refused or failed.
    """
    calls = [groups_by_id(names[start : start + GROUPS_PER_CALL]) for start in range(0, len(names), GROUPS_PER_CALL)]
    groups: list[VkGroup] = []
    for call, answer in zip(calls, await Batch(vk).answers(calls), strict=True):
        if not isinstance(answer, VkFault):
            with known_shape(call):
                groups += read_groups(answer)
        elif not _says_none_exists(answer):
            raise answer
    return groups


def _says_none_exists(fault: VkFault) -> bool:
    # VK omits unknown communities from its answer. If it knows none of a call's communities, it rejects the parameter.
    return fault.vk_code == 125 or (fault.vk_code == 100 and "group_id" in fault.message)  # noqa: PLR2004 - VK's codes
