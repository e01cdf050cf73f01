"""GraphiQL at /graphql in a real browser: it loads only from its own origin, and its tabs work."""

import json
import os
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from playwright.async_api import Locator, Page, expect

from tests.conftest import Api, Simulator

PICTURE = os.environ.get("PICTURE")
"""The file for a screenshot of the page, if any."""


class GraphiQL:
    """The page as a person uses it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.result: Locator = page.locator(".result-window")

    async def open_tab(self, name: str) -> None:
        """Switch to another tab."""
        await self.page.get_by_role("tab", name=name).click()
        # GraphiQL stores the query 0.1 s later; until then it sends the operation name of the former tab
        noted = "(name) => (localStorage.getItem('graphiql:query') ?? '').includes(` ${name}(`)"
        await self.page.wait_for_function(noted, arg=name)

    async def write_variables(self, **variables: object) -> None:
        """Replace the variables of the open tab."""
        editor = self.page.locator(".graphiql-editor-tool .monaco-editor").first
        await editor.click()
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.press("Delete")
        await self.page.keyboard.insert_text(json.dumps(variables))

    async def run(self) -> None:
        """Press the button that runs the open tab, once GraphiQL has an editor for the result."""
        await expect(self.page.locator(".result-window[data-mode-id=json]")).to_be_visible()
        await self.page.get_by_role("button", name="Execute query").click()

    async def text(self) -> str:
        """Return the visible text of the result pane."""
        # Monaco shows spaces as no-break spaces
        return (await self.result.inner_text()).replace("\xa0", " ")


async def test_the_page_loads_nothing_from_other_origins(vk_api: Api, page: Page) -> None:
    requested: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.on("websocket", lambda socket: requested.append(socket.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    await page.goto(f"{vk_api.url}/graphql")
    await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text("AddCommunity")
    await page.wait_for_load_state("networkidle")
    own = urlsplit(vk_api.url).netloc
    foreign = [url for url in requested if urlsplit(url).netloc != own and not url.startswith(("data:", "blob:"))]
    assert len(requested) > 5
    assert (foreign, wrong) == ([], [])


async def test_an_address_with_a_query(vk_api: Api, page: Page) -> None:
    editors = page.locator(".graphiql-query-editor .view-lines"), page.locator(".graphiql-editor-tool .view-lines")
    asked = {"First": "1", "Second": "2"}
    for name, size in asked.items():  # on the first visit, and on a later one, when GraphiQL has stored its tabs
        query = f"query {name}($size: Int) {{ groups(first: $size) {{ totalCount }} }}"
        await page.goto(f"{vk_api.url}/graphql?{urlencode({'query': query, 'variables': json.dumps({'size': size})})}")
        await expect(editors[0]).to_contain_text(name)
        await expect(editors[1].first).to_contain_text(size)
        await expect(page.get_by_role("tab", name="AddCommunity")).to_be_visible()


async def test_add_collect_follow_and_read(vk_api: Api, simulator: Simulator, page: Page, tmp_path: Path) -> None:
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await page.goto(f"{vk_api.url}/graphql")
    graphiql = GraphiQL(page)

    await graphiql.run()
    await expect(graphiql.result).to_contain_text("AddGroupsSuccess")
    [group] = (await vk_api.execute("{ groups { nodes { id name } } }"))["groups"]["nodes"]
    assert group["name"] in await graphiql.text()

    await graphiql.open_tab("StartCollection")
    await graphiql.write_variables(groupIds=[group["id"]])
    simulator.control(hold=True)
    await graphiql.run()
    await expect(graphiql.result).to_contain_text("StartCollectionSuccess")
    [job] = (await vk_api.execute("{ jobs { nodes { id } } }"))["jobs"]["nodes"]

    await graphiql.open_tab("FollowProgress")
    await graphiql.write_variables(jobId=job["id"])
    await graphiql.run()
    await expect(graphiql.result).to_contain_text("RUNNING")
    simulator.control(hold=False)
    await expect(graphiql.result).to_contain_text("SUCCEEDED")
    assert '"done": 400' in await graphiql.text()
    assert sockets == [vk_api.url.replace("http", "ws") + "/graphql"]

    await graphiql.open_tab("ReadComments")
    await graphiql.run()
    await expect(graphiql.result).to_contain_text("totalCount")
    picture = await page.screenshot(path=PICTURE or tmp_path / "graphiql.png")
    assert picture.startswith(b"\x89PNG")
