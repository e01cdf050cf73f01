import re
from collections.abc import Callable
from functools import partial

import pytest

from tests.effort import calls_of, grows_linearly


@pytest.mark.parametrize(("pattern", "size", "is_linear"), [("ab", 20_000, True), ("a+b", 400, False)])
def test_growth(pattern: str, size: int, is_linear: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The second pattern is tried from each letter to the end of the text."""
    search = re.compile(pattern).search

    def work(length: int) -> Callable[[], object]:
        return partial(search, "a" * length)

    assert grows_linearly(work, size) is is_linear


def length(word: str) -> int:
    return len(word)


def test_calls_are_counted() -> None:
    none, two = (calls_of(partial(list, map(len, words))) for words in ([], ["one", "two"]))
    assert none == two  # calls within C functions are not counted
    none, two = (calls_of(partial(sorted, words, key=length)) for words in ([], ["one", "two"]))
    assert two == none + 4  # `length`, and len
