"""`vk-comments export` against a running server."""

import asyncio
import hashlib
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import zstandard
from rich.console import Console
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from app.background import open_worker
from app.cli import client as connections
from app.cli.client import Client, RequestFailed
from app.cli.commands import app
from app.cli.export import columns_named, download, joined_filter, kind_of, summary
from app.exports.options import Compression, ExportFormat
from app.resources import Resources
from tests.conftest import Api, Wall, serve, serving
from tests.processes import environment


@pytest.fixture
async def working_api(resources: Resources, wall: Wall) -> AsyncIterator[Api]:
    """Serve the API with a worker and a wall of 12 comments."""
    assert wall.owner_id == -1
    async with open_worker(resources, 2):
        async for served in serve(resources):
            yield served


async def export(api: Api, path: Path, *arguments: str) -> Result:
    """Run the command in a thread of this process."""
    command = ["export", "-o", str(path), "--server", api.url, *arguments]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command))


def names(directory: Path) -> set[str]:
    """Return the names of all entries of a directory."""
    return {path.name for path in directory.iterdir()}


async def error_of(api: Api, path: Path, *arguments: str) -> str:
    """Run a command that must fail, and return its error."""
    result = await export(api, path, *arguments)
    assert isinstance(result.exception, RequestFailed), result.output
    return result.exception.message


