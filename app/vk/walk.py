"""How a level of comments, or a wall, is walked to its end: which pages to ask for, and how they join; without I/O.

VK pages by offset while comments come and go, and pages are asked for several
at a time, before those ahead of them have been seen. New comments are added at
the end of an ascending walk, where they do no harm. A deleted one shifts all
later ones to the left and would hide one at a page's border. So neighbouring
pages overlap by one item, and a page that does not reach back to what was seen
leaves a gap, into which the walk looks from further and further back until a
page joins both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.vk.wire import PAGE_SIZE, POSTS_PER_CALL, Call, comments_page, posts_by_id, wall_page
from app.wall import VkComment, VkCommentPage, VkPost, VkPostPage

OVERLAP = 1
MOST_EMPTIES = 4
"""So many empty pages without anything new between them are taken for the end: VK counts more than it shows."""
MOST_LOOKS = 20
"""How often in a row a walk looks in vain before it gives up; each look further back goes twice as far."""


class Walk(Protocol):
    """A way through something that VK shows in pages."""

    @property
    def is_closed(self) -> bool:
        """Whether all of it was seen."""

    def next_ask(self) -> "Ask | None":
        """Return the next page that is worth asking for; None where that is not known before others are answered."""

    def note(self, ask: "Ask") -> None:
        """Note that this page is being asked for."""

    def close(self) -> None:
        """Give it up: VK does not show it."""


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
    gap: Gap | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether the walk still waits for this page."""
        return not self.walk.is_closed and (self.gap is not None or self.turn == self.walk.turn)


@dataclass(slots=True)
class CommentWalk:
    """How far the walk through one level of one post is: its top comments, or the replies of one thread.

    `position` items lie behind it, of which `last_id` is the newest; ids ascend
    with time. `level_count` is how many the level has, as VK last said.
    `thread_count` is how many replies the top comment's own page stated.
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
    thread_count: int = 0
    is_from_start: bool = True
    is_at_end: bool = False
    is_incomplete: bool = False
    gaps: list[Gap] = field(default_factory=list)
    asked: int | None = None
    empties: int = 0
    is_back_in_vain: bool = False
    turn: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether the whole level was seen."""
        return self.is_at_end and not self.gaps

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

    def take(self, ask: Ask, page: VkCommentPage) -> list[VkComment]:
        """Go on by an answered page and return those of its items that were not seen before.

        Pages have to be taken in the order in which they were asked for.
        """
        if ask.gap:
            return self._fill(ask.gap, page)
        self.level_count = page.level_count
        before = self.last_id
        if not page.items:
            # what is left of the level has moved in front of this page, unless VK counts more than it shows
            self.is_at_end = ask.offset == 0 or self.is_back_in_vain or self.empties >= MOST_EMPTIES
            self._turn_to(_position_further_back(min(ask.offset, page.level_count or ask.offset)))
            self.empties += 1
            return []
        if ask.offset > 0 and page.items[0].id > before:
            self.gaps.append(Gap(_further_back(ask.offset), before, page.items[0].id, ask.offset))
        new = [item for item in page.items if item.id > before]
        self.position, self.is_at_end = _behind(ask.offset, page)
        self.last_id = max((before, *(item.id for item in new)))
        self.empties = 0 if new else self.empties
        self.is_back_in_vain = self.empties > 0 and len(page.items) < PAGE_SIZE
        if not self.is_at_end and self.position < ask.offset + PAGE_SIZE:
            self._turn_to(self.position)
        return new

    def _fill(self, gap: Gap, page: VkCommentPage) -> list[VkComment]:
        """Take a page that was to show what lies in a gap; returns what of it was not seen before."""
        ids = [item.id for item in page.items]
        new = [item for item in page.items if gap.after_id < item.id < gap.until_id]
        gap.is_asked = False
        gap.looks += 1
        if gap.offset > 0 and (not ids or ids[0] > gap.after_id):
            if not ids or ids[-1] < gap.until_id:
                new = []  # it joins neither side, so it will be shown again
            else:
                gap.until_id = min(gap.until_id, ids[0])
            gap.behind = min(gap.behind, gap.offset)
            gap.offset = _further_back(gap.offset, gap.looks)
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


