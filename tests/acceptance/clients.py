"""Clients of several web processes: if one of these does not answer, they use another one."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from itertools import cycle
from typing import Any

import httpx2
import websockets

from app.cli.client import JOB_PROGRESS, Client
from app.errors import ServiceUnavailable

RETRY_SECONDS = 0.1
"""The delay before a retry after a failed request."""
CONNECTION_ERRORS = (OSError, websockets.WebSocketException)
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
UNAVAILABLE = ServiceUnavailable("PostgreSQL").message
FOLLOW_ALL = """
subscription { jobs { __typename ... on JobChanged { isMatching job { id state } } ... on Error { message } } }"""


class RetryingClient:
    """A client that sends requests to the web processes in turn, and retries until one of them has answered."""

    def __init__(self, http: httpx2.AsyncClient, urls: Sequence[str]) -> None:
        self._http = http
        self._urls: Iterator[str] = cycle(urls)

    async def execute(self, query: str, **variables: Any) -> dict[str, Any]:
        """Execute an operation and return its only field; retry it if PostgreSQL was unavailable.

        That may have been the case only for reads after the mutation's commit.
        """
        while True:
            url = next(self._urls)
            try:
                reply = await self._http.post(f"{url}/graphql", json={"query": query, "variables": variables})
            except httpx2.HTTPError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            answer = reply.json()
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"SERVICE_UNAVAILABLE"}, answer
            if not codes:
                [found] = answer["data"].values()
                if found["__typename"] != "ServiceUnavailableError":
                    return dict(found)
            await asyncio.sleep(RETRY_SECONDS)


class Follower:
    """A client that follows a job to its end, from the last event seen on, on any web process that answers."""

    def __init__(self, job_id: str, urls: Sequence[str]) -> None:
        self.job_id = job_id
        self.seen: list[tuple[int, str, str]] = []
        """The events in the order of arrival: seq, kind, message."""
        self.state = ""
        self.connections = 0
        self._urls = urls

    @property
    def last_seq(self) -> int:
        """The seq of the last event seen."""
        return self.seen[-1][0] if self.seen else 0

    async def follow(self) -> None:
        """Follow the job until the server completes the subscription."""
        for url in cycle(self._urls):
            variables = {"jobId": self.job_id, "afterSeq": self.last_seq}
            try:
                async with aclosing(Client(url).subscribe(JOB_PROGRESS, variables)) as messages:
                    self.connections += 1
                    async for message in messages:
                        self._take(message["jobProgress"])
            except CONNECTION_ERRORS:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _take(self, progress: dict[str, Any]) -> None:
        assert progress["__typename"] == "JobProgress", progress
        if event := progress["event"]:
            self.seen.append((progress["seq"], event["kind"], event["message"]))
        assert progress["seq"] == self.last_seq
        self.state = progress["job"]["state"]


class Watcher:
    """A client that watches all jobs on one web process, as long as the connection lasts."""

    def __init__(self, url: str) -> None:
        self.states: dict[str, list[str]] = {}
        """The states of each job since the last connection, in the order of arrival."""
        self._url = url

    async def watch(self) -> None:
        """Watch in an endless loop; after a lost connection, the recorded states are cleared."""
        while True:
            try:
                async with aclosing(Client(self._url).subscribe(FOLLOW_ALL, {})) as messages:
                    self.states = {}
                    async for message in messages:
                        self._take(message["jobs"])
            except CONNECTION_ERRORS:
                await asyncio.sleep(RETRY_SECONDS)

    def has_seen_all_end(self) -> bool:
        """Return whether all known jobs have ended."""
        return all(states[-1] in FINAL for states in self.states.values())

    def _take(self, change: dict[str, Any]) -> None:
        assert change["__typename"] == "JobChanged", change
        assert change["isMatching"]
        states = self.states.setdefault(change["job"]["id"], [])
        if not states or states[-1] != change["job"]["state"]:
            states.append(change["job"]["state"])
        else:  # new progress, but nothing comes after the end
            assert states[-1] not in FINAL, change
