"""How a wall is walked to its end, newest post first, and how single posts of one are listed."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.vk.walk import MOST_EMPTIES, MOST_LOOKS, MOST_REREADS, OVERLAP, Ask, contradicts, position_further_back
from app.vk.wire import PAGE_SIZE, POSTS_PER_CALL, posts_by_id, wall_page
from app.wall import VkPost, VkPostPage


@dataclass(slots=True)
class WallWalk:
    """How far the walk through a wall is, newest post first; `last_id` is the oldest post seen, 0 before the first.

    `since` (Unix seconds) and `most` say which posts are wanted; `taken` of them were seen.
    `received` posts were received in all, without the pinned one; `newest_id` is the
    newest of them, `lowest_count` the lowest number that VK stated for the wall.
    Where that is more, the first page is requested once more (`is_recounting`):
    posts may have been written meanwhile. `is_contradicted` says that VK showed
    less than it stated to the end, `has_broken` that a post could not be read.
    """

    owner_id: int
    since: int | None = None
    most: int | None = None
    position: int = 0
    last_id: int = 0
    count: int | None = None
    taken: int = 0
    received: int = 0
    newest_id: int = 0
    lowest_count: int | None = None
    has_pinned: bool = False
    is_recounting: bool = False
    is_contradicted: bool = False
    has_broken: bool = False
    is_closed: bool = False
    asked: int | None = None
    rereads: int = 0
    empties: int = 0
    is_back_in_vain: bool = False
    looks: int = 0
    turn: int = 0

    def close(self) -> None:
        """Give the wall up: VK does not show it."""
        self.is_closed = True

    def next_ask(self) -> Ask | None:
        """Return the next page that is worth asking for."""
        if self.is_closed:
            return None
        if self.asked is None:
            return self._ask(max(0, self.position - OVERLAP))
        if self.is_recounting or self.count is None or self.asked >= min(self.count, self._reach()):
            return None
        return self._ask(self.asked - OVERLAP)

    def _ask(self, offset: int) -> Ask:
        return Ask(self, wall_page(self.owner_id, offset), offset, self.turn)

    def _reach(self) -> float:
        """Return up to where posts are likely to be wanted: nobody knows where a date is, so as much again."""
        if self.most is not None:
            return self.position + self.most - self.taken + 1
        return 2 * self.position if self.since is not None else float("inf")

    def note(self, ask: Ask) -> None:
        """Note that this page is being asked for."""
        self.asked = ask.offset + PAGE_SIZE

    def request_again(self, ask: Ask) -> bool:
        """Have this page requested again; False where that was done often enough in a row."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        self._turn_to(ask.offset + OVERLAP if ask.offset else 0)
        return True

    def take(self, ask: Ask, page: VkPostPage) -> list[VkPost]:
        """Go on by an answered page and return those of its posts that are wanted.

        Pages have to be taken in the order in which they were asked for. One that
        contradicts itself is requested again first.
        """
        if contradicts(page.shown, page.count, ask.offset):
            # where VK keeps to a contradiction, further pages are likely to have it as well
            if not self.is_contradicted and self.request_again(ask):
                return []
            self.is_contradicted = True
        self.rereads = 0
        self.has_broken = self.has_broken or page.left_out > 0
        self.has_pinned = self.has_pinned or any(post.is_pinned for post in page.items)
        if page.shown and page.count is not None:
            self.lowest_count = page.count if self.lowest_count is None else min(self.lowest_count, page.count)
        return self._recount(page) if self.is_recounting else self._go_on(ask, page)

    def _recount(self, page: VkPostPage) -> list[VkPost]:
        """Close the walk by the first page, requested once more; returns the posts that were written meanwhile."""
        new = [post for post in page.items if not post.is_pinned and post.id > self.newest_id]
        self.received += len(new)
        self.is_contradicted = self.is_contradicted or self._lacks_posts()
        self.is_closed = True
        return new

    def _lacks_posts(self) -> bool:
        received = self.received + self.has_pinned
        return not self.has_broken and self.lowest_count is not None and received < self.lowest_count

    def _go_on(self, ask: Ask, page: VkPostPage) -> list[VkPost]:
        self.count = page.count
        ids = [post.id for post in page.items if not post.is_pinned]
        is_behind = not page.shown or (not self.has_broken and (not ids or ids[0] < self.last_id))
        if ask.offset > 0 and is_behind and self.looks < MOST_LOOKS:
            # what came behind posts that were deleted has moved in front of this page,
            # unless VK counts more than it shows
            self._turn_to(position_further_back(ask.offset, self.looks))
            if not page.shown and (self.is_back_in_vain or self.empties >= MOST_EMPTIES):
                self._end()
            self.looks += 1
            self.empties += not page.shown
            return []
        unseen = [post for post in page.items if not 0 < self.last_id <= post.id]
        wanted, goes_on = wanted_posts(unseen, self.since, None if self.most is None else self.most - self.taken)
        # a page may hold new posts only, when many were written since the one before
        self.last_id = min((*ids, self.last_id or max(ids, default=0)))
        self.newest_id = max((*ids, self.newest_id))
        self.received += sum(not post.is_pinned for post in unseen)
        self.taken += len(wanted)
        self.position = ask.offset + (page.shown if page.shown > OVERLAP else PAGE_SIZE)
        # the pinned post is shown again and again, and says nothing of how far the walk is
        is_further = any(not post.is_pinned for post in unseen)
        self.empties = 0 if is_further else self.empties
        self.is_back_in_vain = self.empties > 0 and page.shown < PAGE_SIZE
        self.looks = 0 if is_further else self.looks
        if not goes_on:
            self.is_closed = True
        elif not page.shown or (page.count is not None and self.position >= page.count):
            self._end()
        elif self.position < ask.offset + PAGE_SIZE:
            self._turn_to(self.position)
        return wanted

    def _end(self) -> None:
        """End the walk at the end of the wall, or look at its first page once more if posts are missing."""
        if self._lacks_posts() and not self.is_contradicted:
            self.is_recounting = True
            self._turn_to(0)
        else:
            self.is_closed = True

    def _turn_to(self, position: int) -> None:
        """Ask from here on anew; answers that are under way are of no use."""
        self.position, self.asked, self.turn = position, None, self.turn + 1


