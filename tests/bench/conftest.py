"""Tests of the benchmarks. Their processes run as in use: without measuring line coverage."""

import pytest

from tests.line_coverage import LINE_COVERAGE


@pytest.fixture(autouse=True)
def _no_line_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LINE_COVERAGE, raising=False)
