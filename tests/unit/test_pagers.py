from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.vk import comment_pager, pager, wall_pager
from app.vk.comment_pager import CommentPager, Gap, page_count
from app.vk.pager import MOST_LOOKBACKS, MOST_REREADS, PageRequest
from app.vk.pipeline import next_requests
from app.vk.wall_pager import PostsById, WallPager, selected_posts
from app.vk.wire import Call
from app.wall import VkComment, VkCommentPage, VkPost, VkPostPage

SMALL_PAGE = 5


@contextmanager
def small_pages() -> Iterator[None]:
    """Make pages small, so that short lists have many borders."""
    with ExitStack() as stack:
        for module in (comment_pager, wall_pager, pager):
            stack.enter_context(patch.object(module, "PAGE_SIZE", SMALL_PAGE))
        yield


def minimum_pages(count: int) -> int:
    """Return the minimum of small pages for this many items."""
    with small_pages():
        return page_count(count)


def comment(comment_id: int, thread_count: int = 0) -> VkComment:
    return VkComment(-1, comment_id, 1, 5, 0, "", 0, [], None, None, is_deleted=False, thread_count=thread_count)


def comments(*ids: int, count: int | None = None) -> VkCommentPage:
    return VkCommentPage([comment(comment_id) for comment_id in ids], {}, count, [])


def post(post_id: int, date: int = 0, *, is_pinned: bool = False) -> VkPost:
    return VkPost(-1, post_id, -1, date, "", 0, 0, 0, 0, is_pinned, [])


# a level of comments that changes while it is read


@dataclass
class Level:
    """The ids of a level, oldest first. VK may count more than it shows (`invisible`), or not count at all."""

    ids: list[int]
    states_count: bool = True
    invisible: int = 0
    next_id: int = 10_000
    deleted: set[int] = field(default_factory=set)

    def page(self, offset: int) -> VkCommentPage:
        """Return VK's answer at this moment."""
        items = [comment(comment_id) for comment_id in self.ids[offset : offset + SMALL_PAGE]]
        return VkCommentPage(items, {}, len(self.ids) + self.invisible if self.states_count else None, [])

    def add(self, place: int) -> None:
        """Add a comment; like VK at the end."""
        del place
        self.ids.append(self.next_id)
        self.next_id += 1

    def delete(self, place: int) -> None:
        """Delete one; later ones shift to the left."""
        if self.ids:
            self.deleted.add(self.ids.pop(place % len(self.ids)))


Change = tuple[Callable[[Level, int], None], int]
CHANGES = st.lists(st.lists(st.tuples(st.sampled_from([Level.add, Level.delete]), st.integers(0, 60))), max_size=12)


def read_level(level: Level, start: CommentPager, under_way: int, changes: Iterator[list[Change]]) -> list[list[int]]:
    """Read the level with this many pages in flight; changes happen between pages. Return the new ids by page."""
    flying: deque[tuple[PageRequest, VkCommentPage]] = deque()
    new: list[list[int]] = []
    with small_pages():
        while True:
            for request in next_requests([start], under_way - len(flying)):
                flying.append((request, level.page(request.offset)))
                for change, place in next(changes, ()):
                    change(level, place)
            if not flying:
                return new
            request, page = flying.popleft()
            if request.is_wanted:
                new.append([item.id for item in start.take(request, page)])


@given(
    count=st.integers(0, 60),
    under_way=st.integers(1, 8),
    changes=CHANGES,
    states_count=st.booleans(),
    invisible=st.integers(0, 12),
)
def test_no_comment_is_missed(
    count: int, under_way: int, changes: list[list[Change]], invisible: int, *, states_count: bool
) -> None:
    level = Level(list(range(1, count + 1)), states_count, invisible)
    start = CommentPager(-1, 1)
    pages = read_level(level, start, under_way, iter(changes))
    seen = [comment_id for page in pages for comment_id in page]
    assert start.is_closed
    assert set(seen) >= set(range(1, count + 1)) - level.deleted
    assert len(seen) == len(set(seen))
    # one page for each change (forwards or backwards), for hidden comments, and for useless requests
    made = sum(map(len, changes))
    assert len(pages) <= minimum_pages(count + made) + 3 * made + invisible + 4 * under_way + 4 + MOST_LOOKBACKS


