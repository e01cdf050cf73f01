"""Runs what keeps a processor busy in a process of its own, so that the event loop goes on."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from anyio import BrokenWorkerProcess, to_process

from app.errors import ProcessDied

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


async def in_process(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a plain function in another process and return what it returns.

    The function is one of a module, and it, its arguments and its result can be
    pickled. Whatever it raises is raised here. If the caller is cancelled, the
    process is killed at once: the function gets no chance to clean up.

    Raises:
        ProcessDied: the process ended meanwhile, most likely for lack of memory.
    """
    try:
        return await to_process.run_sync(function, *arguments, cancellable=True)
    except BrokenWorkerProcess as error:
        raise ProcessDied from error
