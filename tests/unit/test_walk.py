import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vk import walk
from app.vk.walk import OVERLAP, CommentWalk, WallWalk, wanted_posts
from app.vk.wire import Call
from app.wall import VkComment, VkCommentPage, VkPost, VkPostPage

SMALL_PAGE = 5


@contextmanager
def small_pages() -> Iterator[None]:
    """Let pages be small, so that short walks meet many borders."""
    with patch.object(walk, "PAGE_SIZE", SMALL_PAGE):
        yield


def least_pages(count: int, size: int) -> int:
    """Return how many pages that overlap show so many items, with the look behind a full last page."""
    pages = 1 + max(0, math.ceil((count - size) / (size - OVERLAP)))
    is_full = count == size + (pages - 1) * (size - OVERLAP)
    return pages + is_full


def comment(comment_id: int, thread_count: int = 0) -> VkComment:
    return VkComment(-1, comment_id, 1, 5, 0, "", 0, [], None, None, is_deleted=False, thread_count=thread_count)


def post(post_id: int, date: int = 0, *, is_pinned: bool = False) -> VkPost:
    return VkPost(-1, post_id, -1, date, "", 0, 0, 0, 0, is_pinned, [])


# a level of comments that changes while it is read


@dataclass
class Level:
    """The ids of a level, oldest first."""

    ids: list[int]
    states_count: bool = True
    next_id: int = 10_000
    deleted: set[int] = field(default_factory=set)

    def page(self, offset: int) -> VkCommentPage:
        """Return what VK answers at this moment."""
        items = [comment(comment_id) for comment_id in self.ids[offset : offset + SMALL_PAGE]]
        return VkCommentPage(items, {}, len(self.ids) if self.states_count else None, [])

    def add(self, place: int) -> None:
        """Add a comment; like VK at the end."""
        del place
        self.ids.append(self.next_id)
        self.next_id += 1

    def delete(self, place: int) -> None:
        """Delete one; those behind it move up."""
        if self.ids:
            self.deleted.add(self.ids.pop(place % len(self.ids)))


Change = tuple[Callable[[Level, int], None], int]
CHANGES = st.lists(st.lists(st.tuples(st.sampled_from([Level.add, Level.delete]), st.integers(0, 60))), max_size=12)


@given(count=st.integers(0, 40), changes=CHANGES, states_count=st.booleans())
def test_no_comment_is_missed(count: int, changes: list[list[Change]], *, states_count: bool) -> None:
    level = Level(list(range(1, count + 1)), states_count)
    steps = iter(changes)
    seen: set[int] = set()
    pages = 0
    current: CommentWalk | None = CommentWalk(1)
    with small_pages():
        while current:
            pages += 1
            page = level.page(current.offset)
            seen |= {item.id for item in page.items}
            following = current.after(page)
            assert len(following) <= 1
            current = following[0] if following else None
            for change, place in next(steps, ()):
                change(level, place)
    assert seen >= set(range(1, count + 1)) - level.deleted
    # each deletion may cost a step back and a page forth
    made = sum(map(len, changes))
    assert pages <= least_pages(count + made, SMALL_PAGE) + 2 * made


@given(count=st.integers(0, 60))
def test_a_quiet_level_costs_few_pages(count: int) -> None:
    level, current, pages, seen = Level(list(range(1, count + 1))), [CommentWalk(1)], 0, list[int]()
    with small_pages():
        while current:
            page = level.page(current[0].offset)
            seen += [item.id for item in page.items if item.id > current[0].last_id]
            pages, current = pages + 1, current[0].after(page)
    assert seen == level.ids
    assert pages == least_pages(count, SMALL_PAGE)


def test_a_level_that_holds_less_than_vk_says() -> None:
    page = VkCommentPage([comment(1), comment(2)], {}, 4, [])
    [second] = CommentWalk(1).after(page)
    assert (second.offset, second.last_id) == (0, 2)
    assert second.after(page) == []


def test_an_empty_level_of_which_vk_says_it_is_not() -> None:
    assert CommentWalk(1).after(VkCommentPage([], {}, 4, [])) == []


def test_comments_that_were_restored_before_the_page() -> None:
    """The page holds nothing new because it slid to the right; the walk goes on all the same."""
    with small_pages():
        page = VkCommentPage([comment(i) for i in range(1, 6)], {}, 9, [])
        [following] = CommentWalk(1, position=2, last_id=5).after(page)
        assert (following.offset, following.last_id) == (3, 5)


# threads


def test_threads_are_opened_behind_what_came_inside() -> None:
    tops = [comment(1, thread_count=2), comment(4, thread_count=12), comment(20), comment(30, thread_count=1)]
    replies = {1: [comment(2), comment(3)], 4: [comment(i) for i in range(5, 15)]}
    follow = CommentWalk(7).after(VkCommentPage(tops, replies, 4, []))
    assert follow == [CommentWalk(7, 4, position=10, last_id=14), CommentWalk(7, 30)]
    assert follow[0].call(-1) == Call(
        "wall.getComments",
        {
            "owner_id": -1,
            "post_id": 7,
            "offset": 8,
            "count": 100,
            "sort": "asc",
            "need_likes": 1,
            "extended": 1,
            "fields": "screen_name,photo_100",
            "comment_id": 4,
        },
    )


