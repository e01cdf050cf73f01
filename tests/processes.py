"""Runs `vk-comments` in separate processes, as in a terminal, and lets none of them outlive the test."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.settings import Settings
from tests.line_coverage import LINE_COVERAGE
from tests.timeouts import WAIT_SECONDS

MEMORY = Path("/dev/shm")  # noqa: S108 - the directories in it have unique names
FEWEST_BYTES = 4 * 2**30
"""The free memory required for the databases of all test processes: ten times their needs."""


def environment(**variables: object) -> dict[str, str]:
    """Return this process's environment without this project's settings, and with these variables."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    # no load balancer distributes requests to a process of a test
    return kept | {"COLUMNS": "200", "DRAIN_SECONDS": "0"} | {name: str(value) for name, value in variables.items()}


def unmeasured(variables: dict[str, str]) -> dict[str, str]:
    """Return an environment without line coverage, for tests of memory and speed."""
    return {name: value for name, value in variables.items() if name != LINE_COVERAGE}


def run(
    *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(  # noqa: S603 - a constant command
        [sys.executable, "-m", "app.cli", *arguments],
        env=env or environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Return what `condition` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {condition}")
        time.sleep(0.01)
    return found


@dataclass(frozen=True)
class Command:
    """A running command."""

    popen: subprocess.Popen[bytes]
    output_file: Path

    def output(self) -> str:
        """Return all its output."""
        return self.output_file.read_text(errors="replace")

    def prints(self, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until its output contains this."""
        until(lambda: text in self.output() or self.popen.poll() is not None, seconds)
        assert text in self.output()

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event of its log, which must be written as JSON, and return it."""

        def find() -> dict[str, Any] | None:
            lines = [
                json.loads(line) for line in self.output().splitlines() if line.startswith("{") and line[-1] == "}"
            ]
            assert self.popen.poll() is None, self.output()
            return next((line for line in lines if line["event"] == name), None)

        found: dict[str, Any] = until(find)
        return found

    def url(self) -> str:
        """Return the URL where it serves."""
        return f"http://127.0.0.1:{self.event('serving')['port']}"

    def family(self) -> list[psutil.Process]:
        """Return its process and all descendants."""
        process = psutil.Process(self.popen.pid)
        return [process, *process.children(recursive=True)]

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """Send Ctrl-C and return the exit code; no process of it may remain."""
        family = self.family()
        self.popen.send_signal(number)
        code = self.popen.wait(WAIT_SECONDS)
        assert gone(family)
        return code

    def kill(self) -> None:
        """Kill it, as the kernel does when memory is exhausted."""
        self.popen.kill()
        self.popen.wait()


def gone(processes: list[psutil.Process], seconds: float = WAIT_SECONDS) -> bool:
    """Wait for the end of processes, and return whether they have ended."""
    _, alive = psutil.wait_procs(processes, seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def started(*arguments: str, env: dict[str, str]) -> Iterator[Command]:
    """Run a command concurrently with the test; at the end, kill the remaining processes of it."""
    with tempfile.NamedTemporaryFile(prefix="vkc-", suffix=".log") as output:
        popen = subprocess.Popen(  # noqa: S603 - a constant command
            [sys.executable, "-m", "app.cli", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        command = Command(popen, Path(output.name))
        try:
            yield command
        finally:
            family = command.family() if popen.poll() is None else []
            popen.terminate()
            gone(family)
            for process in family:
                if process.is_running():
                    process.kill()
            popen.wait()


def fast_directory() -> Path:
    """Return the directory for databases of tests: in memory if that is large enough, otherwise the temporary one.

    Thousands of databases are created and removed, with 300 files each: file systems on disks take a fifth of all
    processor time for that, and write some GB.
    """
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > FEWEST_BYTES:
        return MEMORY
    return Path(tempfile.gettempdir())


@contextmanager
def open_directory() -> Iterator[Path]:
    """Yield an empty directory for an embedded PostgreSQL, usable also if the tests run as root."""
    directory = Path(tempfile.mkdtemp(prefix="vkc-", dir=fast_directory()))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
