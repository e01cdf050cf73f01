"""The measurements run: whether their numbers are good, nobody can say on a machine that does other things beside."""

import asyncio
from dataclasses import replace

import pytest

from bench import jobs
from bench.following import Load, Told, summarized
from bench.jobs import FULL, QUICK


def test_what_arrives_too_late_does_not_count() -> None:
    arrivals = {"3": [10.1, 10.3], "4": [10.6, 13.0]}
    told = summarized(arrivals, {3: 10.0, 4: 10.5}, Load(1, 2, seconds=1, after_seconds=0.5), refusals=1, peak_bytes=5)
    assert told == Told(2, 3, 1, told.delays, 1, 5)
    assert told.delays == pytest.approx([0.1, 0.1, 0.3])
    assert told.per_second == 3


def test_the_measurements_run(capsys: pytest.CaptureFixture[str]) -> None:
    small = replace(QUICK, jobs=20, starts=2, cancels=2, ticks=10, subscribers=3)
    asyncio.run(jobs.run(small))
    told = capsys.readouterr().out
    for title in (
        "Jobs a second", "Enqueue to start", "Rescue after kill -9, heartbeat time-out 1 s", "Cancel to end",
        "A tick of progress", "Events a second",
    ):  # fmt: skip
        assert title in told
    assert "refused" not in told
    assert FULL.heartbeat_seconds == 10
