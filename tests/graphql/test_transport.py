"""The endpoint: keys, other origins and hosts, the page, and rejected requests."""

import asyncio
import json
import logging
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import websockets
from websockets.asyncio.client import connect

import app.main
from app.health import HealthCheck
from app.resources import open_resources
from schema.transport.requests import LARGEST_BYTES
from tests.conftest import Api, MakeSettings, serve, until
from tests.timeouts import WAIT_SECONDS

HEALTH = {"query": "{ health { version } }"}
KEY = "a-key-of-a-client"
JSON = {"Content-Type": "application/json"}
BY_GET = {"GraphQL-Require-Preflight": "1"}


async def test_a_key_is_required(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=(KEY, "another-key-of-a-client"))) as opened:
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as http:
                without = await http.post("/graphql", json=HEALTH)
                wrong = await http.post("/graphql", json=HEALTH, headers={"Authorization": "Bearer nonsense"})
                basic = await http.post("/graphql", json=HEALTH, headers={"Authorization": f"Basic {KEY}"})
                right = await http.post("/graphql", json=HEALTH, headers={"Authorization": f"Bearer {KEY}"})
                live = await http.get("/health/live")
            async with api.socket(authorization=f"Bearer {KEY}") as socket:
                answer = await socket.execute("1", "{ health { version } }")
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                async with api.socket():
                    pass
    for rejected in (without, wrong, basic):
        assert rejected.status_code == 401
        assert rejected.headers["www-authenticate"] == "Bearer"
        [error] = rejected.json()["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert KEY not in rejected.text
    assert right.json() == {"data": {"health": {"version": "0.1.0"}}}
    assert live.status_code == 200
    assert answer == {"health": {"version": "0.1.0"}}
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4403
    assert closed.value.rcvd.reason.startswith("UNAUTHENTICATED: This server requires an API key")


async def test_pages_of_other_origins(make_settings: MakeSettings) -> None:
    good, bad = "https://spa.example", "https://evil.example"
    async with open_resources(make_settings(cors_origins=(good,))) as opened:
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as http:
                preflight_headers = {
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type, traceparent, apollographql-client-name",
                }
                preflight = await http.options("/graphql", headers={"Origin": good, **preflight_headers})
                rejected = await http.options("/graphql", headers={"Origin": bad, **preflight_headers})
                answer = await http.post("/graphql", json=HEALTH, headers={"Origin": good})
                foreign = await http.post("/graphql", json=HEALTH, headers={"Origin": bad})
            address = f"{api.url.replace('http', 'ws')}/graphql"
            protocol = [websockets.Subprotocol("graphql-transport-ws")]
            async with connect(address, subprotocols=protocol, origin=websockets.Origin(good), proxy=None) as socket:
                assert socket.subprotocol == "graphql-transport-ws"
            with pytest.raises(websockets.InvalidStatus):
                await connect(address, subprotocols=protocol, origin=websockets.Origin(bad), proxy=None)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == good
    assert "traceparent" in preflight.headers["access-control-allow-headers"]
    assert rejected.status_code == 400
    assert answer.headers["access-control-allow-origin"] == good
    assert "access-control-allow-origin" not in foreign.headers


async def test_queries_by_get_and_unescaped_russian(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url, headers=BY_GET) as http:
        reply = await http.get("/graphql", params={"query": '{ group(screenName: "ёж") { id } }'})
        mutation = await http.get(
            "/graphql", params={"query": 'mutation { cancelJob(input: {jobId: "x"}) { __typename } }'}
        )
        body = await http.post("/graphql", content=b"this is no JSON", headers={"Content-Type": "application/json"})
        error = await http.post("/graphql", json={"query": '{ node(id: "нет") { id } }'})
    assert reply.json() == {"data": {"group": None}}
    assert mutation.status_code == 400
    assert body.status_code == 400
    assert "нет" in error.text


OF_ANY_PAGE: list[dict[str, str]] = [
    {},
    {"Accept": "image/avif,image/webp,*/*", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "text/plain; application/json"},
    {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
    {"GraphQL-Require-Preflight": ""},
]
OF_NO_OTHER_PAGE = [
    BY_GET,
    {"Apollo-Require-Preflight": "true"},
    {"X-Apollo-Operation-Name": "Health"},
    {"Content-Type": "Application/JSON; charset=utf-8"},
    {"Authorization": "Bearer any"},
    {"Sec-Fetch-Site": "same-origin"},
]


async def test_get_executes_only_what_no_other_page_can_have_sent(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        for headers in OF_ANY_PAGE:
            rejected = await http.get("/graphql", params=HEALTH, headers=headers)
            assert rejected.status_code == 400, headers
            assert refusal(rejected) == "PREFLIGHT_REQUIRED"
        for headers in OF_NO_OTHER_PAGE:
            reply = await http.get("/graphql", params=HEALTH, headers=headers)
            assert reply.json() == {"data": {"health": {"version": "0.1.0"}}}, headers


async def test_a_subscription_by_http(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    query = {"query": "subscription { health { version } }"}
    async with httpx2.AsyncClient(base_url=api.url, headers=BY_GET) as http:
        replies = [await http.post("/graphql", json=query), await http.get("/graphql", params=query)]
    for reply in replies:
        [error] = reply.json()["errors"]
        assert error["extensions"] == {"code": "WEBSOCKET_REQUIRED"}
        assert "graphql-transport-ws" in error["message"]
    assert "request_crashed" not in caplog.text


async def test_headers_of_all_responses(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: HealthCheck) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(HealthCheck, "measure", broken)
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    async with httpx2.AsyncClient(base_url=api.url) as http:
        replies = {
            200: await http.post("/graphql", json=HEALTH),
            307: await http.get("/"),
            400: await http.get("/graphql", headers={"Host": "evil.example"}),
            404: await http.get("/static/none.js"),
            405: await http.delete("/graphql"),
            500: await http.get("/metrics"),
        }
        replies_to_pages = [await http.options("/graphql", headers=preflight)]
    assert {number: reply.status_code for number, reply in replies.items()} == {number: number for number in replies}
    for reply in [*replies.values(), *replies_to_pages]:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert refusal(replies[500]) == "INTERNAL"
    assert "secret" not in replies[500].text


async def test_a_browser_gets_graphiql(
    make_settings: MakeSettings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = tmp_path_factory.mktemp("dist")
    monkeypatch.setattr(app.main, "PAGES", pages)
    browser = {"Accept": "text/html,application/xhtml+xml"}
    async with open_resources(make_settings()) as opened:
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as http:
                missing = await http.get("/graphql", headers=browser)
                (pages / "graphiql.html").write_text("<title>GraphiQL</title>")
                (pages / "page.js").write_text("export {}")
                page = await http.get("/graphql", headers=browser)
                file = await http.get("/static/graphiql.html")
                asset = await http.get("/static/page.js")
                root = await http.get("/")
    assert missing.status_code == 503
    assert "make web" in missing.text
    assert page.text == "<title>GraphiQL</title>"
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    for name in ("content-security-policy", "cache-control"):
        assert file.headers[name] == page.headers[name]
    assert asset.text == "export {}"
    assert "content-security-policy" not in asset.headers
    assert (root.status_code, root.headers["location"]) == (307, "/graphql")


def refusal(reply: httpx2.Response) -> Any:
    """Return the code of an answer that contains only one error."""
    assert set(reply.json()) == {"errors"}
    [error] = reply.json()["errors"]
    assert error["message"]
    return error["extensions"]["code"]


WRONG_BODIES = [
    "null",
    "1",
    '"x"',
    "[]",
    "[null]",
    json.dumps([HEALTH]),
    "[" * 100_000 + "]" * 100_000,
    '{"query": "{a}", "variables": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "{}",
    '{"query": null}',
    '{"query": 1}',
    '{"query": "{ health { version } }", "variables": [1]}',
    '{"query": "{ health { version } }", "variables": "{}"}',
    '{"query": "{ health { version } }", "operationName": {"a": 1}}',
    '{"query": "{ health { version } }", "extensions": 1}',
    '{"query": "{ health { version } }", "operationName": "Other"}',
]


async def test_bodies_that_are_not_operations(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        for body in WRONG_BODIES:
            reply = await http.post("/graphql", content=body, headers=JSON)
            assert reply.status_code == 400, body[:120]
            assert refusal(reply) == "VALIDATION_FAILED"


async def test_parameters_that_are_not_operations(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url, headers=BY_GET) as http:
        for variables in ("1", "[]", "{", '"x"'):
            reply = await http.get("/graphql", params={**HEALTH, "variables": variables})
            assert reply.status_code == 400
            assert refusal(reply) == "VALIDATION_FAILED"


async def test_a_body_of_another_type(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "text/plain; application/json"):
            reply = await http.post("/graphql", content=json.dumps(HEALTH), headers={"Content-Type": content_type})
            assert reply.status_code == 400
            assert refusal(reply) == "VALIDATION_FAILED"
        right = await http.post(
            "/graphql", content=json.dumps(HEALTH), headers={"Content-Type": "Application/JSON; charset=utf-8"}
        )
    assert right.status_code == 200


async def test_a_large_body(api: Api) -> None:
    small = json.dumps({**HEALTH, "extensions": {"padding": ""}})
    largest = json.dumps({**HEALTH, "extensions": {"padding": "x" * (LARGEST_BYTES - len(small))}})
    async with httpx2.AsyncClient(base_url=api.url) as http:
        fits = await http.post("/graphql", content=largest, headers=JSON)
        rejected = await http.post("/graphql", content=f"{largest} ", headers=JSON)
        after = await http.post("/graphql", json=HEALTH)
    assert fits.json() == {"data": {"health": {"version": "0.1.0"}}}
    assert rejected.status_code == 413
    assert refusal(rejected) == "VALIDATION_FAILED"
    assert after.status_code == 200


async def begin(api: Api, headers: str, body: bytes = b"") -> bytes:
    """Send the beginning of a request, never its end, and return the beginning of the answer."""
    reader, writer = await asyncio.open_connection(urlsplit(api.url).hostname, urlsplit(api.url).port)
    head = f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_large_body_is_not_read_to_its_end(api: Api) -> None:
    announced = await begin(api, "Content-Length: 150000000")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    streamed = await begin(api, "Transfer-Encoding: chunked", chunk * (LARGEST_BYTES // 0x10000 + 1))
    for answer in (announced, streamed):
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_key_is_checked_before_the_body(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=(KEY,))) as opened:
        async for api in serve(opened):
            answer = await begin(api, "Content-Length: 1000")
            async with httpx2.AsyncClient(base_url=api.url) as http:
                wrong = await http.post("/graphql", content="null", headers=JSON)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert wrong.status_code == 401
    assert refusal(wrong) == "UNAUTHENTICATED"


async def test_a_client_that_disconnects_while_it_sends(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    with caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_connection(urlsplit(api.url).hostname, urlsplit(api.url).port)
        head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        writer.write(head.encode() + b"Expect: 100-continue\r\n\r\n{")
        # the server sends this when it begins to read the body
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.close()
        await writer.wait_closed()
        await until(lambda: asyncio.all_tasks() <= before)
    assert "Exception" not in caplog.text


async def status_for(api: Api, host: str, path: str = "/health/live") -> int:
    async with httpx2.AsyncClient(base_url=api.url) as http:
        return (await http.get(path, headers={"Host": host})).status_code


OWN_NAMES = ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000")
FOREIGN_NAMES = ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]", "")


async def test_only_own_names_without_keys(api: Api) -> None:
    for host in OWN_NAMES:
        assert await status_for(api, host) == 200, host
    for host in FOREIGN_NAMES:
        for path in ("/health/live", "/graphql?query={health{version}}", "/static/graphiql.html"):
            assert await status_for(api, host, path) == 400, host
    address = f"{api.url.replace('http', 'ws')}/graphql"
    protocol = [websockets.Subprotocol("graphql-transport-ws")]
    port = urlsplit(api.url).port
    with pytest.raises(websockets.InvalidStatus) as rejected:
        # the browser sends the same origin, as the page was loaded by this name
        await connect(
            address.replace("127.0.0.1", "evil.example"),
            host="127.0.0.1",
            port=port,
            subprotocols=protocol,
            origin=websockets.Origin(f"http://evil.example:{port}"),
            proxy=None,
        )
    assert rejected.value.response.status_code == 400


async def test_the_name_it_listens_on_without_keys(make_settings: MakeSettings) -> None:
    for host, name in (("127.0.0.2", "127.0.0.2:8000"), ("0:0:0:0:0:0:0:1", "[0:0:0:0:0:0:0:1]:8000")):
        async with open_resources(make_settings(host=host)) as opened:
            async for api in serve(opened):
                assert await status_for(api, name) == 200
                assert await status_for(api, "localhost") == 200
                assert await status_for(api, "evil.example") == 400


async def test_any_name_with_keys(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=(KEY,))) as opened:
        async for api in serve(opened):
            assert await status_for(api, "comments.example") == 200
