"""The contents of export files: the same rows through the driver, and as CSV by COPY."""

import asyncio
import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.exports.csv import FORMULA_STARTS
from app.json_models import from_json, to_json
from app.resources import Resources
from app.store import authors, comments, exports, groups, posts
from app.store.comment_conditions import CommentConditions
from app.store.export_statements import COLUMNS, csv_statement, rows_statement
from app.store.row_streams import DriverStatement, SourceLost, copy_csv, reading, row_batches
from app.wall import VkAuthor, VkGroup
from tests.conftest import Wall
from tests.exports.nasty import NASTY
from tests.store.rows import comment, post, stub
from tests.store.test_jobs import insert

AT = datetime(2026, 3, 1, tzinfo=UTC)
MARK = "0123abcd"
FINDINGS = """
    UPDATE comments SET viewed_at = '2026-03-02 10:11:12.9+00', archived_at = '2026-03-03', changed_at = '2026-03-04',
                        first_seen_at = '2026-03-05'
     WHERE id = 2;
    INSERT INTO keywords (phrase, matching, is_active) VALUES ('z', 'WORD_FORMS', true), ('-a', 'WORD_FORMS', true);
    INSERT INTO comment_keywords (owner_id, comment_id, keyword_id, published_at, positions)
    SELECT -1, 2, id, now(), '{0,4}' FROM keywords;
    INSERT INTO comment_features (owner_id, comment_id, published_at, language, term_ids, links, phones, mention_ids,
                                  mood)
    VALUES (-1, 2, now(), 'ru', '{}', '{}', '{}', '{}', 0)"""
"""The results of matching and analysis of comment 2, and its marks."""


async def read_rows(
    resources: Resources, conditions: CommentConditions, columns: Sequence[str] = COLUMNS
) -> list[dict[str, Any]]:
    """Read all rows, a few at a time."""
    async with resources.database.connect() as connection:
        statement = rows_statement(conditions, columns, connection.dialect)
    async with reading(resources.database.dsn) as driver:
        batches = [batch async for batch in row_batches(driver, statement, 2)]
    return [dict(zip(columns, row, strict=True)) for batch in batches for row in batch]


async def read_csv(
    resources: Resources, conditions: CommentConditions, columns: Sequence[str] = COLUMNS, starts: str = FORMULA_STARTS
) -> list[dict[str, str]]:
    """Read all rows as CSV."""
    async with resources.database.connect() as connection:
        statement = csv_statement(conditions, columns, MARK, starts, connection.dialect)
    parts: list[bytes] = []
    async with reading(resources.database.dsn) as driver:
        await copy_csv(driver, statement, ";", parts.append)
    lines = csv.reader(io.StringIO(b"".join(parts).decode(), newline=""), delimiter=";")
    return [dict(zip([*columns, "mark"], line, strict=True)) for line in lines]


@pytest.fixture
async def _comments(resources: Resources) -> None:
    """Write a wall with values in all columns of an export."""
    photo: list[dict[str, Any]] = [{"type": "photo", "photo": {}}, {"type": "=x", "=x": {}}, {}]
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "one", "=Group")])
        await posts.upsert_posts(connection, [post(1, "@post")])
        await authors.upsert_authors(connection, [VkAuthor(5, "+Name", "id5"), VkAuthor(-1, "Group", "one")])
        found = [
            comment(2, "=text", likes=3, attachments=photo),
            comment(3, "reply", thread_id=2, reply_to_id=2, from_id=-1),
            stub(4),
        ]
        await comments.upsert_comments(connection, found, 0)
        for sql in FINDINGS.split(";"):
            await connection.execute(text(sql))


@pytest.mark.usefixtures("_comments")
async def test_every_column(resources: Resources) -> None:
    first, second, third = await read_rows(resources, CommentConditions())
    published = datetime(2026, 3, 1, tzinfo=UTC)
    assert first == {
        "vkOwnerId": -1,
        "groupName": "=Group",
        "groupScreenName": "one",
        "vkPostId": 1,
        "postUrl": "https://vk.com/wall-1_1",
        "postText": "@post",
        "postPublishedAt": published,
        "vkId": 2,
        "vkUrl": "https://vk.com/wall-1_1?reply=2",
        "isReply": False,
        "threadVkId": None,
        "inReplyToVkId": None,
        "authorVkId": 5,
        "authorName": "+Name",
        "authorUrl": "https://vk.com/id5",
        "text": "=text",
        "publishedAt": published,
        "changedAt": datetime(2026, 3, 4, tzinfo=UTC),
        "firstSeenAt": datetime(2026, 3, 5, tzinfo=UTC),
        "likeCount": 3,
        "isDeleted": False,
        "attachments": ["photo", "=x", "unknown"],
        "keywords": ["z", "-a"],
        "language": "ru",
        "viewedAt": datetime(2026, 3, 2, 10, 11, 12, 900_000, tzinfo=UTC),
        "archivedAt": datetime(2026, 3, 3, tzinfo=UTC),
    }
    assert second["vkUrl"] == "https://vk.com/wall-1_1?reply=3&thread=2"
    assert second["authorUrl"] == "https://vk.com/club1"
    assert (second["threadVkId"], second["inReplyToVkId"], second["isReply"]) == (2, 2, True)
    assert (second["attachments"], second["keywords"], second["language"]) == ([], [], None)
    assert (third["authorVkId"], third["authorName"], third["authorUrl"]) == (None, None, None)
    assert third["isDeleted"]


