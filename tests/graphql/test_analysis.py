"""`startAnalysis` and its result, `Comment.features`, `wave`, `waves`, and filters by features."""

from typing import Any

import pytest
from sqlalchemy import text

from app.actions.change_keywords import RequestedKeyword, add_keywords
from app.job_states import JobState, MoveReason
from app.jobs.runs import End
from app.resources import Resources, open_resources
from app.store.authors import upsert_authors
from app.store.keywords import delete_keywords
from app.wall import VkAuthor
from app.work.kinds import JobKind
from schema.node import key_of
from tests.conftest import Api, MakeSettings, serve, statements
from tests.graphql.conftest import gid
from tests.jobs.conftest import claim_job, finish, run_handler, running_job
from tests.jobs.matching import open_walls, store
from tests.store.rows import comment

SPAM = "Работа на дому, зарплата каждую неделю, подробности у меня на странице"
TEXTS = [
    "[id5|Иван], [club1|мы], [id6|Пётр], звоните 8 (916) 123-45-67 или vk.com/coffee",
    "Отличный кофе))",
    "Ужасный кофе 😡",
    SPAM,
    f"{SPAM}!",
    f"{SPAM} 🔥",
    "Great coffee, thank you so much for the service",
]
START = """
mutation ($input: StartAnalysisInput!) {
  startAnalysis(input: $input) {
    __typename
    ... on StartAnalysisSuccess {
      job { id kind state priority timeoutSeconds groups { id } result { __typename } }
    }
    ... on GroupNotFoundError { id }
    ... on ValidationFailedError { fields { path } }
    ... on QueueFullError { limit }
    ... on ServiceUnavailableError { service }
    ... on Error { code }
  }
}"""
RESULT = """
query ($id: ID!) {
  job(id: $id) {
    state
    result {
      ... on AnalysisResult {
        commentCount newlyAnalyzedCount languages { language commentCount } months { start commentCount }
        terms { term commentCount score } positiveCount negativeCount withLinksCount withPhonesCount
        withMentionsCount waveCount waveCommentCount authorCount postCount matchedCount
        keywords { phrase commentCount matchCount keyword { id phrase } }
        hoursOfWeek { weekday hour commentCount }
      }
    }
  }
}"""
COMMENTS = """
query ($filter: CommentFilter) {
  comments(filter: $filter, orderBy: OLDEST) {
    nodes {
      vkId language
      features {
        language links phones mentionVkIds mentions { name } mood analyzedAt
        wave { id commentCount authorCount postCount firstAt lastAt firstComment { vkId } }
      }
    }
  }
}"""
WAVES = """
query ($groupIds: [ID!], $minComments: Int, $orderBy: WaveOrder! = LARGEST, $first: Int, $after: String) {
  waves(groupIds: $groupIds, minComments: $minComments, orderBy: $orderBy, first: $first, after: $after) {
    totalCount
    nodes { id commentCount comments(first: 2) { totalCount nodes { vkId vkOwnerId } pageInfo { hasNextPage } } }
    pageInfo { endCursor hasNextPage }
  }
}"""


async def start(api: Api, **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await api.execute(START, input=arguments))["startAnalysis"]
    return answer


async def test_start_analysis_queues_a_job(api: Api, resources: Resources) -> None:
    await open_walls(resources, [-1])
    answer = await start(
        api, groupIds=[gid("Group", -1)], filter={"search": "кофе"}, full=True, priority="LOW", timeoutSeconds=60
    )
    assert answer == {
        "__typename": "StartAnalysisSuccess",
        "job": {
            "id": gid("Job", 1),
            "kind": "ANALYZE_COMMENTS",
            "state": "QUEUED",
            "priority": "LOW",
            "timeoutSeconds": 60.0,
            "groups": [{"id": gid("Group", -1)}],
            "result": None,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"groupIds": []}, "groupIds"),
        ({"groupIds": ["x"]}, "groupIds.0"),
        ({"filter": {"waveIds": [gid("Group", -1)]}}, "filter.waveIds.0"),
        ({"filter": {"keywordCategories": ["a\0"]}}, "filter"),
        ({"timeoutSeconds": 0}, "timeoutSeconds"),
    ],
    ids=str,
)
async def test_start_analysis_with_invalid_input(api: Api, arguments: dict[str, Any], path: str) -> None:
    answer = await start(api, **arguments)
    assert answer == {
        "__typename": "ValidationFailedError",
        "code": "VALIDATION_FAILED",
        "fields": [{"path": path}],
    }


async def test_start_analysis_of_an_unknown_community(api: Api) -> None:
    answer = await start(api, groupIds=[gid("Group", -9)])
    assert answer == {"__typename": "GroupNotFoundError", "code": "GROUP_NOT_FOUND", "id": gid("Group", -9)}


