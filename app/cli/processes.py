"""Starts processes of ours beside this one, waits until they answer, and ends them together with it."""

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx2

from app.errors import StartFailed

START_SECONDS = 60.0
STOP_SECONDS = 12.0
"""How long one may take to end: its jobs get ten seconds to go back to the queue."""
POLL_SECONDS = 0.02


def free_port(first: int = 0) -> int:
    """Return a port of this machine that nobody listens on: the first one from `first` on, or any for 0."""
    for port in range(first, first + 100) if first else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartFailed(f"The ports {first} to {first + 99} are all in use. Set PORT to a free one.")


def listen(host: str, port: int, advice: str = "Set PORT or HOST.") -> socket.socket:
    """Open the socket a server will listen on. `advice` says how to choose another address.

    Raises:
        StartFailed: the port is in use, or the address is not this machine's.
    """
    try:
        sock = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise refused(error, host, port, advice) from error
    # connections inherit it; asyncio sets it by itself only on sockets whose protocol is named,
    # and without it each small reply waits some 40 ms for an acknowledgement
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def refused(error: OSError, host: str, port: int, advice: str) -> StartFailed:
    """Return what to say where an address cannot be listened on."""
    # socket's own message repeats the address
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return StartFailed(f"Cannot listen on {host} port {port}: {reason}. {advice}")


@asynccontextmanager
async def running(
    arguments: Sequence[str], environment: Mapping[str, str], log_file: Path, url: str
) -> AsyncIterator[Process]:
    """Run `vk-comments` with these arguments until the context ends; lends the process once `url` answers.

    The process gets a session of its own, so that Ctrl-C reaches it through
    this one only, and ends by itself when this one is gone.

    Raises:
        StartFailed: it ended before it answered, with the end of its log; or did not answer in time;
            or its log cannot be written.
    """
    with _new_file(log_file) as log:
        # the read end of a pipe that only closes when this process is gone
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.cli",
            *arguments,
            # nobody balances load over what one person runs, so there is nobody to wait for
            env={**os.environ, **environment, "VK_COMMENTS_PARENT": "1", "DRAIN_SECONDS": "0"},
            stdin=PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await _answering(process, url, log_file)
        yield process
    finally:
        await _end(process)


def _new_file(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise StartFailed(f"Cannot write {path}: {error.strerror}. Set DATA_DIR to a place of your own.") from error


async def _answering(process: Process, url: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as http:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise StartFailed(_last_lines(log_file))
            try:
                if (await http.get(url)).is_success:
                    return
            except httpx2.HTTPError:
                pass
            await asyncio.sleep(POLL_SECONDS)
    raise StartFailed(f"{url} does not answer. See {log_file}.")


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _last_lines(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-5:]).removeprefix("error: ") or f"It ended at once. See {log_file}."


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, however that ended."""
    if os.environ.get("VK_COMMENTS_PARENT"):
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _parent_gone)


def _parent_gone() -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)
