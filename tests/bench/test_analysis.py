"""The measurements run: whether their numbers are good, nobody can say on a machine that does other things beside."""

import asyncio
from dataclasses import replace

import pytest

from bench import analysis
from bench.analysis import QUICK, nouns


def test_the_measurements_run(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(analysis.run(replace(QUICK, texts=200, stored=200, analyzed=1_000, counted=1_000)))
    told = capsys.readouterr().out
    for title in (
        "Matching 200 comments",
        "that are matched",
        "Analysing 1,000 comments",
        "1 % edited",
        "isInWave: True",
        "Statistics over 1,000 comments",
        "Pages of 1,000 comments",
    ):
        assert title in " ".join(told.split())
    assert len(nouns(300)) == 300
