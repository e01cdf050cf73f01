"""Runs CPU-bound functions in other processes, so that they do not block the event loop."""

import functools
import math
import os
import signal
import threading
import time
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from app.errors import ProcessDied

WATCH_SECONDS = 0.5
"""The interval at which a worker process checks that its parent process still exists."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True)
class _Raised:
    """An exception that the function raised in the other process, as opposed to one raised by the process handling."""

    error: Exception


async def in_process(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a plain function in another process and return its result.

    The function must be defined at module level; it, its arguments and its result
    must be picklable. An exception that it raises is raised here. If the caller is
    cancelled, the process is killed at once, so the function cannot clean up. The
    process also ends when this process ends; it ignores Ctrl-C. Each concurrent
    call gets its own process: the caller limits their number.

    Raises:
        ProcessDied: the process ended before the function returned, most likely for lack of memory, or could
            not be started.
    """
    try:
        outcome = await to_process.run_sync(
            _call_in_process, os.getpid(), function, *arguments, cancellable=True, limiter=CapacityLimiter(math.inf)
        )
    except (BrokenWorkerProcess, OSError) as error:
        # OSError, too: anyio kills a process that does not start, and under uvloop this raises if it has ended already
        raise ProcessDied from error
    except (Exception, CancelledError):
        raise
    except BaseException as error:  # an exception that ends the other process must not end this one
        raise ProcessDied from error
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


def _call_in_process(parent: int, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T | _Raised:
    """Call a function inside the other process."""
    _exit_with_parent(parent)
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - the caller gets whatever it is
        return _Raised(error)


@functools.cache
def _exit_with_parent(parent: int) -> None:
    """Ignore Ctrl-C, which is for the parent process, and exit when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, args=[parent], daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
