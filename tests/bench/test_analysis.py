"""The benchmark runs. Its results are not checked: they mean nothing on a machine with other load."""

import asyncio
from dataclasses import replace

import pytest

from bench import analysis
from bench.analysis import QUICK, nouns


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(analysis.run(replace(QUICK, texts=200, stored=200, analyzed=1_000, counted=1_000)))
    output = capsys.readouterr().out
    for title in (
        "Matching 200 comments",
        "comments with matching",
        "Analysing 1,000 comments",
        "1 % edited",
        "isInWave: True",
        "Statistics over 1,000 comments",
        "Pages of 1,000 comments",
    ):
        assert title in " ".join(output.split())
    assert len(nouns(300)) == 300
