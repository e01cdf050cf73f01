"""The number of SQL statements of a nested query does not depend on the number of parents."""

import pytest
from sqlalchemy import text

from app.resources import Resources
from tests.conftest import Api, statements, write_wall
from tests.graphql.conftest import MakeJob

FEW, MANY = 1, 50

NESTED = {
    "Group.posts": ("groups", "posts(first: 2) { nodes { id } }", 2),
    "Group.posts with totalCount": ("groups", "posts(first: 2) { totalCount nodes { id } }", 3),
    "Group.comments": ("groups", "comments(first: 2) { nodes { id } }", 2),
    "Group.postCount": ("groups", "postCount", 2),
    "Group.commentCount": ("groups", "commentCount", 2),
    # the versions of the walls, and a statement per function
    "Group.statistics": ("groups", "statistics { totals { commentCount } topAuthors { author { id } } }", 5),
    "Comment.highlights": ("comments", 'highlights(search: "post") { start }', 3),
    "Post.group": ("posts", "group { id }", 2),
    "Post.author": ("posts", "author { id }", 2),
    "Post.comments": ("posts", "comments(first: 2) { nodes { id } }", 2),
    "Post.comments twice": ("posts", "comments(first: 2) { nodes { id } } more: comments(last: 1) { nodes { id } }", 3),
    "Post.comments.author": ("posts", "comments { nodes { author { id } } }", 3),
    "Comment.post": ("comments", "post { id }", 2),
    "Comment.author": ("comments", "author { id }", 2),
    "Comment.author.comments": ("comments", "author { comments(first: 1) { nodes { id } } }", 3),
    "Comment.thread": ("comments", "thread { id }", 2),
    "Comment.inReplyTo": ("comments", "inReplyTo { id }", 2),
    "Comment.keywordMatches": ("comments", "keywordMatches { start keyword { id } }", 2),
    "Comment.replies": ("comments", "replies { nodes { id } }", 2),
    "Comment.replies with totalCount": ("comments", "replies { totalCount }", 3),
}


@pytest.mark.parametrize("name", NESTED)
async def test_statements_of_nested_lists(api: Api, resources: Resources, name: str) -> None:
    root, fields, expected = NESTED[name]
    for number in range(1, MANY + 1):
        await write_wall(resources, -number, posts_count=1, comments_per_post=2)
    counts = {}
    for size in (FEW, MANY):
        with statements(resources) as seen:
            found = await api.execute(f"{{ {root}(first: {size}) {{ nodes {{ id {fields} }} }} }}")
        assert len(found[root]["nodes"]) == size
        counts[size] = len(seen)
    assert counts == {FEW: expected, MANY: expected}


FINDINGS = {
    "language": ("comments", "language", 2),
    "features": ("comments", "features { language mood links }", 2),
    "features.mentions": ("comments", "features { mentions { id } }", 3),
    "features.wave": ("comments", "features { wave { id } }", 3),
    "features.wave.firstComment": ("comments", "features { wave { firstComment { id } } }", 4),
    "features.wave.comments": ("comments", "features { wave { comments(first: 1) { nodes { id } } } }", 4),
    "features.wave.comments with totalCount": ("comments", "features { wave { comments { totalCount } } }", 5),
    "Wave.firstComment": ("waves", "firstComment { id }", 2),
    "Wave.comments": ("waves", "comments(first: 1) { nodes { features { mood } } }", 3),
}


async def test_statements_of_matches_and_features(api: Api, resources: Resources) -> None:
    for number in range(1, MANY + 1):
        await write_wall(resources, -number, posts_count=1, comments_per_post=1)
    async with resources.database.transaction() as connection:
        await connection.execute(
            text("""
                INSERT INTO waves (comment_count, author_count, post_count, owner_id, comment_id, first_at, last_at)
                SELECT 1, 1, 1, owner_id, id, published_at, published_at FROM comments ORDER BY owner_id
            """)
        )
        await connection.execute(
            text("""
                INSERT INTO comment_features (owner_id, comment_id, published_at, language, term_ids, links, phones,
                                              mention_ids, mood, wave_id)
                SELECT c.owner_id, c.id, c.published_at, 'ru', '{}', '{https://a.ru}', '{}', ARRAY[1000 - c.owner_id],
                       1, w.id FROM comments c JOIN waves w ON w.owner_id = c.owner_id
            """)
        )
    for name, (root, fields, expected) in FINDINGS.items():
        counts = {}
        for size in (FEW, MANY):
            with statements(resources) as seen:
                found = await api.execute(f"{{ {root}(first: {size}) {{ nodes {{ id {fields} }} }} }}")
            assert len(found[root]["nodes"]) == size
            counts[size] = len(seen)
        assert counts == {FEW: expected, MANY: expected}, name


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("groups { id }", 2),
        ("groups { posts { nodes { id } } }", 3),
        ("events { nodes { seq } }", 2),
        ("events { totalCount }", 3),
    ],
)
async def test_statements_of_jobs(
    api: Api, resources: Resources, make_job: MakeJob, fields: str, expected: int
) -> None:
    for number in range(1, MANY + 1):
        await make_job(-number)
    for size in (FEW, MANY):
        with statements(resources) as seen:
            found = await api.execute(f"{{ jobs(first: {size}) {{ nodes {{ id {fields} }} }} }}")
        assert len(found["jobs"]["nodes"]) == size
        assert len(seen) == expected


async def test_total_count_costs_a_statement_only_if_it_is_selected(api: Api, resources: Resources) -> None:
    await write_wall(resources)
    with statements(resources) as without:
        await api.execute("{ comments { nodes { id } } }")
    with statements(resources) as with_count:
        await api.execute("{ comments { totalCount nodes { id } } }")
    assert (len(without), len(with_count)) == (1, 2)


async def test_a_level_of_thousands_is_one_batch(api: Api, resources: Resources) -> None:
    await write_wall(resources, posts_count=3, comments_per_post=500)
    with statements(resources) as seen:
        found = await api.execute(
            "{ posts { nodes { comments(first: 500) { nodes { author { id } thread { id } } } } } }"
        )
    assert sum(len(post["comments"]["nodes"]) for post in found["posts"]["nodes"]) == 1_500
    assert len(seen) == 4
