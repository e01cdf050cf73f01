"""Transient failures of PostgreSQL, and their effects on jobs, clients and the health check."""

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db import failures
from app.db.embedded import embedded_postgres
from app.db.engine import Database, open_database
from app.db.failures import is_transient, sqlstate_of
from app.db.migrate import migrate
from app.errors import ServiceUnavailable
from app.health import ComponentHealth, HealthStatus
from app.job_states import JobState
from app.jobs.running_job import RunningJob
from app.resources import Resources, open_resources
from app.store.row_streams import DriverStatement, SourceLost, copy_csv, reading, row_batches
from tests.conftest import Api, MakeSettings, statements, until, with_database
from tests.jobs.conftest import ended, events_of, in_state, queue_job, working
from tests.processes import open_directory

FULL = "53100"
TRANSIENT = ["08006", "25006", "25P03", "40001", "40P01", FULL, "53200", "53300", "53400", "55P03", "57P01", "57P03"]
TRANSIENT += ["25P04", "53000", "57P02", "58000", "58030"]
PERMANENT = ["22012", "23505", "42P01", "42501", "54001", "58P01", "XX000", "P0001"]
FAIL = """CREATE FUNCTION fail(state text) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = state; END $$"""


@pytest.fixture(name="_now")
def _retry_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "LATER_SECONDS", 0.0)
    monkeypatch.setattr("app.jobs.runs.FIRST_BACKOFF_SECONDS", 0.0)


@pytest.fixture
async def database(resources: Resources) -> Database:
    """Return a database with a function that fails with any SQLSTATE."""
    async with resources.database.transaction() as connection:
        await connection.execute(text(FAIL))
    return resources.database


