"""Real components for all tests: PostgreSQL, a simulated VK over HTTP, a server over HTTP and WebSocket."""

import asyncio
import gc
import json
import logging
import os
import random
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import httpx2
import hypothesis
import pytest
import stamina
import structlog
import uvicorn
import websockets
from sqlalchemy import event
from starlette.types import ASGIApp
from websockets.asyncio.client import ClientConnection, connect

from app.background import open_worker
from app.cli.client import Client
from app.cli.processes import listen
from app.db.embedded import embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.main import create_app
from app.resources import Resources, open_resources
from app.settings import Settings, read_settings
from app.store import authors, comments, groups, posts
from app.wall import VkAuthor, VkComment, VkGroup, VkPost
from schema import make_schema
from simulator import SimulatorOptions, create_simulator
from tests import processes
from tests.ports import reserved_port
from tests.timeouts import TEST_SECONDS, WAIT_SECONDS

TOKEN = "a-token-of-nobody"

# A property test does not fail because a machine is slow. The examples are the same in each run, so that each run
# covers the same lines and has the same result on each machine; `--hypothesis-profile=random` draws other examples.
hypothesis.settings.register_profile(
    "random", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile("repeatable", hypothesis.settings.get_profile("random"), derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _retry_at_once() -> Iterator[None]:
    """Retry as often as in operation, but without waiting."""
    stamina.set_testing(True, attempts=6)
    yield
    stamina.set_testing(False)


@pytest.fixture(scope="session", autouse=True)
def _cached_setup() -> Iterator[None]:
    """Cache the certificates of HTTP clients and the schema of servers, which take 30 to 50 ms each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("httpx2._transports.default.create_ssl_context", cache(httpx2.create_ssl_context))
        patched.setattr("app.main.make_schema", cache(make_schema))
        yield


@pytest.fixture(scope="session", autouse=True)
def _long_time_limits() -> Iterator[None]:
    """Raise time limits that a slow machine could exceed; tests of these limits set their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.db.engine.CONNECT_TIMEOUT_SECONDS", WAIT_SECONDS)
        patched.setattr("app.notifications.REDIS_TIMEOUT_SECONDS", WAIT_SECONDS)
        patched.setattr("app.health.LONGEST_ANSWER_SECONDS", WAIT_SECONDS)
        # a worker whose listener does not answer within this time reopens its queue
        probe = "pgqueuer.core.qm.QueueManager._run_periodic_health_check.__defaults__"
        patched.setattr(probe, (timedelta(seconds=WAIT_SECONDS),))
        for name in ("connect", "read", "write", "pool"):
            patched.setattr(f"httpx2._config.DEFAULT_TIMEOUT_CONFIG.{name}", WAIT_SECONDS)
        defaults = connect.__init__.__kwdefaults__
        assert defaults
        for name in ("open_timeout", "ping_timeout"):
            patched.setitem(defaults, name, WAIT_SECONDS)
        yield


@pytest.fixture(autouse=True)
def _reset_logging() -> Iterator[None]:
    """Undo a test's changes of the logging configuration."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.contextvars.clear_contextvars()
    # structlog's default traceback contains the values of variables, which is slow to render
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure([structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, plain])
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


# PostgreSQL


SHARED = "VK_COMMENTS_TESTS"
"""The environment variable by which the first test process passes the directory of the shared server to the others."""


def pytest_configure(config: pytest.Config) -> None:
    """Limit the time of each test, and create the directory of the shared server in the first process."""
    # Background commands of a shell ignore Ctrl-C, and so would all processes that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.timeout is None:
        config.option.timeout = TEST_SECONDS
    if not hasattr(config, "workerinput"):
        stack = ExitStack()
        os.environ[SHARED] = str(stack.enter_context(processes.open_directory()))
        config.add_cleanup(stack.close)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that shuffles the tests."""
    parser.addoption("--shuffle", metavar="SEED", help="run the tests in an order drawn from this seed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle the tests, in all test processes alike."""
    if seed := config.getoption("--shuffle"):
        random.Random(seed).shuffle(items)  # noqa: S311 - not a secret


def pytest_collection_finish() -> None:
    """Exclude imported modules from garbage collection: scanning them took a sixth of the processor time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Yield a directory for the test's own embedded PostgreSQL."""
    with processes.open_directory() as directory:
        yield directory / "data"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the URL of a server that all test processes share."""
    # durable enough to survive a killed process, which is the worst that tests cause
    fast = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with embedded_postgres(Path(os.environ[SHARED]), server_settings=fast) as server:
        yield server.url


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    address, _, options = url.partition("?")
    return f"{address.rpartition('/')[0]}/{name}?{options}"


async def _sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def empty_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """Yield a function that creates an empty database and returns its URL."""
    made: list[str] = []

    def make() -> str:
        name = f"t_{uuid.uuid4().hex[:12]}"
        asyncio.run(_sql(postgres_url, f'CREATE DATABASE "{name}"'))
        made.append(name)
        return with_database(postgres_url, name)

    yield make
    for name in made:
        asyncio.run(_sql(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="session")
def template(empty_database: Callable[[], str]) -> str:
    """Return the name of a migrated database to copy."""
    url = empty_database()

    async def run() -> None:
        async with open_database(read_settings(), url) as database:
            await migrate(database)

    asyncio.run(run())
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Yield the URL of the test's own migrated database."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    # copying files takes less than half as long as copying through the write-ahead log
    await _sql(postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    yield with_database(postgres_url, name)
    await _sql(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def unused_port() -> Iterator[Callable[[], int]]:
    """Yield a function that returns ports that no other test uses during the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(reserved_port())


# VK


@dataclass(frozen=True)
class Simulator:
    """A simulated VK that listens on this machine."""

    url: str

    def control(self, **arguments: Any) -> dict[str, Any]:
        """Change the simulated world, or read its counters."""
        if not arguments:
            return dict(httpx2.get(f"{self.url}/_control", timeout=WAIT_SECONDS).json())
        reply = httpx2.post(f"{self.url}/_control", json=arguments, timeout=WAIT_SECONDS)
        return dict(reply.raise_for_status().json())

    def truth(self, group_id: int = 1) -> dict[int, list[int]]:
        """Return the existing comments of a community: post id -> ids of its comments and replies."""
        found = httpx2.get(f"{self.url}/_truth/{group_id}", timeout=WAIT_SECONDS).json()["comments"]
        return {int(post_id): ids for post_id, ids in found.items()}

    def history(self, group_id: int = 1) -> dict[int, dict[str, Any]]:
        """Return all that a community ever had: id of a comment or reply -> its facts, with `texts` and `deleted`."""
        found = httpx2.get(f"{self.url}/_history/{group_id}", timeout=WAIT_SECONDS).json()["comments"]
        return {int(comment_id): facts for comment_id, facts in found.items()}


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serve an application over HTTP from a separate thread and yield its URL."""
    with listen("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Yield a function that starts a simulated VK with the given options, without a rate limit."""
    with ExitStack() as stack:

        def start(**options: Any) -> Simulator:
            world = SimulatorOptions(**{"posts": 6, "comments": 400, "rps": 0, **options})
            return Simulator(stack.enter_context(serving(create_simulator(world))))

        yield start


@pytest.fixture
def simulator(simulate: Callable[..., Simulator]) -> Simulator:
    """Return a simulated VK with one community, id 1, with 6 posts and 400 comments."""
    return simulate()


# the process under test


class MakeSettings(Protocol):
    """Makes settings for a test; arguments override the test's defaults."""

    def __call__(self, **overrides: Any) -> Settings:
        """Return the settings."""


@pytest.fixture
def make_settings(database_url: str, tmp_path: Path) -> MakeSettings:
    """Return a function that makes settings: the test's database, no VK, no worker."""

    def make(**overrides: Any) -> Settings:
        defaults: dict[str, Any] = {
            "database_url": database_url,
            "data_dir": tmp_path,
            "vk_api_url": "http://127.0.0.1:9",
            "vk_tokens": (TOKEN,),
            "vk_requests_per_second": 10_000,
            # long enough on any machine: the simulator answers and statements end
            "vk_timeout_seconds": 120,
            "database_statement_timeout_seconds": WAIT_SECONDS,
            "workers": 0,
        }
        return read_settings(**{**defaults, **overrides})

    return make


@pytest.fixture
async def resources(make_settings: MakeSettings) -> AsyncIterator[Resources]:
    """Open the resources of a process on the test's database, without VK."""
    async with open_resources(make_settings()) as opened:
        yield opened


@pytest.fixture
async def vk_resources(make_settings: MakeSettings, simulator: Simulator) -> AsyncIterator[Resources]:
    """Open the resources of a process on the test's database and the simulated VK."""
    async with open_resources(make_settings(vk_api_url=simulator.url)) as opened:
        yield opened


@pytest.fixture
async def worker(vk_resources: Resources) -> AsyncIterator[None]:
    """Run a worker on `vk_resources`."""
    async with open_worker(vk_resources, 4):
        yield


class _QuietServer(uvicorn.Server):
    """uvicorn without signal handlers, which belong to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Api:
    """A client of a server, which sends its requests over the network as an SPA does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = Client(url)

    async def execute(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute an operation that must succeed and return its data."""
        return await self.client.execute(query, variables)

    async def fail(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute an operation that must fail and return its first error."""
        async with httpx2.AsyncClient() as http:
            reply = await http.post(f"{self.url}/graphql", json={"query": query, "variables": variables})
        errors: list[dict[str, Any]] = reply.json()["errors"]
        return errors[0]

    def subscribe(self, query: str, **variables: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield the data of each message of a subscription."""
        return self.client.subscribe(query, variables)

    @asynccontextmanager
    async def socket(self, **init: Any) -> AsyncIterator["Socket"]:
        """Open a WebSocket with graphql-transport-ws; `init` is the payload of connection_init."""
        protocol = websockets.Subprotocol("graphql-transport-ws")
        async with connect(f"{self.url.replace('http', 'ws')}/graphql", subprotocols=[protocol], proxy=None) as opened:
            await opened.send(json.dumps({"type": "connection_init", "payload": init}))
            assert json.loads(await opened.recv()) == {"type": "connection_ack"}
            yield Socket(opened)


@dataclass(frozen=True)
class Socket:
    """A WebSocket whose connection_init was acknowledged."""

    connection: ClientConnection

    async def execute(self, number: str, query: str, **variables: Any) -> Any:
        """Execute a query or mutation and return its data."""
        payload = {"query": query, "variables": variables}
        await self.connection.send(json.dumps({"id": number, "type": "subscribe", "payload": payload}))
        answer = json.loads(await self.connection.recv())
        assert answer["type"] == "next", answer
        assert json.loads(await self.connection.recv()) == {"id": number, "type": "complete"}
        return answer["payload"]["data"]


async def serve(opened: Resources) -> AsyncIterator[Api]:
    """Serve the API on a port of this machine, in the test's event loop."""
    with listen("127.0.0.1", 0) as sock:
        server = _QuietServer(uvicorn.Config(create_app(opened), log_config=None, timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        yield Api(f"http://127.0.0.1:{sock.getsockname()[1]}")
        server.should_exit = True
        await task


@pytest.fixture
async def api(resources: Resources) -> AsyncIterator[Api]:
    """Serve the API without VK and without a worker."""
    async for served in serve(resources):
        yield served


@pytest.fixture
async def vk_api(vk_resources: Resources, worker: None) -> AsyncIterator[Api]:  # noqa: ARG001 - the fixture runs a worker
    """Serve the API with the simulated VK and a worker."""
    async for served in serve(vk_resources):
        yield served


# observing effects


@dataclass
class Statements:
    """The SQL statements that were executed while it recorded."""

    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


@contextmanager
def statements(opened: Resources) -> Iterator[Statements]:
    """Record the SQL statements that these resources execute."""
    seen = Statements()

    def note(_: object, __: object, text: str, *___: object) -> None:
        seen.texts.append(text)

    engine = opened.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def stored_comments(opened: Resources, owner_id: int = -1) -> dict[int, list[int]]:
    """Return the stored comments of a community: post id -> ids of its comments and replies, ascending."""
    connection = await asyncpg.connect(opened.database.dsn)
    try:
        rows = await connection.fetch("SELECT post_id, id FROM comments WHERE owner_id = $1 ORDER BY id", owner_id)
    finally:
        await connection.close()
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["post_id"], []).append(row["id"])
    return found


async def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Return what `condition` returns (it may be a coroutine function) as soon as that is true."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


async def has_lock_waiter(url: str) -> bool:
    """Return whether a connection to this database waits for a lock that another one holds."""
    connection = await asyncpg.connect(url)
    try:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await connection.fetchval(sql))
    finally:
        await connection.close()


# a wall without VK


@dataclass(frozen=True)
class Wall:
    """A small community that was written to the database: group -1, posts 1 .. `posts`, comments on each."""

    owner_id: int
    post_ids: list[int]
    comment_ids: list[int]


async def write_wall(
    opened: Resources, owner_id: int = -1, *, posts_count: int = 3, comments_per_post: int = 4
) -> Wall:
    """Write a community; each post has comments, every second of which is a reply to the previous one.

    Ids count 1, 2, 3 ... over posts and comments, as in VK, and times grow with them, by one minute each.
    Authors are 100 + the comment's position in its post; the last comment of each post is the community's own.
    """
    start = 1_772_323_200
    next_id = 1
    post_ids, comment_ids = [], []
    async with opened.database.transaction() as connection:
        group = VkGroup(-owner_id, f"group{-owner_id}", f"Group {-owner_id}", "About it", 10)
        await groups.upsert_groups(connection, [group])
        people = [VkAuthor(100 + place, f"Author {place}", f"id{100 + place}") for place in range(comments_per_post)]
        await authors.upsert_authors(connection, [*people, VkAuthor(owner_id, group.name, group.screen_name)])
        for number in range(posts_count):
            post_id = next_id
            next_id += 1
            post_ids.append(post_id)
            post = VkPost(
                owner_id,
                post_id,
                owner_id,
                start + 60 * post_id,
                f"Post {number}",
                5,
                1,
                100,
                comments_per_post,
                is_pinned=False,
                attachments=[],
            )
            found = []
            top_id = 0
            for place in range(comments_per_post):
                is_reply = place % 2 == 1
                is_last = place == comments_per_post - 1
                found.append(
                    VkComment(
                        owner_id,
                        next_id,
                        post_id,
                        owner_id if is_last else 100 + place,
                        start + 60 * next_id,
                        f"Comment {place} of post {number}",
                        place,
                        [],
                        top_id if is_reply else None,
                        top_id if is_reply else None,
                        is_deleted=False,
                    )
                )
                if not is_reply:
                    top_id = next_id
                next_id += 1
            comment_ids += [comment.id for comment in found]
            await posts.upsert_posts(connection, [post])
            await comments.upsert_comments(connection, found, 0)
    return Wall(owner_id, post_ids, comment_ids)


@pytest.fixture
async def wall(resources: Resources) -> Wall:
    """Write a community of 3 posts with 4 comments each."""
    return await write_wall(resources)
