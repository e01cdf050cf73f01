"""Requests communities from VK by id or screen name."""

from collections.abc import Sequence

from app.vk.batch import Batch
from app.vk.client import VkClient
from app.vk.replies import read_groups
from app.vk.wire import GROUPS_PER_CALL, VkFault, groups_by_id, known_shape
from app.wall import VkGroup


async def known_groups(vk: VkClient, names: Sequence[str]) -> list[VkGroup]:
    """Ask VK for communities by id or screen name, thousands at once; those that it does not know are absent.

    Raises:
        VkFault: VK failed.
    """
    calls = [groups_by_id(names[start : start + GROUPS_PER_CALL]) for start in range(0, len(names), GROUPS_PER_CALL)]
    found: list[VkGroup] = []
    for call, answer in zip(calls, await Batch(vk).answers(calls), strict=True):
        if not isinstance(answer, VkFault):
            with known_shape(call):
                found += read_groups(answer)
        elif not _says_none_exists(answer):
            raise answer
    return found


def _says_none_exists(fault: VkFault) -> bool:
    # VK leaves unknown communities out, unless it knows none of a call's: then it finds the parameter wrong
    return fault.vk_code == 125 or (fault.vk_code == 100 and "group_id" in fault.message)  # noqa: PLR2004 - VK's codes