async def refuse_writes(database: Database, table: str, state: str = FULL) -> None:
    """Make PostgreSQL itself fail each write to a table."""
    async with database.transaction() as connection:
        await connection.execute(
            text(f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                     BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$""")
        )
        await connection.execute(
            text(f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()")
        )


async def allow_writes(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("DROP FUNCTION refuse CASCADE"))


@pytest.mark.parametrize(("states", "expected"), [(TRANSIENT, True), (PERMANENT, False), ([""], False)])
def test_transient_sqlstates(states: list[str], expected: bool) -> None:  # noqa: FBT001 - a value of the test
    assert {state: is_transient(state) for state in states} == dict.fromkeys(states, expected)


@pytest.mark.parametrize("error", [None, ValueError("no state"), ServiceUnavailable("PostgreSQL")])
def test_without_an_sqlstate(error: Exception | None) -> None:
    assert sqlstate_of(error) == ""


async def fail_with(database: Database, state: str, *, writes: bool) -> None:
    open_ = database.transaction if writes else database.connect
    async with open_() as connection:
        await connection.execute(text("SELECT fail(:state)"), {"state": state})


@pytest.mark.parametrize("state", TRANSIENT)
@pytest.mark.parametrize("writes", [True, False])
async def test_a_transient_failure_is_a_missing_service(database: Database, state: str, *, writes: bool) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        await fail_with(database, state, writes=writes)
    assert sqlstate_of(caught.value) == state
    assert caught.value.retry_after_seconds == (
        10.0 if state in (FULL, "25006", "53200", "53400", "58000", "58030") else 1.0
    )


@pytest.mark.parametrize("state", [state for state in PERMANENT if not state.startswith("22")])
@pytest.mark.parametrize("writes", [True, False])
async def test_a_permanent_failure_is_a_bug(database: Database, state: str, *, writes: bool) -> None:
    with pytest.raises(DBAPIError):
        await fail_with(database, state, writes=writes)


@pytest.mark.parametrize(
    ("state", "expected"), [(FULL, SourceLost), ("57014", SourceLost), ("42P01", asyncpg.PostgresError)]
)
async def test_an_export_that_reads(database: Database, state: str, expected: type[Exception]) -> None:
    statement = DriverStatement("SELECT fail($1)", (state,))
    async with reading(database.dsn) as connection:
        with pytest.raises(expected):
            await anext(row_batches(connection, statement, 10))
    async with reading(database.dsn) as connection:
        with pytest.raises(expected):
            await copy_csv(connection, statement, ",", lambda _: None)


@pytest.mark.parametrize("state", ["53100", "53200", "55P03", "58030", "40001"])
async def test_clients_get_a_retryable_error(api: Api, resources: Resources, state: str) -> None:
    await refuse_writes(resources.database, "keywords", state)
    add = """mutation { addKeywords(input: {keywords: [{phrase: "банк"}]}) {
      __typename ... on ServiceUnavailableError { service code retryAfterSeconds } } }"""
    answer = (await api.execute(add))["addKeywords"]
    assert answer.pop("retryAfterSeconds") == (1.0 if state in ("55P03", "40001") else 10.0)
    assert answer == {
        "__typename": "ServiceUnavailableError",
        "service": "PostgreSQL",
        "code": "SERVICE_UNAVAILABLE",
    }
    await allow_writes(resources.database)
    assert (await api.execute(add))["addKeywords"]["__typename"] == "AddKeywordsSuccess"


async def write_a_note(job: RunningJob[Any, Any]) -> dict[str, Any]:
    async with job.step() as connection:
        await connection.execute(text("INSERT INTO notes VALUES (repeat('x', 10))"))
    return {}


@pytest.mark.usefixtures("_now")
@pytest.mark.parametrize("state", ["53100", "53200", "55P03", "58030", "40001"])
async def test_jobs_are_retried(resources: Resources, state: str) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(text("CREATE TABLE notes (note text)"))
    await refuse_writes(resources.database, "notes", state)
    async with working(resources, write_a_note):
        job_id = await queue_job(resources)

        async def has_failed() -> bool:
            return any(kind == "ATTEMPT_FAILED" for kind, _ in await events_of(resources, job_id))

        await until(has_failed)
        await allow_writes(resources.database)
        row = await ended(resources, job_id)
        events = await events_of(resources, job_id)
    assert (row.state, row.failure) == ("SUCCEEDED", None)
    assert {facts["failure"]["code"] for kind, facts in events if kind == "ATTEMPT_FAILED"} == {"SERVICE_UNAVAILABLE"}


# the health check


async def postgresql_of(resources: Resources) -> ComponentHealth:
    report = await resources.health.report()
    [component] = [each for each in report.components if each.name == "postgresql"]
    assert list(HealthStatus).index(report.status) >= list(HealthStatus).index(component.status)
    return component


@pytest.mark.parametrize(
    ("state", "detail"),
    [
        ("53100", "cannot store: the disk is full (SQLSTATE 53100)"),
        ("58030", "cannot store: its files cannot be read or written (SQLSTATE 58030)"),
        ("42501", "cannot store: a write failed (SQLSTATE 42501)"),
    ],
)
async def test_health_includes_a_write(resources: Resources, state: str, detail: str) -> None:
    assert (await postgresql_of(resources)).status is HealthStatus.HEALTHY
    await refuse_writes(resources.database, "health_writes", state)
    found = await postgresql_of(resources)
    assert (found.status, found.detail) == (HealthStatus.UNHEALTHY, detail)
    await allow_writes(resources.database)
    assert (await postgresql_of(resources)).status is HealthStatus.HEALTHY


async def test_health_of_a_database_that_is_read_only(resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        name = await connection.scalar(text("SELECT current_database()"))
        await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    await resources.database.engine.dispose()
    found = await postgresql_of(resources)
    assert (found.status, found.detail) == (
        HealthStatus.UNHEALTHY,
        "cannot store: the database is read-only (SQLSTATE 25006)",
    )


async def test_health_does_not_wait_for_a_frozen_process(resources: Resources) -> None:
    async with resources.database.transaction() as frozen:
        await frozen.execute(text("SELECT * FROM health_writes FOR UPDATE"))
        assert (await postgresql_of(resources)).status is HealthStatus.HEALTHY


async def test_concurrent_health_checks_share_a_write(resources: Resources) -> None:
    answering = await resources.health.postgresql()
    with statements(resources) as seen:
        found = await asyncio.gather(*(resources.health.storing(answering) for _ in range(50)))
    assert {each.status for each in found} == {HealthStatus.HEALTHY}
    assert sum(statement.startswith("UPDATE health_writes") for statement in seen.texts) <= 2


# a full disk


async def account_of(connection: "asyncpg.Connection[Any]") -> int:
    """Return the user id of the server process of a connection."""
    return psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).uids().real


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a file system of 64 MB that any account can enter."""
    path = Path(f"/run/vk-comments-test-{uuid.uuid4().hex[:8]}")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0777", "vk-comments-test", str(path)]
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir()
    try:
        if subprocess.run(mount, check=False, capture_output=True).returncode:  # noqa: S603 - a constant command
            pytest.skip("mounting is not possible")
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)  # noqa: S603, S607 - a path of this test
    finally:
        path.rmdir()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Fill a disk completely while the block lasts."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    filler.write(b"x" * size)
    try:
        yield
    finally:
        file.unlink()


@pytest.fixture
async def on_small_disk(small_disk: Path, make_settings: MakeSettings) -> AsyncIterator[Resources]:
    """Open resources on a database whose tables are on a small disk.

    Its server is not shared: while the disk is full, checkpoints fail, and with them CREATE DATABASE of other tests.
    """
    place, name = small_disk / "tables", f"t_{uuid.uuid4().hex[:12]}"
    place.mkdir()
    with open_directory() as directory, embedded_postgres(directory / "data") as server:
        connection = await asyncpg.connect(server.url)
        os.chown(place, await account_of(connection), -1)
        await connection.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        await connection.execute(f"CREATE DATABASE {name} TABLESPACE {name}")
        url = with_database(server.url, name)
        async with open_database(make_settings(), url) as database:
            await migrate(database)
        try:
            async with open_resources(make_settings(database_url=url)) as opened:
                yield opened
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await connection.execute(f"DROP TABLESPACE {name}")
            await connection.close()


@pytest.mark.usefixtures("_now")
async def test_a_full_disk(on_small_disk: Resources, small_disk: Path) -> None:
    resources, is_full = on_small_disk, asyncio.Event()
    refusals: list[str] = []

    async def write_much(job: RunningJob[Any, Any]) -> dict[str, Any]:
        await is_full.wait()
        try:
            async with job.step() as connection:
                rows = "SELECT repeat('x', 1000) AS note FROM generate_series(1, 1000)"
                await connection.execute(text(f"CREATE TABLE notes AS {rows}"))
        except ServiceUnavailable as fault:
            refusals.append(sqlstate_of(fault))
            raise
        return {}

    async with working(resources, write_much):
        job_id = await queue_job(resources)
        await in_state(resources, job_id, JobState.RUNNING)
        assert (await postgresql_of(resources)).status is HealthStatus.HEALTHY
        with filled(small_disk):
            is_full.set()
            await until(lambda: refusals)
            found = await postgresql_of(resources)
        assert (found.status, found.detail) == (
            HealthStatus.UNHEALTHY,
            "cannot store: the disk is full (SQLSTATE 53100)",
        )
        row = await ended(resources, job_id)
    assert (row.state, row.failure, set(refusals)) == ("SUCCEEDED", None, {FULL})
    assert (await postgresql_of(resources)).status is HealthStatus.HEALTHY