@dataclass(slots=True)
class NamedPosts:
    """How far the listing of single posts of a wall is: they are asked for by their ids, up to 100 at a time."""

    owner_id: int
    ids: Sequence[int]
    position: int = 0
    asked: int = 0
    rereads: int = 0
    turn: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether all of them were answered."""
        return self.position >= len(self.ids)

    def close(self) -> None:
        """Give the wall up: VK does not show it."""
        self.position = self.asked = len(self.ids)

    def next_ask(self) -> Ask | None:
        """Return the next page that is worth asking for."""
        chunk = self.ids[self.asked : self.asked + POSTS_PER_CALL]
        return Ask(self, posts_by_id(self.owner_id, chunk), self.asked, self.turn) if chunk else None

    def note(self, ask: Ask) -> None:
        """Note that this page is being asked for."""
        self.asked = ask.offset + POSTS_PER_CALL

    def request_again(self, ask: Ask) -> bool:
        """Have this page requested again; False where that was done often enough in a row."""
        if self.rereads >= MOST_REREADS:
            return False
        self.rereads += 1
        self.asked, self.turn = ask.offset, self.turn + 1
        return True

    def take(self, ask: Ask, page: VkPostPage) -> list[VkPost]:
        """Go on by an answered page and return its posts."""
        self.rereads = 0
        self.position = ask.offset + POSTS_PER_CALL
        return page.items

    def missing(self, ask: Ask, page: VkPostPage) -> list[int]:
        """Return the ids that were asked for and that VK left out."""
        chunk = self.ids[ask.offset : ask.offset + POSTS_PER_CALL]
        return sorted(set(chunk) - {post.id for post in page.items})


def wanted_posts(posts: Sequence[VkPost], since: int | None, room: int | None) -> tuple[list[VkPost], bool]:
    """Return the posts that a collection wants of a page, and whether the rest of the wall holds more of them.

    `since` is in Unix seconds. The pinned post comes first whatever its date,
    so its age says nothing about those that follow. `room` is how many more
    posts are wanted, newest first; then a pinned one that is older than the
    others of its page is left out, as it is not among the newest.
    """
    young = [post for post in posts if since is None or post.date >= since]
    has_old = any(post.date < since for post in posts if not post.is_pinned) if since is not None else False
    if room is None:
        return young, not has_old
    oldest = min((post.date for post in posts if not post.is_pinned), default=0)
    newest = sorted((post for post in young if post.date >= oldest), key=lambda post: -post.date)
    return newest[:room], not has_old and len(newest) < room
