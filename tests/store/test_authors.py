import asyncio
from dataclasses import replace

from app.db.tables import authors as table
from app.resources import Resources
from app.store.authors import authors_by_key, upsert_authors
from app.wall import VkAuthor
from tests.conftest import statements
from tests.store.rows import BIG, age, read

ANNA = VkAuthor(5, "Анна", "anna", "photo")
CLUB = VkAuthor(-BIG, "Клуб", None, None, "banned")


async def upsert(resources: Resources, *found: VkAuthor) -> None:
    async with resources.database.transaction() as connection:
        await upsert_authors(connection, found)


async def test_people_and_communities(resources: Resources) -> None:
    await upsert(resources, ANNA, CLUB)
    async with resources.database.connect() as connection:
        found = await authors_by_key(connection, [(5,), (-BIG,), (6,)])
    assert {
        key: VkAuthor(row.id, row.name, row.screen_name, row.photo_url, row.deactivated) for key, row in found.items()
    } == {
        (5,): ANNA,
        (-BIG,): CLUB,
    }


async def test_one_statement_for_all_rows(resources: Resources) -> None:
    people = [VkAuthor(number, f"Author {number}") for number in range(3000)]
    async with resources.database.transaction() as connection:
        with statements(resources) as seen:
            await upsert_authors(connection, people)
            await upsert_authors(connection, [])
    assert len(seen) == 1
    assert len(await read(resources, table)) == 3000


async def test_storing_equal_values_again_changes_nothing(resources: Resources) -> None:
    await upsert(resources, ANNA, replace(ANNA, name="Old"), ANNA)
    before = await read(resources, table)
    await upsert(resources, ANNA)
    assert await read(resources, table) == before


async def test_changed_values_are_updated(resources: Resources) -> None:
    await upsert(resources, ANNA)
    await upsert(resources, replace(ANNA, name="Анна Мария", photo_url=None, deactivated="deleted"))
    row = (await read(resources, table))[(5,)]
    assert (row["name"], row["screen_name"], row["photo_url"]) == ("Анна Мария", "anna", None)
    assert row["deactivated"] == "deleted"
    assert row["last_seen_at"] > row["first_seen_at"]


async def test_last_seen_is_exact_to_a_day(resources: Resources) -> None:
    await upsert(resources, ANNA)
    await age(resources, table, "25 hours")
    before = (await read(resources, table))[(5,)]["last_seen_at"]
    await upsert(resources, ANNA)
    assert (await read(resources, table))[(5,)]["last_seen_at"] > before


async def test_two_writers_of_the_same_rows(resources: Resources) -> None:
    people = [VkAuthor(number, "") for number in range(500)]
    for turn in range(5):
        mine = [replace(person, name=f"a{turn}") for person in people]
        yours = [replace(person, name=f"b{turn}") for person in people[::-1]]
        await asyncio.gather(upsert(resources, *mine), upsert(resources, *yours))
    assert len({row["name"] for row in (await read(resources, table)).values()}) == 1
