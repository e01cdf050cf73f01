"""What the pages of one pack bring a collection: what is to be stored, and how its posts and threads go on.

Decides without I/O; `app.work.collecting.collect_comments` stores it in one step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.store.comments import ReadThread
from app.vk.comment_walk import CommentWalk, page_count
from app.vk.walk import Ask
from app.vk.wall_walk import NamedPosts
from app.vk.wire import VkFault, VkUnavailable
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkPost, VkPostPage
from app.work.collecting.collection import OpenPost, State


@dataclass(slots=True)
class PostResults:
    """What a pack of pages of walls brought; refusals and broken items are by owner id."""

    people: list[VkAuthor] = field(default_factory=list)
    posts: list[VkPost] = field(default_factory=list)
    missing: list[tuple[int, int]] = field(default_factory=list)
    refused: dict[int, VkFault] = field(default_factory=dict)
    broken: dict[int, list[VkBrokenItem]] = field(default_factory=dict)

    def take(self, ask: Ask, page: VkPostPage) -> None:
        """Go on by a page of a wall, or of single posts of one."""
        owner_id = ask.walk.owner_id
        self.posts += ask.walk.take(ask, page)
        self.people += page.authors
        if page.broken:
            self.broken.setdefault(owner_id, []).extend(page.broken)
        if isinstance(ask.walk, NamedPosts):
            self.missing += [(owner_id, post_id) for post_id in ask.walk.missing(ask, page)]


class CommentResults:
    """What a pack of pages of comments brought. The state of the collection goes on with each page.

    `whole_threads` are threads that were read from their start, each with the key
    of its post; `refused` are posts that cannot be read, `broken` items by post
    (owner, id), `touched` the posts of all pages.
    """

    def __init__(self, state: State, *, is_full: bool) -> None:
        self.people: list[VkAuthor] = []
        self.comments: list[VkComment] = []
        self.read_threads: list[ReadThread] = []
        self.whole_threads: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.refused: list[tuple[OpenPost, VkFault]] = []
        self.broken: dict[tuple[int, int], list[VkBrokenItem]] = {}
        self.touched: set[tuple[int, int]] = set()
        self._state = state
        self._is_full = is_full

    def take(self, ask: Ask, page: VkCommentPage | VkFault, known: Mapping[tuple[int, int], ReadThread]) -> None:
        """Go on by one page of one level; `known` are the threads that an earlier collection has read to the end."""
        walk: CommentWalk = ask.walk
        post = self._state.posts[walk.key]
        self.touched.add(walk.key)
        post.calls += 1
        if isinstance(page, VkFault):
            walk.close()
            self._fail(post, page)
            return
        _note_stated(walk, post, page)
        new = walk.take(ask, page)
        if page.broken:
            post.has_broken = post.has_broken or any(each.is_content for each in page.broken)
            self.broken.setdefault(post.key, []).extend(page.broken)
        self.people += page.authors
        self.comments += page.items
        self._count(post, len(new))
        for top in new:
            replies = page.replies.get(top.id, [])
            self.comments += replies
            self._count(post, len(replies))
            if walk.thread_id is None:
                self._take_thread(post, top, replies, known.get((walk.owner_id, top.id)))
        self._close_level(walk, post)

    def _close_level(self, walk: CommentWalk, post: OpenPost) -> None:
        """Draw the conclusions of a level that was read to its end, if it was."""
        if walk.is_incomplete:
            self._fail(post, VkUnavailable("Too many comments were deleted while it was read."))
        elif walk.is_closed and walk.lacks_items and not walk.is_from_start:
            # what was hidden when the thread was last read may be shown again, in front of where it was read from
            self._state.walks.append(CommentWalk(*walk.key, walk.thread_id, stated_count=walk.stated_count))
            post.received -= walk.received
        elif walk.is_closed and walk.lacks_items:
            post.is_contradicted = True
        elif walk.is_closed and walk.thread_id is not None and not post.has_broken:
            count = walk.stated_count or 0
            self.read_threads.append(ReadThread(walk.owner_id, walk.thread_id, count, walk.last_id))
            if walk.is_from_start and post.was_read:
                self.whole_threads.append((post.key, (walk.owner_id, walk.thread_id)))

    def _count(self, post: OpenPost, received: int) -> None:
        post.received += received
        self._state.counts.comments += received

    def _fail(self, post: OpenPost, fault: VkFault) -> None:
        if not post.has_failed:
            self.refused.append((post, fault))
        post.has_failed = True

    def _take_thread(
        self, post: OpenPost, top: VkComment, replies: Sequence[VkComment], known: ReadThread | None
    ) -> None:
        """Decide what is to be read of the thread of a top comment, beyond the first replies that came inside it."""
        count, shown = top.thread_count, len(replies)
        last_id = max((reply.id for reply in replies), default=0)
        if count is None:
            # VK did not say how many replies there are: the thread's own first page does
            self._state.walks.append(CommentWalk(top.owner_id, top.post_id, top.id))
            return
        if count <= shown:
            if known and known.count != count:
                self.read_threads.append(ReadThread(top.owner_id, top.id, count, last_id))
            if post.was_read:
                self.whole_threads.append((post.key, (top.owner_id, top.id)))
            return
        walk = CommentWalk(
            top.owner_id, top.post_id, top.id, shown, last_id, level_count=count, stated_count=count, received=shown
        )
        if known and not self._is_full and shown < known.count <= count:
            # ids ascend, so what is new in a thread that has grown comes behind what is known
            walk.position, walk.last_id, walk.is_from_start = known.count, known.last_id, False
            walk.received = known.count
            post.received += known.count - shown
            saved = page_count(count, shown) - page_count(count, known.count)
            post.saved_calls += saved
            self._state.counts.saved_calls += saved
            self._state.total_comments -= known.count - shown
            if known.count == count:
                return
        self._state.walks.append(walk)


def _note_stated(walk: CommentWalk, post: OpenPost, page: VkCommentPage) -> None:
    """Note how many comments VK states; a number that is too low only has the post, or the thread, read again."""
    if walk.thread_id is None and page.count is not None:
        post.comment_count = min(post.comment_count, page.count)
        post.highest_count = max(post.highest_count, page.count)
    elif page.shown and page.level_count is not None:
        stated = page.level_count if walk.stated_count is None else walk.stated_count
        walk.stated_count = min(stated, page.level_count)