async def test_start_analysis_with_a_full_queue(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(queue_limit=1)) as opened:
        async for api in serve(opened):
            assert (await start(api))["__typename"] == "StartAnalysisSuccess"
            answer = await start(api)
    assert (answer["__typename"], answer["limit"]) == ("QueueFullError", 1)


async def test_start_analysis_while_postgresql_is_unavailable(api_without_postgresql: Api) -> None:
    answer = await start(api_without_postgresql)
    assert (answer["__typename"], answer["service"]) == ("ServiceUnavailableError", "PostgreSQL")


# its results


@pytest.fixture
async def _stored(resources: Resources) -> None:
    await open_walls(resources, [-1, -2])
    async with resources.database.transaction() as connection:
        await upsert_authors(connection, [VkAuthor(5, "Иван", "id5"), VkAuthor(-1, "Мы", "club1")])
    date = 1_772_323_200
    for owner_id, texts in ((-1, TEXTS), (-2, [*3 * ["Продаём гаражи недорого, звоните вечером после семи"], SPAM])):
        await store(
            resources,
            [
                comment(10 + place, words, owner_id=owner_id, from_id=20 + place, date=date + place)
                for place, words in enumerate(texts)
            ],
        )


async def analyze(resources: Resources, job_id: int) -> None:
    """Run the handler of this job."""
    row = await claim_job(resources, job_id, "test")
    assert row
    result = await run_handler(running_job(resources, row), JobKind.ANALYZE_COMMENTS)
    await finish(resources, row, End(JobState.SUCCEEDED, MoveReason.DONE, result=result))


@pytest.fixture
async def analyzed(resources: Resources, api: Api, _stored: None) -> Api:
    """Serve the API with comments, of which all but three were analysed."""
    await start(api, filter={"not": {"search": "гаражи"}})
    await analyze(resources, 1)
    return api


async def nodes(api: Api, **filter_: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.execute(COMMENTS, filter=filter_))["comments"]["nodes"]
    return found


async def test_the_result(analyzed: Api) -> None:
    result = (await analyzed.execute(RESULT, id=gid("Job", 1)))["job"]["result"]
    terms = result.pop("terms")
    assert {"term": "кофе", "commentCount": 2}.items() <= terms[2].items() or "кофе" in {each["term"] for each in terms}
    assert all(each["score"] > 0 for each in terms)
    assert result == {
        "commentCount": 8,
        "newlyAnalyzedCount": 8,
        "languages": [{"language": "ru", "commentCount": 7}, {"language": "en", "commentCount": 1}],
        "months": [{"start": "2026-03-01T00:00:00+00:00", "commentCount": 8}],
        "positiveCount": 2,
        "negativeCount": 1,
        "withLinksCount": 1,
        "withPhonesCount": 1,
        "withMentionsCount": 1,
        "waveCount": 1,
        "waveCommentCount": 4,
        "authorCount": 7,
        "postCount": 2,
        "matchedCount": 0,
        "keywords": [],
        "hoursOfWeek": [{"weekday": 7, "hour": 0, "commentCount": 8}],
    }


@pytest.mark.usefixtures("_stored")
async def test_the_keywords_of_the_result(api: Api, resources: Resources) -> None:
    added = await add_keywords(
        resources, [RequestedKeyword("кофе"), RequestedKeyword("гараж"), RequestedKeyword("чай")]
    )
    coffee, garage, _ = [outcome.keyword_id or 0 for outcome in added.outcomes]
    assert added.job
    row = await claim_job(resources, added.job.id, "test")
    assert row
    await run_handler(running_job(resources, row), JobKind.MATCH_KEYWORDS)
    answer = await start(api)
    job_id = answer["job"]["id"]
    await analyze(resources, key_of(job_id, "Job")[0])
    result = (await api.execute(RESULT, id=job_id))["job"]["result"]
    assert result["matchedCount"] == 5
    assert result["keywords"] == [
        {
            "phrase": phrase,
            "commentCount": count,
            "matchCount": count,
            "keyword": {"id": gid("Keyword", keyword_id), "phrase": phrase},
        }
        for phrase, count, keyword_id in (("гараж", 3, garage), ("кофе", 2, coffee))
    ]
    async with resources.database.transaction() as connection:
        await delete_keywords(connection, [garage])
    found = (await api.execute(RESULT, id=job_id))["job"]["result"]["keywords"]
    assert [(each["phrase"], each["keyword"]) for each in found] == [
        ("гараж", None),
        ("кофе", {"id": gid("Keyword", coffee), "phrase": "кофе"}),
    ]


