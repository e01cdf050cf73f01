"""A GraphQL client for the command line: operations over HTTP, subscriptions over graphql-transport-ws."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import httpx2
import orjson
import websockets
from websockets.asyncio.client import connect

from app.errors import Fault

Answer = dict[str, Any]  # the caller has written the query, so it knows the types of what is in the answer
"""The data of an answer, or an object in it."""

RECONNECTS = 30
RECONNECT_SECONDS = 1.0
TIMEOUT_SECONDS = 60.0
REFUSALS = range(4400, 4500)
"""The close codes of graphql-transport-ws for which reconnecting is useless."""

ADD_GROUPS = """
mutation AddGroups($references: [String!]!) {
  addGroups(input: {references: $references}) {
    __typename
    ... on AddGroupsSuccess { outcomes { outcome message group { id name screenName vkId } } }
    ... on Error { message }
  }
}"""
START_COLLECTION = """
mutation StartCollection($input: StartCollectionInput!) {
  startCollection(input: $input) {
    __typename
    ... on StartCollectionSuccess { job { id } }
    ... on JobAlreadyRunningError { job { id kind groups { id name } } }
    ... on Error { message }
  }
}"""
START_EXPORT = """
mutation StartExport($input: StartExportInput!) {
  startExport(input: $input) {
    __typename
    ... on StartExportSuccess { job { id } }
    ... on Error { message }
  }
}"""
JOB_PROGRESS = """
subscription JobProgress($jobId: ID!, $afterSeq: Int!) {
  jobProgress(jobId: $jobId, afterSeq: $afterSeq) {
    __typename
    ... on JobProgress {
      seq
      event { kind message }
      job {
        state
        failure { message }
        progress { done total stage message ratePerSecond etaSeconds }
        result {
          ... on CollectionResult {
            postCount commentCount newCommentCount changedCommentCount deletedCommentCount failedPostCount
            requestCount savedCallCount
          }
          ... on MatchingResult { matchedCommentCount: commentCount newMatchCount }
          ... on ExportResult { url rowCount truncatedTextCount byteCount sha256 }
        }
      }
    }
    ... on Error { message }
  }
}"""
READ_COMMENTS = """
query ReadComments($groupIds: [ID!]!, $first: Int!) {
  comments(first: $first, filter: {groupIds: $groupIds, isDeleted: false}, orderBy: MOST_LIKED) {
    totalCount
    nodes { text likeCount publishedAt author { name } }
  }
}"""


ADD_KEYWORDS = """
mutation AddKeywords($keywords: [NewKeywordInput!]!) {
  addKeywords(input: {keywords: $keywords}) { __typename ... on Error { message } }
}"""
START_ANALYSIS = """
mutation StartAnalysis($input: StartAnalysisInput!) {
  startAnalysis(input: $input) {
    __typename
    ... on StartAnalysisSuccess { job { id } }
    ... on Error { message }
  }
}"""
READ_STATISTICS = """
query ReadStatistics($groupIds: [ID!]!) {
  statistics(groupIds: $groupIds) {
    topKeywords(first: 5) { keyword { phrase } commentCount }
    terms(first: 5) { term commentCount }
    topAuthors(first: 5) { author { name } commentCount }
  }
}"""


class RequestFailed(Fault):
    """The server rejected a request or cannot be reached. The message is printed for the user."""


class Client:
    """A client of one server. `url` is its base URL without a path; `api_key` is needed if the server requires one."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def execute(self, query: str, variables: Mapping[str, object]) -> Answer:
        """Execute a query or mutation and return its data.

        Raises:
            RequestFailed: the server cannot be reached, or returns errors.
        """
        return await self._post(json={"query": query, "variables": dict(variables)})

    async def upload(self, query: str, variables: Mapping[str, object], name: str, data: bytes) -> Answer:
        """Execute a mutation with this file as its variable `file`, and return its data.

        Raises:
            RequestFailed: the server cannot be reached, or returns errors.
        """
        operations = orjson.dumps({"query": query, "variables": dict(variables)}).decode()
        form = {"operations": operations, "map": '{"0": ["variables.file"]}'}
        return await self._post(data=form, files={"0": (name, data)})

    async def _post(self, **body: Any) -> Answer:  # any argument of httpx2 that is a body
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=False) as http:
                reply = await http.post(f"{self.url}/graphql", headers=self.headers, **body)
            answer = orjson.loads(reply.content)
        except (httpx2.HTTPError, orjson.JSONDecodeError) as error:
            raise RequestFailed(
                f"No VK Comments server answers at {self.url}. Start one with `vk-comments serve`."
            ) from error
        if answer.get("errors"):
            raise RequestFailed(answer["errors"][0]["message"])
        data: Answer = answer["data"]
        return data

    async def follow(self, job_id: str) -> AsyncIterator[Answer]:
        """Yield the messages of `jobProgress` until the job has ended. After a lost connection, resume where it was.

        Raises:
            RequestFailed: the server cannot be reached any more, or rejects the subscription.
        """
        seq, tries = 0, 0
        while True:
            try:
                async for message in self.subscribe(JOB_PROGRESS, {"jobId": job_id, "afterSeq": seq}):
                    progress = message["jobProgress"]
                    if progress["__typename"] != "JobProgress":
                        raise RequestFailed(progress["message"])
                    seq, tries = progress["seq"], 0
                    yield progress
            except (OSError, websockets.WebSocketException) as error:
                if isinstance(error, websockets.ConnectionClosed) and error.rcvd and error.rcvd.code in REFUSALS:
                    raise RequestFailed(f"The server refused the connection: {error.rcvd.reason}.") from error
                tries += 1
                if tries > RECONNECTS:
                    raise RequestFailed(
                        f"The connection to {self.url} is lost. The job continues on the server."
                    ) from error
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def subscribe(self, query: str, variables: Mapping[str, object]) -> AsyncGenerator[Answer]:
        """Yield the data of each message of a subscription until the server completes it.

        Raises:
            RequestFailed: the server returns errors.
            OSError, WebSocketException: the connection fails, or is lost.
        """
        address = f"{self.url.replace('http', 'ws', 1)}/graphql"
        async with connect(
            address, subprotocols=[websockets.Subprotocol("graphql-transport-ws")], proxy=None
        ) as socket:
            await socket.send(orjson.dumps({"type": "connection_init", "payload": self.headers}).decode())
            await socket.recv()
            payload = {"query": query, "variables": dict(variables)}
            await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": payload}).decode())
            while True:
                message = orjson.loads(await socket.recv())
                if message["type"] == "next":
                    yield _data_of(message["payload"])
                elif message["type"] == "error":
                    raise RequestFailed(message["payload"][0]["message"])
                elif message["type"] == "complete":
                    return


def _data_of(payload: Answer) -> Answer:
    if payload.get("errors"):
        raise RequestFailed(payload["errors"][0]["message"])
    data: Answer = payload["data"]
    return data
