"""How a level of comments, or a wall, is walked to its end: which page to ask next, decided without I/O.

VK pages by offset while comments come and go. New ones are added at the end of
an ascending walk, where they do no harm. A deleted one shifts all later ones to
the left and would hide one at each page's border, so pages overlap by a few
items: a page that does not reach back to what was seen before is stepped back
until it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.vk.wire import PAGE_SIZE, Call, comments_page, wall_page
from app.wall import VkCommentPage, VkPost, VkPostPage

OVERLAP = 2


@dataclass(frozen=True, slots=True)
class CommentWalk:
    """How far the walk through one level of one post is: its top comments, or the replies of one thread.

    `position` items lie behind it, of which `last_id` is the newest; ids ascend with time.
    """

    post_id: int
    thread_id: int | None = None
    position: int = 0
    last_id: int = 0

    @property
    def offset(self) -> int:
        """Where the next page begins: a little before the position."""
        return max(0, self.position - OVERLAP)

    def call(self, owner_id: int) -> Call:
        """Return the call for the next page."""
        return comments_page(owner_id, self.post_id, self.offset, self.thread_id)

    def after(self, page: VkCommentPage) -> "list[CommentWalk]":
        """Return the walks that follow from a page: this one, unless it is at its end, and those of long threads."""
        if not self._joins(page):
            return [replace(self, position=_stepped_back(self.offset))]
        threads = [
            CommentWalk(self.post_id, top.id, len(inside), max((reply.id for reply in inside), default=0))
            for top in page.items
            # the walks of tops that were seen before were opened then
            if top.id > self.last_id and top.thread_count > len(inside := page.replies.get(top.id, []))
        ]
        following = self._following([item.id for item in page.items], page.level_count)
        return ([following] if following else []) + threads

    def count_new(self, page: VkCommentPage) -> int:
        """Return how many comments and replies of a page come behind the walk with it, so that each counts once."""
        tops = [item for item in page.items if item.id > self.last_id] if self._joins(page) else []
        return len(tops) + sum(len(page.replies.get(top.id, ())) for top in tops)

    def _joins(self, page: VkCommentPage) -> bool:
        """Say whether a page reaches back to what was seen; else something between may be missing."""
        return self.offset == 0 or (bool(page.items) and page.items[0].id <= self.last_id)

    def _following(self, ids: Sequence[int], level_count: int | None) -> "CommentWalk | None":
        position = self.offset + len(ids)
        # a short page is the end, unless VK says there is more: then one more look
        if position <= self.position or (len(ids) < PAGE_SIZE and position >= (level_count or 0)):
            return None
        return replace(self, position=position, last_id=max(self.last_id, *ids))


@dataclass(frozen=True, slots=True)
class WallWalk:
    """How far the walk through a wall is, newest post first; `last_id` is the oldest post seen, 0 before the first."""

    position: int = 0
    last_id: int = 0

    @property
    def offset(self) -> int:
        """Where the next page begins: a little before the position."""
        return max(0, self.position - OVERLAP)

    def call(self, owner_id: int) -> Call:
        """Return the call for the next page."""
        return wall_page(owner_id, self.offset)

    def after(self, page: VkPostPage) -> "WallWalk | None":
        """Return the walk behind a page, or None at the end of the wall."""
        ids = [post.id for post in page.items if not post.is_pinned]
        if self.offset > 0 and (not ids or ids[0] < self.last_id):
            return replace(self, position=_stepped_back(self.offset))
        position = self.offset + len(page.items)
        if not page.items or position >= page.count:
            return None
        # a page may hold new posts only, when many were written since the one before
        oldest = min(ids, default=self.last_id)
        return WallWalk(position, min(oldest, self.last_id or oldest))


def _stepped_back(offset: int) -> int:
    """Return the position whose page ends a little behind where the page at `offset` began."""
    start = max(0, offset - (PAGE_SIZE - OVERLAP))
    return start + OVERLAP if start else 0


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
