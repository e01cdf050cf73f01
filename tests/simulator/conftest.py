from collections.abc import AsyncIterator

import pytest

from tests.simulator.vk import Vk
from tests.vk_schema import VkSchema


@pytest.fixture
async def vk() -> AsyncIterator[Vk]:
    made = Vk()
    async with made.http:
        yield made


@pytest.fixture(scope="session")
def schema() -> VkSchema:
    return VkSchema()


@pytest.fixture(scope="session")
def schema_with_stubs() -> VkSchema:
    return VkSchema(stubs_allowed=True)
