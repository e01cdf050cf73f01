"""People who use several web processes: one that is not there is no reason to give up, there is another."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from itertools import cycle
from typing import Any

import httpx2
import websockets

from app.cli.client import JOB_PROGRESS, Client
from app.errors import ServiceUnavailable

AGAIN_SECONDS = 0.1
"""How long somebody waits who was refused before he asks the next one."""
IS_LOST = (OSError, websockets.WebSocketException)
FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
AWAY = ServiceUnavailable("PostgreSQL").message
FOLLOW_ALL = """
subscription { jobs { __typename ... on JobChanged { isMatching job { id state } } ... on Error { message } } }"""


class Caller:
    """Somebody who asks the web processes by turns, again and again until one of them has answered."""

    def __init__(self, http: httpx2.AsyncClient, urls: Sequence[str]) -> None:
        self._http = http
        self._urls: Iterator[str] = cycle(urls)

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Have an operation executed and return its only field; one that PostgreSQL was away for is requested again.

        It may have been away only for what is read after a mutation was committed.
        """
        while True:
            url = next(self._urls)
            try:
                reply = await self._http.post(f"{url}/graphql", json={"query": query, "variables": variables})
            except httpx2.HTTPError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            answer = reply.json()
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"SERVICE_UNAVAILABLE"}, answer
            if not codes:
                [found] = answer["data"].values()
                if found["__typename"] != "ServiceUnavailableError":
                    return dict(found)
            await asyncio.sleep(AGAIN_SECONDS)


class Follower:
    """Somebody who follows a job to its end, from the last event seen on, on whichever web process is there."""

    def __init__(self, job_id: str, urls: Sequence[str]) -> None:
        self.job_id = job_id
        self.seen: list[tuple[int, str, str]] = []
        """The events, as they came: seq, kind, message."""
        self.state = ""
        self.connections = 0
        self._urls = urls

    @property
    def last_seq(self) -> int:
        """The last event that was seen."""
        return self.seen[-1][0] if self.seen else 0

    async def follow(self) -> None:
        """Follow the job until the server says that this was all."""
        for url in cycle(self._urls):
            wanted = {"jobId": self.job_id, "afterSeq": self.last_seq}
            try:
                async with aclosing(Client(url).subscribe(JOB_PROGRESS, wanted)) as messages:
                    self.connections += 1
                    async for message in messages:
                        self._take(message["jobProgress"])
            except IS_LOST:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def _take(self, progress: dict[str, Any]) -> None:
        assert progress["__typename"] == "JobProgress", progress
        if event := progress["event"]:
            self.seen.append((progress["seq"], event["kind"], event["message"]))
        assert progress["seq"] == self.last_seq
        self.state = progress["job"]["state"]


class Watcher:
    """Somebody who watches all jobs on one web process, as long as he is let."""

    def __init__(self, url: str) -> None:
        self.states: dict[str, list[str]] = {}
        """The states of each job since the last connection, as they were told."""
        self._url = url

    async def watch(self) -> None:
        """Watch for ever; after a lost connection what is told begins anew."""
        while True:
            try:
                async with aclosing(Client(self._url).subscribe(FOLLOW_ALL, {})) as messages:
                    self.states = {}
                    async for message in messages:
                        self._take(message["jobs"])
            except IS_LOST:
                await asyncio.sleep(AGAIN_SECONDS)

    def has_seen_all_end(self) -> bool:
        """Tell whether none of the jobs that he knows of is still to end."""
        return all(states[-1] in FINAL for states in self.states.values())

    def _take(self, change: dict[str, Any]) -> None:
        assert change["__typename"] == "JobChanged", change
        assert change["isMatching"]
        states = self.states.setdefault(change["job"]["id"], [])
        if not states or states[-1] != change["job"]["state"]:
            states.append(change["job"]["state"])
        else:  # new progress, but nothing comes after the end
            assert states[-1] not in FINAL, change
