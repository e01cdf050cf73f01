"""The environment of a measurement: a PostgreSQL and a simulated VK, each in separate processes."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from app.cli.processes import free_port, running
from app.db.embedded import cluster_directory, embedded_postgres
from app.db.engine import open_database
from app.db.migrate import migrate
from app.settings import read_settings


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL with its default settings and yield its URL; remove all its files at the end."""
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        data_dir = Path(directory)
        # as root, the server runs as the user nobody, which must be able to enter the directory
        data_dir.chmod(0o755)
        try:
            with embedded_postgres(data_dir) as server:
                yield server.url
        finally:
            _remove(cluster_directory(data_dir))


def _remove(cluster: Path) -> None:
    for path in sorted(cluster.rglob("*"), reverse=True) if cluster.is_dir() else ():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    if cluster.is_dir():
        cluster.rmdir()


async def empty_database(url: str, name: str) -> str:
    """Create an empty, migrated database beside the one at `url` and return its URL."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    address, _, options = url.partition("?")
    made = f"{address.rpartition('/')[0]}/{name}?{options}"
    async with open_database(read_settings(), made) as database:
        await migrate(database)
    return made


@asynccontextmanager
async def simulated_vk(posts: int, comments: int, rps: float) -> AsyncIterator[str]:
    """Run a simulated VK with one community and yield its URL."""
    port = free_port()
    arguments = ["simulate-vk", "--port", str(port), "--posts", str(posts), "--comments", str(comments)]
    with TemporaryDirectory(prefix="vk-comments-bench-") as directory:
        log_file = Path(directory) / "simulator.log"
        url = f"http://127.0.0.1:{port}"
        async with running([*arguments, "--rps", str(rps)], {}, log_file, f"{url}/_control"):
            yield url


@asynccontextmanager
async def child_process(module: str, **variables: object) -> AsyncIterator[Process]:
    """Run a module in a process with these settings; its standard input and output are pipes; kill it at the end."""
    environment = {name.upper(): str(value) for name, value in variables.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **environment, "VK_COMMENTS_PARENT": "1"},
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run_in_process(module: str, **variables: object) -> dict[str, Any]:
    """Run a module with these settings that prints one line of JSON; return the parsed line.

    Raises:
        RuntimeError: the module failed; the message contains its error output.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **{name.upper(): str(value) for name, value in variables.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error_output = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{module} has failed: {error_output.decode()[-2000:]}")
    answer: dict[str, Any] = json.loads(output)
    return answer