def test_each_thread_is_opened_once() -> None:
    opened: list[int] = []
    with small_pages():
        walks = [CommentWalk(1)]
        while walks:
            level = walks.pop(0)
            page = Level(list(range(1, 14))).page(level.offset)
            page.items[:] = [comment(item.id, thread_count=1) for item in page.items]
            following = level.after(page)
            walks += [each for each in following if each.thread_id is None]
            opened += [each.thread_id for each in following if each.thread_id is not None]
    assert opened == list(range(1, 14))


def test_a_step_back_opens_no_thread() -> None:
    page = VkCommentPage([comment(150, thread_count=3)], {}, 200, [])
    assert CommentWalk(1, position=100, last_id=100).after(page) == [CommentWalk(1, position=0, last_id=100)]
    assert CommentWalk(1, position=300, last_id=100).after(page) == [CommentWalk(1, position=202, last_id=100)]


# walls


@dataclass
class Posts:
    """A wall: newest first behind the pinned post."""

    ids: list[int]
    pinned: int | None
    deleted: set[int] = field(default_factory=set)

    def page(self, offset: int) -> VkPostPage:
        """Return what VK answers at this moment."""
        order = [post(self.pinned, is_pinned=True)] if self.pinned else []
        order += [post(post_id) for post_id in self.ids]
        return VkPostPage(len(order), order[offset : offset + SMALL_PAGE], [])

    def add(self, place: int) -> None:
        """Add a post; like VK at the front."""
        del place
        self.ids.insert(0, 1 + max([*self.ids, *self.deleted, self.pinned or 0], default=0))

    def delete(self, place: int) -> None:
        """Delete one; those behind it move up."""
        if self.ids:
            self.deleted.add(self.ids.pop(place % len(self.ids)))


PostChange = tuple[Callable[[Posts, int], None], int]
POST_CHANGES = st.lists(
    st.lists(st.tuples(st.sampled_from([Posts.add, Posts.delete]), st.integers(0, 60)), max_size=20), max_size=12
)


@given(count=st.integers(0, 40), pinned=st.booleans(), changes=POST_CHANGES)
def test_no_post_is_missed(count: int, changes: list[list[PostChange]], *, pinned: bool) -> None:
    wall = Posts(list(range(count, 0, -1)), 3 if pinned else None)
    if pinned and 3 in wall.ids:
        wall.ids.remove(3)
    steps = iter(changes)
    seen: set[int] = set()
    pages = 0
    current: WallWalk | None = WallWalk()
    with small_pages():
        while current:
            pages += 1
            page = wall.page(current.offset)
            seen |= {item.id for item in page.items}
            current = current.after(page)
            for change, place in next(steps, ()):
                change(wall, place)
    assert seen >= set(range(1, count + 1)) - wall.deleted
    made = sum(map(len, changes))
    assert pages <= least_pages(count + 1 + made, SMALL_PAGE) + 2 * made


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_a_quiet_wall_costs_few_pages(count: int) -> None:
    ids = list(range(count, 0, -1))
    current: WallWalk | None = WallWalk()
    seen: list[int] = []
    pages = 0
    while current:
        assert current.call(-1).params["offset"] == current.offset
        items = [post(post_id) for post_id in ids[current.offset : current.offset + 100]]
        seen += [item.id for item in items if not 0 < current.last_id <= item.id]
        current = current.after(VkPostPage(count, items, []))
        pages += 1
    assert seen == ids
    assert pages <= 1 + max(0, math.ceil((count - 100) / 98))


def test_a_wall_whose_other_posts_are_gone() -> None:
    page = VkPostPage(2, [post(9, is_pinned=True)], [])
    assert WallWalk(position=2, last_id=4).after(page) == WallWalk(position=1, last_id=4)
    assert WallWalk(position=2, last_id=4).after(VkPostPage(1, page.items, [])) is None


# which posts are wanted


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
def test_wanted_posts(since: int | None, room: int | None, ids: list[int], *, goes_on: bool) -> None:
    kept, more = wanted_posts(PAGE, since, room)
    assert [item.id for item in kept] == ids
    assert more is goes_on


def test_an_old_pinned_post_does_not_end_the_walk() -> None:
    assert wanted_posts(PAGE[:1], 50, None) == ([], True)


def test_what_a_page_that_is_stepped_back_holds_counts_once() -> None:
    walk = CommentWalk(1, position=100, last_id=200)
    ahead = VkCommentPage([comment(210), comment(211)], {}, None, [])
    assert walk.count_new(ahead) == 0
    [back] = walk.after(ahead)
    assert back.offset < walk.offset
    assert back.count_new(VkCommentPage([comment(number) for number in (199, 200, 210, 211)], {}, None, [])) == 2


def test_a_young_pinned_post_is_among_the_newest() -> None:
    page = [post(9, date=90, is_pinned=True), post(10, date=95), post(8, date=80)]
    assert wanted_posts(page, None, 2) == ([page[1], page[0]], False)
    assert wanted_posts([post(9, date=90, is_pinned=True)], None, 2)[0] != []