@given(known=st.integers(11, 40), more=st.integers(0, 30), under_way=st.integers(1, 8), changes=CHANGES)
def test_a_grown_thread_is_read_from_its_known_end(
    known: int, more: int, under_way: int, changes: list[list[Change]]
) -> None:
    level = Level(list(range(1, known + more + 1)))
    for change, place in (each for step in changes[:3] for each in step):
        change(level, place)
    assume(len(level.ids) >= known)
    start = CommentPager(-1, 1, 7, known, known, level_count=len(level.ids), is_from_start=False)
    seen = {comment_id for page in read_level(level, start, under_way, iter(changes[3:])) for comment_id in page}
    assert seen >= set(range(known + 1, known + more + 1)) - level.deleted


@given(count=st.integers(1, 80), under_way=st.integers(1, 8))
def test_an_unchanged_level_takes_the_minimum_of_pages(count: int, under_way: int) -> None:
    level = Level(list(range(1, count + 1)))
    pages = read_level(level, CommentPager(-1, 1), under_way, iter(()))
    assert [comment_id for page in pages for comment_id in page] == level.ids
    assert len(pages) == minimum_pages(count)


@pytest.mark.parametrize(
    ("items", "shown", "pages"),
    [
        *((0, 0, 0), (1, 0, 1), (100, 0, 1), (101, 0, 2), (199, 0, 2), (200, 0, 3)),
        *((10, 10, 0), (11, 10, 1), (109, 10, 1), (110, 10, 2)),
    ],
)
def test_page_count(items: int, shown: int, pages: int) -> None:
    assert page_count(items, shown) == pages


def test_pages_are_requested_up_to_the_known_size() -> None:
    level = CommentPager(-1, 7)
    [first] = next_requests([level], 25)
    assert first.offset == 0
    level.take(first, comments(*range(1, 101), count=350))
    assert [request.offset for request in next_requests([level], 25)] == [99, 198, 297]
    assert next_requests([level], 25) == []


def test_a_call_for_replies() -> None:
    [request] = next_requests([CommentPager(-1, 7, 4, 10, 14, level_count=12)], 25)
    assert request.call == Call(
        "wall.getComments",
        {
            "owner_id": -1,
            "post_id": 7,
            "offset": 9,
            "count": 100,
            "sort": "asc",
            "need_likes": 1,
            "extended": 1,
            "fields": "screen_name,photo_100",
            "comment_id": 4,
        },
    )


def test_shifted_comments_are_searched_further_back() -> None:
    """The first of three pages in flight was answered before 10 comments were deleted, the others after it."""
    level = CommentPager(-1, 7)
    [first] = next_requests([level], 1)
    level.take(first, comments(*range(1, 101), count=300))
    second, third = next_requests([level], 2)
    assert len(level.take(second, comments(*range(110, 210), count=290))) == 100
    assert level.gaps == [Gap(offset=1, after_id=100, until_id=110, behind=99)]
    assert len(level.take(third, comments(*range(209, 301), count=290))) == 91
    assert not level.is_closed
    [look] = next_requests([level], 25)
    assert [item.id for item in level.take(look, comments(*range(12, 112), count=290))] == list(range(101, 110))
    assert level.is_closed


def test_a_gap_that_never_closes_is_given_up_and_reported() -> None:
    """Whatever VK shows there, the pager ends."""
    level = CommentPager(-1, 7, position=5_000, last_id=100, level_count=6_000)
    [request] = next_requests([level], 1)
    level.take(request, comments(200, 201, count=5_001))
    looks = 0
    while requests := next_requests([level], 1):
        looks += 1
        level.take(requests[0], comments(150, 160, count=5_001) if requests[0].offset else comments(1, count=5_001))
    assert level.is_closed
    assert level.is_incomplete
    assert looks <= MOST_LOOKBACKS + 10


@pytest.mark.parametrize("deleted", [150, 2_500, 4_500])
def test_thousands_of_deletions_in_front_hide_no_comment(deleted: int) -> None:
    """A known thread of 5,000 has grown by 700 and lost many from its start: a few requests find the continuation."""
    ids = list(range(1, 5_701))[deleted:]
    level = CommentPager(-1, 1, 7, 5_000, 5_000, level_count=max(len(ids), 5_000), is_from_start=False)
    seen: list[int] = []
    pages = 0
    while requests := next_requests([level], 1):
        pages += 1
        offset = requests[0].offset
        seen += [item.id for item in level.take(requests[0], comments(*ids[offset : offset + 100], count=len(ids)))]
    assert sorted(seen) == list(range(5_001, 5_701))
    assert not level.is_incomplete
    assert pages <= page_count(700) + 25


