"""A pytest plugin that fails a run that leaves out a line of the application: `-p tests.line_coverage`.

slipcover puts its measuring into the bytecode of the modules that are measured, so all libraries run at their full
speed. Tracing, which coverage.py needs before Python 3.12, took as long as the tests themselves.
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
"""Names the directory to which each measured process writes what it has run."""
LINE_COVERAGE_OF = "LINE_COVERAGE_OF"
"""Names what a process measures, relative to the repository."""
PACKAGES = ("app", "schema", "simulator")
IN_OTHER_PROCESSES = ("app/cli", "app/background.py", "app/errors.py", "app/main.py")
"""What is measured there: some lines run there only. To instrument all modules takes a second for each process."""
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
LEFT_OUT = [
    "raise AssertionError",  # marks what cannot happen
    # the embedded PostgreSQL gets there as root
    *(["# tests reach this as root only"] if os.geteuid() else []),
]
"""Patterns of lines that need not run, nor the block that they begin, besides slipcover's own: `if TYPE_CHECKING:`."""
RUN_AS_A_SCRIPT = [str(REPOSITORY / "app/cli/__main__.py")]
"""Python does not import these, so nobody can put anything into their code."""
REPORT = pytest.StashKey[str]()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Begin before anything of the application is imported; processes that are started from here on do the same."""
    if LINE_COVERAGE in os.environ:  # a process of xdist, which has begun already
        return
    os.environ[LINE_COVERAGE] = tempfile.mkdtemp(prefix="vkc-lines-")
    os.environ[LINE_COVERAGE_OF] = " ".join(PACKAGES)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(HERE))
    sys.modules.pop("sitecustomize", None)
    importlib.import_module("sitecustomize")


def pytest_configure(config: pytest.Config) -> None:
    """Measure all in the processes that run tests, and only some of it in those that tests start."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses"):
        os.environ[LINE_COVERAGE_OF] = " ".join(IN_OTHER_PROCESSES)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Put together what all processes have run; where something is missing, the run has failed."""
    write = sys.modules["sitecustomize"].write
    atexit.unregister(write)  # the directory will be gone
    write()
    if hasattr(session.config, "workerinput"):
        return
    sources = [str(REPOSITORY / package) for package in PACKAGES]
    every = slipcover.Slipcover(source=sources, omit=RUN_AS_A_SCRIPT, exclude_also=LEFT_OUT).get_coverage()
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
