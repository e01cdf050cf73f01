"""The measurements run: whether their numbers are good, nobody can say on a machine that does other things beside."""

import asyncio
from dataclasses import replace

import pytest

from bench import export
from bench.export import FULL, QUICK


def test_the_measurements_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # large numbers of a slow machine would have words wrapped
    asyncio.run(export.run(replace(QUICK, comments=200, seconds=0.1)))
    told = capsys.readouterr().out
    for title in ("200 comments with 15 columns", "psql \\copy", "PARQUET", "A small query", "and an analysis"):
        assert title in told
    assert FULL.comments == 1_000_000