@pytest.mark.usefixtures("_comments")
async def test_csv(resources: Resources) -> None:
    first, second, third = await read_csv(resources, CommentConditions())
    assert first == {
        "vkOwnerId": "-1",
        "groupName": "'=Group",
        "groupScreenName": "one",
        "vkPostId": "1",
        "postUrl": "https://vk.com/wall-1_1",
        "postText": "'@post",
        "postPublishedAt": "2026-03-01 00:00:00",
        "vkId": "2",
        "vkUrl": "https://vk.com/wall-1_1?reply=2",
        "isReply": "false",
        "threadVkId": "",
        "inReplyToVkId": "",
        "authorVkId": "5",
        "authorName": "'+Name",
        "authorUrl": "https://vk.com/id5",
        "text": "'=text",
        "publishedAt": "2026-03-01 00:00:00",
        "changedAt": "2026-03-04 00:00:00",
        "firstSeenAt": "2026-03-05 00:00:00",
        "likeCount": "3",
        "isDeleted": "false",
        "attachments": "photo, '=x, unknown",
        "keywords": "z, '-a",
        "language": "ru",
        "viewedAt": "2026-03-02 10:11:12",
        "archivedAt": "2026-03-03 00:00:00",
        "mark": MARK,
    }
    assert (second["isReply"], second["attachments"], second["keywords"]) == ("true", "", "")
    assert (third["isDeleted"], third["authorName"]) == ("true", "")
    plain = (await read_csv(resources, CommentConditions(), starts=""))[0]
    assert (plain["text"], plain["attachments"], plain["keywords"]) == ("=text", "photo, =x, unknown", "z, -a")


async def test_nasty_texts(resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "one", "One")])
        await posts.upsert_posts(connection, [post(1)])
        found = [comment(number, words) for number, words in enumerate(NASTY, 2)]
        await comments.upsert_comments(connection, found, 0)
    columns = ("vkId", "text")
    rows = await read_rows(resources, CommentConditions(), columns)
    assert [row["text"] for row in rows] == NASTY
    plain = await read_csv(resources, CommentConditions(), columns, "")
    assert [row["text"] for row in plain] == NASTY
    safe = await read_csv(resources, CommentConditions(), columns)
    escaped = [f"'{words}" if words and words[0] in FORMULA_STARTS else words for words in NASTY]
    assert [row["text"] for row in safe] == escaped
    assert sum(words != was for words, was in zip(escaped, NASTY, strict=True)) == 8
    # "-1" as a text is escaped, as a number it is not
    assert [row["vkId"] for row in safe] == [str(number) for number in range(2, len(NASTY) + 2)]


CONDITIONS = [
    CommentConditions(),
    CommentConditions(owner_ids=(-1,), posts=((-1, 1), (-1, 6)), author_ids=(100, -1), is_reply=False),
    CommentConditions(published_from=AT, published_to=AT + timedelta(minutes=5), is_deleted=False, min_likes=1),
    CommentConditions(owner_ids=()),
    CommentConditions(search='comment -"x\' $1 \\ :p"', contains="of po'st\\ $2 %"),
    CommentConditions(contains="post 1"),
    CommentConditions(
        any_of=(CommentConditions(min_likes=3), CommentConditions(author_ids=(100,), is_viewed=False)),
        none_of=(CommentConditions(posts=((-1, 1),)), CommentConditions(language="ru'", has_matches=True)),
        all_of=(CommentConditions(is_archived=False, keyword_categories=None),),
    ),
    CommentConditions(keyword_ids=(1,), keyword_categories=("'; DROP TABLE comments; --",)),
]


