"""Plain functions that tests run as handlers of jobs: each runs in a separate process, which imports this file."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def count_primes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compute for a while; return the number of primes below a limit, and the id of the process."""
    below = int(arguments.get("below", 20_000))
    primes = sum(all(number % factor for factor in range(2, int(number**0.5) + 1)) for number in range(2, below))
    return {"primes": primes, "process": os.getpid()}


def never_end(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compute until this process is killed; first write its process id to the file in the arguments."""
    with open(arguments["pid_file"], "w", encoding="utf-8") as file:  # noqa: PTH123 - runs in a bare process
        file.write(str(os.getpid()))
    while True:
        time.monotonic()


def end_process(_: Mapping[str, Any]) -> dict[str, Any]:
    """Kill this process, as the kernel does when memory is exhausted."""
    os._exit(9)


def get_interrupted(_: Mapping[str, Any]) -> dict[str, Any]:
    """Send this process the signal that Ctrl-C sends to all processes of a terminal."""
    os.kill(os.getpid(), signal.SIGINT)
    return {"is_there": True}


def end(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Raise the given exception, which ends a process."""
    raise arguments["by"]


def meet(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until two of these run, each in a separate process; each creates a file in a directory."""
    directory = Path(arguments["directory"])
    (directory / str(os.getpid())).touch()
    while len([*directory.iterdir()]) == 1:
        time.sleep(0.01)
    return {"process": os.getpid()}


def fail(_: Mapping[str, Any]) -> dict[str, Any]:
    """Raise an unexpected error, like a bug."""
    raise ZeroDivisionError("a bug")


def fail_by(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Raise the given error."""
    error: Exception = arguments["error"]
    raise error
