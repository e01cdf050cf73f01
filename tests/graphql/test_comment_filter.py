"""Searching and filtering comments, as clients do."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from app.db import tables
from app.resources import Resources
from app.store import comments, groups, posts
from app.wall import VkGroup
from tests.conftest import Api
from tests.graphql.conftest import gid
from tests.store.rows import comment, post

TEXTS = {
    10: "Открыл вклад в банке, ёлки!",
    11: "Банки закрыты. Не люблю очереди",
    12: "Вклады и кредиты: лучший банк города",
    13: "Ехал грека через реку 100% [club1|Банк]",
    14: "Great bank, thanks",
    15: "Очередь в БАНКЕ! Снова очередь, банк",
}
LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)
SEARCH = """query ($filter: CommentFilter, $orderBy: CommentOrder, $first: Int, $after: String) {
  comments(filter: $filter, orderBy: $orderBy, first: $first, after: $after) {
    totalCount pageInfo { endCursor hasNextPage } nodes { vkId } } }"""


@pytest.fixture(name="texts", autouse=True)
async def _texts(resources: Resources) -> None:
    """Write a comment for each text; 14 is a reply, 10 and 12 match keyword 1, 11 is in Ukrainian."""
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "one", "One"), VkGroup(2, "two", "Two")])
        for owner_id in (-1, -2):
            await posts.upsert_posts(connection, [post(1, owner_id=owner_id)])
        found = [
            comment(number, words, date=1_772_323_200 + number, likes=number, thread_id=12 if number == 14 else None)
            for number, words in TEXTS.items()
        ]
        other = comment(16, "совсем другое", owner_id=-2, from_id=6, date=1_772_323_300)
        await comments.upsert_comments(connection, [*found, other], 0)
        now = {"published_at": LONG_AGO}
        await connection.execute(
            insert(tables.keywords),
            [{"phrase": "банк", "category": "Деньги", "matching": "EXACT_WORD", "is_active": True}],
        )
        await connection.execute(
            insert(tables.comment_keywords),
            [
                {"owner_id": -1, "comment_id": n, "keyword_id": keyword_id, "positions": [0, 1], **now}
                # the remaining matches of a removed keyword do not count
                for n, keyword_id in ((10, 1), (12, 1), (13, 99))
            ],
        )
        features: dict[str, Any] = {"term_ids": [], "links": [], "phones": [], "mention_ids": [], "mood": 0, **now}
        await connection.execute(
            insert(tables.comment_features), [{"owner_id": -1, "comment_id": 11, "language": "uk", **features}]
        )
        table = tables.comments
        await connection.execute(update(table).where(table.c.id == 15).values(archived_at=LONG_AGO))


async def found_by(api: Api, selected: dict[str, Any]) -> set[int]:
    """Return VK's ids of the comments that a filter selects."""
    answer = (await api.execute(SEARCH, filter=selected))["comments"]
    ids = {node["vkId"] for node in answer["nodes"]}
    assert answer["totalCount"] == len(ids)
    return ids


KEYWORD = {"keywordIds": [gid("Keyword", 1)]}


FILTERS: list[tuple[dict[str, Any], set[int]]] = [
    ({"search": "банк"}, {10, 11, 12, 13, 15}),
    ({"search": "вклады"}, {10, 12}),
    ({"search": '"лучший банк"'}, {12}),
    ({"search": '"банк лучший"'}, set()),
    ({"search": "банк -очередь"}, {10, 12, 13}),
    ({"search": "городов or thanks"}, {12, 14}),
    # a stemmer finds neither this form nor the next one
    ({"search": "кредит"}, {12}),
    ({"search": "ехать or thanks"}, {13, 14}),
    ({"search": "кредит кредиты кредитами"}, {12}),
    ({"search": '"вклад и кредит"'}, {12}),
    ({"search": '"кредит и вклад"'}, set()),
    ({"search": "вклад -кредит"}, {10}),
    ({"search": "елка"}, {10}),
    ({"search": "ЁЛКИ"}, {10}),
    ({"search": "и не на"}, set()),
    ({"search": "' & | ! ( :* \\"}, set()),
    ({"contains": "РЕКУ 100%"}, {13}),
    ({"contains": "еку 100_"}, set()),
    ({"contains": "ЕЛКИ"}, {10}),
    ({"contains": "nk, tha"}, {14}),
    ({"contains": "анк"}, {10, 11, 12, 13, 15}),
    # look-alike letters, which the index treats as equal, are not found
    ({"contains": "bank"}, {14}),
    (KEYWORD, {10, 12}),
    ({"keywordIds": []}, set()),
    ({"keywordCategories": ["Деньги", "x"]}, {10, 12}),
    ({"keywordCategories": ["деньги"]}, set()),
    ({"hasMatches": True}, {10, 12}),
    ({"hasMatches": False}, {11, 13, 14, 15, 16}),
    ({"language": "uk"}, {11}),
    ({"isArchived": True}, {15}),
    ({"isArchived": False, "isViewed": False, "isReply": True}, {14}),
    ({"and": [{"search": "банк"}, {"search": "вклад"}, {"minLikes": 11}]}, {12}),
    ({"or": [{"search": "thanks"}, KEYWORD]}, {10, 12, 14}),
    ({"or": [{"search": "thanks"}, {"isArchived": True}]}, {14, 15}),
    ({"or": [{"search": "thanks"}, {"and": [{"search": "вклад"}]}], "minLikes": 12}, {12, 14}),
    ({"or": []}, {10, 11, 12, 13, 14, 15, 16}),
    ({"not": {"search": "банк"}}, {14, 16}),
    ({"not": {"groupIds": [gid("Group", -1)]}}, {16}),
    ({"not": {"or": [{"authorIds": [gid("Author", 6)]}, {"contains": "ban"}]}}, {10, 11, 12, 13, 15}),
    ({"not": {}}, set()),
    ({"and": [{"not": {"not": KEYWORD}}]}, {10, 12}),
]


