"""Sockets: an invalid message closes the socket with a reason, an invalid operation ends only the operation."""

import json
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from app.resources import open_resources
from schema.transport.requests import LARGEST_BYTES
from tests.conftest import Api, MakeSettings, Socket, serve
from tests.graphql.conftest import gid

HEALTH = "{ health { version } }"
FOLLOW = "subscription { health(intervalSeconds: 0.2) { __typename } }"


async def closing(socket: Socket) -> tuple[int, str]:
    """Return the code and the reason with which the server closes a socket."""
    await socket.connection.wait_closed()
    assert socket.connection.close_code
    return socket.connection.close_code, socket.connection.close_reason or ""


async def send(socket: Socket, **message: Any) -> None:
    await socket.connection.send(json.dumps(message))


async def receive(socket: Socket, number: str) -> Any:
    """Return the next message about one operation."""
    while True:
        message = json.loads(await socket.connection.recv())
        if message.get("id") == number:
            return message


async def test_the_legacy_websocket_protocol_is_off(api: Api) -> None:
    address = f"{api.url.replace('http', 'ws')}/graphql"
    async with connect(address, subprotocols=[websockets.Subprotocol("graphql-ws")], proxy=None) as socket:
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()


async def test_a_socket_with_messages_that_are_not_json(api: Api) -> None:
    async with api.socket() as socket:
        await socket.connection.send("this is no JSON")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.connection.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4400


WRONG_MESSAGES = [
    "[]",
    "null",
    "1",
    '"ping"',
    "{}",
    '{"type": null}',
    '{"type": ["ping"]}',
    '{"type": "no such type"}',
    json.dumps({"type": "я" * 1000}),
    "[" * 100_000,
    '{"type": "subscribe"}',
    '{"type": "subscribe", "id": "1"}',
    '{"type": "subscribe", "id": "1", "payload": "x"}',
    '{"type": "subscribe", "id": "1", "payload": null}',
    '{"type": "subscribe", "id": "1", "payload": {}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": 1}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "variables": "x"}}',
    '{"type": "subscribe", "id": "1", "payload": {"query": "{a}", "operationName": 1}}',
    '{"type": "subscribe", "id": {"a": 1}, "payload": {"query": "{a}"}}',
    '{"type": "subscribe", "id": "", "payload": {"query": "{a}"}}',
    '{"type": "complete", "id": {"a": 1}}',
    '{"type": "complete"}',
    '{"type": "ping", "payload": "x"}',
    '{"type": "pong", "payload": []}',
    '{"type": "connection_init", "payload": "x"}',
    '{"type": "ping", "payload": ' + '{"a":' * 500 + "1" + "}" * 501,
]


async def test_messages_of_an_invalid_shape(api: Api) -> None:
    for text in WRONG_MESSAGES:
        async with api.socket() as socket:
            await socket.connection.send(text)
            code, reason = await closing(socket)
        assert code == 4400, text[:120]
        assert reason, text[:120]


async def test_a_binary_message(api: Api) -> None:
    async with api.socket() as socket:
        await socket.connection.send(b'{"type": "ping"}')
        assert await closing(socket) == (4400, "WebSocket message type must be text")


async def test_a_large_message(api: Api) -> None:
    async with api.socket() as socket:
        empty = json.dumps({"type": "pong", "payload": {"padding": ""}})
        largest = json.dumps({"type": "pong", "payload": {"padding": "x" * (LARGEST_BYTES - len(empty))}})
        await socket.connection.send(largest)
        assert await socket.execute("1", HEALTH) == {"health": {"version": "0.1.0"}}
        await socket.connection.send(f"{largest} ")
        code, _ = await closing(socket)
    assert code == 1009


@pytest.mark.parametrize("init", [{}, {"payload": None}, {"payload": {}}], ids=str)
async def test_a_subscribe_without_payload(api: Api, init: dict[str, Any]) -> None:
    address, protocol = f"{api.url.replace('http', 'ws')}/graphql", websockets.Subprotocol("graphql-transport-ws")
    async with connect(address, subprotocols=[protocol], proxy=None) as opened:
        await opened.send(json.dumps({"type": "connection_init", **init}))
        assert json.loads(await opened.recv()) == {"type": "connection_ack"}


