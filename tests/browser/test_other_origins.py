"""Pages of other origins may use the API from a browser only if CORS_ORIGINS lists them."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page

from app.resources import open_resources
from schema import Schema
from tests.conftest import Api, MakeSettings, serve

FETCH = """async (url) => {
  try {
    const reply = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: {'content-type': 'application/json', authorization: 'Bearer any'},
      body: JSON.stringify({query: '{ __typename }'}),
    });
    return (await reply.json()).data.__typename;
  } catch (error) { return `${error}`; }
}"""
SOCKET = """(url) => new Promise((resolve) => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  socket.onopen = () => socket.send(JSON.stringify({type: 'connection_init'}));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'connection_ack')
      socket.send(JSON.stringify({id: '1', type: 'subscribe', payload: {query: '{ __typename }'}}));
    else { resolve(message.payload.data.__typename); socket.close(); }
  };
  socket.onclose = (event) => resolve(`closed ${event.code}`);
})"""


@pytest.fixture
async def sharing_api(make_settings: MakeSettings, other_origin: str) -> AsyncIterator[Api]:
    """Serve the API to pages of the other origin."""
    async with open_resources(make_settings(cors_origins=("https://app.example", other_origin))) as resources:
        async for served in serve(resources):
            yield served


async def test_a_listed_origin(sharing_api: Api, other_origin: str, page: Page) -> None:
    await page.goto(other_origin)
    assert await page.evaluate(FETCH, sharing_api.url) == "Query"
    assert await page.evaluate(SOCKET, sharing_api.url) == "Query"


IMAGE = """(address) => new Promise((resolve) => {
  const image = new Image();
  image.onload = image.onerror = (event) => resolve(event.type);
  image.src = address;
})"""


async def test_an_image_executes_nothing(
    api: Api, other_origin: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[str | None] = []
    execute = Schema.execute

    async def recorded(schema: Schema, query: str | None, **given: Any) -> Any:
        executed.append(query)
        return await execute(schema, query, **given)

    monkeypatch.setattr(Schema, "execute", recorded)
    await page.goto(other_origin)
    assert await page.evaluate(IMAGE, f"{api.url}/graphql?query={{__typename}}") == "error"
    assert executed == []
    await page.goto(f"{api.url}/health/live")
    await page.evaluate(IMAGE, "/graphql?query={__typename}")
    assert executed == ["{__typename}"]


async def test_its_own_page_queries_by_get(api: Api, page: Page) -> None:
    await page.goto(f"{api.url}/health/live")
    text = await page.evaluate("() => fetch('/graphql?query={__typename}').then((reply) => reply.text())")
    assert json.loads(text) == {"data": {"__typename": "Query"}}


async def test_an_origin_that_is_not_listed(api: Api, other_origin: str, page: Page) -> None:
    await page.goto(other_origin)
    assert await page.evaluate(FETCH, api.url) == "TypeError: Failed to fetch"
    assert await page.evaluate(SOCKET, api.url) == "closed 1006"


async def test_its_own_origin(api: Api, page: Page) -> None:
    await page.goto(f"{api.url}/health/live")
    assert await page.evaluate(FETCH, api.url) == "Query"
    assert await page.evaluate(SOCKET, api.url) == "Query"