@dataclass(slots=True)
class WallWalk:
    """How far the walk through a wall is, newest post first; `last_id` is the oldest post seen, 0 before the first.

    `since` (Unix seconds) and `most` say which posts are wanted; `taken` of them were seen.
    """

    owner_id: int
    since: int | None = None
    most: int | None = None
    position: int = 0
    last_id: int = 0
    count: int | None = None
    taken: int = 0
    is_closed: bool = False
    asked: int | None = None
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
        if self.count is None or self.asked >= min(self.count, self._reach()):
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

    def take(self, ask: Ask, page: VkPostPage) -> list[VkPost]:
        """Go on by an answered page and return those of its posts that are wanted.

        Pages have to be taken in the order in which they were asked for.
        """
        self.count = page.count
        ids = [post.id for post in page.items if not post.is_pinned]
        if ask.offset > 0 and (not ids or ids[0] < self.last_id) and self.looks < MOST_LOOKS:
            # what came behind posts that were deleted has moved in front of this page,
            # unless VK counts more than it shows
            self.is_closed = not ids and (self.is_back_in_vain or self.empties >= MOST_EMPTIES)
            self._turn_to(_position_further_back(ask.offset, self.looks))
            self.looks += 1
            self.empties += not ids
            return []
        unseen = [post for post in page.items if not 0 < self.last_id <= post.id]
        wanted, goes_on = wanted_posts(unseen, self.since, None if self.most is None else self.most - self.taken)
        # a page may hold new posts only, when many were written since the one before
        self.last_id = min((*ids, self.last_id or max(ids, default=0)))
        self.taken += len(wanted)
        self.position = ask.offset + (len(page.items) if len(page.items) > OVERLAP else PAGE_SIZE)
        # the pinned post is shown again and again, and says nothing of how far the walk is
        is_further = any(not post.is_pinned for post in unseen)
        self.empties = 0 if is_further else self.empties
        self.is_back_in_vain = self.empties > 0 and len(page.items) < PAGE_SIZE
        self.looks = 0 if is_further else self.looks
        self.is_closed = not goes_on or not page.items or self.position >= page.count
        if not self.is_closed and self.position < ask.offset + PAGE_SIZE:
            self._turn_to(self.position)
        return wanted

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
        return Ask(self, posts_by_id(self.owner_id, chunk), self.asked) if chunk else None

    def note(self, ask: Ask) -> None:
        """Note that this page is being asked for."""
        self.asked = ask.offset + POSTS_PER_CALL

    def take(self, ask: Ask, page: VkPostPage) -> list[VkPost]:
        """Go on by an answered page and return its posts."""
        self.position = ask.offset + POSTS_PER_CALL
        return page.items

    def missing(self, ask: Ask, page: VkPostPage) -> list[int]:
        """Return the ids that were asked for and that VK left out."""
        chunk = self.ids[ask.offset : ask.offset + POSTS_PER_CALL]
        return sorted(set(chunk) - {post.id for post in page.items})


def _behind(offset: int, page: VkCommentPage) -> tuple[int, bool]:
    """Return the position behind a page that begins at `offset`, and whether the level ends there."""
    shown = len(page.items)
    # a page that shows next to nothing though the level goes on: VK left the others out
    position = offset + (shown if shown > OVERLAP else PAGE_SIZE)
    if page.level_count is None:
        return position, shown < PAGE_SIZE
    return position, position >= page.level_count


def _further_back(offset: int, looks: int = 0) -> int:
    """Return the offset of a page that ends a little behind where the page at `offset` began, or lies far before it.

    With each of the `looks` that were in vain it goes back twice as far.
    """
    return max(0, offset - ((PAGE_SIZE - 2 * OVERLAP) << looks))


def _position_further_back(offset: int, looks: int = 0) -> int:
    """Return the position from which a walk goes on with the page further back."""
    back = _further_back(offset, looks)
    return back + OVERLAP if back else 0


def page_count(items: int, shown: int = 0) -> int:
    """Return how many pages a walk through so many items asks for, when the first ones are known without it."""
    left = items - shown
    if left <= 0:
        return 0
    if shown:
        left += OVERLAP
    return max(1, -(-(left - OVERLAP) // (PAGE_SIZE - OVERLAP)))


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