@pytest.mark.parametrize("conditions", CONDITIONS, ids=range(len(CONDITIONS)))
async def test_conditions(resources: Resources, wall: Wall, conditions: CommentConditions) -> None:
    """An export contains the counted rows, however it is read, also with conditions from its row."""
    assert wall.owner_id == -1
    kept = from_json(CommentConditions, to_json(conditions, omit_defaults=True))
    assert kept == conditions
    async with resources.database.connect() as connection:
        count = await comments.count_comments(connection, kept)
    rows = await read_rows(resources, kept, ("vkId",))
    lines = await read_csv(resources, kept, ("vkId",))
    assert len(rows) == len(lines) == count
    ids = [row["vkId"] for row in rows]
    assert ids == sorted(ids) == [int(line["vkId"]) for line in lines]


async def test_more_conditions_than_a_row_has_columns(resources: Resources, wall: Wall) -> None:
    keys = tuple((-1, number) for number in range(1, 1_500))
    assert len(await read_csv(resources, CommentConditions(posts=keys), ("vkId",))) == len(wall.comment_ids)


def test_conditions_as_json() -> None:
    conditions = CommentConditions(
        posts=((-1, 2),), published_from=AT, none_of=(CommentConditions(min_likes=0, is_reply=False),)
    )
    assert to_json(conditions, omit_defaults=True) == {
        "posts": [[-1, 2]],
        "published_from": "2026-03-01T00:00:00Z",
        "none_of": [{"min_likes": 0, "is_reply": False}],
    }
    assert to_json(CommentConditions(), omit_defaults=True) == {}


# lost connections


async def test_postgresql_cannot_be_reached() -> None:
    with pytest.raises(SourceLost):
        async with reading("postgresql://127.0.0.1:9/x"):
            pass


SLOW = DriverStatement(
    "SELECT repeat('x', 1000), pg_sleep(CASE WHEN n % 100 = 0 THEN 0.01 END) FROM generate_series($1::int, 100000) n",
    (1,),
)


async def cut(driver: "asyncpg.Connection[Any]", resources: Resources) -> None:
    """Make PostgreSQL close a connection."""
    async with resources.database.connect() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:id)"), {"id": driver.get_server_pid()})


async def test_postgresql_closes_the_connection_while_rows_are_read(resources: Resources) -> None:
    async with reading(resources.database.dsn) as driver:
        rows = row_batches(driver, SLOW, 10)
        assert len(await anext(rows)) == 10
        await cut(driver, resources)
        with pytest.raises(SourceLost):
            async for _ in rows:
                pass


async def test_postgresql_closes_the_connection_while_lines_are_read(resources: Resources) -> None:
    has_begun = asyncio.Event()
    async with reading(resources.database.dsn) as driver:
        copying = asyncio.create_task(copy_csv(driver, SLOW, ";", lambda _: has_begun.set()))
        await has_begun.wait()
        await cut(driver, resources)
        with pytest.raises(SourceLost):
            await copying


async def test_the_connection_is_lost_while_lines_are_written(resources: Resources) -> None:
    async with reading(resources.database.dsn) as driver:
        with pytest.raises(SourceLost):
            await copy_csv(driver, SLOW, ";", lambda _: driver.terminate())


async def test_a_statement_that_postgresql_rejects(resources: Resources) -> None:
    async with reading(resources.database.dsn) as driver:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await copy_csv(driver, DriverStatement("SELECT 1 / 0"), ";", lambda _: None)


async def test_the_receiver_of_the_lines_fails(resources: Resources) -> None:
    def refuse(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with reading(resources.database.dsn) as driver:
        with pytest.raises(OSError, match="No space left"):
            await copy_csv(driver, SLOW, ";", refuse)


# the files


def facts(job_id: int, name: str = "a.csv") -> dict[str, Any]:
    return {"job_id": job_id, "name": name, "format": "csv", "compression": None, "rows": 1, "bytes": 2, "sha256": "3"}


async def test_rows_of_files(resources: Resources) -> None:
    one = (await insert(resources, state="SUCCEEDED", finished_at=AT)).id
    two = (await insert(resources, state="RUNNING")).id
    three = (await insert(resources, state="FAILED", finished_at=AT)).id
    async with resources.database.transaction() as connection:
        row = await exports.upsert_export(connection, facts(one), 2)
        assert (row.expires_at - row.created_at) == timedelta(days=2)
        await exports.upsert_export(connection, facts(one, "b.csv"), 3)
        assert await exports.export_by_key(connection, one, "a.csv") is None
        found = await exports.export_by_key(connection, one, "b.csv")
        assert found
        assert found.expires_at - found.created_at == timedelta(days=3)
        assert await exports.jobs_with_files(connection, [one, two, three, 99]) == {one, two}
        assert await exports.remove_expired(connection) == 0
        await connection.execute(text("UPDATE exports SET expires_at = now()"))
        assert await exports.export_by_key(connection, one, "b.csv") is None
        assert await exports.remove_expired(connection) == 1
        assert await exports.jobs_with_files(connection, [one]) == set()
