"""The command line's GraphQL client, against a server that sends scripted messages."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from app.cli import client
from app.cli.client import Client, RequestFailed
from tests.timeouts import WAIT_SECONDS


def progress(seq: int) -> dict[str, Any]:
    """Return the message of the server for an event of a job."""
    return {"type": "next", "payload": {"data": {"jobProgress": {"__typename": "JobProgress", "seq": seq}}}}


COMPLETE = {"type": "complete"}
LOST: dict[str, Any] = {}
"""Marks where the connection is lost."""


@dataclass
class Script:
    """A server that answers each subscription, one connection after the other, with the next list of messages."""

    connections: list[Sequence[dict[str, Any]]]
    after_seqs: list[int] = field(default_factory=list)
    """The `afterSeq` of each subscription."""
    close: tuple[int, str] = (1011, "")

    async def answer(self, socket: ServerConnection) -> None:
        """Answer one connection."""
        await socket.recv()
        await socket.send('{"type": "connection_ack"}')
        self.after_seqs.append(orjson.loads(await socket.recv())["payload"]["variables"]["afterSeq"])
        for message in self.connections.pop(0):
            if message is LOST:
                await socket.close(*self.close)
                return
            await socket.send(orjson.dumps(message).decode())
        await socket.wait_closed()


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[Client]:
    async with serve(script.answer, "127.0.0.1", 0, subprotocols=["graphql-transport-ws"]) as server:  # type: ignore[list-item] # websockets accepts any string
        port = next(iter(server.sockets)).getsockname()[1]
        yield Client(f"http://127.0.0.1:{port}/")


async def seqs(script: Script) -> list[int]:
    async with asyncio.timeout(WAIT_SECONDS), serving(script) as one:
        return [message["seq"] async for message in one.follow("job")]


@pytest.fixture(autouse=True)
def _reconnect_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "RECONNECT_SECONDS", 0.0)


async def test_follow_to_the_end() -> None:
    script = Script([[progress(1), {"type": "ping"}, progress(2), COMPLETE]])
    assert await seqs(script) == [1, 2]


async def test_a_lost_connection_resumes_after_the_last_event() -> None:
    script = Script([[progress(1), progress(2), LOST], [LOST], [progress(3), COMPLETE]])
    assert await seqs(script) == [1, 2, 3]
    assert script.after_seqs == [0, 2, 2]


async def test_a_server_that_stays_unreachable() -> None:
    script = Script([[LOST]] * (client.RECONNECTS + 1))
    with pytest.raises(RequestFailed, match=r"is lost\. The job continues on the server"):
        await seqs(script)
    assert len(script.after_seqs) == client.RECONNECTS + 1


async def test_a_rejection_is_not_retried() -> None:
    script = Script([[LOST]], close=(4403, "Forbidden"))
    with pytest.raises(RequestFailed, match=r"The server refused the connection: Forbidden\."):
        await seqs(script)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "error", "payload": [{"message": "no such field"}]},
        {"type": "next", "payload": {"data": None, "errors": [{"message": "no such field"}]}},
        {
            "type": "next",
            "payload": {"data": {"jobProgress": {"__typename": "JobNotFoundError", "message": "no such field"}}},
        },
    ],
)
async def test_failures(message: dict[str, Any]) -> None:
    with pytest.raises(RequestFailed, match="no such field"):
        await seqs(Script([[message]]))
