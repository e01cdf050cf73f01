"""`keyword`, `keywords`, `keywordCategories`, `wordForms`, `Comment.keywordMatches`, and the mutations of keywords."""

from typing import Any

import pytest

from app.background import open_worker
from app.resources import Resources, open_resources
from tests.conftest import Api, MakeSettings, serve, statements
from tests.graphql.conftest import gid
from tests.jobs.conftest import ended
from tests.jobs.matching import add, comments_with, open_walls, store

ADD = """
mutation ($keywords: [NewKeywordInput!]!) {
  addKeywords(input: {keywords: $keywords}) {
    __typename
    ... on AddKeywordsSuccess {
      addedCount
      outcomes { phrase outcome message keyword { id phrase matching category isActive } }
      job { kind state progress { total } }
    }
    ... on ValidationFailedError { fields { path message } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code }
  }
}"""
UPDATE = """
mutation ($input: UpdateKeywordInput!) {
  updateKeyword(input: $input) {
    __typename
    ... on UpdateKeywordSuccess { keyword { phrase matching category isActive matchCount } job { id kind } }
    ... on KeywordNotFoundError { id }
    ... on KeywordAlreadyExistsError { keyword { id phrase } }
    ... on ValidationFailedError { fields { path message } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code }
  }
}"""
REMOVE = """
mutation ($ids: [ID!]!) {
  removeKeywords(input: {keywordIds: $ids}) {
    __typename
    ... on RemoveKeywordsSuccess { removedCount job { id kind } }
    ... on KeywordNotFoundError { id }
    ... on ValidationFailedError { fields { path message } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code }
  }
}"""
MATCHES = """
{ comments(orderBy: OLDEST) { nodes { text keywordMatches { start end text keyword { id phrase category } } } } }"""


async def add_by_api(api: Api, *phrases: str, **facts: Any) -> dict[str, Any]:
    """Add keywords and return the outcomes."""
    keywords = [{"phrase": phrase, **facts} for phrase in phrases]
    answer: dict[str, Any] = (await api.execute(ADD, keywords=keywords))["addKeywords"]
    return answer


async def test_keywords_are_added_each_with_its_outcome(api: Api, resources: Resources) -> None:
    assert (await add_by_api(api, " Банк", "банк", "?!", category="деньги")) == {
        "__typename": "AddKeywordsSuccess",
        "addedCount": 1,
        "outcomes": [
            {
                "phrase": phrase,
                "outcome": outcome,
                "message": message,
                "keyword": {
                    "id": gid("Keyword", 1),
                    "phrase": "Банк",
                    "matching": "WORD_FORMS",
                    "category": "деньги",
                    "isActive": True,
                }
                if outcome != "MALFORMED"
                else None,
            }
            for phrase, outcome, message in (
                (" Банк", "ADDED", "Банк was added."),
                ("банк", "ALREADY_EXISTS", "Банк exists already."),
                ("?!", "MALFORMED", "The phrase holds no letter, digit or emoji."),
            )
        ],
        "job": None,
    }
    await open_walls(resources, [-1])
    await store(resources, comments_with(["банк"]))
    assert (await add_by_api(api, "банк", matching="SUBSTRING"))["job"] == {
        "kind": "MATCH_KEYWORDS",
        "state": "QUEUED",
        "progress": {"total": None},
    }


