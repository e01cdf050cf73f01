"""The benchmark runs. Its results are not checked: they mean nothing on a machine with other load."""

import asyncio
from dataclasses import replace

import pytest

from bench import jobs
from bench.following import Load, LoadResult, summarized
from bench.jobs import FULL, QUICK


def test_late_arrivals_do_not_count() -> None:
    arrivals = {"3": [10.1, 10.3], "4": [10.6, 13.0]}
    result = summarized(
        arrivals, {3: 10.0, 4: 10.5}, Load(1, 2, seconds=1, after_seconds=0.5), refusals=1, peak_bytes=5
    )
    assert result == LoadResult(2, 3, 1, result.delays, 1, 5)
    assert result.delays == pytest.approx([0.1, 0.1, 0.3])
    assert result.per_second == 3


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    small = replace(QUICK, jobs=20, starts=2, cancels=2, ticks=10, subscribers=3)
    asyncio.run(jobs.run(small))
    output = capsys.readouterr().out
    for title in (
        "Jobs per second", "Enqueue to start", "Resumed after kill -9, heartbeat timeout 1 s", "Cancel to end",
        "A tick of progress", "Events per second",
    ):  # fmt: skip
        assert title in output
    assert "refused" not in output
    assert FULL.heartbeat_seconds == 10
