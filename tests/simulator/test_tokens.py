import pytest

from simulator import SimulatorOptions
from simulator.limits import RateLimit
from simulator.methods import METHODS
from simulator.tokens import Token
from tests.simulator.vk import SMALL, Clock, Vk

KINDS = {"a-service-token": "service", "a-group-token": "group"}
NEITHER = "method is unavailable with"
GROUP_REFUSED = (27, f"Group authorization failed: {NEITHER} group auth.")
SERVICE_REFUSED = (28, f"Application authorization failed: {NEITHER} service token.")


@pytest.mark.parametrize("method", [*METHODS, "execute"])
async def test_kinds_of_tokens(vk: Vk, method: str) -> None:
    kinds = METHODS[method].kinds if method in METHODS else ("user", "group")
    await vk.control(tokens=KINDS)
    refusals = {}
    for kind in ("user", "group", "service"):
        reply = await vk.reply(method, access_token=f"a-{kind}-token")
        code = reply.get("error", {"error_code": 0})["error_code"]
        if code in {27, 28}:
            refusals[kind] = code, reply["error"]["error_msg"]
    expected = {"group": GROUP_REFUSED, "service": SERVICE_REFUSED}
    assert refusals == {kind: returned for kind, returned in expected.items() if kind not in kinds}


async def test_kinds_of_tokens_by_option() -> None:
    vk = Vk(SimulatorOptions(posts=1, comments=1, rps=0, tokens={"g": "group"}, service_may_execute=True))
    async with vk.http:
        assert await vk.refusal("wall.get", owner_id=-1, access_token="g") == GROUP_REFUSED
        await vk.control(tokens={"s": "service"})
        assert await vk.answer("execute", code="return 1;", access_token="s") == 1
        assert (await vk.control(service_may_execute=False))["service_may_execute"] is False
        assert await vk.refusal("execute", code="return 1;", access_token="s") == SERVICE_REFUSED
        assert (await vk.answer("wall.get", owner_id=-1, access_token="s"))["count"] == 1
        assert (await vk.control(tokens={"g": "user"}))["tokens"][0]["kind"] == "user"
        assert (await vk.answer("wall.get", owner_id=-1, access_token="g"))["count"] == 1


async def test_calls_of_a_group_token_fail_inside_execute(vk: Vk) -> None:
    await vk.control(tokens=KINDS)
    code = 'return [API.wall.get({"owner_id": -1}), API.groups.getById({"group_id": 1}).groups@.id];'
    reply = await vk.reply("execute", code=code, access_token="a-group-token")
    assert reply["response"] == [False, [1]]
    assert reply["execute_errors"] == [
        {"method": "wall.get", "error_code": 27, "error_msg": GROUP_REFUSED[1]},
    ]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"revoke": "secret"}, "User authorization failed: invalid access_token (4)."),
        ({"expire": "secret"}, "User authorization failed: access_token has expired."),
    ],
)
async def test_tokens_that_are_no_longer_valid(vk: Vk, order: dict[str, str], message: str) -> None:
    await vk.control(**order)
    assert await vk.refusal("wall.get", owner_id=-1) == (5, message)
    assert "count" in await vk.answer("wall.get", owner_id=-1, access_token="another")


async def test_twenty_requests_a_second_for_a_group_token() -> None:
    vk = Vk(SimulatorOptions(posts=1, comments=1))
    async with vk.http:
        await vk.control(tokens=KINDS)
        for token, most in (("a-group-token", 20), ("a-service-token", 3), ("a-user-token", 3)):
            replies = [await vk.reply("groups.getById", group_id=1, access_token=token) for _ in range(most + 1)]
            assert ["response" in reply for reply in replies] == [True] * most + [False]
            assert replies[-1]["error"]["error_msg"] == "Too many requests per second"
        await vk.control(rps=0)
        assert "groups" in await vk.answer("groups.getById", group_id=1, access_token="a-group-token")


def test_rate_below_one_a_second() -> None:
    clock = Clock()
    limit = RateLimit(0.5, clock)
    token = Token(1, "user")
    assert limit.allows(token)
    clock.now += 1.9
    assert not limit.allows(token)
    clock.now += 0.1
    assert limit.allows(token)


