"""The benchmark runs. Its results are not checked: they mean nothing on a machine with other load."""

import asyncio

import pytest

from bench import collect
from bench.collect import QUICK, Sizes, minimum_requests


def test_the_minimum_of_requests_of_a_wall() -> None:
    # a request for the page of posts, then one for a page of comments of each post
    assert minimum_requests(20, 40) == 2
    assert minimum_requests(60, 30_000) == 17
    assert minimum_requests(1_000, 100_000) == 81


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    small = Sizes(requests=[(3, 60)], paced=(3, 60), stored=200, memory=[(3, 60)])
    asyncio.run(collect.run(small))
    output = capsys.readouterr().out
    for title in ("HTTP requests", "Time at 3 requests per second", "Storing", "Without a rate limit"):
        assert title in output
    assert "60 comments" in output
    assert QUICK.requests
