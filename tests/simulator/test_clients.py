"""Popular clients get the complete truth out of the simulator over HTTP, and handle VK's errors."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import requests
import vk_api  # type: ignore[import-untyped] # vk_api has no types
import vkbottle
from vk_api.execute import VkFunction  # type: ignore[import-untyped] # vk_api has no types

from tests.conftest import Simulator

TOKEN = "a-token-of-nobody"
SIMULATED = {"posts": 104, "comments": 1_200}
SMALL = {"posts": 3, "comments": 40}


class Rewriting(requests.Session):
    """A session that sends requests for VK to a simulator, because vk_api has no setting for the URL."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def post(self, url: str | bytes, *given: Any, **named: Any) -> requests.Response:
        """Send a POST request to the simulator."""
        return super().post(str(url).replace("https://api.vk.ru", self._url), *given, **named)


def vk_api_of(simulator: Simulator, **named: Any) -> Any:
    """Return a vk_api session that does not wait between requests."""
    made = vk_api.VkApi(token=TOKEN, session=Rewriting(simulator.url), api_version="5.199", **named)
    made.RPS_DELAY = 0
    return made


@pytest.fixture
def world(simulate: Callable[..., Simulator]) -> Simulator:
    """Return a simulated VK with more posts and comments than one call returns."""
    return simulate(**SIMULATED)


@pytest.fixture
def small(simulate: Callable[..., Simulator]) -> Simulator:
    """Return a small simulated VK, which is generated quickly."""
    return simulate(**SMALL)


def ids(items: list[dict[str, Any]]) -> Iterator[int]:
    """Yield the ids of comments, and of the replies in their threads that are complete."""
    for item in items:
        yield item["id"]
        if item["thread"]["count"] <= 10:
            yield from (reply["id"] for reply in item["thread"]["items"])


def test_vk_api_collects_the_truth(world: Simulator) -> None:
    tools = vk_api.VkTools(vk_api_of(world))
    truth = world.truth()
    posts = tools.get_all("wall.get", 100, {"owner_id": -1})
    assert posts["count"] == len(posts["items"]) == 104
    assert {post["id"]: post["comments"]["count"] for post in posts["items"]} == {
        post_id: len(found) for post_id, found in truth.items()
    }
    collected = {}
    for post in posts["items"]:
        sent = {"owner_id": -1, "post_id": post["id"]}
        # pages of 7, so that one script makes many calls and one list takes several scripts
        tops = list(tools.get_all_iter("wall.getComments", 7, {**sent, "thread_items_count": 10}))
        found = [*ids(tops)]
        for top in tops:
            if top["thread"]["count"] > 10:
                thread = {**sent, "comment_id": top["id"]}
                found += [reply["id"] for reply in tools.get_all_iter("wall.getComments", 100, thread)]
        collected[post["id"]] = sorted(found)
    assert collected == truth
    assert world.control()["errors"] == {}


def test_vk_api_collects_without_execute(world: Simulator) -> None:
    tools = vk_api.VkTools(vk_api_of(world))
    truth = world.truth()
    sent = {"owner_id": -1, "post_id": max(truth, key=lambda post_id: len(truth[post_id]))}
    slow = tools.get_all_slow("wall.getComments", 50, sent)["items"]
    assert slow == tools.get_all("wall.getComments", 50, sent)["items"]
    assert len(slow) > 50


def test_vk_api_pools_requests(world: Simulator) -> None:
    session = vk_api_of(world)
    truth = world.truth()
    with vk_api.VkRequestsPool(session) as pool:
        pages = {post: pool.method("wall.getComments", {"owner_id": -1, "post_id": post, "count": 0}) for post in truth}
        missing = pool.method("wall.getComments", {"owner_id": -1, "post_id": 10**6})
        others = [pool.method("groups.getById", {"group_id": 1}), pool.method("wall.get", {"owner_id": -77})]
    assert {post: page.result["count"] for post, page in pages.items()} == {
        post: len(ids) for post, ids in truth.items()
    }
    assert missing.error["error_code"] == 15
    assert others[0].result["groups"][0]["id"] == 1
    assert others[1].error["error_code"] == 100
    assert world.control()["requests"] == 5  # 107 calls, 25 per request
    counts, errors = vk_api.vk_request_one_param_pool(
        session, "wall.getComments", "post_id", [*truth][:30], {"owner_id": -1, "count": 0}
    )
    assert {post: page["count"] for post, page in counts.items()} == {post: len(truth[post]) for post in [*truth][:30]}
    assert errors == {}


def test_vk_api_runs_functions(small: Simulator) -> None:
    numbered = VkFunction(
        args=("values", "names"),
        code="""
            var posts = API.wall.get(%(values)s).items, names = %(names)s, made = {}, i = 0;
            while (i < posts.length) {
                made[posts[i].id + ""] = posts[i].comments.count > 0 ? names[0] : names[1];
                i = i + 1;
            }
            return {made: made, ids: posts@.id, counts: posts@.comments@.count};
        """,
    )
    returned = numbered(vk_api_of(small), {"owner_id": -1}, ["some", "none"])
    truth = small.truth()
    assert sorted(returned["ids"]) == sorted(truth)
    assert dict(zip(returned["ids"], returned["counts"], strict=True)) == {
        post: len(found) for post, found in truth.items()
    }
    assert returned["made"] == {str(post): "some" if found else "none" for post, found in truth.items()}


def test_vk_api_reports_a_wall_that_cannot_be_loaded(small: Simulator) -> None:
    with pytest.raises(vk_api.VkToolsException, match="owner_id is invalid"):
        vk_api.VkTools(vk_api_of(small)).get_all("wall.get", 100, {"owner_id": -77})


