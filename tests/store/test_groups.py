import asyncio
from dataclasses import replace

import pytest

from app.db.tables import groups as table
from app.errors import GroupNotFound
from app.resources import Resources
from app.store.groups import (
    ADDED,
    NAME,
    GroupConditions,
    count_groups,
    group_by_screen_name,
    groups_by_key,
    groups_page,
    mark_groups_collected,
    require_groups,
    update_group,
    upsert_groups,
)
from app.store.keyset import Page
from app.wall import VkGroup
from tests.conftest import statements
from tests.store.rows import BIG, read

ONE = VkGroup(1, "Apiclub", "ВКонтакте API", "О нас", 10, photo_url="photo")
TWO = VkGroup(BIG, "big_club", "100% Большой_клуб", is_closed=True, deactivated="banned")


async def upsert(resources: Resources, *found: VkGroup) -> set[int]:
    async with resources.database.transaction() as connection:
        return await upsert_groups(connection, found)


async def test_new_and_known_communities(resources: Resources) -> None:
    assert await upsert(resources, ONE) == {-1}
    assert await upsert(resources, ONE, TWO, TWO) == {-BIG}
    assert await upsert(resources, TWO, ONE) == set()
    row = (await read(resources, table))[(-BIG,)]
    assert row.pop("added_at") is not None
    assert (row.pop("note"), row.pop("labels")) == (None, [])
    assert row == {
        "owner_id": -BIG,
        "screen_name": "big_club",
        "name": "100% Большой_клуб",
        "description": None,
        "members_count": None,
        "is_closed": True,
        "deactivated": "banned",
        "photo_url": None,
        "collected_at": None,
    }


async def test_one_statement_for_all_rows(resources: Resources) -> None:
    found = [VkGroup(number, f"club{number}", f"Club {number}") for number in range(1, 2001)]
    async with resources.database.transaction() as connection:
        with statements(resources) as seen:
            assert await upsert_groups(connection, found) == {-number for number in range(1, 2001)}
    assert len(seen) == 1


async def test_values_that_vk_omits_are_kept(resources: Resources) -> None:
    await upsert(resources, ONE)
    await upsert(resources, VkGroup(1, "apiclub", "Новое имя", deactivated="deleted"))
    row = (await read(resources, table))[(-1,)]
    assert (row["name"], row["screen_name"], row["deactivated"]) == ("Новое имя", "apiclub", "deleted")
    assert (row["description"], row["members_count"], row["photo_url"]) == ("О нас", 10, "photo")


async def test_two_writers_of_the_same_rows(resources: Resources) -> None:
    clubs = [VkGroup(number, f"club{number}", "") for number in range(1, 501)]
    for turn in range(5):
        mine = [replace(club, name=f"a{turn}") for club in clubs]
        yours = [replace(club, name=f"b{turn}") for club in clubs[::-1]]
        new = await asyncio.gather(upsert(resources, *mine), upsert(resources, *yours))
        assert sum(map(len, new)) == (500 if turn == 0 else 0)
    assert len({row["name"] for row in (await read(resources, table)).values()}) == 1


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (None, [TWO.id, 1]),
        ("", [TWO.id, 1]),
        ("API", [1]),
        ("вконтакте", [1]),
        ("BIG_club", [TWO.id]),
        ("%", [TWO.id]),
        ("_клуб", [TWO.id]),
        ("a%i", []),
        ("\\", []),
    ],
)
async def test_search(resources: Resources, search: str | None, found: list[int]) -> None:
    await upsert(resources, ONE, TWO)
    async with resources.database.connect() as connection:
        conditions = GroupConditions(search)
        page = await groups_page(connection, conditions, Page(NAME, 10))
        assert await count_groups(connection, conditions) == len(found)
    assert [-row.owner_id for row in page.rows] == found


async def test_newest_first(resources: Resources) -> None:
    for number in (2, 3, 1):
        await upsert(resources, VkGroup(number, f"club{number}", ""))
    async with resources.database.connect() as connection:
        page = await groups_page(connection, GroupConditions(), Page(ADDED, 2))
    assert ([row.owner_id for row in page.rows], page.has_next) == ([-1, -3], True)


@pytest.mark.parametrize(("name", "found"), [("apiclub", -1), ("APICLUB", -1), ("api", None)])
async def test_a_community_by_screen_name(resources: Resources, name: str, found: int | None) -> None:
    await upsert(resources, ONE, TWO)
    async with resources.database.connect() as connection:
        row = await group_by_screen_name(connection, name)
    assert (row and row.owner_id) == found


async def test_communities_that_must_exist(resources: Resources) -> None:
    await upsert(resources, ONE)
    async with resources.database.connect() as connection:
        await require_groups(connection, [-1, -1])
        await require_groups(connection, [])
        with pytest.raises(GroupNotFound) as caught:
            await require_groups(connection, [-1, -7, -8])
        assert caught.value.vk_owner_id == -7
        assert set(await groups_by_key(connection, [(-1,), (-7,)])) == {(-1,)}


async def test_a_collected_community(resources: Resources) -> None:
    await upsert(resources, ONE, TWO)
    async with resources.database.transaction() as connection:
        await mark_groups_collected(connection, [-1])
        await mark_groups_collected(connection, [])
    rows = await read(resources, table)
    assert [key for key, row in rows.items() if row["collected_at"]] == [(-1,)]


@pytest.mark.parametrize(("labels", "found"), [((), []), (("shop", "x"), [-1]), (("Shop",), []), (None, [-BIG, -1])])
async def test_labels(resources: Resources, labels: tuple[str, ...] | None, found: list[int]) -> None:
    await upsert(resources, ONE, TWO)
    async with resources.database.transaction() as connection:
        assert (await update_group(connection, -1, {"labels": ["shop", "city"]})).labels == ["shop", "city"]
        assert (await update_group(connection, -1, {})).labels == ["shop", "city"]
        page = await groups_page(connection, GroupConditions(labels=labels), Page(NAME, 10))
        with pytest.raises(GroupNotFound):
            await update_group(connection, -9, {})
    assert sorted(row.owner_id for row in page.rows) == found