async def test_an_export_in_a_separate_process(working_api: Api, tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.cli", "export", "-o", str(path), "--server", working_api.url),
        env=environment(),
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = (text.decode() for text in await process.communicate())
    assert (process.returncode, errors) == (0, "")
    assert "12/12 100%" in output
    assert "downloading" in output
    assert output.endswith(f"12 comments, {path.stat().st_size:,} bytes: {path}.\n")
    assert path.read_bytes().startswith(b"\xef\xbb\xbfgroupName;vkOwnerId;")
    assert names(tmp_path) - {"exports"} == {"comments.csv"}


MATCHES = """
    INSERT INTO keywords (phrase, matching, is_active) VALUES ('Comment', 'WORD_FORMS', true);
    INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
    SELECT owner_id, id, 1, published_at, '{0,7}' FROM comments WHERE id < 14"""


async def test_the_request_of_the_command(working_api: Api, resources: Resources, tmp_path: Path) -> None:
    async with resources.database.transaction() as connection:
        for sql in MATCHES.split(";"):
            await connection.execute(text(sql))
    path = tmp_path / "a.jsonl.zst"
    requested = [
        *("--group", "https://vk.com/group1", "--group", "-1", "--keyword", "comment", "--search", "comment"),
        *("--since", "2026-03-01T00:02:00", "--until", "2026-03-01T01:00:00", "--columns", "vkId, TEXT"),
        *("--filter", '{"not": {"isReply": true}}'),
    ]
    result = await export(working_api, path, *requested)
    assert result.exit_code == 0, result.output
    data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    found = [json.loads(line) for line in data.splitlines()]
    assert [list(row) for row in found] == [["vkId", "text"]] * len(found)
    assert [row["vkId"] for row in found] == [2, 4, 7, 9, 12]
    assert f"5 comments, {path.stat().st_size} bytes: {path}." in result.output


async def test_invalid_arguments(working_api: Api, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert "has not been added" in await error_of(working_api, path, "--group", "999")
    assert "is empty" in await error_of(working_api, path, "--group", "")
    assert "The keyword 'нет' does not exist" in await error_of(working_api, path, "--keyword", "нет")
    assert "'colour' is not a column. The columns are vkOwnerId, " in await error_of(
        working_api, path, "--columns", "colour"
    )
    assert "--filter is not JSON" in await error_of(working_api, path, "--filter", "{")
    assert "must be a JSON object" in await error_of(working_api, path, "--filter", "[]")
    assert "minLike" in await error_of(working_api, path, "--filter", '{"minLike": 1}')
    assert "compression: must be omitted for XLSX" in await error_of(
        working_api, path, "--format", "xlsx", "--compression", "gzip"
    )
    assert "is a directory" in await error_of(working_api, tmp_path)
    assert "does not exist" in await error_of(working_api, tmp_path / "none" / "a.csv")
    path.write_text("existing")
    assert "exists already. Use --force" in await error_of(working_api, path)
    assert path.read_text() == "existing"
    assert (await export(working_api, path, "--force", "--delimiter", ",")).exit_code == 0
    assert path.read_bytes().startswith(b"\xef\xbb\xbfgroupName,")
    assert "No VK Comments server answers" in await error_of(Api("http://127.0.0.1:9"), path, "--force")


async def test_an_export_that_fails(working_api: Api, resources: Resources, tmp_path: Path) -> None:
    (resources.settings.data_dir / "exports").touch()
    path = tmp_path / "a.csv"
    assert (await error_of(working_api, path)).startswith(
        "The export is FAILED. The job failed with an unexpected error"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "format", "compression", "expected"),
    [
        ("a.csv", None, None, ("CSV", None)),
        ("a.XLSX", None, None, ("XLSX", None)),
        ("a.b.jsonl.gz", None, None, ("JSON_LINES", "GZIP")),
        ("a.parquet", None, Compression.ZSTD, ("PARQUET", "ZSTD")),
        ("a.csv.gz", None, Compression.ZSTD, ("CSV", "ZSTD")),
        ("a.txt", None, None, ("CSV", None)),
        ("a", ExportFormat.PARQUET, None, ("PARQUET", None)),
    ],
)
def test_kinds(
    name: str, format: ExportFormat | None, compression: Compression | None, expected: tuple[str, str | None]
) -> None:
    assert kind_of(Path(name), format, compression) == expected


def test_conversion_of_arguments() -> None:
    assert columns_named("") is None
    assert columns_named(" vkid,,likeCount") == ["VK_ID", "LIKE_COUNT"]
    assert joined_filter(None, search=None, groupIds=[]) is None
    assert joined_filter(None, search="a", groupIds=[]) == {"search": "a"}
    assert joined_filter('{"a": 1}', search=None) == {"a": 1}
    assert joined_filter('{"a": 1}', search="b") == {"and": [{"a": 1}, {"search": "b"}]}
    result = {"rowCount": 1_234, "byteCount": 5, "truncatedTextCount": 2}
    text = "1,234 comments, 5 bytes: a.xlsx. 2 texts were too long for Excel; they are cut and end with a mark."
    assert summary(result, Path("a.xlsx")) == text


# the download

DATA = bytes(range(256)) * 4_000
RESULT = {"url": "/file", "byteCount": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}


@contextmanager
def server_that_breaks(answers: list[Any]) -> Iterator[tuple[str, list[str | None]]]:
    """Serve a file with errors: each answer is the number of bytes before the connection breaks, or a status."""
    requested: list[str | None] = []

    async def broken_body(first: int, count: int) -> AsyncIterator[bytes]:
        yield DATA[first : first + count]
        if first + count < len(DATA):
            raise ConnectionResetError

    async def answer(request: Request) -> Response:
        requested.append(request.headers.get("range"))
        how, status = answers.pop(0), 200
        if isinstance(how, Response):
            return how
        first = 0
        if header := request.headers.get("range"):
            assert request.headers["if-range"] == f'"{RESULT["sha256"]}"'
            first, status = int(header.removeprefix("bytes=").removesuffix("-")), 206
        size = {"Content-Length": str(len(DATA) - first)}
        return StreamingResponse(broken_body(first, how), status, size)

    with serving(Starlette(routes=[Route("/file", answer)])) as url:
        yield url, requested


@pytest.fixture(autouse=True)
def _reconnect_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr(connections, "RECONNECTS", 2)


async def download_file(url: str, path: Path, **changes: Any) -> None:
    """Download the file."""
    await download(Client(url), Console(file=StringIO()), {**RESULT, **changes}, path)


async def test_a_lost_download_resumes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    busy = Response(status_code=503)
    with server_that_breaks([1_000, busy, 500_000, len(DATA)]) as (url, requested):
        await download_file(url, path)
    assert path.read_bytes() == DATA
    assert requested == [None, "bytes=1000-", "bytes=1000-", "bytes=501000-"]
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([10, Response(status_code=404)], "with status 404"),
        ([10, Response(DATA)], "with status 200"),
        ([Response(status_code=500)] * 3, "is lost, so the download failed"),
        ([Response(DATA[1:] + b"x")], "file is damaged"),
    ],
    ids=["expired", "another one", "away", "damaged"],
)
async def test_a_file_that_cannot_be_downloaded(tmp_path: Path, answers: list[Any], why: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with server_that_breaks([*answers]) as (url, _), pytest.raises(RequestFailed, match=why):
        await download_file(url, path)
    assert path.read_text() == "old"
    assert names(tmp_path) == {"file"}


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "none" / "file"
    with pytest.raises(RequestFailed, match=r"Cannot write .*: No such file or directory"):
        await download_file("http://127.0.0.1:9", path)


async def test_an_empty_file(tmp_path: Path) -> None:
    await download_file("http://127.0.0.1:9", tmp_path / "file", byteCount=0, sha256=hashlib.sha256(b"").hexdigest())
    assert (tmp_path / "file").read_bytes() == b""
