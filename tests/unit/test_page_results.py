"""What follows from a pack of VK's answers: what is stored, and how posts, walls and threads continue. No I/O."""

from typing import Any

from app.store.comments import ReadThread
from app.vk.comment_pager import CommentPager
from app.vk.pager import MOST_REREADS
from app.vk.pipeline import next_requests
from app.vk.wall_pager import PostsById, WallPager
from app.vk.wire import Answer, VkAccessDenied
from app.work.collecting.collection import CollectionRequest, CollectionState, OpenPost
from app.work.collecting.page_results import (
    CommentResults,
    PostResults,
    comment_answers,
    top_comments_to_know,
)

DENIED = VkAccessDenied("Access denied", 15, "wall.getComments")


def state_with(*posts: OpenPost) -> CollectionState:
    """Return the state of a collection in which these posts are open."""
    state = CollectionState.new(CollectionRequest((-1,)), 1)
    state.posts = {post.key: post for post in posts}
    state.pagers = [CommentPager(post.owner_id, post.id, stated_count=post.comment_count) for post in posts]
    return state


def comments(*ids: int, **of_first: Any) -> Answer:
    """Return VK's answer with these comments; the other values are those of the first one."""
    items: list[Any] = [
        {"id": comment_id, "date": 1, "from_id": 5, "text": "x", "thread": {"count": 0}} for comment_id in ids
    ]
    items[0] |= of_first
    return {"count": len(ids), "current_level_count": len(ids), "items": items}


def process(state: CollectionState, *answers: Answer, known: tuple[ReadThread, ...] = ()) -> CommentResults:
    """Process the answers to the next requests of the open levels."""
    pack = list(zip(next_requests(state.pagers, len(answers)), answers, strict=True))
    by_key = {(thread.owner_id, thread.id): thread for thread in known}
    return CommentResults.of(state, comment_answers(pack), by_key, is_full=False)


def test_a_page_that_ends_a_post() -> None:
    state = state_with(OpenPost(-1, 7, 2, was_read=False))
    results = process(state, comments(1, 2))
    assert [comment.id for comment in results.comments] == [1, 2]
    assert results.touched == {(-1, 7)}
    assert (state.pagers, state.counts.comments) == ([], 2)
    assert state.posts[-1, 7].is_settled


def test_a_long_thread_gets_a_pager() -> None:
    state = state_with(OpenPost(-1, 7, 21, was_read=False))
    answer = comments(1, thread={"count": 20, "items": [{"id": 2, "date": 1, "text": "y"}]})
    assert isinstance(answer, dict)
    process(state, answer | {"count": 21})
    [pager] = state.pagers
    assert (pager.thread_id, pager.position, pager.last_id, pager.stated_count) == (1, 1, 2, 20)


def test_a_known_thread_that_has_not_grown_is_not_read() -> None:
    state = state_with(OpenPost(-1, 7, 21, was_read=True))
    answer = comments(1, thread={"count": 20, "items": [{"id": 2, "date": 1, "text": "y"}]})
    assert isinstance(answer, dict)
    process(state, answer | {"count": 21}, known=(ReadThread(-1, 1, 20, 30),))
    assert state.pagers == []
    assert state.posts[-1, 7].saved_calls == 1
    assert state.posts[-1, 7].is_settled


def test_a_grown_thread_continues_behind_the_known_replies() -> None:
    state = state_with(OpenPost(-1, 7, 31, was_read=True))
    answer = comments(1, thread={"count": 30, "items": [{"id": 2, "date": 1, "text": "y"}]})
    assert isinstance(answer, dict)
    process(state, answer | {"count": 31}, known=(ReadThread(-1, 1, 20, 30),))
    [pager] = state.pagers
    assert (pager.position, pager.last_id, pager.is_from_start) == (20, 30, False)


def test_a_refused_post_ends_and_leaves_the_others() -> None:
    state = state_with(OpenPost(-1, 7, 2, was_read=False), OpenPost(-1, 8, 1, was_read=False))
    results = process(state, DENIED, comments(9))
    assert results.refused == [(state.posts[-1, 7], DENIED)]
    assert not state.posts[-1, 7].is_settled
    assert state.posts[-1, 8].is_settled


