"""Steps the clocks of processes back and forward while they run, by a preloaded library."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.timeouts import WAIT_SECONDS

SOURCE = Path(__file__).with_name("clock.c")
PROBE_SECONDS = 3600.0
STEPS = (-86_400.0, -3600.0, -15.0, -1.0, 0.0, 1.0, 15.0, 3600.0, 86_400.0)
"""Offsets from the correct time, in seconds: seconds, an hour, a day."""


class SteppedClock:
    """The real-time clock of the processes that are started with `environment`; `set` changes it at once."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(file)}
        self.seconds = 0.0
        """The offset from the correct time, negative if the clock is behind."""
        file.write_bytes(struct.pack("=q", 0))
        file.chmod(0o644)  # PostgreSQL may run as another user

    def set(self, seconds: float) -> None:
        """Set the clock this many seconds ahead of the correct time."""
        self.seconds = seconds
        # in place and in one write: all processes that read this clock have mapped the file
        with self._file.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", round(seconds * 1e9)))

    def is_shown(self, shown_at: float) -> bool:
        """Return whether a process that has just read its clock (Unix time) sees this clock, not the correct one."""
        return abs(shown_at - time.time() - self.seconds) < PROBE_SECONDS / 2


class Clocks:
    """Creates clocks of one library; see `open_clocks`."""

    def __init__(self, library: Path) -> None:
        self._library = library

    def add(self, name: str) -> SteppedClock:
        """Create a clock."""
        return SteppedClock(self._library, self._library.with_name(name))

    def are_seen_by_processes(self) -> bool:
        """Return whether a Python process sees a stepped clock: the system may not support preloading this library."""
        clock = self.add("probe")
        clock.set(PROBE_SECONDS)
        shown = subprocess.run(
            [sys.executable, "-c", "import time; print(time.time())"],
            env=os.environ | clock.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=WAIT_SECONDS,
        ).stdout
        return clock.is_shown(float(shown))


@contextmanager
def open_clocks() -> Iterator[Clocks | None]:
    """Compile the library into a temporary directory; yield None if there is no compiler, or it has no effect."""
    # not in /dev/shm, which may be mounted noexec
    with tempfile.TemporaryDirectory(prefix="vkc-clocks-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        clocks = _compiled(directory)
        yield clocks if clocks and clocks.are_seen_by_processes() else None


def _compiled(directory: Path) -> Clocks | None:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = directory / "clock.so"
    compiled = subprocess.run(  # noqa: S603 - a constant command
        [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", library, SOURCE],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if compiled.returncode:
        print(compiled.stderr, file=sys.stderr)  # noqa: T201 - for the person who runs chaos
        return None
    library.chmod(0o755)
    return Clocks(library)
