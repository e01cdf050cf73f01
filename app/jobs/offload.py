"""Runs what keeps a processor busy in a process of its own, so that the event loop goes on."""

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
"""How often a process looks whether the one that it computes for is still there."""

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a function raised in the process that computes: so it differs from what handling the process raises."""

    error: Exception


async def in_process(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a plain function in another process and return what it returns.

    The function is one of a module, and it, its arguments and its result can be
    pickled. Whatever exception it raises is raised here. If the caller is
    cancelled, the process is killed at once: the function gets no chance to
    clean up. It ends, too, when this process is gone, but not by Ctrl-C.
    There are as many processes as calls at a time: the caller sets the limit.

    Raises:
        ProcessDied: the process ended meanwhile, most likely for lack of memory, or could not be started.
    """
    try:
        outcome = await to_process.run_sync(
            _computing, os.getpid(), function, *arguments, cancellable=True, limiter=CapacityLimiter(math.inf)
        )
    except (BrokenWorkerProcess, OSError) as error:
        # an OSError, too: anyio kills a process that does not start, and under uvloop that fails if it has ended
        raise ProcessDied from error
    except (Exception, CancelledError):
        raise
    except BaseException as error:  # what ends a process is not to end this one
        raise ProcessDied from error
    if isinstance(outcome, _Raised):
        raise outcome.error
    return outcome


def _computing(parent: int, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T | _Raised:
    """Call a function in the process that computes."""
    _belong_to(parent)
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - the caller gets whatever it is
        return _Raised(error)


@functools.cache
def _belong_to(parent: int) -> None:
    """Leave Ctrl-C at a terminal to the process that started this one, and end when that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_without, args=[parent], daemon=True).start()


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