async def test_matches_of_comments(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    ids = await add(resources, "банк", "новый банк")
    await store(resources, comments_with(["👍 Новым банкам и банку", "нет"]))
    phrase, bank = (
        {"id": gid("Keyword", ids[place]), "phrase": words, "category": None}
        for place, words in ((1, "новый банк"), (0, "банк"))
    )
    expected = [
        {"start": 2, "end": 14, "text": "Новым банкам", "keyword": phrase},
        {"start": 8, "end": 14, "text": "банкам", "keyword": bank},
        {"start": 17, "end": 22, "text": "банку", "keyword": bank},
    ]
    found = (await api.execute(MATCHES))["comments"]["nodes"]
    assert [comment["keywordMatches"] for comment in found] == [expected, []]
    await api.execute(REMOVE, ids=[gid("Keyword", ids[1])])
    found = (await api.execute(MATCHES))["comments"]["nodes"]
    assert [comment["keywordMatches"] for comment in found] == [expected[1:], []]


async def test_keywords_and_their_counts(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    await add_by_api(api, "банк", "ёж", category="разное")
    await add_by_api(api, "США", matching="CASE_SENSITIVE")
    await store(resources, comments_with(["банк и банк", "ежа", "США"]))
    fields = "id phrase matching isActive matchCount commentCount forms createdAt changedAt"
    query = f"""query ($first: Int, $after: String, $filter: KeywordFilter, $order: KeywordOrder) {{
      keywords(first: $first, after: $after, filter: $filter, orderBy: $order) {{
        totalCount nodes {{ {fields} }} pageInfo {{ endCursor hasNextPage }} }} }}"""
    first = (await api.execute(query, first=2))["keywords"]
    rest = (await api.execute(query, after=first["pageInfo"]["endCursor"]))["keywords"]
    assert first["totalCount"] == 3
    assert first["pageInfo"]["hasNextPage"]
    found = [*first["nodes"], *rest["nodes"]]
    assert [(each["phrase"], each["commentCount"], each["matchCount"]) for each in found] == [
        ("банк", 1, 2),
        ("сша".upper(), 1, 1),
        ("ёж", 1, 1),
    ]
    assert "банками" in found[0]["forms"]
    assert found[1]["forms"] == ["США"]
    one = (await api.execute(f"query ($id: ID!) {{ keyword(id: $id) {{ {fields} }} }}", id=found[0]["id"]))["keyword"]
    assert one == found[0]
    node = await api.execute(
        "query ($id: ID!) { node(id: $id) { ... on Keyword { phrase } } keyword(id: $id) { id } }",
        id=gid("Keyword", 99),
    )
    assert node == {"node": None, "keyword": None}
    for filter_, order, phrases in (
        ({"search": "Е"}, None, []),
        ({"categories": ["разное"], "isActive": True}, "NEWEST", ["ёж", "банк"]),
        ({"matching": ["CASE_SENSITIVE", "SUBSTRING"]}, None, ["США"]),
    ):
        some = (await api.execute(query, filter=filter_, order=order))["keywords"]["nodes"]
        assert [each["phrase"] for each in some] == phrases
    assert await api.execute("{ keywordCategories { name keywordCount matchCount } }") == {
        "keywordCategories": [{"name": "разное", "keywordCount": 2, "matchCount": 3}]
    }


async def test_statements_do_not_depend_on_the_number_of_rows(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    await add(resources, *(f"слово{number}" for number in range(40)))
    await store(resources, comments_with([f"слово{number} и слово{number + 1}" for number in range(39)]))
    for query, expected in (
        ("{ keywords(first: %d) { nodes { matchCount commentCount forms } } }", 3),
        ("{ comments(first: %d) { nodes { keywordMatches { text keyword { matchCount } } } } }", 3),
    ):
        for size in (1, 39):
            with statements(resources) as seen:
                await api.execute(query % size)
            assert len(seen) == expected


async def test_preview_of_word_forms(api: Api) -> None:
    query = """query ($phrase: String!, $matching: KeywordMatching! = WORD_FORMS) {
      wordForms(phrase: $phrase, matching: $matching) { phrase matching words { word forms } } }"""
    found = (await api.execute(query, phrase=" люди  идут"))["wordForms"]
    assert (found["phrase"], found["matching"]) == ("люди идут", "WORD_FORMS")
    assert [word["word"] for word in found["words"]] == ["люди", "идут"]
    assert {"человек", "людей"} <= set(found["words"][0]["forms"])
    assert {"идти", "шёл"} <= set(found["words"][1]["forms"])
    exact = (await api.execute(query, phrase="США", matching="CASE_SENSITIVE"))["wordForms"]
    assert exact["words"] == [{"word": "США", "forms": ["США"]}]
    error = await api.fail(query, phrase="?!")
    assert error["extensions"] == {
        "code": "VALIDATION_FAILED",
        "fields": [{"path": "phrase", "message": "holds no letter, digit or emoji"}],
    }


async def test_a_keyword_is_changed(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    [bank] = await add(resources, "банк")
    await store(resources, comments_with(["банк", "Банкомат"]))

    async def update(**arguments: Any) -> dict[str, Any]:
        answer = await api.execute(UPDATE, input={"keywordId": gid("Keyword", bank), **arguments})
        assert answer["updateKeyword"]["__typename"] == "UpdateKeywordSuccess"
        found: dict[str, Any] = answer["updateKeyword"]
        return found

    found = await update(phrase=" банкомат ", category="деньги")
    assert found["keyword"] == {
        "phrase": "банкомат",
        "matching": "WORD_FORMS",
        "category": "деньги",
        "isActive": True,
        "matchCount": 1,
    }
    assert found["job"]["kind"] == "MATCH_KEYWORDS"
    assert (await update(isActive=False))["keyword"]["category"] == "деньги"
    found = await update(category=None, phrase=None)
    assert (found["keyword"]["category"], found["keyword"]["phrase"], found["job"]) == (None, "банкомат", None)
    job_id = (await update(matching="SUBSTRING", isActive=True))["job"]["id"]
    async with open_worker(resources, 1):
        await ended(resources, 1)
        await ended(resources, 2)
    result = await api.execute(
        """query ($id: ID!) { job(id: $id) { result { __typename
             ... on MatchingResult { keywordCount commentCount newMatchCount removedMatchCount } } } }""",
        id=job_id,
    )
    counts = result["job"]["result"]
    assert (counts["__typename"], counts["keywordCount"], counts["commentCount"]) == ("MatchingResult", 1, 2)
    found = (await api.execute(MATCHES))["comments"]["nodes"]
    assert [[match["text"] for match in comment["keywordMatches"]] for comment in found] == [[], ["Банкомат"]]


async def test_keywords_are_removed(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    ids = await add(resources, "банк", "ёж", "нет")
    await store(resources, comments_with(["банк"]))
    first = (await api.execute(REMOVE, ids=[gid("Keyword", ids[1]), gid("Keyword", ids[1])]))["removeKeywords"]
    assert first == {"__typename": "RemoveKeywordsSuccess", "removedCount": 1, "job": None}
    second = (await api.execute(REMOVE, ids=[gid("Keyword", each) for each in (ids[0], ids[2])]))["removeKeywords"]
    assert (second["removedCount"], second["job"]["kind"]) == (2, "MATCH_KEYWORDS")
    assert (await api.execute("{ keywords { totalCount } }"))["keywords"]["totalCount"] == 0


@pytest.mark.parametrize(
    ("query", "variables", "answer"),
    [
        (
            ADD,
            {"keywords": []},
            {
                "__typename": "ValidationFailedError",
                "fields": [{"path": "keywords", "message": "must contain between 1 and 10000 keywords"}],
                "code": "VALIDATION_FAILED",
            },
        ),
        (
            UPDATE,
            {"input": {"keywordId": gid("Keyword", 1), "phrase": "?"}},
            {
                "__typename": "ValidationFailedError",
                "fields": [{"path": "phrase", "message": "holds no letter, digit or emoji"}],
                "code": "VALIDATION_FAILED",
            },
        ),
        (
            UPDATE,
            {"input": {"keywordId": gid("Keyword", 99)}},
            {"__typename": "KeywordNotFoundError", "id": gid("Keyword", 99), "code": "KEYWORD_NOT_FOUND"},
        ),
        (
            UPDATE,
            {"input": {"keywordId": gid("Keyword", 1), "phrase": "ЁЖ"}},
            {
                "__typename": "KeywordAlreadyExistsError",
                "keyword": {"id": gid("Keyword", 2), "phrase": "ёж"},
                "code": "KEYWORD_ALREADY_EXISTS",
            },
        ),
        (
            REMOVE,
            {"ids": [gid("Keyword", 1), gid("Keyword", 99)]},
            {"__typename": "KeywordNotFoundError", "id": gid("Keyword", 99), "code": "KEYWORD_NOT_FOUND"},
        ),
        (
            REMOVE,
            {"ids": [gid("Job", 1)]},
            {
                "__typename": "ValidationFailedError",
                "fields": [
                    {"path": "keywordIds.0", "message": f"{gid('Job', 1)!r} is the id of a Job, not of a Keyword"}
                ],
                "code": "VALIDATION_FAILED",
            },
        ),
    ],
)
async def test_rejected_requests(
    api: Api, resources: Resources, query: str, variables: dict[str, Any], answer: dict[str, Any]
) -> None:
    await add(resources, "банк", "ёж")
    assert list((await api.execute(query, **variables)).values()) == [answer]


async def test_too_many_jobs_wait(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        await open_walls(opened, [-1])
        await add(opened, "банк")
        await store(opened, comments_with(["банк"]))
        async for api in serve(opened):
            assert (await add_by_api(api, "ёж"))["job"]
            for query, variables in (
                (ADD, {"keywords": [{"phrase": "люди"}]}),
                (UPDATE, {"input": {"keywordId": gid("Keyword", 1), "phrase": "люди"}}),
                (REMOVE, {"ids": [gid("Keyword", 1)]}),
            ):
                [answer] = (await api.execute(query, **variables)).values()
                assert answer == {"__typename": "QueueFullError", "limit": 1, "code": "QUEUE_FULL"}


async def test_without_postgresql(api_without_postgresql: Api) -> None:
    for query, variables in (
        (ADD, {"keywords": [{"phrase": "люди"}]}),
        (UPDATE, {"input": {"keywordId": gid("Keyword", 1), "phrase": "люди"}}),
        (REMOVE, {"ids": [gid("Keyword", 1)]}),
    ):
        [answer] = (await api_without_postgresql.execute(query, **variables)).values()
        assert answer["__typename"] == "ServiceUnavailableError"