async def test_filters(api: Api) -> None:
    found = [(selected, await found_by(api, selected)) for selected, _ in FILTERS]
    assert found == FILTERS


async def test_filter_below_a_parent(api: Api) -> None:
    found = await api.execute(
        """query ($filter: CommentFilter) { groups { nodes {
             comments(filter: $filter, orderBy: RELEVANCE) { totalCount nodes { vkId } } } } }""",
        filter={"search": "очередь or другое"},
    )
    lists = [[node["vkId"] for node in group["comments"]["nodes"]] for group in found["groups"]["nodes"]]
    assert sorted(lists) == [[15, 11], [16]]


async def test_pages_by_relevance(api: Api) -> None:
    """Comments with most occurrences come first; paging by cursors misses none and repeats none."""
    seen: list[int] = []
    after = None
    while True:
        answer = await api.execute(SEARCH, filter={"search": "банк"}, orderBy="RELEVANCE", first=2, after=after)
        seen += [node["vkId"] for node in answer["comments"]["nodes"]]
        after = answer["comments"]["pageInfo"]["endCursor"]
        if not answer["comments"]["pageInfo"]["hasNextPage"]:
            break
    assert seen[0] == 15
    assert sorted(seen) == [10, 11, 12, 13, 15]


DEEP: dict[str, Any] = {"minLikes": 1}
for _ in range(5):
    DEEP = {"not": DEEP}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"filter": {"search": " "}}, "filter.search", "must have between 1 and 500 characters"),
    ({"filter": {"search": "x" * 501}}, "filter.search", "must have between 1 and 500 characters"),
    (
        {"filter": {"contains": "C++"}},
        "filter.contains",
        "must contain three letters or digits in a row, and have at most 500 characters",
    ),
    (
        {"filter": {"and": [{}, {"contains": "x" * 501}]}},
        "filter.and.1.contains",
        "must contain three letters or digits in a row, and have at most 500 characters",
    ),
    ({"filter": {"or": [{"keywordIds": ["x"]}]}}, "filter.or.0.keywordIds.0", "'x' is not an id of this server"),
    ({"filter": DEEP}, "filter.not.not.not.not.not", "is nested deeper than 5 levels"),
    ({"filter": {"or": [{}] * 50}}, "filter", "contains 51 filters; at most 50 are allowed"),
    ({"orderBy": "RELEVANCE", "filter": {}}, "orderBy", "RELEVANCE requires filter.search"),
]


async def test_invalid_filters(api: Api) -> None:
    for variables, path, message in WRONG:
        error = await api.fail(SEARCH, **variables)
        assert error["extensions"]["fields"] == [{"path": path, "message": message}]


async def test_relevance_below_a_parent_needs_a_search(api: Api) -> None:
    error = await api.fail("{ groups { nodes { comments(orderBy: RELEVANCE) { totalCount } } } }")
    assert error["extensions"]["fields"] == [{"path": "orderBy", "message": "RELEVANCE requires filter.search"}]


async def test_an_invalid_cursor_of_relevance(api: Api) -> None:
    cursor = "WyJSRUxFVkFOQ0UiLCJ4IiwtMSwxMF0"
    error = await api.fail(SEARCH, filter={"search": "банк"}, orderBy="RELEVANCE", after=cursor)
    assert error["extensions"]["fields"][0]["path"] == "after"


HIGHLIGHTS = """query ($search: String, $contains: String) {
  comments(orderBy: OLDEST) {
    nodes { vkId text highlights(search: $search, contains: $contains) { start end text } } } }"""


SPANS: list[tuple[dict[str, str], dict[int, list[str]]]] = [
    ({"search": "вклад ёлка"}, {10: ["вклад", "ёлки"], 12: ["Вклады"]}),
    ({"search": '"не люблю"'}, {11: ["люблю"]}),
    ({"search": "кредит ехать"}, {12: ["кредиты"], 13: ["Ехал"]}),
    ({"contains": "елк"}, {10: ["ёлк"]}),
    ({"search": "река", "contains": "100%"}, {13: ["реку", "100%"]}),
    ({}, {}),
]


async def test_highlights(api: Api) -> None:
    for variables, spans in SPANS:
        found: dict[int, list[str]] = {}
        for node in (await api.execute(HIGHLIGHTS, **variables))["comments"]["nodes"]:
            for span in node["highlights"]:
                assert node["text"][span["start"] : span["end"]] == span["text"]
                found.setdefault(node["vkId"], []).append(span["text"])
        assert found == spans


async def test_highlights_of_a_text_with_the_marks_in_it(api: Api, resources: Resources) -> None:
    async with resources.database.transaction() as connection:
        strange = comment(20, "\x02Ё\x03 İ 👍🏽 банк \x02", date=1_772_323_100)
        await comments.upsert_comments(connection, [strange], 0)
    nodes = (await api.execute(HIGHLIGHTS, search="банк"))["comments"]["nodes"]
    [span] = next(node["highlights"] for node in nodes if node["vkId"] == 20)
    assert (span["start"], span["text"]) == (9, "банк")
