"""`importGroups` and `importKeywords`, and uploaded files."""

import json
from typing import Any

import httpx2
import pytest

from app.resources import Resources, open_resources
from tests.conftest import Api, MakeSettings, serve, write_wall

GROUPS = """mutation ($file: Upload!) { importGroups(input: {file: $file}) { __typename
  ... on ImportGroupsSuccess { addedCount outcomes { reference outcome group { vkId } } }
  ... on ValidationFailedError { fields { path message } } ... on Error { code } } }"""
KEYWORDS = """mutation ($file: Upload!, $category: String) {
  importKeywords(input: {file: $file, category: $category, matching: EXACT_WORD}) { __typename
  ... on ImportKeywordsSuccess {
    addedCount job { id } outcomes { phrase outcome keyword { category matching matchCount commentCount } } }
  ... on ValidationFailedError { fields { path message } }
  ... on QueueFullError { limit } ... on ServiceUnavailableError { service } } }"""


NONE = {"matchCount": 0, "commentCount": 0}


async def send(
    api: Api, query: str, name: str, data: bytes, headers: dict[str, str] | None = None, **variables: Any
) -> httpx2.Response:
    """Send a file according to the GraphQL multipart request specification."""
    operations = {"query": query, "variables": {**variables, "file": None}}
    form = {"operations": json.dumps(operations), "map": json.dumps({"0": ["variables.file"]})}
    async with httpx2.AsyncClient() as http:
        return await http.post(f"{api.url}/graphql", data=form, files={"0": (name, data)}, headers=headers)


async def answer_to(api: Api, query: str, name: str, data: bytes, **variables: Any) -> dict[str, Any]:
    """Return the answer of a mutation that must be executed."""
    [answer] = (await send(api, query, name, data, **variables)).raise_for_status().json()["data"].values()
    return dict(answer)


async def test_import_groups(vk_api: Api) -> None:
    data = "Сообщество;Ссылка\nКофе;vk.com/club1\nнет;club777\nплохо;№!\nснова;-1\n".encode("windows-1251")
    answer = await answer_to(vk_api, GROUPS, "list.csv", data)
    assert (answer["__typename"], answer["addedCount"]) == ("ImportGroupsSuccess", 1)
    assert [(each["reference"], each["outcome"]) for each in answer["outcomes"]] == [
        ("vk.com/club1", "ADDED"),
        ("club777", "NOT_FOUND"),
        ("№!", "MALFORMED"),
        ("-1", "ALREADY_ADDED"),
    ]


async def test_import_keywords(api: Api, resources: Resources) -> None:
    assert resources
    data = "phrase,category,matching\nбанк,Деньги,\nдом,,word forms\nбанк,,\n…,,\n".encode()
    answer = await answer_to(api, KEYWORDS, "words.csv", data, category="Прочее")
    assert (answer["__typename"], answer["addedCount"], answer["job"]) == ("ImportKeywordsSuccess", 2, None)
    assert [(each["phrase"], each["outcome"], each["keyword"]) for each in answer["outcomes"]] == [
        ("банк", "ADDED", {"category": "Деньги", "matching": "EXACT_WORD", **NONE}),
        ("дом", "ADDED", {"category": "Прочее", "matching": "WORD_FORMS", **NONE}),
        ("банк", "ALREADY_EXISTS", {"category": "Деньги", "matching": "EXACT_WORD", **NONE}),
        ("…", "MALFORMED", None),
    ]


@pytest.mark.parametrize("query", [GROUPS, KEYWORDS], ids=["groups", "keywords"])
async def test_files_that_cannot_be_read(api: Api, query: str) -> None:
    many = "\n".join(f"club{number}" for number in range(1, 10_002)).encode()
    noun = "references" if query is GROUPS else "keywords"
    for data, message in (
        (b"", "is empty"),
        (b"PK\x03\x04\x00", "is not a text in UTF-8, UTF-16 or Windows-1251; save tables as CSV"),
        (b"x" * (10 * 2**20 + 1), "is larger than 10 MB"),
        (many, f"has more than 10000 {noun} in it"),
    ):
        answer = await answer_to(api, query, "a.txt", data)
        assert answer["fields"] == [{"path": "file", "message": message}]


async def test_an_unknown_matching(api: Api) -> None:
    answer = await answer_to(api, KEYWORDS, "a.csv", "дом\nбанк;;fuzzy".encode())
    message = "line 2: 'fuzzy' is not a matching; it must be one of WORD_FORMS, EXACT_WORD, SUBSTRING, CASE_SENSITIVE"
    assert answer["fields"] == [{"path": "file", "message": message}]


async def test_import_keywords_into_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as resources:
        await write_wall(resources)
        async for api in serve(resources):
            assert (await answer_to(api, KEYWORDS, "a.txt", b"one"))["__typename"] == "ImportKeywordsSuccess"
            assert (await answer_to(api, KEYWORDS, "a.txt", b"two"))["limit"] == 1


async def test_import_without_postgresql(api_without_postgresql: Api) -> None:
    assert (await answer_to(api_without_postgresql, KEYWORDS, "a.txt", b"one"))["service"] == "PostgreSQL"
    assert (await answer_to(api_without_postgresql, GROUPS, "a.txt", b"1"))["code"] == "SERVICE_UNAVAILABLE"


async def test_import_groups_when_vk_is_unavailable(api: Api) -> None:
    assert (await answer_to(api, GROUPS, "a.txt", b"1"))["__typename"] == "VkUnavailableError"


async def test_pages_of_other_origins_may_not_send_forms(api: Api, make_settings: MakeSettings) -> None:
    own = api.url
    for origin, status in ((own, 200), ("http://elsewhere.example", 400), ("null", 400)):
        reply = await send(api, KEYWORDS, "a.txt", b"one", {"Origin": origin})
        assert reply.status_code == status
    async with open_resources(make_settings(cors_origins="http://spa.example")) as resources:
        async for other in serve(resources):
            reply = await send(other, KEYWORDS, "a.txt", b"one", {"Origin": "http://spa.example"})
            assert reply.status_code == 200


async def test_invalid_forms(api: Api) -> None:
    good = {"operations": json.dumps({"query": "{ __typename }", "variables": {"file": None}}), "map": "{}"}
    file = {"0": ("a.txt", b"x")}
    async with httpx2.AsyncClient() as http:
        for form, files in (
            ({**good, "map": '{"0": ["variables.x.y"]}'}, file),
            ({**good, "map": '{"1": ["variables.file"]}'}, file),
            ({**good, "map": "[1]"}, file),
            ({**good, "map": "x"}, file),
            ({"map": "{}"}, file),
            ({**good, "more": "x", "and": "y"}, file),
            (good, {**file, "1": ("b.txt", b"y")}),
        ):
            reply = await http.post(f"{api.url}/graphql", data=form, files=files)
            assert (reply.status_code, "errors" in reply.json()) == (400, True), form
        kind = {"Content-Type": "multipart/form-data"}
        assert (await http.post(f"{api.url}/graphql", content=b"x", headers=kind)).status_code == 400
        reply = await http.post(f"{api.url}/graphql", data=good, files={"0": ("a.txt", b"x" * 12 * 2**20)})
        assert reply.status_code == 413
        # a variable that is not a file
        body = {"query": GROUPS, "variables": {"file": "text"}}
        errors = (await http.post(f"{api.url}/graphql", json=body)).json()["errors"]
    assert "must be a file" in errors[0]["message"]
