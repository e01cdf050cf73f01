"""The pager of a level of comments: the top comments of a post, or the replies of one thread, to the end.

The order is ascending, so new comments are added at the end and shift no others.
A page that does not reach back to the last comment seen leaves a gap, which the
pager fills while it continues (see `app.vk.pager`).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from app.vk.pager import (
    MOST_EMPTIES,
    MOST_LOOKBACKS,
    MOST_REREADS,
    OVERLAP,
    PageRequest,
    contradicts,
    further_back,
    position_further_back,
)
from app.vk.wire import PAGE_SIZE, comments_page
from app.wall import VkComment, VkCommentPage


@dataclass(slots=True)
class Gap:
    """Comments that were shifted away between two pages: those after `after_id` and before `until_id`.

    `offset` is the offset of the next page to request. `behind` is the lowest offset
    known to be after the gap. `looks` counts the consecutive pages that had none of the
    comments. `is_requested`: the page at `offset` has been requested.
    """

    offset: int
    after_id: int
    until_id: int
    behind: int
    looks: int = 0
    is_requested: bool = False


class StoredGap(NamedTuple):
    """What a checkpoint contains of a `Gap`."""

    offset: int
    after_id: int
    until_id: int
    behind: int
    looks: int


class StoredPager(NamedTuple):
    """What a checkpoint contains of a `CommentPager`.

    A tuple becomes a list without names: a checkpoint is written several times per second, with up to hundreds of them.
    """

    owner_id: int
    post_id: int
    thread_id: int | None
    position: int
    last_id: int
    level_count: int | None
    stated_count: int | None
    received: int
    lowest_count: int | None
    is_contradicted: bool
    has_broken: bool
    is_from_start: bool
    is_at_end: bool
    is_incomplete: bool
    gaps: tuple[StoredGap, ...]


@dataclass(slots=True)
class CommentPager:
    """The state of a pager through one level of a post: its top comments, or the replies of one thread.

    It is stored in the checkpoint of the job, without what only concerns pages in flight (see `StoredPager`).

    `position`: the number of items that were passed; `last_id` is the newest of them (ids ascend with time).
    `level_count`: the number of items of the level that VK stated last.
    `stated_count`: the number of items that VK stated elsewhere: in the listing of the post, or in the thread's
        top comment.
    `received`: the number of items received; `lowest_count`: the lowest total that the pages stated.
    `is_contradicted`: a page had another number of items than VK stated, even when it was requested again.
    `has_broken`: items could not be read; then nothing is concluded from the ids at the borders of pages.
    `is_from_start`: false if the first replies are known from an earlier collection.
    `is_incomplete`: a gap was given up.
    `requested_to`: the offset up to which pages have been requested; None before the first.
    `empties`: the number of empty pages since the last new item.
    `is_end_seen`: after an empty page, a page without new items has shown the end of the level.
    `generation`: the generation of the pager (see `PageRequest`).
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
    requested_to: int | None = None
    empties: int = 0
    is_end_seen: bool = False
    rereads: int = 0
    generation: int = 0

    @classmethod
    def of(cls, stored: StoredPager) -> "CommentPager":
        """Restore a pager."""
        return cls(*stored[:-1], gaps=[Gap(*gap) for gap in stored.gaps])

    def stored(self) -> StoredPager:
        """Return the pager as a checkpoint contains it."""
        gaps = tuple(StoredGap(*(getattr(gap, name) for name in StoredGap._fields)) for gap in self.gaps)
        return StoredPager(**{name: getattr(self, name) for name in StoredPager._fields[:-1]}, gaps=gaps)

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
        """Whether VK has returned fewer items of the level than it stated, as far as it was read."""
        return self.is_contradicted or (self.lowest_count is not None and self.received < self.lowest_count)

    def close(self) -> None:
        """Give the level up: VK does not return it."""
        self.is_at_end = True
        self.gaps.clear()

    def next_request(self) -> PageRequest | None:
        """Return the next page to request: to fill a gap, or onward as far as the length of the level is known."""
        for gap in self.gaps:
            if not gap.is_requested:
                return self._request(gap.offset, gap)
        if self.is_at_end:
            return None
        if self.requested_to is None:
            return self._request(max(0, self.position - OVERLAP))
        # If VK does not state the length of the level, request one page at a time.
        if self.requested_to > self.position and (self.level_count is None or self.requested_to >= self.level_count):
            return None
        return self._request(self.requested_to - OVERLAP)

    def _request(self, offset: int, gap: Gap | None = None) -> PageRequest:
        call = comments_page(self.owner_id, self.post_id, offset, self.thread_id)
        return PageRequest(self, call, offset, self.generation, gap)

    def note(self, page_request: PageRequest) -> None:
        """Record that this page has been requested."""
        if page_request.gap:
            page_request.gap.is_requested = True
        else:
            self.requested_to = page_request.offset + PAGE_SIZE

    def request_again(self, page_request: PageRequest) -> bool:
        """Have this page requested again; return False after `MOST_REREADS` consecutive times."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        if page_request.gap:
            page_request.gap.is_requested = False
        else:
            self._restart_at(page_request.offset + OVERLAP if page_request.offset else 0)
        return True

    def take(self, page_request: PageRequest, page: VkCommentPage) -> list[VkComment]:
        """Process an answered page and return its items that were not seen before.

        Pages must be processed in the order of their requests. A page that
        contradicts its stated total is requested again first.
        """
        if self._contradicts(page_request, page):
            # If VK repeats a contradiction, further pages are likely to have it, too: do not request those again.
            if not self.is_contradicted and self.request_again(page_request):
                return []
            self.is_contradicted = True
        self.rereads = 0
        self.has_broken = self.has_broken or page.left_out > 0
        if page.shown and page.level_count is not None:
            self.lowest_count = (
                page.level_count if self.lowest_count is None else min(self.lowest_count, page.level_count)
            )
        new = self._fill(page_request.gap, page) if page_request.gap else self._go_on(page_request, page)
        # Count broken items as received. One may be counted twice, which is better than to count it as an item that VK
        # has not returned.
        self.received += len(new) + page.left_out
        return new

    def _contradicts(self, page_request: PageRequest, page: VkCommentPage) -> bool:
        """Return whether a page has another number of comments than VK states for the level, the thread or the post."""
        if contradicts(page.shown, page.level_count, page_request.offset):
            return True
        if page_request.offset > 0:
            return False
        if not page.shown and self.stated_count:
            return True
        if self.thread_id is not None or page.left_out or page.count is None:
            return False
        if page.level_count is None or page.level_count > page.shown:
            return False
        # The whole level is on this page, so its comments and their replies must be all comments of the post.
        in_threads = [top.thread_count for top in page.items]
        return None not in in_threads and page.shown + sum(filter(None, in_threads)) < page.count

    def _go_on(self, page_request: PageRequest, page: VkCommentPage) -> list[VkComment]:
        self.level_count = page.level_count
        before = self.last_id
        if not page.shown:
            # The rest of the level has moved to before this page; or VK counts more items than it returns.
            self.is_at_end = page_request.offset == 0 or self.is_end_seen or self.empties >= MOST_EMPTIES
            self._restart_at(position_further_back(min(page_request.offset, page.level_count or page_request.offset)))
            self.empties += 1
            return []
        if page_request.offset > 0 and not self.has_broken and page.items[0].id > before:
            self.gaps.append(Gap(further_back(page_request.offset), before, page.items[0].id, page_request.offset))
        new = [item for item in page.items if item.id > before]
        self.position, self.is_at_end = _behind(page_request.offset, page)
        self.last_id = max((before, *(item.id for item in new)))
        self.empties = 0 if new else self.empties
        self.is_end_seen = self.empties > 0 and page.shown < PAGE_SIZE
        if not self.is_at_end and self.position < page_request.offset + PAGE_SIZE:
            self._restart_at(self.position)
        return new

    def _fill(self, gap: Gap, page: VkCommentPage) -> list[VkComment]:
        """Process a page that was requested to fill a gap; return its items that were not seen before."""
        ids = [item.id for item in page.items]
        new = [item for item in page.items if gap.after_id < item.id < gap.until_id]
        gap.is_requested = False
        gap.looks += 1
        if self.has_broken:
            self.gaps.remove(gap)
            return new
        if gap.offset > 0 and (not ids or ids[0] > gap.after_id):
            if not ids or ids[-1] < gap.until_id:
                new = []  # the page reaches neither end of the gap, so its items will be read again
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
            # If the page had nothing new, the gap is equally likely in each half of the remaining offsets: bisect.
            halfway = 0 if new else (gap.offset + gap.behind) // 2
            gap.offset = max(position - OVERLAP, halfway)
        if gap.looks >= MOST_LOOKBACKS:
            self.gaps.remove(gap)
            self.is_incomplete = True
        return new

    def _restart_at(self, position: int) -> None:
        """Continue from this position in a new generation: answers in flight are discarded."""
        self.position, self.requested_to, self.generation = position, None, self.generation + 1


def _behind(offset: int, page: VkCommentPage) -> tuple[int, bool]:
    """Return the position after a page that begins at `offset`, and whether the level ends there."""
    shown = page.shown
    # If a page is almost empty although the level continues, VK has omitted the other items.
    position = offset + (shown if shown > OVERLAP else PAGE_SIZE)
    if page.level_count is None:
        return position, shown < PAGE_SIZE
    return position, position >= page.level_count


def page_count(items: int, shown: int = 0) -> int:
    """Return how many pages have to be requested for so many items if the first `shown` items are already known."""
    left = items - shown
    if left <= 0:
        return 0
    if shown:
        left += OVERLAP
    return max(1, -(-(left - OVERLAP) // (PAGE_SIZE - OVERLAP)))
