"""`startExport`: each member of its union; its files contain the same values as the API."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import httpx2
import openpyxl
import pytest
from openpyxl.utils.escape import unescape
from pyarrow import parquet
from sqlalchemy import text

from app.background import open_worker
from app.exports import parquet as our_parquet
from app.exports.csv import FORMULA_STARTS
from app.exports.options import ExportColumn
from app.exports.xlsx import CUT
from app.resources import Resources, open_resources
from app.store import authors, comments, groups, posts
from app.wall import VkAuthor, VkGroup
from tests.conftest import Api, MakeSettings, serve, until
from tests.exports.nasty import NASTY
from tests.graphql.conftest import gid
from tests.store.rows import comment, post, stub

START = """
mutation ($input: StartExportInput!) {
  startExport(input: $input) {
    __typename
    ... on StartExportSuccess { job { id kind state priority timeoutSeconds groups { vkId } result { __typename } } }
    ... on ValidationFailedError { fields { path message } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code message }
  }
}"""
JOB = """
query ($id: ID!) { job(id: $id) { state failure { code } result { ... on ExportResult {
  url name format compression columns rowCount truncatedTextCount byteCount sha256 expiresAt } } } }"""
COMMENTS = """
query ($filter: CommentFilter) { comments(first: 500, filter: $filter, orderBy: OLDEST) { nodes {
  vkId vkOwnerId vkUrl text publishedAt changedAt likeCount isDeleted viewedAt archivedAt
  attachments { kind } author { vkId name } thread { vkId } inReplyTo { vkId } post { vkId group { name } } } } }"""


async def start(api: Api, **arguments: Any) -> dict[str, Any]:
    """Start an export and return the answer."""
    answer: dict[str, Any] = (await api.execute(START, input=arguments))["startExport"]
    return answer


async def test_start_export_queues_a_job(api: Api) -> None:
    answer = await start(
        api,
        format="CSV",
        filter={"search": "кофе", "or": [{"minLikes": 1}, {"isReply": True}]},
        columns=["TEXT", "VK_ID"],
        compression="GZIP",
        csv={"delimiter": "COMMA", "escapeFormulas": False, "byteOrderMark": False},
        priority="LOW",
        timeoutSeconds=60,
    )
    assert answer == {
        "__typename": "StartExportSuccess",
        "job": {
            "id": gid("Job", 1),
            "kind": "EXPORT_COMMENTS",
            "state": "QUEUED",
            "priority": "LOW",
            "timeoutSeconds": 60.0,
            "groups": [],
            "result": None,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"columns": []}, "columns"),
        ({"columns": ["TEXT", "TEXT"]}, "columns"),
        ({"format": "XLSX", "compression": "GZIP"}, "compression"),
        ({"format": "JSON_LINES", "csv": {"delimiter": "COMMA"}}, "csv"),
        ({"timeoutSeconds": 0}, "timeoutSeconds"),
        ({"filter": {"groupIds": ["x"]}}, "filter.groupIds.0"),
        ({"filter": {"search": ""}}, "filter.search"),
        ({"filter": {"not": {"or": [{"keywordCategories": ["a\0"]}]}}}, "filter"),
    ],
    ids=str,
)
async def test_start_export_with_invalid_input(api: Api, arguments: dict[str, Any], path: str) -> None:
    answer = await start(api, **{"format": "CSV", **arguments})
    assert answer["__typename"] == "ValidationFailedError"
    assert [field["path"] for field in answer["fields"]] == [path]


async def test_start_export_without_pyarrow(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await start(api, format="PARQUET"))["__typename"] == "StartExportSuccess"
    monkeypatch.setattr(our_parquet, "find_spec", lambda _: None)
    answer = await start(api, format="PARQUET")
    assert [field["path"] for field in answer["fields"]] == ["format"]
    assert "pip install pyarrow" in answer["message"]


async def test_start_export_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        async for api in serve(opened):
            assert (await start(api, format="CSV"))["__typename"] == "StartExportSuccess"
            answer = await start(api, format="CSV")
    assert (answer["__typename"], answer["limit"]) == ("QueueFullError", 1)


async def test_start_export_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    answer = await start(api_without_postgresql, format="CSV")
    assert (answer["__typename"], answer["service"]) == ("ServiceUnavailableError", "PostgreSQL")


# round trips


@pytest.fixture
async def _nasty(resources: Resources) -> None:
    """Write a wall of texts that are hard to encode: comments, replies, a stub, names."""
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "one", '=Group; "1"')])
        await posts.upsert_posts(connection, [post(1)])
        await authors.upsert_authors(connection, [VkAuthor(5, "+Имя\nФамилия 👍", "id5")])
        photo: list[dict[str, Any]] = [{"type": "photo", "photo": {"id": 1}}, {"type": "sticker", "sticker": {}}]
        found = [
            comment(number, words, likes=number, date=1_772_323_200 + number, attachments=photo if number % 3 else [])
            for number, words in enumerate(NASTY, 2)
        ]
        reply = comment(500, "reply", thread_id=2, reply_to_id=3, date=1_772_324_200)
        await comments.upsert_comments(connection, [*found, reply, stub(501)], 0)
        await connection.execute(text("UPDATE comments SET viewed_at = '2026-03-02T01:02:03Z' WHERE id = 2"))
        await connection.execute(text("UPDATE comments SET published_at = '2026-04-01' WHERE id = 501"))


@pytest.fixture
async def working_api(resources: Resources, _nasty: None) -> AsyncIterator[Api]:
    """Serve the API with a worker."""
    async with open_worker(resources, 4):
        async for served in serve(resources):
            yield served


async def exported(api: Api, **arguments: Any) -> tuple[dict[str, Any], bytes]:
    """Export, and return the result and the downloaded file."""
    job_id = (await start(api, **arguments))["job"]["id"]

    async def end() -> dict[str, Any] | None:
        job: dict[str, Any] = (await api.execute(JOB, id=job_id))["job"]
        return job if job["state"] not in ("QUEUED", "RUNNING") else None

    job = await until(end)
    assert job["state"] == "SUCCEEDED", job
    async with httpx2.AsyncClient() as http:
        reply = await http.get(f"{api.url}{job['result']['url']}")
    assert reply.status_code == 200
    return job["result"], reply.content


def as_row(node: dict[str, Any]) -> dict[str, Any]:
    """Return a comment of the API under the names of columns."""

    def time(value: str | None) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)

    return {
        **{name: node[name] for name in ("vkId", "vkOwnerId", "vkUrl", "text", "likeCount", "isDeleted")},
        **{name: time(node[name]) for name in ("publishedAt", "changedAt", "viewedAt", "archivedAt")},
        "attachments": [each["kind"] for each in node["attachments"]],
        "authorVkId": node["author"] and node["author"]["vkId"],
        "authorName": node["author"] and node["author"]["name"],
        "threadVkId": node["thread"] and node["thread"]["vkId"],
        "inReplyToVkId": node["inReplyTo"] and node["inReplyTo"]["vkId"],
        "isReply": node["thread"] is not None,
        "vkPostId": node["post"]["vkId"],
        "groupName": node["post"]["group"]["name"],
    }


COLUMNS = [
    "VK_ID", "VK_OWNER_ID", "VK_URL", "TEXT", "LIKE_COUNT", "IS_DELETED", "PUBLISHED_AT", "CHANGED_AT", "VIEWED_AT",
    "ARCHIVED_AT", "ATTACHMENTS", "AUTHOR_VK_ID", "AUTHOR_NAME", "THREAD_VK_ID", "IN_REPLY_TO_VK_ID", "IS_REPLY",
    "VK_POST_ID", "GROUP_NAME",
]  # fmt: skip
NAMES = [ExportColumn[name].value for name in COLUMNS]
TIMES = ("publishedAt", "changedAt", "viewedAt", "archivedAt")


async def all_comments_of_api(api: Api) -> list[dict[str, Any]]:
    """Return all comments of the API, in the order of exports and of their columns."""
    nodes = (await api.execute(COMMENTS))["comments"]["nodes"]
    assert len(nodes) == len(NASTY) + 2
    return sorted(({name: as_row(node)[name] for name in NAMES} for node in nodes), key=lambda row: row["vkId"])


async def test_json_lines_equal_the_api(working_api: Api) -> None:
    result, data = await exported(working_api, format="JSON_LINES", columns=COLUMNS)
    found = [json.loads(line) for line in data.splitlines()]
    for row in found:
        row.update({name: row[name] and datetime.fromisoformat(row[name]) for name in TIMES})
    assert found == await all_comments_of_api(working_api)
    assert result["columns"] == COLUMNS
    assert result["rowCount"] == len(found)
    assert result["byteCount"] == len(data)


async def test_parquet_equals_the_api(working_api: Api) -> None:
    _, data = await exported(working_api, format="PARQUET", columns=COLUMNS)
    assert parquet.read_table(io.BytesIO(data)).to_pylist() == await all_comments_of_api(working_api)


def seconds(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


def in_csv(value: Any, escape: Callable[[str], str]) -> str:
    """Return a value in CSV's form."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) or value is None:
        return seconds(value)
    if isinstance(value, list):
        return ", ".join(map(escape, value))
    return escape(value) if isinstance(value, str) else str(value)