def test_a_page_that_slid_to_the_right() -> None:
    """Comments were restored in front of it, so it contains nothing new; the pager continues nevertheless."""
    level = CommentPager(-1, 1, position=99, last_id=99)
    [request] = next_requests([level], 1)
    assert level.take(request, comments(*range(50, 100), *range(1, 51), count=500)) == []
    assert not level.is_closed


def test_an_unreadable_level_is_closed() -> None:
    level = CommentPager(-1, 1, gaps=[Gap(1, 2, 3, 4)])
    [request] = next_requests([level], 1)
    level.close()
    assert level.is_closed
    assert not request.is_wanted
    assert next_requests([level], 1) == []


# pages that contradict themselves, or contain items that cannot be parsed


def page_of(*ids: int, stated: int, left_out: int = 0) -> VkCommentPage:
    return VkCommentPage([comment(comment_id) for comment_id in ids], {}, stated, [], stated, left_out)


def test_a_contradictory_page_is_requested_twice_more_and_then_incomplete() -> None:
    level = CommentPager(-1, 1)
    lacks = []
    while requests := next_requests([level], 1):
        assert (requests[0].offset, level.take(requests[0], page_of(stated=50))) == (0, [])
        lacks.append(level.lacks_items)
    assert lacks == [*[False] * MOST_REREADS, True]
    assert level.is_closed


def test_a_transient_contradiction_has_no_effect() -> None:
    level = CommentPager(-1, 1)
    [request] = next_requests([level], 1)
    level.take(request, page_of(1, stated=2))
    [request] = next_requests([level], 1)
    assert [item.id for item in level.take(request, page_of(1, 2, stated=2))] == [1, 2]
    assert level.is_closed
    assert not level.lacks_items


def test_a_gap_beside_broken_items_is_requested_once() -> None:
    """It is unknown whether these items were in the gap; the next collection reads the post again."""
    level = CommentPager(-1, 1, position=100, last_id=100, received=100)
    [request] = next_requests([level], 1)
    level.take(request, page_of(*range(150, 200), stated=149))
    assert len(level.gaps) == 1
    requests = next_requests([level], 25)
    [look] = [request for request in requests if request.gap]
    found = level.take(look, page_of(*range(50, 110), *range(111, 150), stated=149, left_out=1))
    assert [item.id for item in found] == [*range(101, 110), *range(111, 150)]
    assert level.gaps == []
    assert level.has_broken


def test_a_gap_is_requested_again() -> None:
    level = CommentPager(-1, 1, position=100, last_id=100)
    [request] = next_requests([level], 1)
    level.take(request, page_of(*range(150, 200), stated=149))
    [look] = [request for request in next_requests([level], 25) if request.gap]
    assert level.take(look, page_of(stated=149)) == []
    [again] = [request for request in next_requests([level], 25) if request.gap]
    assert again.offset == look.offset


def test_posts_by_their_ids_are_requested_again() -> None:
    named = PostsById(-1, (1, 2, 3))
    for _ in range(MOST_REREADS):
        [request] = next_requests([named], 25)
        assert named.request_again(request)
        assert not request.is_wanted
    [request] = next_requests([named], 25)
    assert not named.request_again(request)
    assert named.take(request, VkPostPage(None, [post(1)], [])) == [post(1)]
    assert named.is_closed


def test_a_wall_is_counted_again_where_posts_are_missing() -> None:
    """They may have been deleted while others were written; VK's last count decides."""
    wall = WallPager(-1)
    [request] = next_requests([wall], 1)
    wall.take(request, VkPostPage(120, [post(post_id) for post_id in range(220, 120, -1)], []))
    [request] = next_requests([wall], 1)
    # 10 posts were deleted before they were seen, and 10 others written
    wall.take(request, VkPostPage(120, [post(post_id) for post_id in range(129, 108, -1)], []))
    [request] = next_requests([wall], 25)
    assert request.offset == 0
    newest = [*range(230, 220, -1), *range(220, 130, -1)]
    found = wall.take(request, VkPostPage(120, [post(post_id) for post_id in newest], []))
    assert [item.id for item in found] == newest[:10]
    assert wall.is_closed
    assert not wall.is_contradicted


