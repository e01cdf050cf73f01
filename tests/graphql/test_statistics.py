"""Statistics in the API. Their numbers are tested in tests/store/test_statistics.py."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app.db import tables
from app.resources import Resources
from schema import statistics
from tests.conftest import Api, Wall, write_wall
from tests.graphql.conftest import gid

ALL = """query ($groupIds: [ID!], $from: DateTime, $to: DateTime, $bucket: Bucket, $timeZone: String) {
  statistics(groupIds: $groupIds, from: $from, to: $to, bucket: $bucket, timeZone: $timeZone) {
    from to bucket timeZone
    totals { commentCount replyCount replyShare deletedCount viewedCount archivedCount likeCount }
    authorCount
    activity { start commentCount replyCount deletedCount likeCount }
    byHourOfWeek { weekday hour commentCount }
    topAuthors(first: 2) { author { name } commentCount replyCount likeCount }
    topPosts(first: 1, by: COMMENTS) { post { vkId } commentCount replyCount commentLikeCount engagement }
    posts { postCount likeCount repostCount viewCount commentCount commentsPerPost engagement
            commentDelays { withinSeconds commentCount share } }
    topKeywords { keyword { phrase } commentCount matchCount }
    languages { language commentCount }
    terms { term commentCount } } }"""


async def _store_results(resources: Resources) -> None:
    key = {"owner_id": -1, "comment_id": 2, "published_at": datetime(2026, 3, 1, 0, 2, tzinfo=UTC)}
    features = {"language": "ru", "term_ids": [1], "links": [], "phones": [], "mention_ids": [], "mood": 0}
    async with resources.database.transaction() as connection:
        await connection.execute(insert(tables.keywords).values(phrase="банк", matching="EXACT_WORD", is_active=True))
        await connection.execute(insert(tables.terms).values(lemma="вклад"))
        await connection.execute(insert(tables.comment_keywords).values(**key, keyword_id=1, positions=[0, 4, 6, 10]))
        await connection.execute(insert(tables.comment_features).values(**key, **features))


async def test_all_fields(api: Api, resources: Resources, wall: Wall) -> None:
    """Three posts with four comments each, one a minute from midnight (UTC) of a Sunday on."""
    assert len(wall.comment_ids) == 12
    await _store_results(resources)
    found = (await api.execute(ALL, timeZone="Europe/Moscow", bucket="HOUR"))["statistics"]
    heat = found.pop("byHourOfWeek")
    assert [cell for cell in heat if cell["commentCount"]] == [{"weekday": 7, "hour": 3, "commentCount": 12}]
    assert [(cell["weekday"], cell["hour"]) for cell in heat] == [
        (day, hour) for day in range(1, 8) for hour in range(24)
    ]
    delays = found["posts"].pop("commentDelays")
    assert delays[0] == {"withinSeconds": 600, "commentCount": 12, "share": 1.0}
    assert [(delay["withinSeconds"], delay["commentCount"]) for delay in delays[1:]] == [
        (3600, 0), (21600, 0), (86400, 0), (259200, 0), (604800, 0), (None, 0)
    ]  # fmt: skip
    assert found == {
        "from": None,
        "to": None,
        "bucket": "HOUR",
        "timeZone": "Europe/Moscow",
        "totals": {
            "commentCount": 12,
            "replyCount": 6,
            "replyShare": 0.5,
            "deletedCount": 0,
            "viewedCount": 0,
            "archivedCount": 0,
            "likeCount": 18,
        },
        "authorCount": 4,
        "activity": [
            {
                "start": "2026-03-01T00:00:00+00:00",
                "commentCount": 12,
                "replyCount": 6,
                "deletedCount": 0,
                "likeCount": 18,
            }
        ],
        "topAuthors": [
            {"author": {"name": "Group 1"}, "commentCount": 3, "replyCount": 3, "likeCount": 9},
            {"author": {"name": "Author 0"}, "commentCount": 3, "replyCount": 0, "likeCount": 0},
        ],
        "topPosts": [
            {"post": {"vkId": 11}, "commentCount": 4, "replyCount": 2, "commentLikeCount": 6, "engagement": 0.1}
        ],
        "posts": {
            "postCount": 3,
            "likeCount": 15,
            "repostCount": 3,
            "viewCount": 300,
            "commentCount": 12,
            "commentsPerPost": 4.0,
            "engagement": 0.1,
        },
        "topKeywords": [{"keyword": {"phrase": "банк"}, "commentCount": 1, "matchCount": 2}],
        "languages": [{"language": "ru", "commentCount": 1}],
        "terms": [{"term": "вклад", "commentCount": 1}],
    }


async def test_without_comments(api: Api) -> None:
    found = (await api.execute(ALL))["statistics"]
    assert found["totals"] == {
        "commentCount": 0,
        "replyCount": 0,
        "replyShare": None,
        "deletedCount": 0,
        "viewedCount": 0,
        "archivedCount": 0,
        "likeCount": 0,
    }
    assert found["posts"]["commentDelays"][0] == {"withinSeconds": 600, "commentCount": 0, "share": None}
    assert (found["activity"], found["topAuthors"], found["authorCount"], found["posts"]["engagement"]) == (
        [],
        [],
        0,
        None,
    )
    assert sum(cell["commentCount"] for cell in found["byHourOfWeek"]) == 0


async def test_of_some_communities_and_a_period(api: Api, resources: Resources) -> None:
    for owner_id in (-1, -2, -3):
        await write_wall(resources, owner_id)
    query = """query ($ids: [ID!], $from: DateTime, $to: DateTime) {
      statistics(groupIds: $ids, from: $from, to: $to) { from to totals { commentCount } posts { postCount } }
      groups { nodes { statistics(from: $from, to: $to) { totals { commentCount } } } } }"""
    ids = [gid("Group", -1), gid("Group", -3), gid("Group", -3), gid("Group", -9)]
    found = await api.execute(query, ids=ids, **{"from": "2026-03-01T03:05:00+03:00", "to": "2026-03-01T00:10:00Z"})
    assert found["statistics"] == {
        "from": "2026-03-01T00:05:00+00:00",
        "to": "2026-03-01T00:10:00+00:00",
        "totals": {"commentCount": 8},
        "posts": {"postCount": 2},
    }
    assert [group["statistics"]["totals"]["commentCount"] for group in found["groups"]["nodes"]] == [4, 4, 4]


async def test_invalid_arguments(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_GROUPS", 1)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"groupIds": ["x"]}, "groupIds.0", "'x' is not an id of this server"),
        ({"groupIds": ["x", "x"]}, "groupIds", "must contain at most 1 ids"),
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "from", "must not be later than to"),
        ({"timeZone": "Moscow"}, "timeZone", "'Moscow' is not a time zone"),
        ({"timeZone": "../etc"}, "timeZone", "'../etc' is not a time zone"),
        # Python may know these two on this machine, PostgreSQL does not
        ({"timeZone": "localtime"}, "timeZone", "'localtime' is not a time zone"),
        ({"timeZone": "right/UTC"}, "timeZone", "'right/UTC' is not a time zone"),
    ]
    for variables, path, message in wrong:
        error = await api.fail(ALL, **variables)
        assert error["extensions"]["fields"] == [{"path": path, "message": message}]
    for size in (0, 101):
        error = await api.fail(f"{{ statistics {{ topAuthors(first: {size}) {{ commentCount }} }} }}")
        assert error["extensions"]["fields"] == [{"path": "first", "message": "must be between 1 and 100"}]


@pytest.mark.usefixtures("wall")
async def test_the_ends_of_the_calendar(api: Api) -> None:
    found = await api.execute(ALL, **{"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T00:00:00Z"})
    assert found["statistics"]["totals"]["commentCount"] == 12


@pytest.mark.usefixtures("wall")
@pytest.mark.parametrize(
    ("bucket", "starts"),
    [
        ("DAY", [f"2011-12-{day}T10" for day in range(27, 32)] + ["2012-01-01T10", "2012-01-02T10"]),
        ("WEEK", ["2011-12-26T10", "2012-01-01T10"]),
        ("MONTH", ["2011-12-01T10", "2011-12-31T10"]),
    ],
)
async def test_a_day_that_does_not_exist(api: Api, resources: Resources, bucket: str, starts: list[str]) -> None:
    days = (28, 30, 30, 33)
    table = tables.comments
    async with resources.database.transaction() as connection:
        ids = (await connection.scalars(select(table.c.id).order_by(table.c.id))).all()
        for place, comment_id in enumerate(ids):
            moment = datetime(2011, 12, 1, 9 + place % 4, tzinfo=UTC) + timedelta(days=days[place % 4] - 1)
            await connection.execute(update(table).where(table.c.id == comment_id).values(published_at=moment))
    activity = '{ statistics(bucket: %s, timeZone: "Pacific/Apia") { activity { start commentCount } } }'
    points = (await api.execute(activity % bucket))["statistics"]["activity"]
    found = [point["start"][:13] for point in points]
    assert (found, sum(point["commentCount"] for point in points)) == (starts, len(ids))


@pytest.mark.usefixtures("wall")
async def test_too_many_points(api: Api, resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        table = tables.comments
        await connection.execute(
            update(table).where(table.c.id == 2).values(published_at=datetime(2020, 1, 1, tzinfo=UTC))
        )
    error = await api.fail("{ statistics(bucket: HOUR) { activity { start } } }")
    message = "yields more than 10000 points; use a larger bucket or a shorter period"
    assert error["extensions"]["fields"] == [{"path": "bucket", "message": message}]
    found = await api.execute("{ statistics(bucket: DAY) { activity { commentCount } } }")
    assert [point["commentCount"] for point in found["statistics"]["activity"]] == [1, *[0] * 2250, 11]
