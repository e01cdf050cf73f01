import asyncio
from collections.abc import Callable

import pytest

from app.actions.add_groups import MOST_REFERENCES, AddedGroup, AddOutcome, add_groups
from app.db.tables import groups as table
from app.errors import ValidationFailed
from app.resources import Resources, open_resources
from app.vk.wire import VkFault
from tests.conftest import MakeSettings, Simulator
from tests.store.rows import read

ADDED, ALREADY, _, UNKNOWN, MALFORMED = AddOutcome
NAME = "teply_polden_coffee"
"""The screen name of the simulated community 1."""


def outcomes(found: list[AddedGroup]) -> list[AddOutcome]:
    return [each.outcome for each in found]


@pytest.mark.parametrize(
    "reference",
    [
        "1",
        "-1",
        "club1",
        "Public1",
        "event1",
        NAME,
        NAME.upper(),
        f"@{NAME}",
        f" https://vk.com/{NAME} ",
        f"https://VK.com/{NAME.title()}",
        "https://m.vk.com/club1?from=search",
        "vk.ru/public1",
        "https://vk.com/wall-1_2?reply=3",
    ],
)
async def test_every_form_of_a_reference(vk_resources: Resources, reference: str) -> None:
    [added] = await add_groups(vk_resources, [reference])
    assert (added.reference, added.outcome, added.owner_id) == (reference, ADDED, -1)
    assert added.message.endswith("was added.")
    rows = await read(vk_resources, table)
    assert [(row["owner_id"], row["screen_name"]) for row in rows.values()] == [(-1, NAME)]
    [again] = await add_groups(vk_resources, [reference])
    assert (again.outcome, again.owner_id) == (ALREADY, -1)
    assert again.message.endswith("was already added.")


async def test_stored_values(vk_resources: Resources) -> None:
    await add_groups(vk_resources, ["1"])
    row = (await read(vk_resources, table))[(-1,)]
    assert row["name"]
    assert row["description"]
    assert row["members_count"] > 0
    assert (row["is_closed"], row["deactivated"], row["collected_at"]) == (False, None, None)


async def test_each_reference_has_its_outcome(vk_resources: Resources, simulator: Simulator) -> None:
    references = ["1", NAME.upper(), "club777", "no_such_community", "id5", "", "https://example.org/x", "1", "club777"]
    found = await add_groups(vk_resources, references)
    assert [each.reference for each in found] == references
    assert outcomes(found) == [
        ADDED,
        ALREADY,
        UNKNOWN,
        UNKNOWN,
        MALFORMED,
        MALFORMED,
        MALFORMED,
        ALREADY,
        UNKNOWN,
    ]
    assert found[2].message == "VK knows no community '777'."
    assert found[4].message == "'id5' is a person's page, not a community's."
    assert [each.owner_id for each in found] == [-1, -1, None, None, None, None, None, -1, None]
    assert simulator.control()["requests"] == 1


@pytest.mark.parametrize("references", [["no_such_community"], ["club777", "778"]])
async def test_communities_that_vk_does_not_have(vk_resources: Resources, references: list[str]) -> None:
    found = await add_groups(vk_resources, references)
    assert outcomes(found) == [UNKNOWN] * len(references)
    assert await read(vk_resources, table) == {}


async def test_no_vk_request_is_needed(vk_resources: Resources, simulator: Simulator) -> None:
    assert outcomes(await add_groups(vk_resources, ["?", "id1"])) == [MALFORMED, MALFORMED]
    assert simulator.control()["requests"] == 0


async def test_many_references_in_one_request(make_settings: MakeSettings, simulate: Callable[..., Simulator]) -> None:
    """Of three calls inside it, with 500 communities each, one contains only unknown ones."""
    simulator = simulate(groups=700, posts=1, comments=0)
    async with open_resources(make_settings(vk_api_url=simulator.url)) as resources:
        references = [str(number) for number in range(1, 701)] + [f"club{number}" for number in range(1001, 1801)]
        found = await add_groups(resources, references)
        assert outcomes(found) == [ADDED] * 700 + [UNKNOWN] * 800
        assert set(await read(resources, table)) == {(-number,) for number in range(1, 701)}
    counters = simulator.control()
    assert (counters["requests"], counters["calls"]) == (1, 3)


@pytest.mark.parametrize("count", [0, MOST_REFERENCES + 1])
async def test_too_few_and_too_many(vk_resources: Resources, simulator: Simulator, count: int) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await add_groups(vk_resources, ["1"] * count)
    assert caught.value.fields == {"references": "must contain between 1 and 10000 references"}
    assert simulator.control()["requests"] == 0


async def test_the_maximum_of_references(vk_resources: Resources, simulator: Simulator) -> None:
    found = await add_groups(vk_resources, ["1"] * MOST_REFERENCES)
    assert outcomes(found) == [ADDED] + [ALREADY] * (MOST_REFERENCES - 1)
    assert simulator.control()["requests"] == 1


@pytest.mark.parametrize("fault", [{"code": 10}, {"code": 15}, {"code": 100}, {"code": 5}, {"http": 500}], ids=str)
async def test_vk_fails_and_nothing_is_added(
    vk_resources: Resources, simulator: Simulator, fault: dict[str, int]
) -> None:
    simulator.control(faults=[{**fault, "times": 100}])
    with pytest.raises(VkFault):
        await add_groups(vk_resources, ["1", "2"])
    assert await read(vk_resources, table) == {}


async def test_one_of_several_calls_fails_and_nothing_is_added(vk_resources: Resources, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 15, "inner": True}])
    with pytest.raises(VkFault):
        await add_groups(vk_resources, [str(number) for number in range(1, 1001)])
    assert await read(vk_resources, table) == {}
    assert simulator.control()["requests"] == 1


async def test_two_clients_add_the_same_concurrently(vk_resources: Resources) -> None:
    first, second = await asyncio.gather(add_groups(vk_resources, ["1"]), add_groups(vk_resources, [NAME]))
    assert {first[0].outcome, second[0].outcome} == {ADDED, ALREADY}
