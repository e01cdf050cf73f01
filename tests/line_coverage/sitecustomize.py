"""Python imports this at the start of each process that has this directory on its path: it notes which lines run.

The tests' own processes have it there, and so have those that they start; see `__init__.py`.
"""

import atexit
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NEVER = 2**31 - 1
"""How often a line runs until its instrumentation is removed, which would exchange the code of functions."""


def begin(directory: str, measured: list[str]) -> Callable[[], None]:
    """Note the lines of all modules that are imported from now on; returns what writes them to `directory`."""
    import slipcover  # noqa: PLC0415 - processes that are not measured need not wait for it

    lines = slipcover.Slipcover(d_miss_threshold=NEVER, exclude_lines=[])
    slipcover.ImportManager(lines, slipcover.FileMatcher(sources=measured)).__enter__()

    def write() -> None:
        found = lines.get_coverage()
        for each in found["files"].values():
            each["missing_lines"] = []  # what is missing is decided once, for all processes
        with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".json", delete=False) as file:
            json.dump(found, file)

    return write


if "LINE_COVERAGE" in os.environ:
    write = begin(
        os.environ["LINE_COVERAGE"], [str(REPOSITORY / part) for part in os.environ["LINE_COVERAGE_OF"].split()]
    )
    atexit.register(write)
