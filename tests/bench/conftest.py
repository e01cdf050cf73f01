"""The measurements are tried as they are made: without measuring which lines their processes run."""

import pytest

from tests.line_coverage import LINE_COVERAGE


@pytest.fixture(autouse=True)
def _as_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LINE_COVERAGE, raising=False)
