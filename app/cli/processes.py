"""Starts `vk-comments` subprocesses, waits until they answer, and stops them with this process."""

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
"""How long a subprocess may take to stop: its jobs have ten seconds to return to the queue."""
POLL_SECONDS = 0.02


def free_port(first: int = 0) -> int:
    """Return a local port that is not in use: the first free one from `first` on, or any for 0."""
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
    """Open the listening socket of a server. `advice` says how to choose another address.

    Raises:
        StartFailed: the port is in use, or the address does not belong to this machine.
    """
    try:
        sock = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise listen_failure(error, host, port, advice) from error
    # Connections inherit the option. asyncio sets it only on sockets whose protocol is named, and without it
    # each small reply waits some 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def listen_failure(error: OSError, host: str, port: int, advice: str) -> StartFailed:
    """Return the exception to raise if an address cannot be listened on."""
    # the exception's own message repeats the address
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    return StartFailed(f"Cannot listen on {host} port {port}: {reason}. {advice}")


@asynccontextmanager
async def running(
    arguments: Sequence[str], environment: Mapping[str, str], log_file: Path, url: str
) -> AsyncIterator[Process]:
    """Run `vk-comments` with these arguments while the context is open; yield the process once `url` answers.

    The process gets its own session, so that Ctrl-C reaches it only through this process. It
    ends by itself when this process is gone.

    Raises:
        StartFailed: it ended before it answered (the message is the end of its log), did not answer in time,
            or its log cannot be written.
    """
    with _new_file(log_file) as log:
        # stdin is a pipe that is closed only when this process is gone
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app.cli",
            *arguments,
            # no load balancer uses these processes, so there is nothing to drain for
            env={**os.environ, **environment, "VK_COMMENTS_PARENT": "1", "DRAIN_SECONDS": "0"},
            stdin=PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await _wait_for_answer(process, url, log_file)
        yield process
    finally:
        await _end(process)


def _new_file(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise StartFailed(f"Cannot write {path}: {error.strerror}. Set DATA_DIR to a writable directory.") from error


async def _wait_for_answer(process: Process, url: str, log_file: Path) -> None:
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
    return "\n".join(lines[-5:]).removeprefix("error: ") or f"The process ended without output. See {log_file}."


def end_with_parent() -> None:
    """Stop this process when the process that started it is gone, for whatever reason."""
    if os.environ.get("VK_COMMENTS_PARENT"):
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_after_parent)


def _stop_after_parent() -> None:
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)
