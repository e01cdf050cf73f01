"""An installation of several processes, and their faults: killed, frozen, stopped, without a database."""

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
"""Errors of a connection to PostgreSQL while PostgreSQL is being restarted."""
SESSIONS = """
    SELECT pid, application_name, state, wait_event_type, wait_event, pg_blocking_pids(pid) AS blocked_by,
           clock_timestamp() - xact_start AS in_transaction, clock_timestamp() - state_change AS in_state, query
      FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'
"""
"""The activity of PostgreSQL's sessions, to find out why a process waits."""
RETRY_SECONDS = 0.05
POLL_SECONDS = 0.05
ENDED = "state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"
MakeEnvironment = Callable[..., dict[str, str]]


class Node:
    """A process of this project that is restarted whenever it has ended, as by a supervisor.

    `ready_event` is the event of its log that reports that it is ready. It has one fault at a
    time: the fault holds `fault_lock`.
    """

    def __init__(
        self,
        stack: ExitStack,
        postgres: "PostgresServer",
        arguments: tuple[str, ...],
        env: Mapping[str, str],
        ready_event: str,
    ) -> None:
        self._stack = stack
        self._postgres = postgres
        self._arguments = arguments
        self._env = dict(env)
        self._ready_event = f'"event":"{ready_event}"'
        self.fault_lock = asyncio.Lock()
        self.commands: list[Command] = []
        """All processes that have run, in order."""

    @property
    def command(self) -> Command:
        """The process that runs now, or ran last."""
        return self.commands[-1]

    @property
    def pid(self) -> int:
        """The id of the process that runs now, or ran last."""
        return self.command.popen.pid

    async def start(self) -> None:
        """Start it and wait until it is ready; repeat this if it ends by itself, as it does without PostgreSQL."""
        while True:
            self.commands.append(self._stack.enter_context(started(*self._arguments, env=self._env)))
            try:
                await until(lambda: self._ready_event in self.command.output() or self.command.popen.poll() is not None)
            except TimeoutError:
                sessions = "\n".join(str(dict(row)) for row in await self._postgres.fetch(SESSIONS))
                self.command.kill()
                raise AssertionError(f"{self._arguments} has not begun: {self.command.output()}\n{sessions}") from None
            if self.command.popen.poll() is None:
                return

    async def kill(self) -> None:
        """Kill it, as the kernel does when memory is exhausted, and restart it."""
        async with self.fault_lock:
            self.command.kill()
            await self.start()

    async def replace(self) -> None:
        """Replace it as in a rollout of a new version: stop it in order, then start the new one."""
        async with self.fault_lock:
            self.command.popen.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(self.command.popen.wait, WAIT_SECONDS)
            assert code == 0, self.command.output()
            await self.start()

    def failures(self) -> list[dict[str, Any]]:
        """Return the errors that this project's code has logged, without PgQueuer's messages on lost connections."""
        lines = [line for command in self.commands for line in command.output().splitlines()]
        logged = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]
        return [line for line in logged if line["level"] == "error" and re.fullmatch("[a-z_]+", line["event"])]

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Freeze it while the block lasts: it exists, but does nothing, and does not notice."""
        async with self.fault_lock:
            self.command.popen.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                self.command.popen.send_signal(signal.SIGCONT)


class PostgresServer:
    """A PostgreSQL that is run by other code."""

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
            except asyncpg.SyntaxOrAccessError:  # the statement is wrong: a retry fails, too
                raise
            except CANNOT_ANSWER:
                pass
            await asyncio.sleep(RETRY_SECONDS)

    async def all_have_ended(self) -> bool:
        """Return whether no job waits or runs."""
        return not await self.fetch("SELECT 1 FROM jobs WHERE state IN ('QUEUED', 'RUNNING') LIMIT 1")


class RestartablePostgres(PostgresServer):
    """A PostgreSQL that tests start; its URL stays the same after a restart."""

    def __init__(self, stack: ExitStack, data_dir: Path) -> None:
        self._stack = stack
        self._data_dir = data_dir
        self._server = self._start()
        self._lock = asyncio.Lock()
        super().__init__(self._server.url)

    def _start(self) -> EmbeddedPostgres:
        # data that the operating system has received survives a killed server, so nothing has to be flushed to disk
        server = embedded_postgres(self._data_dir, server_settings={"fsync": "off"})
        return self._stack.enter_context(server)

    async def migrate(self) -> None:
        """Create the tables."""
        async with open_database(read_settings(), self.url) as database:
            await migrate(database)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._server.directory / "data" / "postmaster.pid").read_text().split()[0]))

    async def kill_backend(self, drawn: random.Random) -> None:
        """Kill one of the server's processes; the server then closes all connections and recovers by itself."""
        async with self._lock:
            if children := self._postmaster().children():
                drawn.choice(children).kill()

    async def restart(self, number: signal.Signals, seconds: float) -> None:
        """Stop it by this signal, and start it again after this long."""
        async with self._lock:
            postmaster = self._postmaster()
            family = [postmaster, *postmaster.children(recursive=True)]
            postmaster.send_signal(number)
            assert await asyncio.to_thread(gone, family)
            await asyncio.sleep(seconds)  # the length of the outage: nothing is awaited
            await asyncio.to_thread(self._start)


class Installation:
    """A PostgreSQL, a simulated VK, web processes and workers."""

    def __init__(self, stack: ExitStack, postgres: PostgresServer, simulator: Simulator) -> None:
        self.stack = stack
        self.postgres = postgres
        self.simulator = simulator
        self.urls: list[str] = []
        self.webs: list[Node] = []
        self.workers: list[Node] = []
        self.ended = 0
        """The number of jobs that have ended: it determines when faults and requests happen."""

    async def start(
        self, make_environment: MakeEnvironment, directory: Path, *, webs: int, workers: int, heartbeat_seconds: int
    ) -> None:
        """Start all processes at once; without separate workers, the web processes run jobs."""
        variables = {
            "DATABASE_URL": self.postgres.url,
            "JOB_HEARTBEAT_TIMEOUT_SECONDS": heartbeat_seconds,
            # without an effective limit: on a slow machine a live worker may count as dead, too
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
        """Keep `ended` up to date, in an endless loop."""
        while True:
            [row] = await self.postgres.fetch(f"SELECT count(*) FROM jobs WHERE {ENDED}")  # noqa: S608 - a constant
            self.ended = row["count"]
            await asyncio.sleep(POLL_SECONDS)

    async def wait_for_ended(self, ended: int) -> None:
        """Wait until this many jobs have ended."""
        await until(lambda: self.ended >= ended)

    async def has_all_groups(self) -> bool:
        """Return whether the communities of all jobs are stored."""
        [row] = await self.postgres.fetch("SELECT count(*) FROM groups")
        return bool(row["count"] == self.simulator.control()["options"]["groups"])

    async def has_jobs(self, node: Node) -> bool:
        """Return whether this process runs a job."""
        running = "SELECT 1 FROM jobs WHERE state = 'RUNNING' AND split_part(worker, ':', 2) = $1 LIMIT 1"
        return bool(await self.postgres.fetch(running, str(node.pid)))

    async def has_no_jobs(self, node: Node) -> bool:
        """Return whether this process runs no job."""
        return not await self.has_jobs(node)


@asynccontextmanager
async def in_background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Run a task while the block lasts; if it fails, the block fails."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
