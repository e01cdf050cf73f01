"""The matches of a full text search in texts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resources import Resources
from app.store.comments import upsert_comments
from app.store.groups import upsert_groups
from app.store.highlights import spans_of_parts, spans_of_search
from app.store.posts import upsert_posts
from app.wall import VkGroup
from tests.store.rows import comment, post

PLAIN = "В банке ёж, а банки — <b>нет</b> "


@pytest.mark.parametrize(
    "long",
    ["", "а" * 3_000, "😀" * 3_000, "!" * 3_000, " " * 3_000, "! " * 3_000, "http://" + "x/y" * 1_000, "<a " * 1_000],
    ids=["none", "letters", "emoji", "signs", "spaces", "both", "link", "tags"],
)
async def test_words_are_found_beside_text_that_postgresql_ignores(resources: Resources, long: str) -> None:
    said = f"{PLAIN}{long} банк! {long},{long} {PLAIN}".strip()
    async with resources.database.transaction() as connection:
        await upsert_groups(connection, [VkGroup(1, "one", "One")])
        await upsert_posts(connection, [post(1)])
        await upsert_comments(connection, [comment(2, said), comment(3, "иначе")], 0)
        found = await spans_of_search(connection, [(-1, 2), (-1, 3), (-1, 9)], "банк еж")
    assert {key: [said[start:end] for start, end in spans] for key, spans in found.items()} == {
        (-1, 2): ["банке", "ёж", "банки", "банк", "банке", "ёж", "банки"]
    }


def test_long_text_without_white_space_stays_whole() -> None:
    words = ",".join(["кредит"] * 200)
    parts = [words[start:end] for start, end in spans_of_parts(words)]
    assert len(parts) > 1
    assert {word for part in parts for word in part.strip(",").split(",")} == {"кредит"}


@given(st.lists(st.sampled_from(["слово", " ", "!", "а" * 700, " ." * 600, "😀" * 900]), max_size=9).map("".join))
def test_parts_add_up_to_the_text(words: str) -> None:
    places = spans_of_parts(words)
    assert "".join(words[start:end] for start, end in places) == words
    assert all(end == start for (_, end), (start, _) in pairwise(places))
    assert all(len(part.encode()) < 2_048 for start, end in places for part in words[start:end].split())
