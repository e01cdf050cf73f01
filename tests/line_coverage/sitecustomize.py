"""Records which lines run. Python imports this file at the start of each process with this directory on its path.

The test processes have it there, and so have their child processes; see `__init__.py`.
"""

import atexit
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NEVER = 2**31 - 1
"""How often a line runs until its instrumentation is removed, which would replace the code of functions."""


def begin(directory: str, measured: list[str]) -> Callable[[], None]:
    """Record the lines of all modules that are imported from now on; return what writes them to `directory`."""
    import slipcover  # noqa: PLC0415 - processes that are not measured should not load it

    lines = slipcover.Slipcover(d_miss_threshold=NEVER, exclude_lines=[])
    slipcover.ImportManager(lines, slipcover.FileMatcher(sources=measured)).__enter__()

    def write() -> None:
        found = lines.get_coverage()
        for each in found["files"].values():
            each["missing_lines"] = []  # missing lines are determined once, for all processes
        with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".json", delete=False) as file:
            json.dump(found, file)

    return write


if "LINE_COVERAGE" in os.environ:
    write = begin(
        os.environ["LINE_COVERAGE"], [str(REPOSITORY / part) for part in os.environ["LINE_COVERAGE_OF"].split()]
    )
    atexit.register(write)
