import dataclasses
import gc
import re
from collections import Counter

import pytest

from simulator import DEMO_SCREEN_NAME, SimulatorOptions, create_simulator, phrases, texts
from simulator.gc_pause import paused_gc
from simulator.options import SimulatorOptions as Options
from simulator.people import FIRST_GUEST_ID, FIRST_PERSON_ID, Population
from simulator.render import CommentForm, authors_json, post_json
from simulator.world import Comment, Post, Wall, World


def made_wall(options: SimulatorOptions, group_id: int = 1) -> Wall:
    wall = World(options).wall(group_id)
    assert wall is not None
    return wall


@pytest.fixture(scope="module")
def wall() -> Wall:
    """Return the wall of the demo."""
    return made_wall(Options())


def rendered(wall: Wall) -> list[object]:
    form = CommentForm(wall, need_likes=True, thread_items=10)
    made: list[object] = [post_json(wall, post) for post in wall.posts.values()]
    return made + [form.comment(comment) for comment in wall.comments.values()]


def test_equal_options_make_equal_worlds_in_any_order_of_requests() -> None:
    options = Options(groups=3, posts=7, comments=400)
    busy = World(options)
    busy.wall(3)
    second = busy.wall(2)
    assert second is not None
    assert rendered(second) == rendered(made_wall(options, 2))


def test_another_seed_another_world() -> None:
    assert rendered(made_wall(Options(posts=3, comments=50))) != rendered(
        made_wall(Options(posts=3, comments=50, seed=2))
    )


@pytest.mark.parametrize(
    ("posts", "comments"), [(1, 0), (1, 1), (2, 1), (40, 7), (5, 333), (60, 30_000), (0, 0), (0, 9)]
)
def test_comments_are_exact(posts: int, comments: int) -> None:
    wall = made_wall(Options(posts=posts, comments=comments))
    assert len(wall.posts) == posts
    assert len(wall.comments) == (comments if posts else 0)
    assert sum(len(ids) for ids in wall.truth().values()) == len(wall.comments)


def test_ids_come_from_one_counter_and_dates_ascend(wall: Wall) -> None:
    filed: list[Post | Comment] = [*wall.posts.values(), *wall.comments.values()]
    entries = sorted(filed, key=lambda entry: entry.id)
    assert entries[0].id == 1
    assert len({entry.id for entry in entries}) == len(entries)
    assert [entry.date for entry in entries] == sorted(entry.date for entry in entries)
    assert all(comment.id > comment.post.id for comment in wall.comments.values())


def test_ids_repeat_across_walls() -> None:
    options = Options(groups=2, posts=5, comments=100)
    first, second = made_wall(options, 1), made_wall(options, 2)
    assert set(first.comments) & set(second.comments)


def test_replies_have_two_levels_and_follow_the_answered_comment(wall: Wall) -> None:
    replies = [comment for comment in wall.comments.values() if comment.top is not None]
    for reply in replies:
        top, answers = reply.top, reply.answers
        assert top is not None
        assert top.top is None
        assert top.id < reply.id
        assert answers is None or (answers.id < reply.id and (answers is top or answers.top is top))
    assert 0.34 < len(replies) / len(wall.comments) < 0.36
    assert sum(reply.answers not in {None, reply.top} for reply in replies) > 1_000


def test_shares_are_realistic(wall: Wall) -> None:
    sizes = [post.comment_count for post in wall.posts.values()]
    threads = [len(comment.replies) for comment in wall.comments.values()]
    assert sum(size < 30 for size in sizes) >= 5
    assert 2 <= sum(size > 1_000 for size in sizes) <= 12
    assert sum(thread > 10 for thread in threads) > 50
    assert 2 <= sum(thread > 100 for thread in threads) < 30
    stubs = [comment for comment in wall.comments.values() if comment.deleted]
    assert len(stubs) > 20
    assert all(stub.replies for stub in stubs)
    assert {comment.attachment for comment in wall.comments.values()} == {"", "photo", "sticker", "link"}


def test_authors_are_people_the_community_and_others(wall: Wall) -> None:
    authors = {comment.author for comment in wall.comments.values()}
    assert -1 in authors
    assert any(author <= -FIRST_GUEST_ID for author in authors)
    assert any(author > 2**31 for author in authors)
    people = [person for author in authors if author > 0 and (person := Population(Options()).person(author))]
    assert len(people) > 2_000
    assert Counter(person.deactivated for person in people).keys() == {"", "deleted", "banned"}


def test_names_agree() -> None:
    population = Population(Options())
    people = [person for number in range(500) if (person := population.person(population.person_id(number)))]
    assert len(people) == 500
    assert all(not person.last_name.endswith("ова") for person in people if person.gender == 0)
    assert all(not person.last_name.endswith(("ов", "ий")) for person in people if person.gender == 1)
    named = [person for person in people if not person.screen_name.startswith("id")]
    assert all(re.fullmatch(r"[a-z_]+_[0-9]+", person.screen_name) for person in named)
    assert population.person_by_name(named[0].screen_name) == named[0]


