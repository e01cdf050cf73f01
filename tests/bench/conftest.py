"""The measurements are tried without measuring coverage, as they are made: it would take half of the time."""

import os

import pytest


@pytest.fixture(autouse=True)
def _as_they_are_made(monkeypatch: pytest.MonkeyPatch, unmeasured: None) -> None:  # noqa: ARG001 - see its docstring
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)
