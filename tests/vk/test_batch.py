import pytest

from app.vk import batch as batch_module
from app.vk.batch import MOST_ANSWER_BYTES, Batch
from app.vk.client import VkClient
from app.vk.wire import (
    Call,
    VkAccessDenied,
    VkFault,
    VkRequestRefused,
    VkTokenRejected,
    VkUnavailable,
    comments_page,
    groups_by_id,
)
from tests.conftest import Simulator
from tests.vk.conftest import TOKENS, MakeClient, Tokens

GROUP = groups_by_id(["1"])


@pytest.fixture
def client(make_client: MakeClient, simulator: Simulator) -> VkClient:
    """Return a client of the simulated VK with two tokens."""
    return make_client(simulator.url, *TOKENS)


def comment_calls(simulator: Simulator) -> list[Call]:
    return [comments_page(-1, post_id, 0, None) for post_id in simulator.truth()]


@pytest.mark.parametrize(("count", "requests"), [(0, 0), (1, 1), (2, 1), (25, 1), (26, 2), (50, 2), (76, 4)])
async def test_25_calls_in_a_request(client: VkClient, simulator: Simulator, count: int, requests: int) -> None:
    found = await Batch(client).answers([groups_by_id([str(number % 2 + 1)]) for number in range(count)])
    known = [answer["groups"][0]["id"] for answer in found if not isinstance(answer, VkFault)]
    assert known == [1] * len(range(0, count, 2))  # community 2 does not exist
    assert [type(answer) for answer in found[1::2]] == [VkRequestRefused] * (count // 2)
    counters = simulator.control()
    assert (counters["requests"], counters["calls"]) == (requests, count)


async def test_failed_calls_keep_their_positions(client: VkClient, simulator: Simulator) -> None:
    calls = comment_calls(simulator)
    closed = list(simulator.truth())[1]
    simulator.control(close_comments={"group_id": 1, "post_id": closed}, reset=True)
    found = await Batch(client).answers(calls)
    assert [type(answer) for answer in found] == [dict, VkAccessDenied, dict, dict, dict, dict]
    assert (found[1].vk_code, found[1].method) == (212, "wall.getComments")
    assert simulator.control()["requests"] == 1


@pytest.mark.parametrize("code", [1, 6, 10])
async def test_a_transient_failure_of_a_call_is_retried(client: VkClient, simulator: Simulator, code: int) -> None:
    simulator.control(faults=[{"code": code, "inner": True, "times": 2}])
    assert [type(answer) for answer in await Batch(client).answers([GROUP] * 5)] == [dict] * 5
    counters = simulator.control()
    assert (counters["requests"], counters["calls"]) == (2, 5)  # the two failed ones are sent together


@pytest.mark.parametrize("code", [1, 6, 10])
async def test_if_all_calls_failed_they_are_made_one_by_one(client: VkClient, simulator: Simulator, code: int) -> None:
    simulator.control(faults=[{"code": code, "inner": True, "times": 3}])
    assert [type(answer) for answer in await Batch(client).answers([GROUP] * 3)] == [dict] * 3
    assert simulator.control()["requests"] == 1 + 3


async def test_a_single_rejected_call(client: VkClient, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 15}])
    [fault] = await Batch(client).answers([GROUP])
    assert (type(fault), fault.vk_code) == (VkAccessDenied, 15)


async def test_a_token_that_is_rejected_inside(client: VkClient, simulator: Simulator, tokens: Tokens) -> None:
    """A community's token may use execute, but may not read walls."""
    simulator.control(faults=[{"code": 27, "inner": True, "times": 3}])
    assert [type(answer) for answer in await Batch(client).answers([GROUP] * 3)] == [dict] * 3
    assert simulator.control()["requests"] == 2
    assert list(tokens.blocked) == client._pace.fingerprints[:1]  # noqa: SLF001 - the other one answered


@pytest.mark.parametrize(("count", "packs"), [(2, 1), (4, 3), (25, 7)])
async def test_a_pack_that_is_too_big_is_halved(client: VkClient, simulator: Simulator, count: int, packs: int) -> None:
    simulator.control(faults=[{"code": 13, "method": "execute", "times": packs}])
    assert [type(answer) for answer in await Batch(client).answers([GROUP] * count)] == [dict] * count
    assert simulator.control()["calls"] == count


async def test_packs_that_never_fit_end_as_single_calls(client: VkClient, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 13, "method": "execute", "times": 1000}])
    assert [type(answer) for answer in await Batch(client).answers([GROUP] * 25)] == [dict] * 25
    counters = simulator.control()
    assert counters["methods"] == {"groups.getById": 25}
    assert counters["requests"] == 25 + 24


@pytest.mark.parametrize("code", [27, 28])
async def test_single_calls_if_execute_is_rejected(client: VkClient, simulator: Simulator, code: int) -> None:
    simulator.control(faults=[{"code": code, "method": "execute", "times": 1000}])
    for _ in range(2):
        assert [type(answer) for answer in await Batch(client).answers([GROUP] * 3)] == [dict] * 3
    assert simulator.control()["requests"] == 2 + 3 + 3  # one execute with each token


@pytest.mark.parametrize(
    ("fault", "kind"), [({"code": 10}, VkUnavailable), ({"http": 500}, VkUnavailable), ({"code": 5}, VkTokenRejected)]
)
@pytest.mark.parametrize("count", [1, 3])
async def test_a_request_that_fails_as_a_whole(
    client: VkClient, simulator: Simulator, fault: dict[str, int], kind: type[VkFault], count: int
) -> None:
    simulator.control(faults=[{**fault, "times": 1000}])
    with pytest.raises(kind):
        await Batch(client).answers([GROUP] * count)


async def test_pack_sizes_adapt_to_vk(client: VkClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(client)
    assert batch.capacity == 25
    await batch.answers([GROUP] * 25)
    assert batch.capacity == 25
    [_, size] = await client.execute([GROUP] * 25)
    monkeypatch.setattr(batch_module, "MOST_ANSWER_BYTES", size / 2.5)
    assert batch.capacity == 9
    simulator.control(reset=True)
    assert len(await batch.answers([GROUP] * 25)) == 25
    assert simulator.control()["requests"] == 3
    assert MOST_ANSWER_BYTES == 5_000_000


async def test_a_rejected_pack_reduces_the_following_ones(client: VkClient, simulator: Simulator) -> None:
    batch = Batch(client)
    simulator.control(faults=[{"code": 13, "method": "execute"}])
    await batch.answers([GROUP] * 25)
    assert batch.capacity < 25
    for _ in range(20):
        await batch.answers([GROUP] * batch.capacity)
    assert batch.capacity == 25
    assert batch.usage.requests == simulator.control()["requests"]


async def test_a_pack_that_fails_with_http_500_is_split(client: VkClient, simulator: Simulator) -> None:
    """VK has answered heavy requests with HTTP 500."""
    batch = Batch(client)
    simulator.control(faults=[{"http": 500, "method": "execute", "times": 4}])
    assert [type(answer) for answer in await batch.answers([GROUP] * 25)] == [dict] * 25
    counters = simulator.control()
    # 25 and 12 were requested twice, then 6, 6 and 13
    assert counters["requests"] == 2 + 2 + 3
    assert batch.capacity < 25
    for _ in range(20):
        await batch.answers([GROUP] * batch.capacity)
    assert batch.capacity == 25
