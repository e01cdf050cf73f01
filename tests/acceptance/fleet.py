"""An installation of several processes, and what befalls them: killed, frozen, stopped, without a database."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from app.db.embedded import EmbeddedPostgres, embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.settings import read_settings
from tests.conftest import until
from tests.processes import Command, gone, started
from tests.timeouts import WAIT_SECONDS

CANNOT_ANSWER = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a connection to PostgreSQL fails with while that is stopped and started."""
AGAIN_SECONDS = 0.05


class Node:
    """A process of ours that is started anew whenever it has ended, as a supervisor would.

    `sign` is the event of its log that says that it has begun. One disaster at
    a time befalls it: who brings one holds `calm`.
    """

    def __init__(self, stack: ExitStack, arguments: tuple[str, ...], env: Mapping[str, str], sign: str) -> None:
        self._stack = stack
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
            await until(lambda: self._sign in self.command.output() or self.command.popen.poll() is not None)
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
            with suppress(*CANNOT_ANSWER):
                connection = await asyncpg.connect(self.url)
                try:
                    return await connection.fetch(sql, *values)
                finally:
                    await connection.close()
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

    async def restart(self, number: signal.Signals, seconds: float) -> None:
        """End it by this signal, and start it anew after so long."""
        async with self._calm:
            pid = int((self._server.directory / "data" / "postmaster.pid").read_text().split()[0])
            postmaster = psutil.Process(pid)
            family = [postmaster, *postmaster.children(recursive=True)]
            postmaster.send_signal(number)
            assert await asyncio.to_thread(gone, family)
            await asyncio.sleep(seconds)  # so long it is away: nobody waits for anything here
            await asyncio.to_thread(self._start)
