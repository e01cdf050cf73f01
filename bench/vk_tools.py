"""A process that collects community 1 of a simulated VK with vk_api, as in its documentation, and prints measurements.

Posts and top comments are read by `VkTools.get_all_iter`, whose scripts make up to 25 calls for one list; the rest of
long threads by `VkRequestsPool`, 25 calls per request. Prints {"seconds", "requests", "comments"}.
"""

import json
import os
import time
from typing import Any

import requests
import vk_api  # type: ignore[import-untyped] # vk_api has no types

Comments = dict[int, dict[str, Any]]


class ToSimulator(requests.Session):
    """Sends requests for VK to the simulator, because vk_api has no setting for the URL. Counts the requests."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.count = 0
        self._url = url

    def post(self, url: str | bytes, *given: Any, **named: Any) -> requests.Response:
        """Send a POST request to the simulator."""
        self.count += 1
        return super().post(str(url).replace("https://api.vk.ru", self._url), *given, **named)


def collect(url: str, *, waits: bool) -> dict[str, float]:
    """Collect and return the counts; `waits` is whether vk_api keeps its pause of 0.34 s between requests."""
    session = ToSimulator(url)
    api = vk_api.VkApi(token="a-token", session=session, api_version="5.199")  # noqa: S106 - a token of the simulator
    if not waits:
        api.RPS_DELAY = 0
    started = time.monotonic()
    found: Comments = {}
    tools = vk_api.VkTools(api)
    for post in tools.get_all_iter("wall.get", 100, {"owner_id": -1}):
        if post["comments"]["count"]:
            _read_post(api, tools, post["id"], found)
    return {"seconds": time.monotonic() - started, "requests": session.count, "comments": len(found)}


def _read_post(api: Any, tools: Any, post_id: int, found: Comments) -> None:
    values = {"owner_id": -1, "post_id": post_id, "need_likes": 1, "extended": 1, "sort": "asc"}
    long_threads: list[tuple[int, int]] = []
    for top in tools.get_all_iter("wall.getComments", 100, {**values, "thread_items_count": 10}):
        found[top["id"]] = top
        found.update({reply["id"]: reply for reply in top["thread"]["items"]})
        if top["thread"]["count"] > len(top["thread"]["items"]):
            long_threads += [(top["id"], offset) for offset in range(10, top["thread"]["count"], 100)]
    with vk_api.VkRequestsPool(api) as pool:
        pages = [
            pool.method("wall.getComments", {**values, "comment_id": top_id, "offset": offset, "count": 100})
            for top_id, offset in long_threads
        ]
    for page in pages:
        found.update({reply["id"]: reply for reply in page.result["items"]})


if __name__ == "__main__":
    print(json.dumps(collect(os.environ["VK_API_URL"], waits=bool(os.environ.get("WAITS")))))  # noqa: T201 - the parent process reads it
