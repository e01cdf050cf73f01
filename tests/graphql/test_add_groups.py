"""`addGroups`: each member of its union, and those of `importGroups` that VK causes."""

from collections.abc import Callable

import pytest

from app.resources import open_resources
from tests.conftest import Api, MakeSettings, Simulator, serve
from tests.graphql.test_uploads import GROUPS as IMPORT
from tests.graphql.test_uploads import answer_to

ADD = """
mutation ($references: [String!]!) {
  addGroups(input: {references: $references}) {
    __typename
    ... on AddGroupsSuccess { addedCount outcomes { reference outcome message group { vkId screenName name } } }
    ... on Error { code message }
    ... on ValidationFailedError { fields { path message } }
    ... on VkAccessDeniedError { vkCode }
    ... on VkRateLimitedError { retryAfterSeconds }
    ... on VkTokenError { vkCode }
    ... on VkRequestRefusedError { vkCode }
    ... on ServiceUnavailableError { service retryAfterSeconds }
  }
}"""


async def test_add_groups_by_every_kind_of_reference(vk_api: Api) -> None:
    references = ["teply_polden_coffee", "https://vk.com/club1", "-1", "club777777", "what is this?"]
    answer = (await vk_api.execute(ADD, references=references))["addGroups"]
    assert answer["__typename"] == "AddGroupsSuccess"
    assert answer["addedCount"] == 1
    assert [outcome["reference"] for outcome in answer["outcomes"]] == references
    assert [outcome["outcome"] for outcome in answer["outcomes"]] == [
        "ADDED",
        "ALREADY_ADDED",
        "ALREADY_ADDED",
        "NOT_FOUND",
        "MALFORMED",
    ]
    assert [outcome["group"] and outcome["group"]["vkId"] for outcome in answer["outcomes"]] == [1, 1, 1, None, None]
    again = (await vk_api.execute(ADD, references=["1"]))["addGroups"]
    assert again["addedCount"] == 0


async def test_add_groups_without_references(vk_api: Api) -> None:
    answer = (await vk_api.execute(ADD, references=[]))["addGroups"]
    assert answer["__typename"] == "ValidationFailedError"
    assert answer["fields"] == [{"path": "references", "message": "must contain between 1 and 10000 references"}]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"code": 10}, {"__typename": "VkUnavailableError", "code": "VK_UNAVAILABLE"}),
        ({"http": 500}, {"__typename": "VkUnavailableError", "code": "VK_UNAVAILABLE"}),
        ({"code": 15}, {"__typename": "VkAccessDeniedError", "code": "VK_ACCESS_DENIED", "vkCode": 15}),
        ({"code": 29}, {"__typename": "VkRateLimitedError", "code": "VK_RATE_LIMITED", "retryAfterSeconds": 3600.0}),
        ({"code": 5}, {"__typename": "VkTokenError", "code": "VK_TOKEN", "vkCode": None}),
        ({"code": 100}, {"__typename": "VkRequestRefusedError", "code": "VK_REQUEST_REFUSED", "vkCode": 100}),
    ],
    ids=str,
)
async def test_add_and_import_groups_when_vk_fails(
    vk_api: Api, simulator: Simulator, fault: dict[str, int], expected: dict[str, object]
) -> None:
    simulator.control(faults=[{**fault, "times": 100}])
    answer = (await vk_api.execute(ADD, references=["1"]))["addGroups"]
    message = answer.pop("message")
    assert message
    assert answer == expected
    imported = await answer_to(vk_api, IMPORT, "a.txt", b"1")
    assert imported == {"__typename": expected["__typename"], "code": expected["code"]}


async def test_add_groups_without_a_token(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(vk_tokens=())) as opened:
        async for api in serve(opened):
            answer = (await api.execute(ADD, references=["1"]))["addGroups"]
    assert answer["__typename"] == "VkTokenError"
    assert answer["message"] == "No VK token is configured. Set VK_TOKENS."
    assert answer["vkCode"] is None


async def test_add_groups_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    answer = (await api_without_postgresql.execute(ADD, references=["1"]))["addGroups"]
    assert answer["__typename"] == "ServiceUnavailableError"
    assert answer["service"] == "PostgreSQL"
    assert answer["retryAfterSeconds"] == 1.0


async def test_add_a_closed_group(make_settings: MakeSettings, simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(groups=1, walls={1: "members"})
    async with open_resources(make_settings(vk_api_url=simulator.url)) as resources:
        async for api in serve(resources):
            answer = (await api.execute(ADD, references=["1", "club1"]))["addGroups"]
    assert answer["addedCount"] == 1
    assert [(each["outcome"], each["group"]["vkId"]) for each in answer["outcomes"]] == [("CLOSED", 1), ("CLOSED", 1)]
    assert "was added, but it is closed: only its members can read it." in answer["outcomes"][0]["message"]
    assert "was already added, but it is closed: only its members can read it." in answer["outcomes"][1]["message"]
