"""This file keeps Python's search for garbage away from records that stay and from replies that go at once."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_search(*, keep: bool = False) -> Iterator[None]:
    """Search for no garbage inside; with `keep` what is made inside is never searched, so it must be there to stay.

    A reply of 1,700 comments is 10,000 dicts and lists without a cycle, for which the search takes half of the time
    that it takes to make them. A million comments are searched again and again in vain. (Measured, Python 3.11.)
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if keep:
            gc.freeze()
        if searched:
            gc.enable()