def test_a_wall_that_lacks_posts_at_the_end_is_contradictory() -> None:
    wall = WallPager(-1, received=90, newest_id=220, lowest_count=120, is_recounting=True)
    [request] = next_requests([wall], 25)
    assert wall.take(request, VkPostPage(120, [post(post_id) for post_id in range(220, 120, -1)], [])) == []
    assert wall.is_closed
    assert wall.is_contradicted


# walls


@dataclass
class Posts:
    """A wall: newest posts first, behind the pinned post."""

    ids: list[int]
    pinned: int | None
    invisible: int = 0
    deleted: set[int] = field(default_factory=set)

    def page(self, offset: int) -> VkPostPage:
        """Return VK's answer at this moment."""
        order = [post(self.pinned, is_pinned=True)] if self.pinned else []
        order += [post(post_id, date=post_id) for post_id in self.ids]
        return VkPostPage(len(order) + self.invisible, order[offset : offset + SMALL_PAGE], [])

    def add(self, place: int) -> None:
        """Add a post; like VK at the front."""
        del place
        self.ids.insert(0, 1 + max([*self.ids, *self.deleted, self.pinned or 0], default=0))

    def delete(self, place: int) -> None:
        """Delete one; later ones shift to the left."""
        if self.ids:
            self.deleted.add(self.ids.pop(place % len(self.ids)))


PostChange = tuple[Callable[[Posts, int], None], int]
POST_CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from([Posts.add, Posts.delete]), st.integers(0, 60)), max_size=20), max_size=12
)


def read_wall(wall: Posts, start: WallPager, under_way: int, changes: Iterator[list[PostChange]]) -> list[list[int]]:
    """Read the wall with this many pages in flight. Return the selected ids by page."""
    flying: deque[tuple[PageRequest, VkPostPage]] = deque()
    taken: list[list[int]] = []
    with small_pages():
        while True:
            for request in next_requests([start], under_way - len(flying)):
                flying.append((request, wall.page(request.offset)))
                for change, place in next(changes, ()):
                    change(wall, place)
            if not flying:
                return taken
            request, page = flying.popleft()
            if request.is_wanted:
                taken.append([item.id for item in start.take(request, page)])


@given(
    count=st.integers(0, 60),
    under_way=st.integers(1, 8),
    pinned=st.booleans(),
    invisible=st.integers(0, 12),
    changes=POST_CHANGES,
)
def test_no_post_is_missed(
    count: int, under_way: int, invisible: int, changes: list[list[PostChange]], *, pinned: bool
) -> None:
    wall = Posts(list(range(count, 0, -1)), 3 if pinned else None, invisible)
    if pinned and 3 in wall.ids:
        wall.ids.remove(3)
    start = WallPager(-1)
    pages = read_wall(wall, start, under_way, iter(changes))
    assert start.is_closed
    assert {post_id for page in pages for post_id in page} >= set(range(1, count + 1)) - wall.deleted
    made = sum(map(len, changes))
    assert len(pages) <= minimum_pages(count + 1 + made) + 4 * made + invisible + 4 * under_way + 4 + MOST_LOOKBACKS


@given(count=st.integers(0, 60), under_way=st.integers(1, 8))
def test_an_unchanged_wall_takes_the_minimum_of_pages(count: int, under_way: int) -> None:
    wall = Posts(list(range(count, 0, -1)), None)
    pages = read_wall(wall, WallPager(-1), under_way, iter(()))
    assert [post_id for page in pages for post_id in page] == wall.ids
    assert len(pages) == max(1, minimum_pages(count))


@given(count=st.integers(0, 60), under_way=st.integers(1, 8), since=st.integers(0, 70), pinned=st.booleans())
def test_only_posts_since_a_date(count: int, under_way: int, since: int, *, pinned: bool) -> None:
    wall = Posts(list(range(count, 0, -1)), 1_000 if pinned else None)
    pages = read_wall(wall, WallPager(-1, since=since), under_way, iter(()))
    selected = [post_id for page in pages for post_id in page if post_id != 1_000]
    assert selected == [post_id for post_id in wall.ids if post_id >= since]