@pytest.mark.parametrize("unknown", [0, 1, FIRST_PERSON_ID - 3, FIRST_PERSON_ID + 1, FIRST_PERSON_ID + 3 * 96, 10**18])
def test_ids_of_no_person(unknown: int) -> None:
    assert Population(Options()).person(unknown) is None


def test_texts_vary_and_fit(wall: Wall) -> None:
    written = [wall.text_of(comment) for comment in wall.comments.values()]
    assert len(set(written)) > 18_000
    assert not any("{" in text or "}" in text for text in written)
    whole = "\n".join(written)
    assert all(word in whole for word in ("ё", "😍", "))", "https://simulator.invalid/", "[id", "спс", "капучино"))
    answers = [comment for comment in wall.comments.values() if comment.answers and comment.attachment != "sticker"]
    assert all(re.match(r"\[(id|club)[0-9]+\|[^\]]+\], ", wall.text_of(comment)) for comment in answers)


def test_no_author_answers_their_own_comment(wall: Wall) -> None:
    assert not any(each.answers and each.answers.author == each.author for each in wall.comments.values())


def test_communities_have_unique_names() -> None:
    population = Population(Options(groups=120))
    made = [population.community(group_id) for group_id in range(1, 121)]
    names = {community.screen_name for community in made if community}
    assert len(names) == 120
    assert len({community.name for community in made if community}) == 120
    demo = population.community_by_name(DEMO_SCREEN_NAME)
    assert demo is not None
    assert demo.id == 1


def test_every_theme_writes() -> None:
    for group_id in range(1, 6):
        wall = made_wall(Options(groups=5, posts=30, comments=600), group_id)
        written = [wall.text_of(comment) for comment in wall.comments.values()]
        written += [wall.post_text(post) for post in wall.posts.values()]
        assert not any("{" in text for text in written)


@pytest.mark.parametrize("posts", [1, 2, 14, 39, 60])
def test_one_post_of_the_community_is_pinned(posts: int) -> None:
    pinned = [post for post in made_wall(Options(posts=posts, comments=0)).posts.values() if post.pinned]
    assert [post.author for post in pinned] == [-1]


def test_a_comment_of_an_unknown_author_is_rejected(wall: Wall) -> None:
    comment = dataclasses.replace(next(iter(wall.comments.values())), author=1, text=None)
    with pytest.raises(LookupError, match="no author has the id 1"):
        wall.text_of(comment)


def test_an_unknown_slot_is_rejected() -> None:
    topic = texts.Topic(("Привет, {nobody}!",), (texts.Item("чай", "чая", "чай", 0),))
    with pytest.raises(KeyError, match="nobody"):
        phrases.post_text(phrases.Dice(1), topic, phrases.Speaker(0, "Бор", "Бору"), visitor=False)


def test_an_added_comment_is_the_same_in_equal_worlds() -> None:
    def added() -> list[tuple[int, int, int, str]]:
        wall = made_wall(Options(posts=3, comments=40))
        post = wall.newest_first()[0]
        ids = wall.add_comments(post, 2)
        ids += wall.add_comments(post, 2, wall.comments[ids[0]])
        made: list[Comment] = [wall.comments[each] for each in ids]
        return [(each.id, each.date, each.author, wall.text_of(each)) for each in made]

    assert added() == added()


@pytest.mark.parametrize("name", ["groups", "posts", "comments", "rps", "start_of_history", "history_seconds"])
def test_negative_options_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        create_simulator(SimulatorOptions(**{name: -1}))  # type: ignore[arg-type] # invalid values are the subject of the test


def test_a_large_wall_is_excluded_from_garbage_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.world._LARGE_WALL", 500)
    small, large = World(Options(posts=2, comments=499)), World(Options(posts=2, comments=500))
    before = gc.get_freeze_count()
    try:
        assert small.wall(1) is not None
        assert gc.get_freeze_count() == before
        assert large.wall(1) is not None
        assert gc.get_freeze_count() > before + 500
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.collect()
        gc.freeze()  # as pytest's collection leaves it


def test_rendered_profiles_are_cached_copied_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.render._MOST_PROFILES", 3)
    population = Population(Options())
    people = [population.person_id(number) for number in range(5)]
    first = authors_json(population, [*people, people[0], -1, 1], ["city"])
    assert [profile["id"] for profile in first["profiles"]] == people
    assert [group["id"] for group in first["groups"]] == [1]
    assert len(population.rendered_profiles) <= 3
    first["groups"][0]["name"] = "changed by a script"
    assert authors_json(population, [-1], ["city"])["groups"][0]["name"] != "changed by a script"
    assert authors_json(population, [1, -77], []) == {"profiles": [], "groups": []}


def test_garbage_collection_resumes_when_the_outermost_pause_ends() -> None:
    with paused_gc():
        with paused_gc():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