def test_an_unreadable_page_is_requested_again() -> None:
    state = state_with(OpenPost(-1, 7, 1, was_read=False))
    for _ in range(MOST_REREADS):
        assert process(state, {"items": None}).refused == []
    results = process(state, {"items": None})
    assert [post.id for post, _ in results.refused] == [7]
    assert state.pagers == []


def test_a_post_that_states_more_than_it_shows_is_incomplete() -> None:
    state = state_with(OpenPost(-1, 7, 3, was_read=False, highest_count=3))
    answer = comments(1, 2)
    assert isinstance(answer, dict)
    while state.pagers:
        process(state, answer | {"count": 3, "current_level_count": 3})
    post = state.posts[-1, 7]
    assert (post.is_incomplete, post.is_settled) == (True, False)


def test_answers_of_closed_posts_are_ignored() -> None:
    state = state_with(OpenPost(-1, 7, 1, was_read=False))
    pack = [(page_request, comments(1)) for page_request in next_requests(state.pagers, 1)]
    state.posts.clear()
    results = CommentResults.of(state, comment_answers(pack), {}, is_full=False)
    assert (results.comments, results.touched) == ([], set())


def test_which_threads_may_be_known() -> None:
    posts = [OpenPost(-1, 7, 1, was_read=True), OpenPost(-1, 8, 1, was_read=False), OpenPost(-1, 9, 1, was_read=True)]
    posts[2].is_second_read = True
    state = state_with(*posts)
    pack = zip(next_requests(state.pagers, 3), [comments(1), comments(2), comments(3)], strict=True)
    assert top_comments_to_know(state, comment_answers(list(pack))) == [(-1, 1)]


# posts


def post(post_id: int) -> dict[str, Any]:
    """Return a post as VK sends it."""
    return {"owner_id": -1, "id": post_id, "date": 1, "text": "p", "comments": {"count": 1}}


def test_a_wall_that_ends() -> None:
    state = CollectionState.new(CollectionRequest((-1,)), 1)
    [page_request] = next_requests(state.walls, 1)
    results = PostResults.of(state, [(page_request, {"count": 2, "items": [post(2), post(1)]})])
    assert [each.id for each in results.posts] == [2, 1]
    assert (state.walls, state.listed, results.contradicted) == ([], 2, [])


def test_a_wall_that_states_more_than_it_shows() -> None:
    state = CollectionState.new(CollectionRequest((-1,)), 1)
    while state.walls:
        [page_request] = next_requests(state.walls, 1)
        results = PostResults.of(state, [(page_request, {"count": 2, "items": []})])
    assert [wall.owner_id for wall in results.contradicted] == [-1]


def test_a_refused_wall_is_not_requested_again() -> None:
    state = CollectionState.new(CollectionRequest((-1, -2)), 1)
    answers: list[Answer] = [DENIED, {"count": 1, "items": [post(1)]}]
    pack = list(zip(next_requests(state.walls, 2), answers, strict=True))
    results = PostResults.of(state, pack)
    assert results.refused == {-2: DENIED}
    assert state.walls == []


def test_single_posts_that_vk_omits() -> None:
    state = CollectionState.new(CollectionRequest((), {-1: (1, 2, 3)}), 1)
    [page_request] = next_requests(state.named, 1)
    results = PostResults.of(state, [(page_request, [post(2)])])
    assert results.missing == [(-1, 1), (-1, 3)]
    assert state.named == []


def test_the_posts_to_confirm_are_listed_again() -> None:
    request = CollectionRequest((-1,), {-2: (5,)})
    state = CollectionState.new(request, 1)
    state.unconfirmed_walls, state.missing = [-1, -2], [(-2, 5)]
    state.begin_confirming(request)
    assert (state.walls, state.named) == ([WallPager(-1)], [PostsById(-2, (5,))])
    assert state.is_confirming
