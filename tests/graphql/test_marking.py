"""Marking comments as viewed and archived, and removing them."""

from typing import Any

import pytest

from app.actions import mark_comments as marking
from app.resources import Resources
from app.store import comments
from tests.conftest import Api, Wall, write_wall
from tests.graphql.conftest import gid
from tests.store.rows import comment

MARK = """mutation ($input: MarkCommentsInput!) { markComments(input: $input) { __typename
  ... on MarkCommentsSuccess {
    changedCount hasMore groups { screenName statistics { totals { viewedCount archivedCount } } } }
  ... on ValidationFailedError { fields { path message } } ... on ServiceUnavailableError { service } } }"""
REMOVE = """mutation ($input: RemoveCommentsInput!) { removeComments(input: $input) { __typename
  ... on RemoveCommentsSuccess { changedCount hasMore groups { screenName commentCount } }
  ... on ValidationFailedError { fields { path message } } ... on ServiceUnavailableError { service } } }"""
STATE = """query ($filter: CommentFilter) { comments(filter: $filter) { totalCount nodes { viewedAt archivedAt } } }"""


async def mark(api: Api, **arguments: Any) -> dict[str, Any]:
    """Mark comments and return the answer."""
    answer: dict[str, Any] = (await api.execute(MARK, input=arguments))["markComments"]
    return answer


async def remove(api: Api, **arguments: Any) -> dict[str, Any]:
    """Remove comments and return the answer."""
    answer: dict[str, Any] = (await api.execute(REMOVE, input=arguments))["removeComments"]
    return answer


async def count(api: Api, **filter_values: Any) -> int:
    """Count the comments that a filter selects."""
    return int((await api.execute(STATE, filter=filter_values))["comments"]["totalCount"])


def _counted(viewed: int, archived: int) -> list[dict[str, Any]]:
    return [
        {"screenName": "group1", "statistics": {"totals": {"viewedCount": viewed, "archivedCount": archived}}},
    ]


async def test_mark_by_ids(api: Api, wall: Wall) -> None:
    ids = [gid("Comment", -1, number) for number in wall.comment_ids[:3]]
    unknown = [gid("Comment", -1, 999), gid("Comment", -5, 1)]
    done = {"__typename": "MarkCommentsSuccess", "hasMore": False}
    assert await mark(api, commentIds=[*ids, ids[0], *unknown], viewed=True) == {
        **done, "changedCount": 3, "groups": _counted(3, 0)
    }  # fmt: skip
    [before, *_] = (await api.execute(STATE, filter={"isViewed": True}))["comments"]["nodes"]
    assert await mark(api, commentIds=ids, viewed=True) == {**done, "changedCount": 0, "groups": []}
    assert await mark(api, commentIds=ids[:2], viewed=True, archived=True) == {
        **done, "changedCount": 2, "groups": _counted(3, 2)
    }  # fmt: skip
    nodes = (await api.execute(STATE, filter={"isViewed": True}))["comments"]["nodes"]
    assert {node["viewedAt"] for node in nodes} == {before["viewedAt"]}
    assert await mark(api, commentIds=ids[:1], viewed=False) == {**done, "changedCount": 1, "groups": _counted(2, 2)}
    assert (await count(api, isViewed=True), await count(api, isArchived=True, isViewed=False)) == (2, 1)


async def test_mark_by_filter(api: Api, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps, over several walls; the next call does what one call leaves."""
    for owner_id in (-1, -2):
        await write_wall(resources, owner_id)
    monkeypatch.setattr(marking, "STEP_COMMENTS", 5)
    monkeypatch.setattr(marking, "MOST_BY_FILTER", 15)
    answers = [await mark(api, filter={"isDeleted": False}, viewed=True) for _ in range(3)]
    assert [(answer["changedCount"], answer["hasMore"]) for answer in answers] == [(15, True), (9, False), (0, False)]
    assert [len(answer["groups"]) for answer in answers] == [2, 1, 0]
    assert await count(api, isViewed=False) == 0
    assert (await mark(api, filter={"minLikes": 3}, viewed=False, archived=True))["changedCount"] == 6
    assert (await mark(api, filter={}, archived=False))["changedCount"] == 6


async def test_remove(api: Api, resources: Resources, wall: Wall) -> None:
    """Permanently: a collection does not store them again."""
    first, *others = wall.comment_ids
    assert await remove(api, commentIds=[gid("Comment", -1, first), gid("Comment", -1, 999)]) == {
        "__typename": "RemoveCommentsSuccess",
        "changedCount": 1,
        "hasMore": False,
        "groups": [{"screenName": "group1", "commentCount": 11}],
    }
    assert (await remove(api, filter={"minLikes": 3}))["changedCount"] == 3
    async with resources.database.transaction() as connection:
        again = [comment(number, post_id=1) for number in (first, others[0], 500)]
        stored = await comments.upsert_comments(connection, again, 0)
        assert (stored.new, stored.changed) == (1, 1)
        only_removed = await comments.upsert_comments(connection, again[:1], 0)
        assert only_removed == comments.Stored()
    assert await count(api) == 9


@pytest.mark.parametrize("name", ["markComments", "removeComments"])
async def test_invalid_arguments(api: Api, name: str) -> None:
    call, marks = (mark, {"viewed": True}) if name == "markComments" else (remove, {})
    arguments: list[tuple[dict[str, Any], str, str]] = [
        ({}, "commentIds", "exactly one of commentIds and filter must be given"),
        ({"commentIds": [], "filter": {}}, "commentIds", "exactly one of commentIds and filter must be given"),
        ({"commentIds": []}, "commentIds", "must contain between 1 and 10000 ids"),
        ({"commentIds": [gid("Comment", -1, 1)] * 10_001}, "commentIds", "must contain between 1 and 10000 ids"),
        ({"commentIds": ["x"]}, "commentIds.0", "'x' is not an id of this server"),
        ({"filter": {"search": ""}}, "filter.search", "must have between 1 and 500 characters"),
    ]
    for wish, path, message in arguments:
        answer = await call(api, **wish, **marks)
        assert answer == {"__typename": "ValidationFailedError", "fields": [{"path": path, "message": message}]}


async def test_empty_and_contradictory_arguments(api: Api) -> None:
    answer = await mark(api, filter={})
    assert answer["fields"] == [{"path": "viewed", "message": "must be set if archived is not"}]
    nothing: list[dict[str, Any]] = [
        {},
        {"and": [{}]},
        {"or": [{}, {"isReply": True}]},
        {"minLikes": 0},
        {"or": []},
        {"not": {"authorIds": []}},
    ]
    for everything in nothing:
        answer = await remove(api, filter=everything)
        assert answer["fields"] == [
            {"path": "filter", "message": "selects all comments; to remove all of them, remove the communities"}
        ]


async def test_without_postgresql(api_without_postgresql: Api) -> None:
    ids = [gid("Comment", -1, 1)]
    for answer in (
        await mark(api_without_postgresql, commentIds=ids, viewed=True),
        await remove(api_without_postgresql, commentIds=ids),
    ):
        assert answer == {"__typename": "ServiceUnavailableError", "service": "PostgreSQL"}
