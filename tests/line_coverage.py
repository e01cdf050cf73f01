"""A pytest plugin that fails a run that leaves a line uncovered. Branches are reported, but not enforced.

coverage's own `fail_under` counts branches as soon as they are measured.
"""

import json
import os
from pathlib import Path

import pytest

# As an ordinary user, the tests cannot get everywhere that the embedded PostgreSQL goes as
# root. coverage reads this when it starts, which is after this plugin is loaded.
os.environ["ROOT_ONLY"] = "nothing is left out" if os.geteuid() == 0 else "# tests reach this as root only"

REPORT = Path("build/coverage.json")
"""Where `--cov-report=json:` writes."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look at the report when all tests have passed; the workers of xdist have none."""
    if hasattr(session.config, "workerinput") or session.exitstatus != pytest.ExitCode.OK:
        return
    report = json.loads(REPORT.read_bytes())
    if report["totals"]["missing_lines"]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the run covers; the table above it names what is missing."""
    if not REPORT.exists():  # the run was interrupted
        return
    totals = json.loads(REPORT.read_bytes())["totals"]
    terminalreporter.write_line(
        f"Covered: {totals['covered_lines']} of {totals['num_statements']} lines (all are required), "
        f"{totals['covered_branches']} of {totals['num_branches']} branches."
    )
