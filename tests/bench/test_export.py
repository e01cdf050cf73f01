"""The benchmark runs. Its results are not checked: they mean nothing on a machine with other load."""

import asyncio
from dataclasses import replace

import pytest

from bench import export
from bench.export import FULL, QUICK


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # otherwise the large numbers of a slow machine would wrap words
    asyncio.run(export.run(replace(QUICK, comments=200, seconds=0.1)))
    output = capsys.readouterr().out
    for title in ("200 comments with 15 columns", "psql \\copy", "PARQUET", "A small query", "and an analysis"):
        assert title in output
    assert FULL.comments == 1_000_000
