"""Detects when code blocks the event loop of this process, and logs where."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from app import metrics
from app.log import log

BLOCKED_SECONDS = 1.0
"""How long the loop may take to answer before it counts as blocked."""
ASK_SECONDS = 0.5
SHOWN_FRAMES = 6


@contextmanager
def watching_loop(blocked_seconds: float = BLOCKED_SECONDS) -> Iterator[None]:
    """Check regularly that the running loop responds, from another thread, while the context lasts.

    If the loop does not respond within `blocked_seconds`, count and log that while
    it is blocked, with the code location that blocks it. When it continues, count
    and log for how long it was blocked.
    """
    loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
    ended, answered = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(ASK_SECONDS):
            answered.clear()
            asked_at = time.monotonic()
            with suppress(RuntimeError):  # the loop was just closed
                loop.call_soon_threadsafe(answered.set)
            if answered.wait(blocked_seconds) or ended.is_set():
                continue
            metrics.loop_blocked.inc()
            log.warning("loop_blocked", where=_place(sys._current_frames().get(loop_thread)))  # noqa: SLF001 - the only way to get the stack of another thread
            answered.wait()
            seconds = time.monotonic() - asked_at
            metrics.loop_blocked_seconds.inc(seconds)
            log.warning("loop_goes_on", blocked_seconds=round(seconds, 1))

    watcher = threading.Thread(target=watch, name="watchdog", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        answered.set()


def _place(frame: FrameType | None) -> list[str]:
    """Return the innermost calls of a thread as `file:line function`, the blocking one last."""
    calls = traceback.extract_stack(frame)[-SHOWN_FRAMES:]
    return [f"{call.filename}:{call.lineno} {call.name}" for call in calls]
