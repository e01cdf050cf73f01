"""The requests of clients during faults: collections, keywords, analyses and exports, cancelled and retried jobs."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from app.cli.client import START_ANALYSIS, START_COLLECTION, START_EXPORT
from tests.acceptance.clients import Follower, RetryingClient
from tests.acceptance.installation import PostgresServer
from tests.graphql.conftest import gid

CANCEL = "mutation ($id: ID!) { cancelJob(input: {jobId: $id}) { __typename ... on Error { code message } } }"
RETRY = "mutation ($id: ID!) { retryJob(input: {jobId: $id}) { __typename ... on Error { code message } } }"
ADD_KEYWORDS = """
mutation ($keywords: [NewKeywordInput!]!) {
  addKeywords(input: {keywords: $keywords}) {
    __typename ... on AddKeywordsSuccess { outcomes { keyword { id } } } ... on Error { code message }
  }
}"""
UPDATE_KEYWORD = """
mutation ($input: UpdateKeywordInput!) {
  updateKeyword(input: $input) { __typename ... on Error { code message } }
}"""
REMOVE_KEYWORDS = """
mutation ($id: ID!) { removeKeywords(input: {keywordIds: [$id]}) { __typename ... on Error { code message } } }"""
EXPECTED = (
    "JobAlreadyRunningError",
    "JobStateConflictError",
    "JobNotFoundError",
    "KeywordAlreadyExistsError",
    "KeywordNotFoundError",
)
"""Errors that a client gets because of other clients, or because the answer to its first request was lost."""
MATCHINGS = ("WORD_FORMS", "EXACT_WORD", "SUBSTRING", "CASE_SENSITIVE")
MAX_UNFINISHED = 20
FOLLOWED_SHARE = 0.2
PAUSE_SECONDS = (0.05, 0.3)
FORMATS: Sequence[Mapping[str, str]] = (
    {"format": "CSV"},
    {"format": "CSV", "compression": "GZIP"},
    {"format": "JSON_LINES"},
    {"format": "JSON_LINES", "compression": "ZSTD"},
    {"format": "XLSX"},
)


class Activity:
    """Requests of clients, drawn from a seed. `problems` are answers and messages that no fault explains."""

    def __init__(
        self,
        client: RetryingClient,
        urls: Sequence[str],
        postgres: PostgresServer,
        groups: Sequence[str],
        texts: str,
        seed: int,
    ) -> None:
        self.requested: Counter[str] = Counter()
        self.cancelled: set[str] = set()
        self.problems: list[str] = []
        self.followers: list[Follower] = []
        self._client = client
        self._urls = urls
        self._postgres = postgres
        self._groups = groups
        self._words = sorted(set(re.findall(r"\w{3,12}", texts)))
        self._keywords: list[str] = []
        self._random = random.Random(f"activity {seed}")  # noqa: S311 - reproducible, not a secret
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def _kinds(self) -> Mapping[str, tuple[int, Callable[[], Awaitable[None]]]]:
        return {
            "collections": (6, self._collect),
            "cancelled jobs": (3, self._cancel),
            "retried jobs": (3, self._retry),
            "keywords added": (3, self._add_keywords),
            "keywords changed": (2, self._change_keyword),
            "keywords removed": (1, self._remove_keyword),
            "exports": (2, self._export),
            "analyses": (1, self._analyze),
        }

    async def use(self) -> None:
        """Send one request after the other, in an endless loop."""
        names, weights = zip(*((name, weight) for name, (weight, _) in self._kinds.items()), strict=True)
        while True:
            [name] = self._random.choices(names, weights)
            try:
                await self._kinds[name][1]()
                self.requested[name] += 1
            except AssertionError as error:
                self.problems.append(f"{name}: {error}")
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    async def finish(self) -> None:
        """Wait until the followed jobs have ended for their followers, too."""
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, AssertionError):
                self.problems.append(f"follower: {result}")
            elif result is not None:
                raise result

    async def request(self, query: str, **variables: Any) -> dict[str, Any] | None:
        """Execute an operation; return None if it was rejected for an expected reason.

        Raises:
            AssertionError: it was rejected for another reason.
        """
        answer = await self._client.execute(query, **variables)
        kind = answer["__typename"]
        assert kind.endswith("Success") or kind in EXPECTED, answer
        return answer if kind.endswith("Success") else None

    async def _jobs(self, condition: str) -> list[str]:
        rows = await self._postgres.fetch(f"SELECT id FROM jobs WHERE {condition} ORDER BY id")  # noqa: S608 - the conditions are constants of this file
        return [gid("Job", row["id"]) for row in rows]

    async def _has_room(self) -> bool:
        return len(await self._jobs("state IN ('QUEUED', 'RUNNING')")) < MAX_UNFINISHED

    async def _start(self, query: str, **arguments: Any) -> None:
        if not await self._has_room():
            return
        priority = self._random.choice(["LOW", "NORMAL", "HIGH", "CRITICAL"])
        answer = await self.request(query, input={**arguments, "priority": priority})
        if answer and self._random.random() < FOLLOWED_SHARE:
            follower = Follower(answer["job"]["id"], self._random.sample(self._urls, len(self._urls)))
            self.followers.append(follower)
            self._tasks.append(asyncio.create_task(follower.follow()))

    async def _collect(self) -> None:
        groups = self._random.sample(self._groups, self._random.randint(1, min(3, len(self._groups))))
        await self._start(START_COLLECTION, groupIds=groups, full=self._random.random() < 0.3)

    async def _export(self) -> None:
        await self._start(START_EXPORT, **self._random.choice(FORMATS))

    async def _analyze(self) -> None:
        await self._start(START_ANALYSIS)

    async def _cancel(self) -> None:
        if found := await self._jobs("state IN ('QUEUED', 'RUNNING')"):
            job_id = self._random.choice(found)
            self.cancelled.add(job_id)
            await self.request(CANCEL, id=job_id)

    async def _retry(self) -> None:
        if found := await self._jobs("state IN ('FAILED', 'CANCELLED')"):
            await self.request(RETRY, id=self._random.choice(found))

    async def _add_keywords(self) -> None:
        keywords = [
            {
                "phrase": " ".join(self._random.sample(self._words, self._random.choice([1, 1, 1, 2]))),
                "matching": self._random.choice(MATCHINGS),
            }
            for _ in range(self._random.randint(1, 5))
        ]
        if answer := await self.request(ADD_KEYWORDS, keywords=keywords):
            self._keywords += [each["keyword"]["id"] for each in answer["outcomes"] if each["keyword"]]

    async def _change_keyword(self) -> None:
        if self._keywords:
            changes: dict[str, Any] = self._random.choice(
                [
                    {"phrase": self._random.choice(self._words)},
                    {"matching": self._random.choice(MATCHINGS)},
                    {"isActive": False},
                    {"isActive": True},
                ]
            )
            await self.request(UPDATE_KEYWORD, input={"keywordId": self._random.choice(self._keywords), **changes})

    async def _remove_keyword(self) -> None:
        if self._keywords:
            await self.request(REMOVE_KEYWORDS, id=self._random.choice(self._keywords))
