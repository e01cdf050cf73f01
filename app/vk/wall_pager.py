"""Pagers of posts: a wall to its end, newest post first, or single posts of a wall by their ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.vk.pager import (
    MOST_EMPTIES,
    MOST_LOOKBACKS,
    MOST_REREADS,
    OVERLAP,
    NotStored,
    PageRequest,
    contradicts,
    position_further_back,
)
from app.vk.wire import PAGE_SIZE, POSTS_PER_CALL, posts_by_id, wall_page
from app.wall import VkPost, VkPostPage


@dataclass(slots=True)
class WallPager:
    """The state of a pager through a wall, newest post first. It is stored in the checkpoint of the job.

    `since` (Unix seconds) and `most` select posts; `selected_count` counts the selected posts so
    far. `last_id` is the oldest post seen, 0 before the first. `received` counts all
    posts received, without the pinned one; `newest_id` is the newest of them.
    `lowest_count` is the lowest total that VK stated for the wall: if it exceeds the
    posts received, the first page is requested once more (`is_recounting`), because
    posts may have been written meanwhile. `is_contradicted`: VK returned fewer posts
    than it stated, to the end. `has_broken`: a post could not be read. `requested_to` is the
    offset up to which pages have been requested, None before the first. `generation` is the
    generation of the pager (see `PageRequest`).
    """

    owner_id: int
    since: int | None = None
    most: int | None = None
    position: int = 0
    last_id: int = 0
    count: int | None = None
    selected_count: int = 0
    received: int = 0
    newest_id: int = 0
    lowest_count: int | None = None
    has_pinned: bool = False
    is_recounting: bool = False
    is_contradicted: bool = False
    has_broken: bool = False
    is_closed: bool = False
    requested_to: NotStored[int | None] = None
    rereads: NotStored[int] = 0
    empties: int = 0
    is_end_seen: bool = False
    looks: int = 0
    generation: NotStored[int] = 0

    def close(self) -> None:
        """Give the wall up: VK does not return it."""
        self.is_closed = True

    def next_request(self) -> PageRequest | None:
        """Return the next page to request; None while that depends on answers that have not arrived."""
        if self.is_closed:
            return None
        if self.requested_to is None:
            return self._request(max(0, self.position - OVERLAP))
        if self.is_recounting or self.count is None or self.requested_to >= min(self.count, self._reach()):
            return None
        return self._request(self.requested_to - OVERLAP)

    def _request(self, offset: int) -> PageRequest:
        return PageRequest(self, wall_page(self.owner_id, offset), offset, self.generation)

    def _reach(self) -> float:
        """Return the offset up to which pages are worth requesting in advance.

        The offset of a date is unknown: with `since`, request at most as many posts again as were seen.
        """
        if self.most is not None:
            return self.position + self.most - self.selected_count + 1
        return 2 * self.position if self.since is not None else float("inf")

    def note(self, page_request: PageRequest) -> None:
        """Record that this page has been requested."""
        self.requested_to = page_request.offset + PAGE_SIZE

    def request_again(self, page_request: PageRequest) -> bool:
        """Have this page requested again; return False after `MOST_REREADS` consecutive times."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        self._restart_at(page_request.offset + OVERLAP if page_request.offset else 0)
        return True

    def take(self, page_request: PageRequest, page: VkPostPage) -> list[VkPost]:
        """Process an answered page and return its selected posts.

        Pages must be processed in the order of their requests. A page that
        contradicts its stated total is requested again first.
        """
        if contradicts(page.shown, page.count, page_request.offset):
            # If VK repeats a contradiction, further pages are likely to have it, too: do not request those again.
            if not self.is_contradicted and self.request_again(page_request):
                return []
            self.is_contradicted = True
        self.rereads = 0
        self.has_broken = self.has_broken or page.left_out > 0
        self.has_pinned = self.has_pinned or any(post.is_pinned for post in page.items)
        if page.shown and page.count is not None:
            self.lowest_count = page.count if self.lowest_count is None else min(self.lowest_count, page.count)
        return self._recount(page) if self.is_recounting else self._go_on(page_request, page)

    def _recount(self, page: VkPostPage) -> list[VkPost]:
        """Close the pager with the first page, requested once more; return the posts that were written meanwhile."""
        new = [post for post in page.items if not post.is_pinned and post.id > self.newest_id]
        self.received += len(new)
        self.is_contradicted = self.is_contradicted or self._lacks_posts()
        self.is_closed = True
        return new

    def _lacks_posts(self) -> bool:
        received = self.received + self.has_pinned
        return not self.has_broken and self.lowest_count is not None and received < self.lowest_count

    def _go_on(self, page_request: PageRequest, page: VkPostPage) -> list[VkPost]:
        self.count = page.count
        ids = [post.id for post in page.items if not post.is_pinned]
        is_behind = not page.shown or (not self.has_broken and (not ids or ids[0] < self.last_id))
        if page_request.offset > 0 and is_behind and self.looks < MOST_LOOKBACKS:
            # Posts were deleted, so the posts behind them have moved to before this page; or VK counts more posts
            # than it returns.
            self._restart_at(position_further_back(page_request.offset, self.looks))
            if not page.shown and (self.is_end_seen or self.empties >= MOST_EMPTIES):
                self._end()
            self.looks += 1
            self.empties += not page.shown
            return []
        unseen = [post for post in page.items if not 0 < self.last_id <= post.id]
        selected, goes_on = selected_posts(
            unseen, self.since, None if self.most is None else self.most - self.selected_count
        )
        # If many posts were written since the previous page, this page may contain only new ones.
        self.last_id = min((*ids, self.last_id or max(ids, default=0)))
        self.newest_id = max((*ids, self.newest_id))
        self.received += sum(not post.is_pinned for post in unseen)
        self.selected_count += len(selected)
        self.position = page_request.offset + (page.shown if page.shown > OVERLAP else PAGE_SIZE)
        # The pinned post may be on every page, so it does not show how far the pager is.
        is_further = any(not post.is_pinned for post in unseen)
        self.empties = 0 if is_further else self.empties
        self.is_end_seen = self.empties > 0 and page.shown < PAGE_SIZE
        self.looks = 0 if is_further else self.looks
        if not goes_on:
            self.is_closed = True
        elif not page.shown or (page.count is not None and self.position >= page.count):
            self._end()
        elif self.position < page_request.offset + PAGE_SIZE:
            self._restart_at(self.position)
        return selected

    def _end(self) -> None:
        """End the pager at the end of the wall, or request its first page once more if posts are missing."""
        if self._lacks_posts() and not self.is_contradicted:
            self.is_recounting = True
            self._restart_at(0)
        else:
            self.is_closed = True

    def _restart_at(self, position: int) -> None:
        """Continue from this position in a new generation: answers in flight are discarded."""
        self.position, self.requested_to, self.generation = position, None, self.generation + 1


