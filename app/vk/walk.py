"""What a walk through pages is, and how it goes back: VK pages by offset while comments and posts come and go.

Pages are asked for several at a time, before those ahead of them have been
seen. Whatever is deleted shifts all that comes behind it to the left and would
hide an item at a page's border. So neighbouring pages overlap by one item, and
where a page does not reach back to what was seen, the walk looks for what lies
between from further and further back. All of it is decided without I/O.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from app.vk.wire import PAGE_SIZE, Call

OVERLAP = 1
MOST_EMPTIES = 4
"""So many empty pages without anything new between them are taken for the end: VK counts more than it shows."""
MOST_LOOKS = 20
"""How often in a row a walk looks in vain before it gives up; each look further back goes twice as far."""

MOST_REREADS = 2
"""How often in a row a page that contradicts itself, or cannot be read, is requested again."""


def contradicts(shown: int, stated: int | None, offset: int) -> bool:
    """Whether a page shows another number of items than the number that VK states for all pages leaves for it."""
    return stated is not None and shown != min(PAGE_SIZE, max(0, stated - offset))


class Walk(Protocol):
    """A way through something that VK shows in pages."""

    @property
    def is_closed(self) -> bool:
        """Whether all of it was seen."""

    def next_ask(self) -> "Ask | None":
        """Return the next page that is worth asking for; None where that is not known before others are answered."""

    def note(self, ask: "Ask") -> None:
        """Note that this page is being asked for."""

    def request_again(self, ask: "Ask") -> bool:
        """Have this page requested again; False where that was done often enough in a row."""

    def close(self) -> None:
        """Give it up: VK does not show it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A page that is asked for: the call, the walk it is for, and where in it the page lies.

    `turn` is the walk's when it was asked for: the answer is of no use if the
    walk was sent back meanwhile. `gap` is the gap it is to fill, if any.
    """

    walk: Any
    call: Call
    offset: int
    turn: int = 0
    gap: Any = None

    @property
    def is_wanted(self) -> bool:
        """Whether the walk still waits for this page."""
        return not self.walk.is_closed and (self.gap is not None or self.turn == self.walk.turn)


def further_back(offset: int, looks: int = 0) -> int:
    """Return the offset of a page that ends a little behind where the page at `offset` began, or lies far before it.

    With each of the `looks` that were in vain it goes back twice as far.
    """
    return max(0, offset - ((PAGE_SIZE - 2 * OVERLAP) << looks))


def position_further_back(offset: int, looks: int = 0) -> int:
    """Return the position from which a walk goes on with the page further back."""
    back = further_back(offset, looks)
    return back + OVERLAP if back else 0
