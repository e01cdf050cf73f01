"""A pytest plugin that fails a run in which a line of the application was not covered: `-p tests.line_coverage`.

slipcover inserts its measuring into the bytecode of the measured modules, so all libraries run at full speed.
Tracing, which coverage.py needs before Python 3.12, took as long as the tests themselves.
"""

import atexit
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import slipcover

LINE_COVERAGE = "LINE_COVERAGE"
"""The environment variable with the directory to which each measured process writes its covered lines."""
LINE_COVERAGE_OF = "LINE_COVERAGE_OF"
"""The environment variable with the paths that a process measures, relative to the repository."""
PACKAGES = ("app", "schema", "simulator")
IN_CHILD_PROCESSES = ("app/cli", "app/background.py", "app/errors.py", "app/main.py")
"""The files that are also measured in child processes, where some of their lines run; all files would take a second."""
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
EXCLUDED_LINES = [
    "raise AssertionError",  # marks unreachable code
    # only root reaches this code of the embedded PostgreSQL
    *(["# tests reach this as root only"] if os.geteuid() else []),
]
"""Patterns of excluded lines, with the blocks that they begin, besides slipcover's own: `if TYPE_CHECKING:`."""
RUN_AS_SCRIPTS = [str(REPOSITORY / "app/cli/__main__.py")]
"""Python runs these as scripts without importing them, so their code cannot be instrumented."""
REPORT = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Begin before the application is imported; child processes that are started from here on do the same."""
    if LINE_COVERAGE in os.environ:  # a process of xdist, which has begun already
        return
    os.environ[LINE_COVERAGE] = tempfile.mkdtemp(prefix="vkc-lines-")
    os.environ[LINE_COVERAGE_OF] = " ".join(PACKAGES)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(HERE))
    sys.modules.pop("sitecustomize", None)
    importlib.import_module("sitecustomize")


def pytest_configure(config: pytest.Config) -> None:
    """Measure everything in the processes that run tests, and only some files in their child processes."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
        os.environ[LINE_COVERAGE_OF] = " ".join(IN_CHILD_PROCESSES)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Merge the covered lines of all processes; fail the run if any line is missing."""
    write = sys.modules["sitecustomize"].write
    atexit.unregister(write)  # the directory will be removed
    write()
    if hasattr(session.config, "workerinput"):
        return
    sources = [str(REPOSITORY / package) for package in PACKAGES]
    every = slipcover.Slipcover(source=sources, omit=RUN_AS_SCRIPTS, exclude_also=EXCLUDED_LINES).get_coverage()
    for path in Path(os.environ[LINE_COVERAGE]).iterdir():
        slipcover.merge_coverage(every, json.loads(path.read_bytes()))
    shutil.rmtree(os.environ[LINE_COVERAGE])
    table = io.StringIO()
    slipcover.print_coverage(every, outfile=table, skip_covered=True)
    session.config.stash[REPORT] = table.getvalue()
    if every["summary"]["missing_lines"] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines that did not run."""
    terminalreporter.write(terminalreporter.config.stash.get(REPORT, ""))
