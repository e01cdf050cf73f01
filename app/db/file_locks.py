"""Locks of files (`flock`), which the kernel releases with the last process that has the file open."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def open_lock(path: Path) -> IO[bytes]:
    """Open a lock file that only its owner may read, and that child programs do not inherit."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+")


def lock(file: IO[bytes]) -> bool:
    """Try to get the exclusive lock without waiting; return whether it succeeded."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def holding(path: Path, timeout_seconds: float) -> Iterator[bool]:
    """Hold the exclusive lock of a file; the value is whether it was acquired in time."""
    with open_lock(path) as file:
        held = wait_until(lambda: lock(file), timeout_seconds)
        try:
            yield held
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # closing does not unlock it while a fork has the file open


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Wait until `condition` holds; return whether it did within the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True