@dataclass(slots=True)
class PostsById:
    """The state of the listing of single posts of a wall, which are requested by their ids, up to 100 at a time."""

    owner_id: int
    ids: tuple[int, ...]
    position: int = 0
    requested_to: NotStored[int | None] = None
    rereads: NotStored[int] = 0
    generation: NotStored[int] = 0

    @property
    def is_closed(self) -> bool:
        """Whether all of them were answered."""
        return self.position >= len(self.ids)

    def close(self) -> None:
        """Give the wall up: VK does not return it."""
        self.position = self.requested_to = len(self.ids)

    def next_request(self) -> PageRequest | None:
        """Return the next page to request."""
        start = self.position if self.requested_to is None else self.requested_to
        chunk = self.ids[start : start + POSTS_PER_CALL]
        return PageRequest(self, posts_by_id(self.owner_id, chunk), start, self.generation) if chunk else None

    def note(self, page_request: PageRequest) -> None:
        """Record that this page has been requested."""
        self.requested_to = page_request.offset + POSTS_PER_CALL

    def request_again(self, page_request: PageRequest) -> bool:
        """Have this page requested again; return False after `MOST_REREADS` consecutive times."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        self.requested_to, self.generation = page_request.offset, self.generation + 1
        return True

    def take(self, page_request: PageRequest, page: VkPostPage) -> list[VkPost]:
        """Process an answered page and return its posts."""
        self.rereads = 0
        self.position = page_request.offset + POSTS_PER_CALL
        return page.items

    def missing(self, page_request: PageRequest, page: VkPostPage) -> list[int]:
        """Return the requested ids that VK omitted from the page."""
        chunk = self.ids[page_request.offset : page_request.offset + POSTS_PER_CALL]
        return sorted(set(chunk) - {post.id for post in page.items})


def selected_posts(posts: Sequence[VkPost], since: int | None, room: int | None) -> tuple[list[VkPost], bool]:
    """Return the posts of a page that a collection selects, and whether the rest of the wall may contain more of them.

    `since` is in Unix seconds. The pinned post comes first whatever its date, so
    its age says nothing about the following posts. `room` is how many more posts
    are selected, newest first; then a pinned post that is older than the others of
    its page is omitted, because it is not among the newest.
    """
    young = [post for post in posts if since is None or post.date >= since]
    has_old = any(post.date < since for post in posts if not post.is_pinned) if since is not None else False
    if room is None:
        return young, not has_old
    oldest = min((post.date for post in posts if not post.is_pinned), default=0)
    newest = sorted((post for post in young if post.date >= oldest), key=lambda post: -post.date)
    return newest[:room], not has_old and len(newest) < room