async def test_a_client_that_sends_no_connection_init(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(websocket_init_seconds=0.01)) as opened:
        async for api in serve(opened):
            address = f"{api.url.replace('http', 'ws')}/graphql"
            protocol = websockets.Subprotocol("graphql-transport-ws")
            async with connect(address, subprotocols=[protocol], proxy=None) as connection:
                assert await closing(Socket(connection)) == (4408, "Connection initialisation timeout")


async def test_operations_of_a_socket_are_limited(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(websocket_max_operations=2)) as opened:
        async for api in serve(opened):
            async with api.socket() as socket:
                for number in ("1", "2"):
                    await send(socket, type="subscribe", id=number, payload={"query": FOLLOW})
                    assert (await receive(socket, number))["type"] == "next"
                await send(socket, type="subscribe", id="3", payload={"query": HEALTH})
                rejected = await receive(socket, "3")
                await send(socket, type="complete", id="1")
                await send(socket, type="subscribe", id="4", payload={"query": HEALTH})
                accepted = await receive(socket, "4")
                await send(socket, type="subscribe", id="2", payload={"query": HEALTH})
                code, _ = await closing(socket)
    assert rejected["type"] == "error"
    [error] = rejected["payload"]
    assert error["extensions"] == {"code": "TOO_MANY_OPERATIONS", "limit": 2}
    assert accepted["payload"]["data"] == {"health": {"version": "0.1.0"}}
    assert code == 4409


async def test_a_pong_has_the_payload_of_the_ping(api: Api) -> None:
    async with api.socket() as socket:
        pings: list[dict[str, Any]] = [{}, {"payload": {}}, {"payload": {"ёж": [1, None]}}]
        for carried in pings:
            await send(socket, type="ping", **carried)
            assert json.loads(await socket.connection.recv()) == {"type": "pong", **carried}
        await send(socket, type="ping", payload=None)
        assert json.loads(await socket.connection.recv()) == {"type": "pong"}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"query": "{ health {"}, "Syntax Error"),
        ({"query": ""}, ""),
        ({"query": f"query One {HEALTH}", "operationName": "Two"}, "Two"),
        ({"query": "fragment F on Query { health { version } }"}, "operation"),
        ({"query": "{ nothing }"}, "nothing"),
        ({"query": "query ($a: Int!) { health { version } }"}, "$a"),
    ],
    ids=str,
)
async def test_an_invalid_operation_among_others(api: Api, payload: dict[str, Any], message: str) -> None:
    async with api.socket() as socket:
        await send(socket, id="lasting", type="subscribe", payload={"query": FOLLOW})
        assert (await receive(socket, "lasting"))["type"] == "next"
        await send(socket, id="wrong", type="subscribe", payload=payload)
        answer = await receive(socket, "wrong")
        for _ in range(2):
            assert (await receive(socket, "lasting"))["type"] == "next"
        # its id is free again
        await send(socket, id="wrong", type="subscribe", payload={"query": HEALTH})
        assert (await receive(socket, "wrong"))["payload"] == {"data": {"health": {"version": "0.1.0"}}}
    assert answer["type"] == "error"
    assert message in answer["payload"][0]["message"]
    assert "errorId" not in json.dumps(answer)


async def test_an_id_that_is_in_use(api: Api) -> None:
    number = "ё" * 1000
    async with api.socket() as socket:
        for _ in range(2):
            await send(socket, id=number, type="subscribe", payload={"query": FOLLOW})
        code, reason = await closing(socket)
    assert code == 4409
    assert len(reason.encode()) <= 123


async def test_an_unexpected_error_among_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr("app.jobs.queue.cancel", broken)
    async with api.socket() as socket:
        await send(socket, id="lasting", type="subscribe", payload={"query": FOLLOW})
        mutation = f'mutation {{ cancelJob(input: {{jobId: "{gid("Job", 1)}"}}) {{ __typename }} }}'
        await send(socket, id="broken", type="subscribe", payload={"query": mutation})
        answer = await receive(socket, "broken")
        assert (await receive(socket, "lasting"))["type"] == "next"
    [error] = answer["payload"]["errors"]
    assert error["extensions"]["errorId"]
    assert "secret" not in json.dumps(answer)
