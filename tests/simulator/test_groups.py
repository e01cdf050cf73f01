from typing import Any

import pytest

from simulator import DEMO_SCREEN_NAME, SimulatorOptions
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID, PERSON_ID_STEP
from tests.simulator.vk import SMALL, Vk

MEMBERS_ONLY, BANNED = FIRST_GUEST_ID + 4, FIRST_GUEST_ID + 7


async def test_groups_found_by_words(vk: Vk) -> None:
    name = (await vk.answer("groups.getById", group_id=1))["groups"][0]["name"]
    found = await vk.answer("groups.search", q=name.upper())
    assert (found["count"], found["items"][0]["id"]) == (1, 1)
    assert (await vk.answer("groups.search", q=f"{name} никто_так_не_пишет")) == {"count": 0, "items": []}
    everything = await vk.answer("groups.search", q="о", count=1000)
    ids = [group["id"] for group in everything["items"]]
    assert everything["count"] == len(ids) > 4
    assert BANNED not in ids
    page = await vk.answer("groups.search", q="о", count=2, offset=1)
    assert [group["id"] for group in page["items"]] == ids[1:3]


@pytest.mark.parametrize(
    ("sent", "holds"),
    [
        ({"type": "group"}, lambda group: group["type"] == "group"),
        ({"type": "page"}, lambda group: group["type"] == "page"),
        ({"city_id": 1}, lambda _group: True),
    ],
)
async def test_groups_of_one_kind(vk: Vk, sent: dict[str, object], holds: Any) -> None:
    found = (await vk.answer("groups.search", q="о", **sent))["items"]
    assert found
    assert all(holds(group) for group in found)


@pytest.mark.parametrize("sent", [{"type": "event", "future": 1}, {"market": 1}, {"type": "event"}, {"city_id": 99}])
async def test_groups_of_a_kind_that_does_not_exist(vk: Vk, sent: dict[str, object]) -> None:
    assert (await vk.answer("groups.search", q="о", **sent))["count"] == 0


async def test_groups_by_members(vk: Vk) -> None:
    found = (await vk.answer("groups.search", q="о", sort=6))["items"]
    ids = ",".join(str(group["id"]) for group in found)
    returned = (await vk.answer("groups.getById", group_ids=ids, fields="members_count"))["groups"]
    counts = [group.get("members_count", 0) for group in returned]
    assert counts == sorted(counts, reverse=True)


async def test_no_more_than_a_thousand_groups_are_found() -> None:
    vk = Vk(SimulatorOptions(groups=1100, posts=0, comments=0, rps=0))
    async with vk.http:
        assert len((await vk.answer("groups.search", q="о", count=1000))["items"]) == 1000
        assert len((await vk.answer("groups.search", q="о", count=1000, offset=990))["items"]) == 10


async def test_paging_returns_all_members(vk: Vk) -> None:
    community = (await vk.answer("groups.getById", group_id=1, fields="members_count"))["groups"][0]
    members: list[int] = []
    while True:
        page = await vk.answer("groups.getMembers", group_id=DEMO_SCREEN_NAME, offset=len(members))
        members += page["items"]
        if len(members) >= page["count"]:
            break
    assert len(members) == community["members_count"] > 4000
    assert members == sorted(set(members))
    newest = await vk.answer("groups.getMembers", group_id=1, sort="id_desc", count=3)
    assert newest["items"] == members[:-4:-1]
    second = await vk.answer("groups.getMembers", group_id=1, sort="id_desc", count=3, offset=3)
    assert second["items"] == members[-4:-7:-1]
    behind = await vk.answer("groups.getMembers", group_id=1, sort="id_desc", offset=len(members))
    assert behind["items"] == []
    assert (await vk.answer("groups.getMembers", group_id=1, count=0))["items"] == []


async def test_profiles_of_members(vk: Vk) -> None:
    plain = (await vk.answer("groups.getMembers", group_id=1, count=500))["items"]
    returned = (await vk.answer("groups.getMembers", group_id=1, count=500, fields="sex"))["items"]
    assert [profile["id"] for profile in returned] == plain
    assert {"DELETED"} < {profile["first_name"] for profile in returned}
    assert (await vk.answer("users.get", user_ids=",".join(map(str, plain)), fields="sex")) == returned


async def test_accounts_that_never_existed(vk: Vk) -> None:
    known = Vk(SMALL)
    size = 2 * (SMALL.comments // 4)
    first_deleted = FIRST_PERSON_ID + size * PERSON_ID_STEP
    async with known.http:
        assert (await vk.answer("users.get", user_ids=first_deleted))[0]["deactivated"] == "deleted"
        for nobody in (first_deleted + 1, FIRST_PERSON_ID - PERSON_ID_STEP, 10**10):
            assert await vk.refusal("users.get", user_ids=nobody) == (113, "Invalid user id")


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        ({"group_id": 77}, (125, "Invalid group id")),
        ({"group_id": "nobody"}, (125, "Invalid group id")),
        ({"group_id": BANNED}, (125, "Invalid group id")),
        ({"group_id": MEMBERS_ONLY}, (15, "Access denied: group hide members")),
        ({"group_id": 1, "sort": "time_desc"}, (15, "Access denied: you should be group moderator")),
        ({"group_id": 1, "filter": "managers"}, (15, "Access denied: you should be group moderator")),
    ],
)
async def test_members_that_are_not_visible(vk: Vk, sent: dict[str, object], refusal: tuple[int, str]) -> None:
    assert await vk.refusal("groups.getMembers", **sent) == refusal


@pytest.mark.parametrize("chosen", ["friends", "donut", "unsure"])
async def test_members_of_a_kind_that_does_not_exist(vk: Vk, chosen: str) -> None:
    assert await vk.answer("groups.getMembers", group_id=1, filter=chosen) == {"count": 0, "items": []}