async def test_quotas_of_a_day(vk: Vk) -> None:
    state = await vk.control(day_quotas={"wall.get": 3})
    assert state["options"]["day_quotas"] == {"newsfeed.search": 1000, "wall.search": 1000, "wall.get": 5000}
    code = 'return [API.wall.get({"owner_id": -1, "count": 0}).count, API.wall.get({"owner_id": -1}).count];'
    assert await vk.answer("execute", code=code) == [12, 12]
    assert "count" in await vk.answer("wall.get", owner_id=-1)
    assert await vk.refusal("wall.get", owner_id=-1) == (29, "Rate limit reached")
    reply = await vk.reply("execute", code=code)
    assert reply["response"] == [None, None]
    assert [error["error_code"] for error in reply["execute_errors"]] == [29, 29]
    assert "count" in await vk.answer("wall.get", owner_id=-1, access_token="another")
    assert "items" in await vk.answer("wall.getById", posts="-1_1")
    assert (await vk.http.get("/_control")).json()["tokens"][0]["today"] == {"wall.get": 3}
    vk.clock.now += 24 * 60 * 60
    assert "count" in await vk.answer("wall.get", owner_id=-1)
    assert (await vk.control(day_quotas={}))["day_quotas"] == {}
    assert all(["count" in await vk.answer("wall.get", owner_id=-1) for _ in range(4)])


async def test_counters_of_each_token() -> None:
    vk = Vk(SimulatorOptions(posts=1, comments=1, rps=0, tokens={"hidden-group": "group"}))
    async with vk.http:
        await vk.answer("execute", code="return [API.wall.get({owner_id: -1}), API.users.get({user_ids: 1})];")
        await vk.reply("wall.get", access_token="hidden-user")
        await vk.reply("wall.get", access_token="hidden-group", owner_id=-1)
        await vk.control(expire="hidden-user")
        returned = await vk.http.get("/_control")
        assert "hidden" not in returned.text
        assert "secret" not in returned.text
        state = returned.json()
        user = {"kind": "user", "state": "live", "errors": {}, "today": {"wall.get": 1}}
        assert state["tokens"] == [
            {"number": 1, "requests": 1, "calls": 1, **user, "kind": "group", "errors": {"27": 1}, "today": {}},
            {"number": 2, "requests": 1, "calls": 2, **user},
            {"number": 3, "requests": 1, "calls": 1, **user, "state": "expired", "errors": {"100": 1}},
        ]
        reset = (await vk.control(reset=True))["tokens"]
        assert [(token["requests"], token["calls"], token["errors"]) for token in reset] == [(0, 0, {})] * 3
        assert [token["state"] for token in reset] == ["live", "live", "expired"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"tokens": {"t": "admin"}}, "a token is one of user, service, group"),
        ({"tokens": ["t"]}, "tokens is not an object"),
        ({"day_quotas": 5}, "day_quotas is not an object"),
        ({"day_quotas": {"wall.get": -1}}, "wall.get is not a number of 0 or more"),
        ({"captcha": "none"}, "a captcha is one of new, old"),
    ],
)
async def test_invalid_commands(vk: Vk, order: dict[str, object], words: str) -> None:
    answer = await vk.http.post("/_control", json=order)
    assert (answer.status_code, answer.json()["error"]) == (400, words)


async def test_the_owner_of_a_user_token(vk: Vk) -> None:
    await vk.control(tokens=KINDS)
    owner = await vk.answer("users.get")
    assert len(owner) == 1
    assert (await vk.answer("users.get", user_ids=owner[0]["id"])) == owner
    for token in KINDS:
        code, message = await vk.refusal("users.get", access_token=token)
        assert (code, message.rpartition(": ")[2]) == (100, "user_ids is undefined")


def test_the_worlds_of_equal_options_do_not_show_tokens() -> None:
    assert "secret" not in repr(SimulatorOptions(tokens={"secret": "user"}))
    assert SimulatorOptions(groups=2, posts=12, comments=900, rps=0) == SMALL
