"""`vkTokens`: the health of the tokens, and never the tokens."""

import json

import pytest

from app.resources import open_resources
from app.vk.wire import VkFault, groups_by_id
from tests.conftest import Api, MakeSettings, Simulator, serve

TOKENS = """
{ vkTokens { fingerprint kind health reason vkCode cooldownUntil requestsToday callsToday usedAt } }"""


async def test_vk_tokens(make_settings: MakeSettings, simulator: Simulator) -> None:
    secrets = ("first-secret-token", "second-secret-token", "third-secret-token")
    settings = make_settings(vk_api_url=simulator.url, vk_tokens=secrets)
    async with open_resources(settings) as opened:
        simulator.control(faults=[{"code": 5}, {"code": 29}])
        await opened.vk.execute([groups_by_id(["1"])] * 3)
        async for api in serve(opened):
            tokens = (await api.execute(TOKENS))["vkTokens"]
    assert not any(secret in json.dumps(tokens) for secret in secrets)
    by_health = {token["health"]: token for token in tokens}
    assert by_health.keys() == {"REJECTED", "COOLING_DOWN", "READY"}
    assert by_health["REJECTED"]["vkCode"] == 5
    assert by_health["COOLING_DOWN"]["reason"] == "VK: Rate limit reached (error 29)"
    assert by_health["COOLING_DOWN"]["cooldownUntil"].endswith("+00:00")
    ready = by_health["READY"]
    assert (ready["kind"], ready["reason"], ready["cooldownUntil"]) == ("USER", None, None)
    assert (ready["requestsToday"], ready["callsToday"]) == (1, 3)
    assert all(len(token["fingerprint"]) == 16 and token["usedAt"] for token in tokens)


async def test_the_kinds_of_tokens_are_detected(make_settings: MakeSettings, simulator: Simulator) -> None:
    settings = make_settings(vk_api_url=simulator.url, vk_tokens=("one", "two"))
    async with open_resources(settings) as opened:
        simulator.control(faults=[{"code": 27, "method": "execute"}, {"code": 28, "method": "execute"}])
        with pytest.raises(VkFault):
            await opened.vk.execute([groups_by_id(["1"])] * 2)
        async for api in serve(opened):
            tokens = (await api.execute(TOKENS))["vkTokens"]
    assert {token["kind"] for token in tokens} == {"GROUP", "SERVICE"}
    assert {token["health"] for token in tokens} == {"READY"}


async def test_without_tokens(api: Api, make_settings: MakeSettings) -> None:
    [token] = (await api.execute(TOKENS))["vkTokens"]
    assert (token["kind"], token["health"], token["callsToday"], token["usedAt"]) == (None, "READY", 0, None)
    async with open_resources(make_settings(vk_tokens=())) as opened:
        async for other in serve(opened):
            assert (await other.execute(TOKENS))["vkTokens"] == []
