"""`GET /exports/{id}/{name}`: files of exports, whole and in parts, for authorized clients."""

import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.db.engine import open_database
from app.exports.options import Compression, ExportFormat, ExportOptions
from app.resources import Resources, open_resources
from app.settings import Settings
from app.work.exporting.export_files import export_directory
from app.work.kinds import JobKind
from tests.conftest import Api, MakeSettings, Wall, serve
from tests.jobs.conftest import run_handler
from tests.jobs.test_export_comments import claimed_export


async def make(resources: Resources, options: ExportOptions | None = None) -> tuple[int, dict[str, Any]]:
    """Create a file, and return its job's id and its facts."""
    job = await claimed_export(resources, options or ExportOptions(ExportFormat.JSON_LINES))
    return job.id, await run_handler(job, JobKind.EXPORT_COMMENTS)


@pytest.fixture
async def http(api: Api, wall: Wall) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client of the server."""
    assert wall.owner_id == -1
    async with httpx2.AsyncClient(base_url=api.url) as client:
        yield client


async def test_a_whole_file_and_parts_of_it(http: httpx2.AsyncClient, resources: Resources) -> None:
    job_id, facts = await make(resources)
    path = f"/exports/{job_id}/{facts['name']}"
    whole = await http.get(path)
    data = (export_directory(resources.settings) / str(job_id) / facts["name"]).read_bytes()
    assert (whole.status_code, whole.content) == (200, data)
    tag = f'"{facts["sha256"]}"'
    expected = {
        "content-type": "application/jsonl; charset=utf-8",
        "content-length": str(facts["bytes"]),
        "content-disposition": f'attachment; filename="{facts["name"]}"',
        "accept-ranges": "bytes",
        "etag": tag,
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }
    assert {name: whole.headers[name] for name in expected} == expected

    head = await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in expected} == expected

    part = await http.get(path, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"
    rest = await http.get(path, headers={"Range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, data[100:])
    assert (await http.get(path, headers={"Range": f"bytes={len(data)}-"})).status_code == 416
    other = await http.get(path, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, data)

    unchanged = await http.get(path, headers={"If-None-Match": f'"x", {tag}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    assert (await http.post(path)).status_code == 405


@pytest.mark.parametrize(
    ("options", "media_type"),
    [
        (ExportOptions(ExportFormat.CSV), "text/csv; charset=utf-8"),
        (ExportOptions(ExportFormat.CSV, compression=Compression.GZIP), "application/gzip"),
    ],
    ids=["csv", "csv.gz"],
)
async def test_media_types(
    http: httpx2.AsyncClient, resources: Resources, options: ExportOptions, media_type: str
) -> None:
    job_id, facts = await make(resources, options)
    reply = await http.get(f"/exports/{job_id}/{facts['name']}")
    assert reply.headers["content-type"] == media_type
    # a compressed file was requested: clients must not decompress it
    assert "content-encoding" not in reply.headers


async def test_files_that_do_not_exist(http: httpx2.AsyncClient, resources: Resources) -> None:
    job_id, facts = await make(resources)
    name = facts["name"]
    secret = export_directory(resources.settings) / "secret"
    secret.write_text("secret")
    for path in (
        f"/exports/{job_id + 1}/{name}",
        f"/exports/{job_id}/other.jsonl",
        f"/exports/{job_id}/",
        f"/exports/-1/{name}",
        f"/exports/{2**63}/{name}",
        f"/exports/{job_id}/..%2Fsecret",
        f"/exports/{job_id}/%2e%2e/secret",
        f"/exports/{job_id}/{name}%00",
        f"/exports/{job_id}/..%2F{job_id}%2F{name}",
    ):
        reply = await http.get(path)
        assert reply.status_code == 404, path
        assert "secret" not in reply.text

    (export_directory(resources.settings) / str(job_id) / name).unlink()
    gone = await http.get(f"/exports/{job_id}/{name}")
    assert (gone.status_code, gone.json()["message"]) == (404, "This file does not exist. It may have expired.")


async def test_an_expired_file_and_one_whose_job_was_removed(http: httpx2.AsyncClient, resources: Resources) -> None:
    (one, facts), (two, other) = await make(resources), await make(resources)
    async with resources.database.transaction() as connection:
        await connection.execute(text("UPDATE exports SET expires_at = now() WHERE job_id = :id"), {"id": one})
        await connection.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": two})
    for job_id, name in ((one, facts["name"]), (two, other["name"])):
        assert (await http.get(f"/exports/{job_id}/{name}")).status_code == 404


async def test_keys(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=("the-right-key-1234",))) as resources:
        job_id, facts = await make(resources)
        async for api in serve(resources):
            async with httpx2.AsyncClient(base_url=api.url) as http:
                path = f"/exports/{job_id}/{facts['name']}"
                for headers in ({}, {"Authorization": "Bearer wrong"}):
                    refused = await http.get(path, headers=headers)
                    assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
                    assert refused.headers["www-authenticate"] == "Bearer"
                assert (await http.get("/exports/99/none")).status_code == 401
                assert (await http.get(path, headers={"Authorization": "Bearer the-right-key-1234"})).status_code == 200


async def test_postgresql_is_unavailable(
    http: httpx2.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    await resources.database.engine.dispose()
    monkeypatch.setattr("asyncpg.connect", _refuse)
    reply = await http.get("/exports/1/a.csv")
    assert (reply.status_code, reply.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"


@asynccontextmanager
async def limited(resources: Resources, settings: Settings) -> AsyncIterator[Resources]:
    """Yield these resources with a pool of other settings: its short timeouts do not limit the opening of the rest."""
    async with open_database(settings, resources.database.dsn) as database:
        yield dataclasses.replace(resources, database=database)


async def test_a_slow_query(make_settings: MakeSettings, resources: Resources) -> None:
    async with (
        resources.database.transaction() as other,
        limited(resources, make_settings(database_statement_timeout_seconds=0.05)) as opened,
    ):
        await other.execute(text("LOCK exports IN ACCESS EXCLUSIVE MODE"))
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as client:
                reply = await client.get("/exports/1/a.csv")
    assert (reply.status_code, reply.json()["code"]) == (504, "QUERY_TIMED_OUT")
    assert reply.json()["message"].startswith("The database took too long")


async def test_all_connections_are_in_use(make_settings: MakeSettings, resources: Resources) -> None:
    # the statement timeout also limits the wait for a connection
    limits = {"database_pool_size": 1, "database_pool_overflow": 0, "database_statement_timeout_seconds": 0.05}
    async with limited(resources, make_settings(**limits)) as opened, opened.database.connect():
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as client:
                reply = await client.get("/exports/1/a.csv")
    assert (reply.status_code, reply.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"


async def _refuse(*_: object, **__: object) -> None:
    raise ConnectionRefusedError(os.strerror(111))
