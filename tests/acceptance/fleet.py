"""An installation of several processes, and what befalls them: killed, frozen, stopped, without a database."""

import asyncio
import json
import random
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from app.db.embedded import EmbeddedPostgres, embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.settings import read_settings
from tests.conftest import Simulator, until
from tests.ports import reserved_port
from tests.processes import Command, gone, started
from tests.timeouts import WAIT_SECONDS

CANNOT_ANSWER = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection to PostgreSQL fails with while that is stopped and started."""
SESSIONS = """
    SELECT pid, application_name, state, wait_event_type, wait_event, pg_blocking_pids(pid) AS blocked_by,
           clock_timestamp() - xact_start AS in_transaction, clock_timestamp() - state_change AS in_state, query
      FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
"""
"""What PostgreSQL's sessions do, for whoever has to find out why a process waits."""
AGAIN_SECONDS = 0.05
LOOK_SECONDS = 0.05
ENDED = "state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"
MakeEnvironment = Callable[..., dict[str, str]]


class Node:
    """A process of ours that is started anew whenever it has ended, as a supervisor would.

    `sign` is the event of its log that says that it has begun. One disaster at
    a time befalls it: who brings one holds `calm`.
    """

    def __init__(
        self, stack: ExitStack, postgres: "Running", arguments: tuple[str, ...], env: Mapping[str, str], sign: str
    ) -> None:
        self._stack = stack
        self._postgres = postgres
        self._arguments = arguments
        self._env = dict(env)
        self._sign = f'"event":"{sign}"'
        self.calm = asyncio.Lock()
        self.commands: list[Command] = []
        """All that have run, one after the other."""

    @property
    def command(self) -> Command:
        """The one that runs now, or ran last."""
        return self.commands[-1]

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self.command.popen.pid

    async def start(self) -> None:
        """Start it and wait until it has begun, however often that takes: it ends by itself without PostgreSQL."""
        while True:
            self.commands.append(self._stack.enter_context(started(*self._arguments, env=self._env)))
            try:
                await until(lambda: self._sign in self.command.output() or self.command.popen.poll() is not None)
            except TimeoutError:
                sessions = "\n".join(str(dict(row)) for row in await self._postgres.fetch(SESSIONS))
                self.command.kill()
                raise AssertionError(f"{self._arguments} has not begun: {self.command.output()}\n{sessions}") from None
            if self.command.popen.poll() is None:
                return

    async def kill(self) -> None:
        """End it as the kernel would that has no memory left, and start it anew."""
        async with self.calm:
            self.command.kill()
            await self.start()

    async def replace(self) -> None:
        """End it as a new version is rolled out: in order, and then the new one."""
        async with self.calm:
            self.command.popen.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self.command.popen.wait, WAIT_SECONDS)
            assert code == 0, self.command.output()
            await self.start()

    def failures(self) -> list[dict[str, Any]]:
        """Return what our own code has logged as an error; PgQueuer's sentences on lost connections are none."""
        lines = [line for command in self.commands for line in command.output().splitlines()]
        told = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]
        return [line for line in told if line["level"] == "error" and re.fullmatch("[a-z_]+", line["event"])]

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Let it stand still while the block lasts: it lives, but does nothing, and does not know of it."""
        async with self.calm:
            self.command.popen.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                self.command.popen.send_signal(signal.SIGCONT)


class Running:
    """A PostgreSQL that somebody runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Read rows, as soon as it answers."""
        while True:
            try:
                connection = await asyncpg.connect(self.url)
                try:
                    return await connection.fetch(sql, *values)
                finally:
                    await connection.close()
            except asyncpg.SyntaxOrAccessError:  # the statement is wrong, however often it is sent
                raise
            except CANNOT_ANSWER:
                pass
            await asyncio.sleep(AGAIN_SECONDS)

    async def all_have_ended(self) -> bool:
        """Tell whether no job waits or runs."""
        return not await self.fetch("SELECT 1 FROM jobs WHERE state IN ('QUEUED', 'RUNNING') LIMIT 1")


class Postgres(Running):
    """One of our own, at an address that stays when it is started anew."""

    def __init__(self, stack: ExitStack, data_dir: Path) -> None:
        self._stack = stack
        self._data_dir = data_dir
        self._server = self._start()
        self._calm = asyncio.Lock()
        super().__init__(self._server.url)

    def _start(self) -> EmbeddedPostgres:
        # what the operating system was given survives a killed server, so nothing has to reach the disk
        server = embedded_postgres(self._data_dir, server_settings={"fsync": "off"})
        return self._stack.enter_context(server)

    async def migrate(self) -> None:
        """Make the tables."""
        async with open_database(read_settings(), self.url) as database:
            await migrate(database)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._server.directory / "data" / "postmaster.pid").read_text().split()[0]))

    async def kill_backend(self, drawn: random.Random) -> None:
        """Kill one of the server's processes, whereupon the server ends all connections and recovers by itself."""
        async with self._calm:
            if children := self._postmaster().children():
                drawn.choice(children).kill()

    async def restart(self, number: signal.Signals, seconds: float) -> None:
        """End it by this signal, and start it anew after so long."""
        async with self._calm:
            postmaster = self._postmaster()
            family = [postmaster, *postmaster.children(recursive=True)]
            postmaster.send_signal(number)
            assert await asyncio.to_thread(gone, family)
            await asyncio.sleep(seconds)  # so long it is away: nobody waits for anything here
            await asyncio.to_thread(self._start)


