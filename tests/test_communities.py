from collections.abc import Callable
from typing import Any

import pytest

from app.communities import MOST_REFERENCES, AddedGroup, AddOutcome, add_groups
from app.db.tables import groups as table
from app.errors import ValidationFailed
from app.resources import Resources, open_resources
from app.vk.wire import VkFault
from tests.conftest import MakeSettings, Simulator
from tests.store.rows import read

ADDED, ALREADY, UNKNOWN, MALFORMED = AddOutcome


@pytest.fixture
async def name(vk_resources: Resources, simulator: Simulator) -> str:
    """Return the screen name of the simulated community 1."""
    del simulator
    [group] = (await vk_resources.vk.call(_ask("1")))["response"]["groups"]
    return str(group["screen_name"])


def _ask(reference: str) -> Any:
    from app.vk.wire import groups_by_id  # noqa: PLC0415

    return groups_by_id([reference])


def outcomes(found: list[AddedGroup]) -> list[AddOutcome]:
    return [each.outcome for each in found]
