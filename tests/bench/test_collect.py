"""The measurements run: whether their numbers are good, nobody can say on a machine that does other things beside."""

import asyncio

import pytest

from bench import collect
from bench.collect import QUICK, Sizes, least_requests


def test_the_least_requests_of_a_wall() -> None:
    # a page of posts, and then one of comments for each of them
    assert least_requests(20, 40) == 2
    assert least_requests(60, 30_000) == 17
    assert least_requests(1_000, 100_000) == 81


def test_the_measurements_run(capsys: pytest.CaptureFixture[str]) -> None:
    small = Sizes(requests=[(3, 60)], paced=(3, 60), stored=200, memory=[(3, 60)])
    asyncio.run(collect.run(small))
    told = capsys.readouterr().out
    for title in ("HTTP requests", "Time at 3 requests a second", "Storing", "Without a rate limit"):
        assert title in told
    assert "60 comments" in told
    assert QUICK.requests
