"""The endpoint: keys, other origins, the page, and what is refused."""

import httpx2
import pytest
import websockets
from websockets.asyncio.client import connect

import app.main
from app.resources import open_resources
from tests.conftest import Api, MakeSettings, serve

HEALTH = {"query": "{ health { version } }"}
KEY = "a-key-of-a-client"


async def test_a_key_is_asked_for(make_settings: MakeSettings) -> None:
    async with open_resources(make_settings(auth="keys", api_keys=(KEY, "another"))) as opened:
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
    for refused in (without, wrong, basic):
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        [error] = refused.json()["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert KEY not in refused.text
    assert right.json() == {"data": {"health": {"version": "0.1.0"}}}
    assert live.status_code == 200
    assert answer == {"health": {"version": "0.1.0"}}
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4403


async def test_pages_of_other_origins(make_settings: MakeSettings) -> None:
    good, bad = "https://spa.example", "https://evil.example"
    async with open_resources(make_settings(cors_origins=(good,))) as opened:
        async for api in serve(opened):
            async with httpx2.AsyncClient(base_url=api.url) as http:
                asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
                preflight = await http.options("/graphql", headers={"Origin": good, **asked})
                refused = await http.options("/graphql", headers={"Origin": bad, **asked})
                answer = await http.post("/graphql", json=HEALTH, headers={"Origin": good})
                foreign = await http.post("/graphql", json=HEALTH, headers={"Origin": bad})
            address = f"{api.url.replace('http', 'ws')}/graphql"
            protocol = [websockets.Subprotocol("graphql-transport-ws")]
            async with connect(address, subprotocols=protocol, origin=websockets.Origin(good), proxy=None) as socket:
                assert socket.subprotocol == "graphql-transport-ws"
            with pytest.raises(websockets.InvalidStatus):
                await connect(address, subprotocols=protocol, origin=websockets.Origin(bad), proxy=None)
    assert preflight.headers["access-control-allow-origin"] == good
    assert refused.status_code == 400
    assert answer.headers["access-control-allow-origin"] == good
    assert "access-control-allow-origin" not in foreign.headers


async def test_the_legacy_websocket_protocol_is_off(api: Api) -> None:
    address = f"{api.url.replace('http', 'ws')}/graphql"
    async with connect(address, subprotocols=[websockets.Subprotocol("graphql-ws")], proxy=None) as socket:
        with pytest.raises(websockets.ConnectionClosedError):
            await socket.recv()


async def test_a_socket_that_speaks_no_json(api: Api) -> None:
    async with api.socket() as socket:
        await socket.connection.send("this is no JSON")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.connection.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 4400


async def test_queries_by_get_and_russian_as_it_is(api: Api) -> None:
    async with httpx2.AsyncClient(base_url=api.url) as http:
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
                asset = await http.get("/static/page.js")
                root = await http.get("/")
    assert missing.status_code == 503
    assert "make web" in missing.text
    assert page.text == "<title>GraphiQL</title>"
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert asset.text == "export {}"
    assert (root.status_code, root.headers["location"]) == (307, "/graphql")
