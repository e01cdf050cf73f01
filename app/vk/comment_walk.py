"""How a level of comments is walked to its end: the top comments of a post, or the replies of one thread.

New comments are added at the end of an ascending walk, where they do no harm.
A page that does not reach back to what was seen leaves a gap, which the walk
fills beside going on (see `app.vk.walk`).
"""

from dataclasses import dataclass, field

from app.vk.walk import (
    MOST_EMPTIES,
    MOST_LOOKS,
    MOST_REREADS,
    OVERLAP,
    Ask,
    contradicts,
    further_back,
    position_further_back,
)
from app.vk.wire import PAGE_SIZE, comments_page
from app.wall import VkComment, VkCommentPage


@dataclass(slots=True)
class Gap:
    """Comments that were shifted away between two pages: those behind `after_id` and before `until_id`.

    `offset` is where it is looked for next. `behind` is the nearest offset that
    is known to lie behind the gap; `looks` were made in a row without finding any of them.
    """

    offset: int
    after_id: int
    until_id: int
    behind: int
    looks: int = 0
    is_asked: bool = False


@dataclass(slots=True)
class CommentWalk:
    """How far the walk through one level of one post is: its top comments, or the replies of one thread.

    `position` items lie behind it, of which `last_id` is the newest; ids ascend
    with time. `level_count` is how many the level has, as VK last said.
    `stated_count` is how many items VK stated elsewhere: where it listed the post, or
    in the top comment of the thread. `received` is how many items of the level were
    received, `lowest_count` the lowest number that its pages stated. `is_contradicted`
    says that a page showed another number of items than VK stated, also when it was
    requested again, `has_broken` that some could not be read: then nothing is
    concluded from the ids at the borders of pages.
    `is_incomplete` says that a gap was given up. `is_from_start` is false where
    the first replies are known from an earlier collection. `asked` is up to where
    pages have been asked for; None before the first. `empties` are pages that held
    nothing, since one brought something new. After one, a page that brings nothing
    new and shows the end of the level says that the walk `is_back_in_vain`.
    """

    owner_id: int
    post_id: int
    thread_id: int | None = None
    position: int = 0
    last_id: int = 0
    level_count: int | None = None
    stated_count: int | None = None
    received: int = 0
    lowest_count: int | None = None
    is_contradicted: bool = False
    has_broken: bool = False
    is_from_start: bool = True
    is_at_end: bool = False
    is_incomplete: bool = False
    gaps: list[Gap] = field(default_factory=list)
    asked: int | None = None
    empties: int = 0
    is_back_in_vain: bool = False
    rereads: int = 0
    turn: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """The key (owner, id) of the post."""
        return self.owner_id, self.post_id

    @property
    def is_closed(self) -> bool:
        """Whether the whole level was seen."""
        return self.is_at_end and not self.gaps

    @property
    def lacks_items(self) -> bool:
        """Whether VK has shown less of the level than it stated, as far as it was read."""
        return self.is_contradicted or (self.lowest_count is not None and self.received < self.lowest_count)

    def close(self) -> None:
        """Give the level up: VK does not show it."""
        self.is_at_end = True
        self.gaps.clear()

    def next_ask(self) -> Ask | None:
        """Return the next page that is worth asking for: to fill a gap, or further on as far as the level is known."""
        for gap in self.gaps:
            if not gap.is_asked:
                return self._ask(gap.offset, gap)
        if self.is_at_end:
            return None
        if self.asked is None:
            return self._ask(max(0, self.position - OVERLAP))
        # where VK does not say how long the level is, a page at a time
        if self.asked > self.position and (self.level_count is None or self.asked >= self.level_count):
            return None
        return self._ask(self.asked - OVERLAP)

    def _ask(self, offset: int, gap: Gap | None = None) -> Ask:
        call = comments_page(self.owner_id, self.post_id, offset, self.thread_id)
        return Ask(self, call, offset, self.turn, gap)

    def note(self, ask: Ask) -> None:
        """Note that this page is being asked for."""
        if ask.gap:
            ask.gap.is_asked = True
        else:
            self.asked = ask.offset + PAGE_SIZE

    def request_again(self, ask: Ask) -> bool:
        """Have this page requested again; False where that was done often enough in a row."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        if ask.gap:
            ask.gap.is_asked = False
        else:
            self._turn_to(ask.offset + OVERLAP if ask.offset else 0)
        return True

    def take(self, ask: Ask, page: VkCommentPage) -> list[VkComment]:
        """Go on by an answered page and return those of its items that were not seen before.

        Pages have to be taken in the order in which they were asked for. One that
        contradicts itself is requested again first.
        """
        if self._contradicts(ask, page):
            # where VK keeps to a contradiction, further pages are likely to have it as well
            if not self.is_contradicted and self.request_again(ask):
                return []
            self.is_contradicted = True
        self.rereads = 0
        self.has_broken = self.has_broken or page.left_out > 0
        if page.shown and page.level_count is not None:
            self.lowest_count = (
                page.level_count if self.lowest_count is None else min(self.lowest_count, page.level_count)
            )
        new = self._fill(ask.gap, page) if ask.gap else self._go_on(ask, page)
        # a broken item may have been received before, which is better than to take it for one that VK has not shown
        self.received += len(new) + page.left_out
        return new

    def _contradicts(self, ask: Ask, page: VkCommentPage) -> bool:
        """Whether a page shows another number of comments than VK states, of the level, the thread or the post."""
        if contradicts(page.shown, page.level_count, ask.offset):
            return True
        if ask.offset > 0:
            return False
        if not page.shown and self.stated_count:
            return True
        if self.thread_id is not None or page.left_out or page.count is None:
            return False
        if page.level_count is None or page.level_count > page.shown:
            return False
        # the whole level is on this page, so its comments and their replies are all that the post has
        in_threads = [top.thread_count for top in page.items]
        return None not in in_threads and page.shown + sum(filter(None, in_threads)) < page.count

    def _go_on(self, ask: Ask, page: VkCommentPage) -> list[VkComment]:
        self.level_count = page.level_count
        before = self.last_id
        if not page.shown:
            # what is left of the level has moved in front of this page, unless VK counts more than it shows
            self.is_at_end = ask.offset == 0 or self.is_back_in_vain or self.empties >= MOST_EMPTIES
            self._turn_to(position_further_back(min(ask.offset, page.level_count or ask.offset)))
            self.empties += 1
            return []
        if ask.offset > 0 and not self.has_broken and page.items[0].id > before:
            self.gaps.append(Gap(further_back(ask.offset), before, page.items[0].id, ask.offset))
        new = [item for item in page.items if item.id > before]
        self.position, self.is_at_end = _behind(ask.offset, page)
        self.last_id = max((before, *(item.id for item in new)))
        self.empties = 0 if new else self.empties
        self.is_back_in_vain = self.empties > 0 and page.shown < PAGE_SIZE
        if not self.is_at_end and self.position < ask.offset + PAGE_SIZE:
            self._turn_to(self.position)
        return new

    def _fill(self, gap: Gap, page: VkCommentPage) -> list[VkComment]:
        """Take a page that was to show what lies in a gap; returns what of it was not seen before."""
        ids = [item.id for item in page.items]
        new = [item for item in page.items if gap.after_id < item.id < gap.until_id]
        gap.is_asked = False
        gap.looks += 1
        if self.has_broken:
            self.gaps.remove(gap)
            return new
        if gap.offset > 0 and (not ids or ids[0] > gap.after_id):
            if not ids or ids[-1] < gap.until_id:
                new = []  # it joins neither side, so it will be shown again
            else:
                gap.until_id = min(gap.until_id, ids[0])
            gap.behind = min(gap.behind, gap.offset)
            gap.offset = further_back(gap.offset, gap.looks)
        else:
            gap.looks = 0 if new else gap.looks
            gap.after_id = max((gap.after_id, *ids))
            position, is_at_end = _behind(gap.offset, page)
            if is_at_end or gap.after_id >= gap.until_id:
                self.gaps.remove(gap)
                return new
            # where all of it was known, the gap is as likely in each half of what is left
            halfway = 0 if new else (gap.offset + gap.behind) // 2
            gap.offset = max(position - OVERLAP, halfway)
        if gap.looks >= MOST_LOOKS:
            self.gaps.remove(gap)
            self.is_incomplete = True
        return new

    def _turn_to(self, position: int) -> None:
        """Ask from here on anew; answers that are under way are of no use."""
        self.position, self.asked, self.turn = position, None, self.turn + 1


def _behind(offset: int, page: VkCommentPage) -> tuple[int, bool]:
    """Return the position behind a page that begins at `offset`, and whether the level ends there."""
    shown = page.shown
    # a page that shows next to nothing though the level goes on: VK left the others out
    position = offset + (shown if shown > OVERLAP else PAGE_SIZE)
    if page.level_count is None:
        return position, shown < PAGE_SIZE
    return position, position >= page.level_count


def page_count(items: int, shown: int = 0) -> int:
    """Return how many pages a walk through so many items asks for, when the first ones are known without it."""
    left = items - shown
    if left <= 0:
        return 0
    if shown:
        left += OVERLAP
    return max(1, -(-(left - OVERLAP) // (PAGE_SIZE - OVERLAP)))
