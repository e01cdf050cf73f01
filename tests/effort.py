"""Measures effort without a clock where possible, and otherwise compares growth, never seconds."""

import math
import sys
import time
from collections.abc import Callable

FEWEST_TRIES, MOST_TRIES = 3, 20
"""Other programs only ever prolong a measurement, so the shortest of several counts."""


MEASURING = "slipcover.probe"


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called, in Python or in C, while `work` runs in this thread."""
    count = 0

    def note(_frame: object, event: str, argument: object) -> None:
        nonlocal count
        # before Python 3.12, each line whose coverage is measured calls a function of this module
        count += event == "call" or (event == "c_call" and getattr(argument, "__module__", "") != MEASURING)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def grows_linearly(work: Callable[[int], Callable[[], object]], size: int, *, times: int = 8) -> bool:
    """Return whether `times` as much input takes about `times` the processor time, not the square of that.

    `work(size)` prepares the input and returns the function to measure. It is for work
    whose steps cannot be counted, such as that of regular expressions. The limit is
    halfway (on a logarithmic scale) between linear and quadratic growth.
    """
    small, large = work(size), work(size * times)
    small_seconds = large_seconds = math.inf
    for tries in range(1, MOST_TRIES + 1):
        small_seconds = min(small_seconds, _seconds(small))
        large_seconds = min(large_seconds, _seconds(large))
        if tries >= FEWEST_TRIES and large_seconds < times**1.5 * small_seconds:
            return True
    return False


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
