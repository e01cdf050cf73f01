"""Pagers: what a pager (an iterator over pages) is, and how it steps back; VK pages by offset while items come and go.

Several pages are requested at a time, before the answers of the previous ones
arrive. A deletion shifts all later items to the left and would hide an item at
the border of two pages. So neighbouring pages overlap by one item; if a page does
not reach back to the last item seen, the pager requests pages further and further
back to find the items between. All decisions are made without I/O.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import Field

from app.vk.wire import PAGE_SIZE, Call

T = TypeVar("T")

NotStored = Annotated[T, Field(exclude=True)]
"""A field that is not stored with a pager: after a restart, pages in flight are requested again."""

OVERLAP = 1
MOST_EMPTIES = 4
"""After this many empty pages without a new item between them, the end is reached: VK counts more than it returns."""
MOST_LOOKBACKS = 20
"""How many consecutive looks back may find nothing before a pager gives up; each look goes back twice as far."""

MOST_REREADS = 2
"""How often in a row a page that contradicts itself, or cannot be read, is requested again."""


def contradicts(shown: int, stated: int | None, offset: int) -> bool:
    """Return whether a page has another number of items than follows from the total that VK states."""
    return stated is not None and shown != min(PAGE_SIZE, max(0, stated - offset))


class Pager(Protocol):
    """Goes through a list that VK returns in pages."""

    @property
    def is_closed(self) -> bool:
        """Whether the whole list was seen."""

    def next_request(self) -> "PageRequest | None":
        """Return the next page to request; None while that depends on answers that have not arrived."""

    def note(self, page_request: "PageRequest") -> None:
        """Record that this page has been requested."""

    def request_again(self, page_request: "PageRequest") -> bool:
        """Have this page requested again; return False after `MOST_REREADS` consecutive times."""

    def close(self) -> None:
        """Give the list up: VK does not return it."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The call, its pager, and the offset of the page.

    `generation` is the pager's generation at the time of the request: if the pager was sent
    back meanwhile, the answer is useless. `gap` is the gap to fill, if any.
    """

    pager: Any  # a wall's or a level's: who reads the answers of one kind knows which
    call: Call
    offset: int
    generation: int = 0
    gap: Any = None  # a `Gap` of `app.vk.comment_pager`, which imports this module

    @property
    def is_wanted(self) -> bool:
        """Whether the pager still needs the answer."""
        return not self.pager.is_closed and (self.gap is not None or self.generation == self.pager.generation)


def further_back(offset: int, looks: int = 0) -> int:
    """Return the offset of an earlier page: with no `looks` it ends just behind the start of the page at `offset`.

    Each of the `looks` that found nothing doubles the distance.
    """
    return max(0, offset - ((PAGE_SIZE - 2 * OVERLAP) << looks))


def position_further_back(offset: int, looks: int = 0) -> int:
    """Return the position from which a pager continues with the page that is further back."""
    back = further_back(offset, looks)
    return back + OVERLAP if back else 0
