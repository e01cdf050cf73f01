"""Plain functions that tests run as bodies of jobs: each runs in a process of its own, which imports this file."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def count_primes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a processor busy and return how many primes there are below a number, and which process counted."""
    below = int(arguments.get("below", 20_000))
    primes = sum(all(number % factor for factor in range(2, int(number**0.5) + 1)) for number in range(2, below))
    return {"primes": primes, "process": os.getpid()}


def never_end(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a processor busy until this process is killed; first writes its process id where the arguments say."""
    with open(arguments["pid_file"], "w", encoding="utf-8") as file:  # noqa: PTH123 - runs in a bare process
        file.write(str(os.getpid()))
    while True:
        time.monotonic()


def end_process(_: Mapping[str, Any]) -> dict[str, Any]:
    """End this process, as the kernel does where no memory is left."""
    os._exit(9)


def get_interrupted(_: Mapping[str, Any]) -> dict[str, Any]:
    """Get what Ctrl-C at a terminal sends to all processes that it started."""
    os.kill(os.getpid(), signal.SIGINT)
    return {"is_there": True}


def end(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Raise what ends a process."""
    raise arguments["by"]


def meet(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Wait until two of these are there, each in a process of its own; each leaves a file in a directory."""
    directory = Path(arguments["directory"])
    (directory / str(os.getpid())).touch()
    while len([*directory.iterdir()]) == 1:
        time.sleep(0.01)
    return {"process": os.getpid()}


def fail(_: Mapping[str, Any]) -> dict[str, Any]:
    """Fail as a bug does."""
    raise ZeroDivisionError("a bug")


def fail_by(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Raise an error."""
    error: Exception = arguments["error"]
    raise error
