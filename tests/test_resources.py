import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.db.embedded import cluster_directory, embedded_postgres
from app.db.migrate import require_migrated
from app.db.tables import tokens as table
from app.errors import ServiceUnavailable, StartFailed
from app.resources import open_postgresql, open_resources
from app.settings import Settings, read_settings
from app.vk.batch import Batch
from app.vk.pace import fingerprint
from app.vk.wire import VkExecuteRefused, VkTokenRejected, groups_by_id
from tests.conftest import TOKEN, MakeSettings, Simulator, until
from tests.store.rows import read
from tests.timeouts import WAIT_SECONDS


def embedded(data_dir: Path) -> Settings:
    return read_settings(database_url=None, data_dir=data_dir, vk_tokens=(TOKEN,), workers=0)


def leftovers() -> set[str]:
    """Return the names of this process's tasks except the caller's."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


# the embedded database


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Yield a data directory; remove its cluster with it, which for root is elsewhere."""
    yield tmp_path
    cluster = cluster_directory(tmp_path)
    if cluster.is_dir():
        shutil.rmtree(cluster)
    else:
        cluster.unlink()


async def test_the_embedded_database_is_migrated(data_dir: Path) -> None:
    settings = embedded(data_dir)
    async with open_resources(settings) as resources:
        await require_migrated(resources.database)
        assert set(await read(resources, table)) == {(name_of(TOKEN),)}
        dsn = resources.database.dsn
    with pytest.raises((OSError, asyncpg.CannotConnectNowError)):
        await asyncpg.connect(dsn)
    async with open_resources(settings) as resources:  # the stored data still exists
        assert set(await read(resources, table)) == {(name_of(TOKEN),)}


async def test_cancelled_while_the_database_starts(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = Event(), Event()
    urls: list[str] = []

    real = embedded_postgres

    class Server:
        def __init__(self, directory: Path) -> None:
            self._server = real(directory)

        def __enter__(self) -> object:
            entered.set()
            go_on.wait(WAIT_SECONDS)
            running = self._server.__enter__()
            urls.append(running.url)
            return running

        def __exit__(self, *error: object) -> None:
            self._server.__exit__(None, None, None)

    monkeypatch.setattr("app.db.embedded.embedded_postgres", Server)

    async def run() -> None:
        async with open_resources(embedded(data_dir)):
            pytest.fail("nobody waits for it any more")

    before = leftovers()
    task = asyncio.create_task(run())
    await asyncio.to_thread(entered.wait, WAIT_SECONDS)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers() == before
    with pytest.raises((OSError, asyncpg.CannotConnectNowError)):
        await asyncpg.connect(urls[0])


async def test_the_embedded_database_does_not_start(data_dir: Path) -> None:
    cluster_directory(data_dir).write_text("in the way")
    before = leftovers()
    with pytest.raises(StartFailed):
        async with open_resources(embedded(data_dir)):
            pytest.fail("there is no database")
    assert leftovers() == before


# another database


@pytest.fixture
async def empty(empty_database: Callable[[], str]) -> str:
    return await asyncio.to_thread(empty_database)


async def test_a_database_that_is_not_migrated(make_settings: MakeSettings, empty: str) -> None:
    before = leftovers()
    with pytest.raises(StartFailed) as caught:
        async with open_resources(make_settings(database_url=empty)):
            pytest.fail("it has no tables")
    assert "Run `vk-comments migrate`." in caught.value.message
    assert leftovers() == before
    async with open_postgresql(make_settings(database_url=empty)) as database, database.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_no_database_listens(make_settings: MakeSettings) -> None:
    with pytest.raises(ServiceUnavailable):
        async with open_resources(make_settings(database_url="postgresql://nobody@127.0.0.1:9/nothing")):
            pytest.fail("nobody listens")


@pytest.mark.parametrize(
    ("former", "latter", "message"),
    [
        ("/t_", "/no_", "PostgreSQL says: database "),
        ("postgres@", "nobody_at_all@", 'PostgreSQL says: role "nobody_at_all" does not exist. Check DATABASE_URL.'),
    ],
)
async def test_a_database_that_rejects_connections(
    make_settings: MakeSettings, database_url: str, former: str, latter: str, message: str
) -> None:
    with pytest.raises(StartFailed) as caught:
        async with open_resources(make_settings(database_url=database_url.replace(former, latter))):
            pytest.fail("PostgreSQL refuses")
    assert caught.value.message.startswith(message)


async def test_a_bug_is_not_reported_as_a_rejection(make_settings: MakeSettings, database_url: str) -> None:
    async with open_postgresql(make_settings()) as database, database.transaction() as connection:
        await connection.execute(text("ALTER TABLE alembic_version RENAME COLUMN version_num TO other"))
    with pytest.raises(Exception, match="version_num"):
        async with open_resources(make_settings(database_url=database_url)):
            pytest.fail("its version cannot be read")


# opened resources


async def test_nothing_is_left_open(make_settings: MakeSettings, database_url: str) -> None:
    before = leftovers()
    async with open_resources(make_settings()) as resources:
        assert leftovers() != before
        async with resources.database.connect() as connection:
            await connection.execute(text("SELECT 1"))
    assert leftovers() == before
    own = await asyncpg.connect(database_url)

    async def alone() -> bool:
        return not await own.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
        )

    await until(alone)
    await own.close()


