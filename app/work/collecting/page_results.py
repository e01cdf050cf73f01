"""The results of the pages of one pack: what to store, and how its posts and threads continue.

Decides without I/O; `app.work.collecting.collect_comments` stores the results in one step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from app.json_types import JsonValue
from app.store.comments import ReadThread
from app.vk.comment_pager import CommentPager, page_count
from app.vk.pager import PageRequest
from app.vk.replies import read_comment_page, read_post_page
from app.vk.wall_pager import PostsById, WallPager
from app.vk.wire import Answer, VkFault, VkUnavailable, known_shape
from app.wall import VkAuthor, VkBrokenItem, VkComment, VkCommentPage, VkPost, VkPostPage
from app.work.collecting.collection import CollectionState, OpenPost

PageAnswer = tuple[PageRequest, Answer]
CommentAnswer = tuple[PageRequest, VkCommentPage | VkFault]
Page = TypeVar("Page")


def comment_answers(pack: Sequence[PageAnswer]) -> list[CommentAnswer]:
    """Parse a pack of answers to requests of comments."""
    return [(page_request, _parsed(page_request, answer, _reader(page_request))) for page_request, answer in pack]


def top_comments_to_know(state: CollectionState, answers: Sequence[CommentAnswer]) -> list[tuple[int, int]]:
    """Return the top comments on these pages whose threads an earlier collection may have read."""
    return [
        (top.owner_id, top.id)
        for page_request, page in answers
        if not isinstance(page, VkFault) and page_request.pager.thread_id is None
        for top in page.items
        if (post := state.posts.get(page_request.pager.key)) and post.was_read and not post.is_second_read
    ]


def _parsed(page_request: PageRequest, answer: Answer, read: Callable[[JsonValue], Page]) -> Page | VkFault:
    """Return the parsed page, or the fault instead. An unreadable page affects only its own post or wall."""
    if isinstance(answer, VkFault):
        return answer
    try:
        with known_shape(page_request.call):
            return read(answer)
    except VkUnavailable as fault:
        return fault


def _reader(page_request: PageRequest) -> Callable[[JsonValue], VkCommentPage]:
    pager: CommentPager = page_request.pager
    return lambda answer: read_comment_page(answer, pager.owner_id, pager.post_id, pager.thread_id)


@dataclass(slots=True)
class PostResults:
    """The results of a pack of wall pages. `refused` and `broken` are keyed by owner id.

    `contradicted` are walls of which VK shows fewer posts than it states, to the end.
    """

    people: list[VkAuthor] = field(default_factory=list)
    posts: list[VkPost] = field(default_factory=list)
    missing: list[tuple[int, int]] = field(default_factory=list)
    refused: dict[int, VkFault] = field(default_factory=dict)
    broken: dict[int, list[VkBrokenItem]] = field(default_factory=dict)
    contradicted: list[WallPager] = field(default_factory=list)

    @classmethod
    def of(cls, state: CollectionState, pack: Sequence[PageAnswer]) -> "PostResults":
        """Process a pack of answers, and drop the pagers that are at their end from the state."""
        results = cls()
        for page_request, answer in pack:
            if not page_request.is_wanted:
                continue
            page = _parsed(page_request, answer, read_post_page)
            if not isinstance(page, VkFault):
                results.add_page(page_request, page)
            # repeat the request if the reply could not be parsed; a refusal would only be repeated
            elif isinstance(answer, VkFault) or not page_request.pager.request_again(page_request):
                page_request.pager.close()
                results.refused[page_request.pager.owner_id] = page
        results.contradicted = [wall for wall in state.walls if wall.is_closed and wall.is_contradicted]
        state.walls = [wall for wall in state.walls if not wall.is_closed]
        state.named = [named for named in state.named if not named.is_closed]
        state.listed += len(results.posts)
        return results

    def add_page(self, page_request: PageRequest, page: VkPostPage) -> None:
        """Process a page of a wall, or of single posts of a wall."""
        owner_id = page_request.pager.owner_id
        self.posts += page_request.pager.take(page_request, page)
        self.people += page.authors
        if page.broken:
            self.broken.setdefault(owner_id, []).extend(page.broken)
        if isinstance(page_request.pager, PostsById):
            self.missing += [(owner_id, post_id) for post_id in page_request.pager.missing(page_request, page)]


class CommentResults:
    """The results of a pack of comment pages. Each page also updates the state of the collection.

    `whole_threads` are threads that were read from their start, each with the key of
    its post; `refused` are posts that cannot be read, `broken` unusable items by post
    (owner id, post id), `touched` the posts of all pages.
    """

    def __init__(self, state: CollectionState, *, is_full: bool) -> None:
        self.people: list[VkAuthor] = []
        self.comments: list[VkComment] = []
        self.read_threads: list[ReadThread] = []
        self.whole_threads: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.refused: list[tuple[OpenPost, VkFault]] = []
        self.broken: dict[tuple[int, int], list[VkBrokenItem]] = {}
        self.touched: set[tuple[int, int]] = set()
        self._state = state
        self._is_full = is_full

    @classmethod
    def of(
        cls,
        state: CollectionState,
        answers: Sequence[CommentAnswer],
        known: Mapping[tuple[int, int], ReadThread],
        *,
        is_full: bool,
    ) -> "CommentResults":
        """Process a pack of answers, and drop the pagers that are at their end from the state."""
        results = cls(state, is_full=is_full)
        for page_request, page in answers:
            if not page_request.is_wanted or page_request.pager.key not in state.posts:
                continue
            if isinstance(page, VkUnavailable) and page_request.pager.request_again(page_request):
                continue
            results.add_page(page_request, page, known)
        state.pagers = [pager for pager in state.pagers if not pager.is_closed]
        return results

    def add_page(
        self, page_request: PageRequest, page: VkCommentPage | VkFault, known: Mapping[tuple[int, int], ReadThread]
    ) -> None:
        """Process one page of one level. `known` are the threads that an earlier collection has read completely."""
        pager: CommentPager = page_request.pager
        post = self._state.posts[pager.key]
        self.touched.add(pager.key)
        post.calls += 1
        if isinstance(page, VkFault):
            pager.close()
            self._fail(post, page)
            return
        _record_stated_count(pager, post, page)
        new = pager.take(page_request, page)
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
            if pager.thread_id is None:
                self._plan_thread(post, top, replies, known.get((pager.owner_id, top.id)))
        self._close_level(pager, post)

    def _close_level(self, pager: CommentPager, post: OpenPost) -> None:
        """Record the outcome of a level if it has been read to its end."""
        if pager.is_incomplete:
            self._fail(post, VkUnavailable("Too many comments were deleted while the post was being read."))
        elif pager.is_closed and pager.lacks_items and not pager.is_from_start:
            # Read the thread again from its start: replies that were hidden when it was last read may be visible again.
            self._state.pagers.append(CommentPager(*pager.key, pager.thread_id, stated_count=pager.stated_count))
            post.received -= pager.received
        elif pager.is_closed and pager.lacks_items:
            post.is_contradicted = True
        elif pager.is_closed and pager.thread_id is not None and not post.has_broken:
            count = pager.stated_count or 0
            self.read_threads.append(ReadThread(pager.owner_id, pager.thread_id, count, pager.last_id))
            if pager.is_from_start and post.was_read:
                self.whole_threads.append((post.key, (pager.owner_id, pager.thread_id)))

    def _count(self, post: OpenPost, received: int) -> None:
        post.received += received
        self._state.counts.comments += received

    def _fail(self, post: OpenPost, fault: VkFault) -> None:
        if not post.has_failed:
            self.refused.append((post, fault))
        post.has_failed = True

    def _plan_thread(
        self, post: OpenPost, top: VkComment, replies: Sequence[VkComment], known: ReadThread | None
    ) -> None:
        """Plan what to read of a top comment's thread, beyond the first replies that came with it."""
        count, shown = top.thread_count, len(replies)
        last_id = max((reply.id for reply in replies), default=0)
        if count is None:
            # VK did not state the number of replies: the first page of the thread does
            self._state.pagers.append(CommentPager(top.owner_id, top.post_id, top.id))
            return
        if count <= shown:
            if known and known.count != count:
                self.read_threads.append(ReadThread(top.owner_id, top.id, count, last_id))
            if post.was_read:
                self.whole_threads.append((post.key, (top.owner_id, top.id)))
            return
        pager = CommentPager(
            top.owner_id, top.post_id, top.id, shown, last_id, level_count=count, stated_count=count, received=shown
        )
        if known and not self._is_full and shown < known.count <= count:
            # ids ascend, so the new replies of a grown thread come after the known ones
            pager.position, pager.last_id, pager.is_from_start = known.count, known.last_id, False
            pager.received = known.count
            post.received += known.count - shown
            saved = page_count(count, shown) - page_count(count, known.count)
            post.saved_calls += saved
            self._state.counts.saved_calls += saved
            self._state.total_comments -= known.count - shown
            if known.count == count:
                return
        self._state.pagers.append(pager)


def _record_stated_count(pager: CommentPager, post: OpenPost, page: VkCommentPage) -> None:
    """Record the comment count that VK states. If it is too low, the post or thread is only read again later."""
    if pager.thread_id is None and page.count is not None:
        post.comment_count = min(post.comment_count, page.count)
        post.highest_count = max(post.highest_count, page.count)
    elif page.shown and page.level_count is not None:
        stated = page.level_count if pager.stated_count is None else pager.stated_count
        pager.stated_count = min(stated, page.level_count)