class Installation:
    """A PostgreSQL, a simulated VK, web processes and workers."""

    def __init__(self, stack: ExitStack, postgres: Running, simulator: Simulator) -> None:
        self.stack = stack
        self.postgres = postgres
        self.simulator = simulator
        self.urls: list[str] = []
        self.webs: list[Node] = []
        self.workers: list[Node] = []
        self.ended = 0
        """How many jobs have ended: the clock by which everything happens."""

    async def start(
        self, make_environment: MakeEnvironment, directory: Path, *, webs: int, workers: int, heartbeat_seconds: int
    ) -> None:
        """Start all processes at once; with no workers of their own, the web processes run jobs."""
        variables = {
            "DATABASE_URL": self.postgres.url,
            "JOB_HEARTBEAT_TIMEOUT_SECONDS": heartbeat_seconds,
            # as many as it takes: on a slow machine a worker that lives may count as dead, too
            "JOB_MAX_ATTEMPTS": 100,
            "DRAIN_SECONDS": 0.5,
            "WORKERS": 0 if workers else 4,
        }
        for number in range(webs + workers):
            env = make_environment(self.simulator, **variables, DATA_DIR=directory / str(number))
            if number < webs:
                port = self.stack.enter_context(reserved_port())
                self.urls.append(f"http://127.0.0.1:{port}")
                self.webs.append(Node(self.stack, self.postgres, ("serve",), {**env, "PORT": str(port)}, "serving"))
            else:
                worker = Node(self.stack, self.postgres, ("worker", "--concurrency", "4"), env, "working")
                self.workers.append(worker)
        await asyncio.gather(*(node.start() for node in (*self.webs, *self.workers)))

    async def count_ended(self) -> None:
        """Keep `ended` up to date, for ever."""
        while True:
            [row] = await self.postgres.fetch(f"SELECT count(*) FROM jobs WHERE {ENDED}")  # noqa: S608 - ours
            self.ended = row["count"]
            await asyncio.sleep(LOOK_SECONDS)

    async def reached(self, ended: int) -> None:
        """Wait until so many jobs have ended."""
        await until(lambda: self.ended >= ended)

    async def has_all_groups(self) -> bool:
        """Tell whether the communities of all jobs are known."""
        [row] = await self.postgres.fetch("SELECT count(*) FROM groups")
        return bool(row["count"] == self.simulator.control()["options"]["groups"])

    async def has_some(self, node: Node) -> bool:
        """Tell whether jobs are this process' to run."""
        mine = "SELECT 1 FROM jobs WHERE state = 'RUNNING' AND split_part(worker, ':', 2) = $1 LIMIT 1"
        return bool(await self.postgres.fetch(mine, str(node.pid)))

    async def has_none(self, node: Node) -> bool:
        """Tell whether none is any more."""
        return not await self.has_some(node)


@asynccontextmanager
async def beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Do something for as long as the block lasts; if it fails, so does the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