def apostrophe(words: str) -> str:
    return f"'{words}" if words and words[0] in FORMULA_STARTS else words


@pytest.mark.parametrize("escapes", [True, False])
async def test_csv_equals_the_api(working_api: Api, *, escapes: bool) -> None:
    _, data = await exported(
        working_api, format="CSV", columns=COLUMNS, csv={"escapeFormulas": escapes, "delimiter": "COMMA"}
    )
    assert data.startswith(b"\xef\xbb\xbfvkId,vkOwnerId,")
    lines = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    escape: Callable[[str], str] = apostrophe if escapes else str
    expected = [
        {name: in_csv(value, escape) for name, value in row.items()} for row in await all_comments_of_api(working_api)
    ]
    assert list(lines) == expected


async def test_xlsx_equals_the_api(working_api: Api) -> None:
    result, data = await exported(working_api, format="XLSX", columns=COLUMNS)
    sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "b", "d", "inlineStr"}
    head, *lines = sheet.iter_rows(values_only=True)
    assert list(head) == [f"{name} (UTC)" if name in TIMES else name for name in NAMES]
    cut = 0
    for line, row in zip(lines, await all_comments_of_api(working_api), strict=True):
        found = {
            name: unescape(value) if isinstance(value, str) else value for name, value in zip(NAMES, line, strict=True)
        }
        if found["text"].endswith(CUT):
            cut += 1
            assert row["text"].startswith(found["text"].removesuffix(CUT))
            row["text"] = found["text"]
        for name in TIMES:
            row[name] = row[name] and row[name].replace(tzinfo=None, microsecond=row[name].microsecond // 1000 * 1000)
            found[name] = found[name] and found[name].replace(microsecond=found[name].microsecond // 1000 * 1000)
        row["attachments"] = ", ".join(row["attachments"]) or None
        assert found == row
    assert result["truncatedTextCount"] == cut == 3


async def test_the_file_has_the_selected_comments_and_columns(working_api: Api) -> None:
    selected = {"not": {"isReply": True}, "minLikes": 5}
    _, data = await exported(working_api, format="JSON_LINES", filter=selected, columns=["VK_ID"])
    nodes = (await working_api.execute(COMMENTS, filter=selected))["comments"]["nodes"]
    assert [json.loads(line)["vkId"] for line in data.splitlines()] == [node["vkId"] for node in nodes]
    assert nodes


async def test_an_expired_file(working_api: Api, resources: Resources) -> None:
    result, _ = await exported(working_api, format="JSON_LINES", compression="ZSTD")
    assert (result["format"], result["compression"]) == ("JSON_LINES", "ZSTD")
    assert result["url"] == f"/exports/1/{result['name']}"
    async with resources.database.transaction() as connection:
        past = 'UPDATE jobs SET result = result || \'{"expires_at": "2026-01-01T00:00:00+00:00"}\''
        await connection.execute(text(past))
    answer = (await working_api.execute(JOB, id=gid("Job", 1)))["job"]["result"]
    assert answer["url"] is None
