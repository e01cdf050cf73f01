"""A process that follows one job many times concurrently, by the API or by the feed alone, and prints the arrivals.

Prints a line when all follow the job. When its standard input closes, it prints {"arrivals", "refusals",
"peak_bytes"}: for each event by its `seq` the times of its arrivals, by the machine's monotonic clock, and how many
followers were rejected or dropped.
"""

import asyncio
import json
import logging
import os
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import orjson
import structlog
import uvloop
import websockets
from websockets.asyncio.client import connect

from app.cli.client import JOB_PROGRESS
from app.errors import Fault
from app.jobs.follow import follow
from app.resources import Resources, open_resources
from app.settings import read_settings
from bench.collector import KIB
from schema.node import global_id

CONNECTING = 50
"""The maximum of sockets that are being opened at once."""


class Followers:
    """Follows a job, and records the arrivals of events."""

    def __init__(self, job_id: int, after_seq: int) -> None:
        self.job_id = job_id
        self.after_seq = after_seq
        self.arrivals: dict[int, list[float]] = defaultdict(list)
        self.refusals = 0
        self._connecting = asyncio.Semaphore(CONNECTING)

    async def by_feed(self, resources: Resources, ready: Callable[[], object]) -> None:
        """Follow the job in this process, as the resolver of the subscription does."""
        try:
            async for change in follow(resources, self.job_id, self.after_seq):
                if change.event:
                    self.arrivals[change.seq].append(monotonic())
                else:
                    ready()
        except Fault:
            self.refusals += 1

    async def by_socket(self, url: str, ready: Callable[[], object]) -> None:
        """Follow the job over its own socket, with the operation and the settings of `vk-comments collect`."""
        variables = {"jobId": global_id("Job", (self.job_id,)), "afterSeq": self.after_seq}
        payload = {"query": JOB_PROGRESS, "variables": variables}
        protocol = websockets.Subprotocol("graphql-transport-ws")
        async with self._connecting:
            socket = await connect(url, subprotocols=[protocol], proxy=None, ping_interval=None, open_timeout=60)
            await socket.send('{"type": "connection_init"}')
            await socket.recv()
        await socket.send(orjson.dumps({"type": "subscribe", "id": "1", "payload": payload}).decode())
        async for message in socket:
            answer = orjson.loads(message)
            progress: Mapping[str, Any] = (answer.get("payload") or {}).get("data", {}).get("jobProgress", {})
            if progress.get("event"):
                self.arrivals[progress["seq"]].append(monotonic())
            elif "job" in progress:
                ready()
            elif answer["type"] == "next":
                self.refusals += 1


async def run() -> None:
    """Follow until the standard input closes, then print the arrivals."""
    followers = Followers(int(os.environ["JOB_ID"]), int(os.environ["AFTER_SEQ"]))
    waiting = int(os.environ["SUBSCRIBERS"])
    all_ready = asyncio.Event()

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_ready.set()

    async with open_resources(read_settings(workers=0)) as resources:
        url = os.environ.get("SERVER")
        tasks = [
            asyncio.create_task(followers.by_socket(url, ready) if url else followers.by_feed(resources, ready))
            for _ in range(waiting)
        ]
        following: asyncio.Future[Any] = asyncio.gather(*tasks)
        either: set[asyncio.Future[Any]] = {following, asyncio.create_task(all_ready.wait())}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
            raise SystemExit(f"No follower is left; {followers.refusals} were rejected or dropped.")
        print("ready", flush=True)  # noqa: T201 - the parent process reads it
        await asyncio.to_thread(sys.stdin.read)
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        output = {"arrivals": followers.arrivals, "refusals": followers.refusals, "peak_bytes": peak_bytes}
        print(json.dumps(output), flush=True)  # noqa: T201 - the parent process reads it
        os._exit(0)  # an orderly close of a thousand sockets is not needed


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