@given(count=st.integers(0, 60), under_way=st.integers(1, 8), most=st.integers(1, 70))
def test_only_the_newest_posts(count: int, under_way: int, most: int) -> None:
    wall = Posts(list(range(count, 0, -1)), None)
    pages = read_wall(wall, WallPager(-1, most=most), under_way, iter(()))
    assert [post_id for page in pages for post_id in page] == wall.ids[:most]


def test_no_more_pages_are_requested_than_selected() -> None:
    newest = WallPager(-1, most=150)
    [first] = next_requests([newest], 25)
    newest.take(first, VkPostPage(9_000, [post(post_id) for post_id in range(9_000, 8_900, -1)], []))
    assert [request.offset for request in next_requests([newest], 25)] == [99]
    young = WallPager(-1, since=-1)
    [first] = next_requests([young], 25)
    young.take(first, VkPostPage(9_000, [post(post_id) for post_id in range(9_000, 8_900, -1)], []))
    assert [request.offset for request in next_requests([young], 25)] == [99, 198]


def test_posts_without_an_overlap_are_accepted_in_the_end() -> None:
    wall = WallPager(-1, position=5_000, last_id=100)
    looks = 0
    while requests := next_requests([wall], 1):
        looks += 1
        # nothing new, and no overlap with known posts
        wall.take(requests[0], VkPostPage(10, [post(50), post(49)], []))
    assert wall.is_closed
    assert looks < 30


@given(deletions=st.lists(st.integers(0, 4_000), min_size=60, max_size=60))
@settings(max_examples=20)
def test_many_small_deletions_hide_no_post(deletions: list[int]) -> None:
    wall = Posts(list(range(4_800, 0, -1)), None)
    start = WallPager(-1)
    seen: set[int] = set()
    steps = iter(deletions)
    while requests := next_requests([start], 1):
        order = wall.ids[requests[0].offset : requests[0].offset + 100]
        seen |= {
            item.id for item in start.take(requests[0], VkPostPage(len(wall.ids), [post(each) for each in order], []))
        }
        if (place := next(steps, None)) is not None:
            wall.delete(place)
    assert seen >= set(wall.ids)


def test_a_rejected_wall_is_closed() -> None:
    for walk_of_posts in (WallPager(-1), PostsById(-1, tuple(range(250)))):
        [request] = next_requests([walk_of_posts], 1)
        walk_of_posts.close()
        assert not request.is_wanted
        assert next_requests([walk_of_posts], 1) == []


def test_single_posts_by_their_ids() -> None:
    named = PostsById(-1, tuple(range(1, 251)))
    requests = next_requests([named], 25)
    assert [request.call.params["posts"].count(",") + 1 for request in requests] == [100, 100, 50]
    for request in requests:
        ids = named.ids[request.offset : request.offset + 100]
        page = VkPostPage(99, [post(post_id) for post_id in ids[1:]], [])
        assert named.take(request, page) == page.items
        assert named.missing(request, page) == [ids[0]]
    assert named.is_closed


# which posts are selected


PAGE = [post(3, date=10, is_pinned=True), post(9, date=90), post(8, date=80), post(7, date=70)]


@pytest.mark.parametrize(
    ("since", "room", "ids", "goes_on"),
    [
        (None, None, [3, 9, 8, 7], True),
        (80, None, [9, 8], False),
        (70, None, [9, 8, 7], True),
        (5, None, [3, 9, 8, 7], True),
        (95, None, [], False),
        (None, 2, [9, 8], False),
        (None, 3, [9, 8, 7], False),
        (None, 4, [9, 8, 7], True),
        (None, 0, [], False),
        (80, 1, [9], False),
        (80, 3, [9, 8], False),
    ],
)
def test_selected_posts(since: int | None, room: int | None, ids: list[int], *, goes_on: bool) -> None:
    kept, more = selected_posts(PAGE, since, room)
    assert [item.id for item in kept] == ids
    assert more is goes_on


def test_an_old_pinned_post_does_not_end_the_reading() -> None:
    assert selected_posts(PAGE[:1], 50, None) == ([], True)


def test_a_young_pinned_post_is_among_the_newest() -> None:
    page = [post(9, date=90, is_pinned=True), post(10, date=95), post(8, date=80)]
    assert selected_posts(page, None, 2) == ([page[1], page[0]], False)
    assert selected_posts([post(9, date=90, is_pinned=True)], None, 2)[0] != []