@pytest.mark.parametrize("form", ["new", "old"])
def test_vk_api_answers_captchas(small: Simulator, form: str) -> None:
    small.control(faults=[{"code": 14}], captcha=form)
    sent = []

    def answer(captcha: Any) -> Any:
        sent.append(captcha.redirect_uri)
        assert captcha.sid in captcha.get_url()
        return captcha.try_again(success_token="solved") if captcha.redirect_uri else captcha.try_again("letters")

    returned = vk_api_of(small, captcha_handler=answer).method("wall.get", {"owner_id": -1})
    assert returned["count"] == 3
    assert [uri is not None for uri in sent] == [form == "new"]


def test_vk_api_waits_after_too_many_requests(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(**SMALL, rps=3)
    session = vk_api_of(simulator)
    session.error_handlers[vk_api.exceptions.TOO_MANY_RPS_CODE] = lambda error: {"handled": error.code}
    returned = [session.method("wall.get", {"owner_id": -1, "count": 0}) for _ in range(4)]
    assert [each.get("handled") for each in returned] == [None, None, None, 6]


@pytest.fixture
async def bottle(world: Simulator) -> AsyncIterator[vkbottle.API]:
    """Yield a vkbottle client of the simulator."""

    class Api(vkbottle.API):
        API_URL = f"{world.url}/method/"

    made = Api(TOKEN)
    yield made
    await made.http_client.close()


async def read_level(api: vkbottle.API, **sent: Any) -> list[dict[str, Any]]:
    """Collect all comments of a level, 100 at a time."""
    found: list[dict[str, Any]] = []
    while True:
        page = (await api.request("wall.getComments", {**sent, "offset": len(found), "count": 100}))["response"]
        found += page["items"]
        if len(found) >= page["current_level_count"]:
            return found


async def test_vkbottle_collects_the_truth(world: Simulator, bottle: vkbottle.API) -> None:
    pages = [{"owner_id": -1, "count": 100, "offset": offset} for offset in (0, 100)]
    sent = [bottle.APIRequest("wall.get", page) for page in pages]
    posts = [post async for page in bottle.request_many(sent) for post in page["response"]["items"]]
    collected = {}
    for post in posts:
        post_parameters = {"owner_id": -1, "post_id": post["id"]}
        tops = await read_level(bottle, **post_parameters, thread_items_count=10)
        found = [*ids(tops)]
        for top in tops:
            if top["thread"]["count"] > 10:
                found += [reply["id"] for reply in await read_level(bottle, **post_parameters, comment_id=top["id"])]
        collected[post["id"]] = sorted(found)
    assert collected == world.truth()


async def test_vkbottle_reads_typed_answers(world: Simulator, bottle: vkbottle.API) -> None:
    groups = await bottle.groups.get_by_id(group_ids=["1"])
    assert groups.groups is not None
    assert [group.id for group in groups.groups] == [1]
    wall = await bottle.wall.get(owner_id=-1, count=5)
    assert (wall.count, len(wall.items)) == (104, 5)
    topics = await bottle.board.get_topics(group_id=1)
    comments = await bottle.board.get_comments(group_id=1, topic_id=topics.items[0].id or 0, count=100)
    assert comments.count == topics.items[0].comments
    returned = await bottle.request("execute", {"code": "return API.wall.get({owner_id: -1}).count;"})
    assert returned["response"] == len(world.truth())


@vkbottle.vkscript
def commented_posts(api: Any, owner: int, most: int) -> dict[str, Any]:
    """Find posts with comments; vkbottle translates this function into VKScript."""
    found = []
    posts = api.wall.get(owner_id=owner, count=most)
    for post in posts.items:
        if post.comments.count > 0:
            found.append(post.id)
        else:
            found += [0]
    return {"found": found, "count": posts.count}


async def test_vkbottle_translates_python(world: Simulator, bottle: vkbottle.API) -> None:
    code = str(commented_posts(owner=-1, most=50).code)
    run = (await bottle.request("execute", {"code": code}))["response"]
    truth = world.truth()
    assert (run["count"], len(run["found"])) == (104, 50)
    assert {post_id for post_id in run["found"] if post_id} <= {post_id for post_id, found in truth.items() if found}


async def test_vkbottle_handles_errors(world: Simulator, bottle: vkbottle.API) -> None:
    world.control(faults=[{"code": 6}])
    with pytest.raises(vkbottle.VKAPIError[6]) as too_fast:
        await bottle.request("wall.get", {"owner_id": -1})
    assert too_fast.value.error_msg == "Too many requests per second"
    with pytest.raises(vkbottle.VKAPIError[100], match="owner_id"):
        await bottle.request("wall.get", {})


@pytest.mark.parametrize("form", ["new", "old"])
async def test_vkbottle_answers_captchas(world: Simulator, bottle: vkbottle.API, form: str) -> None:
    world.control(faults=[{"code": 14, "times": 2}], captcha=form)
    with pytest.raises(vkbottle.CaptchaError) as met:
        await bottle.request("wall.get", {"owner_id": -1})
    assert met.value.captcha_sid in met.value.captcha_img

    async def answer(captcha: vkbottle.CaptchaError) -> str:
        return f"letters of {captcha.captcha_sid}"

    bottle.add_captcha_handler(answer)
    assert (await bottle.request("wall.get", {"owner_id": -1}))["response"]["count"] == 104
    assert world.control()["errors"] == {"14": 2}