async def test_an_exception_inside_is_raised(make_settings: MakeSettings) -> None:
    before = leftovers()
    with pytest.raises(ValueError, match="on the way"):
        async with open_resources(make_settings()):
            raise ValueError("on the way")
    assert leftovers() == before


def name_of(token: str) -> str:
    return fingerprint(SecretStr(token))


async def test_tokens_are_identified_by_their_fingerprints(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(vk_tokens=("one", "two"))) as resources:
        assert set(await read(resources, table)) == {(name_of("one"),), (name_of("two"),)}
        assert resources.vk.fingerprints == [name_of("one"), name_of("two")]
    async with open_resources(make_settings(vk_tokens=())) as resources:
        assert resources.vk.fingerprints == []


async def test_keys_are_required_according_to_the_settings(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=("key-of-a-client-1",))) as resources:
        resources.keys.check("Bearer key-of-a-client-1")
        with pytest.raises(Exception, match="requires an API key"):
            resources.keys.check(None)


# tokens that all processes share


async def test_processes_share_the_state_of_a_token(make_settings: MakeSettings, simulator: Simulator) -> None:
    settings = make_settings(vk_api_url=simulator.url, vk_tokens=("one", "two"))
    async with open_resources(settings) as first, open_resources(settings) as second:
        simulator.control(faults=[{"code": 14, "times": 2}])
        with pytest.raises(VkTokenRejected, match=r"\(error 14\)"):
            await first.vk.call(groups_by_id(["1"]))
        with pytest.raises(VkTokenRejected, match=r"another 3600 s.*\(error 14\)"):
            await second.vk.call(groups_by_id(["1"]))
    assert simulator.control()["requests"] == 2


async def test_processes_share_the_kind_of_a_token(make_settings: MakeSettings, simulator: Simulator) -> None:
    settings = make_settings(vk_api_url=simulator.url)
    calls = [groups_by_id(["1"])] * 2
    async with open_resources(settings) as first, open_resources(settings) as second:
        simulator.control(faults=[{"code": 28, "method": "execute"}])
        for process in (first, second):
            with pytest.raises(VkExecuteRefused):
                await process.vk.execute(calls)
        assert len(await Batch(second.vk).answers(calls)) == 2
    assert simulator.control()["requests"] == 1 + 2


async def test_a_start_tries_a_revoked_token_again(make_settings: MakeSettings, simulator: Simulator) -> None:
    settings = make_settings(vk_api_url=simulator.url)
    async with open_resources(settings) as resources:
        simulator.control(faults=[{"code": 5}])
        with pytest.raises(VkTokenRejected, match=r"\(error 5\)"):
            await resources.vk.call(groups_by_id(["1"]))
    async with open_resources(settings) as resources:
        assert "groups" in await resources.vk.call(groups_by_id(["1"]))
    assert simulator.control()["requests"] == 2


async def test_the_rate_of_a_token_is_kept(make_settings: MakeSettings, simulator: Simulator) -> None:
    """By two processes together: on any machine, 24 requests at 20 per second take at least 23 intervals."""
    settings = make_settings(vk_api_url=simulator.url, vk_requests_per_second=20)
    async with open_resources(settings) as first, open_resources(settings) as second:
        calls = [process.vk.call(groups_by_id(["1"])) for process in (first, second) * 12]
        started = time.monotonic()
        await asyncio.gather(*calls)
        assert time.monotonic() - started >= 23 / 20
    assert simulator.control()["requests"] == 24