async def test_features_of_comments(analyzed: Api) -> None:
    found = await nodes(analyzed, groupIds=[gid("Group", -1)])
    assert [each["language"] for each in found] == ["ru"] * 6 + ["en"]
    features = found[0]["features"]
    assert features.pop("analyzedAt")
    assert features == {
        "language": "ru",
        "links": ["https://vk.com/coffee"],
        "phones": ["+79161234567"],
        "mentionVkIds": [5, -1, 6],
        "mentions": [{"name": "Иван"}, {"name": "Мы"}],
        "mood": "NEUTRAL",
        "wave": None,
    }
    assert [each["features"]["mood"] for each in found[1:3]] == ["POSITIVE", "NEGATIVE"]
    assert found[3]["features"]["wave"] == {
        "id": gid("Wave", 1),
        "commentCount": 4,
        "authorCount": 3,
        "postCount": 2,
        "firstAt": "2026-03-01T00:00:03+00:00",
        "lastAt": "2026-03-01T00:00:05+00:00",
        "firstComment": {"vkId": 13},
    }


async def test_comments_that_were_not_analysed(analyzed: Api, resources: Resources) -> None:
    await store(resources, [comment(10, "Edited")])
    found = await nodes(analyzed, search="гаражи or edited")
    assert [(each["language"], each["features"]) for each in found] == [(None, None)] * 4


FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({"mood": "POSITIVE"}, [11, 15]),
    ({"mood": "NEGATIVE"}, [12]),
    ({"mood": "NEUTRAL", "isInWave": False, "groupIds": [gid("Group", -1)]}, [10, 16]),
    ({"hasLinks": True}, [10]),
    ({"hasLinks": False, "language": "en"}, [16]),
    ({"isInWave": True}, [13, 13, 14, 15]),
    ({"isInWave": False, "groupIds": [gid("Group", -2)]}, [10, 11, 12]),
    ({"waveIds": [gid("Wave", 1)], "groupIds": [gid("Group", -2)]}, [13]),
    ({"waveIds": [gid("Wave", 9)]}, []),
    ({"or": [{"waveIds": [gid("Wave", 1)]}, {"search": "great"}]}, [13, 13, 14, 15, 16]),
    ({"waveIds": []}, []),
]


async def test_filters(analyzed: Api) -> None:
    for selected, expected in FILTERS:
        assert [each["vkId"] for each in await nodes(analyzed, **selected)] == expected, selected


async def test_waves(analyzed: Api, resources: Resources) -> None:
    await start(analyzed)
    await analyze(resources, 2)
    spam, garages = gid("Wave", 1), gid("Wave", 2)
    first = (await analyzed.execute(WAVES, first=1))["waves"]
    assert first == {
        "totalCount": 2,
        "nodes": [
            {
                "id": spam,
                "commentCount": 4,
                "comments": {
                    "totalCount": 4,
                    "nodes": [{"vkId": 13, "vkOwnerId": -2}, {"vkId": 13, "vkOwnerId": -1}],
                    "pageInfo": {"hasNextPage": True},
                },
            }
        ],
        "pageInfo": {"endCursor": first["pageInfo"]["endCursor"], "hasNextPage": True},
    }
    for arguments, expected in (
        ({"after": first["pageInfo"]["endCursor"]}, [garages]),
        ({"orderBy": "LATEST"}, [spam, garages]),
        ({"groupIds": [gid("Group", -1)]}, [spam]),
        ({"groupIds": [gid("Group", -2)]}, [spam, garages]),
        ({"groupIds": []}, []),
        ({"minComments": 4}, [spam]),
        ({"minComments": 5}, []),
    ):
        found = (await analyzed.execute(WAVES, **arguments))["waves"]["nodes"]
        assert [wave["id"] for wave in found] == expected
    error = await analyzed.fail(WAVES, groupIds=[gid("Group", -1)] * 1_001)
    assert error["extensions"]["fields"][0]["path"] == "groupIds"
    one = "query ($id: ID!) { wave(id: $id) { commentCount } node(id: $id) { id ... on Wave { postCount } } }"
    assert await analyzed.execute(one, id=garages) == {
        "wave": {"commentCount": 3},
        "node": {"id": garages, "postCount": 1},
    }
    assert await analyzed.execute(one, id=gid("Wave", 9)) == {"wave": None, "node": None}
    async with resources.database.transaction() as connection:
        await connection.execute(text("DELETE FROM comments WHERE owner_id = -2"))
    gone = "query ($id: ID!) { wave(id: $id) { firstComment { id } comments { totalCount nodes { id } } } }"
    assert await analyzed.execute(gone, id=garages) == {
        "wave": {"firstComment": None, "comments": {"totalCount": 0, "nodes": []}}
    }


async def test_statements_do_not_depend_on_the_number_of_rows(analyzed: Api, resources: Resources) -> None:
    fields = "language features { mentions { id } wave { id firstComment { id } comments(first: 1) { totalCount } } }"
    for size in (1, 7):
        with statements(resources) as seen:
            await analyzed.execute(
                f"query ($id: ID!) {{ comments(first: {size}, filter: {{groupIds: [$id], hasLinks: false}}) "
                f"{{ nodes {{ {fields} }} }} }}",
                id=gid("Group", -1),
            )
        # comments, features, mentions if any, waves, first comments, pages and counts
        assert len(seen) <= 7
