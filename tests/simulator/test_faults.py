"""Faults by script and by rate; those of the network over real HTTP."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from simulator import SimulatorOptions
from simulator.broken_replies import client_gone, reset
from simulator.faults import Fault, FaultRates, Faults, RatedFault
from tests.conftest import Simulator, until
from tests.simulator.vk import Vk
from tests.timeouts import WAIT_SECONDS

CALL = {"access_token": "t", "v": "5.199", "owner_id": "-1"}
CODES = [1, 5, 6, 9, 10, 14, 15, 18, 29, 30, 212, 9999]


def send_request(simulator: Simulator, seconds: float | None = WAIT_SECONDS, **parameters: object) -> httpx2.Response:
    sent = CALL | {name: str(value) for name, value in parameters.items()}
    return httpx2.post(f"{simulator.url}/method/wall.get", data=sent, timeout=seconds)


async def test_client_gone_returns_after_a_disconnect() -> None:
    messages = iter(["http.request", "http.disconnect", "never requested"])

    async def receive() -> dict[str, Any]:
        return {"type": next(messages)}

    await client_gone(receive)
    assert next(messages) == "never requested"


@pytest.mark.parametrize("code", CODES)
async def test_errors_by_script(vk: Vk, code: int) -> None:
    await vk.control(faults=[{"code": code}])
    returned, words = await vk.refusal("wall.get", owner_id=-1)
    assert returned == code
    assert words
    assert (await vk.answer("wall.get", owner_id=-1))["count"] == 12
    state = (await vk.http.get("/_control")).json()
    assert state["played"] == {f"error {code}": 1}
    assert state["calls"] == 1
    assert (await vk.control(reset=True))["played"] == {}


@pytest.mark.parametrize("status", [500, 502, 429])
async def test_pages_of_a_proxy(vk: Vk, status: int) -> None:
    await vk.control(faults=[{"http": status}])
    reply = await vk.http.get("/method/wall.get", params=CALL)
    assert (reply.status_code, reply.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert reply.text.startswith("<html>")


async def test_a_body_that_is_not_json(vk: Vk) -> None:
    await vk.control(faults=[{"kind": "not_json"}])
    reply = await vk.http.get("/method/wall.get", params=CALL)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json; charset=utf-8")
    with pytest.raises(ValueError, match="Expecting value"):
        reply.json()


def test_a_truncated_body(simulator: Simulator) -> None:
    whole = send_request(simulator)
    simulator.control(faults=[{"kind": "truncated"}])
    half = send_request(simulator)
    assert half.status_code == 200
    assert half.headers["content-length"] == str(len(half.content))
    assert half.content == whole.content[: len(whole.content) // 2]
    assert simulator.control()["calls"] == 2


def test_a_reset_in_the_middle_of_a_body(simulator: Simulator) -> None:
    whole = send_request(simulator).content
    simulator.control(faults=[{"kind": "reset", "method": "wall.get"}])
    got = bytearray()

    def read() -> None:
        with httpx2.stream("POST", f"{simulator.url}/method/wall.get", data=CALL) as reply:
            assert (reply.status_code, reply.headers["content-length"]) == (200, str(len(whole)))
            for part in reply.iter_raw():
                got.extend(part)

    with pytest.raises(httpx2.ReadError):
        read()
    assert whole.startswith(got)
    assert len(got) <= len(whole) // 2
    assert send_request(simulator).content == whole
    assert simulator.control()["played"] == {"reset": 1}


async def test_a_late_reply_comes_when_released(simulator: Simulator) -> None:
    simulator.control(faults=[{"kind": "late"}])
    request = asyncio.create_task(asyncio.to_thread(send_request, simulator, None))
    await until(lambda: simulator.control()["waiting"])
    assert not request.done()
    simulator.control(hold=False)
    assert (await request).json()["response"]["count"] == 6
    assert simulator.control()["waiting"] == 0


def test_a_late_reply_comes_after_its_time(simulator: Simulator) -> None:
    simulator.control(faults=[{"kind": "late", "seconds": 0.01}])
    reply = send_request(simulator)
    assert reply.elapsed.total_seconds() >= 0.01
    assert reply.json()["response"]["count"] == 6


@pytest.mark.parametrize("kind", ["late", "timeout"])
async def test_the_end_of_a_request_does_not_wait_for_a_disconnected_client(simulator: Simulator, kind: str) -> None:
    simulator.control(faults=[{"kind": kind}])
    with pytest.raises(httpx2.ReadTimeout):
        send_request(simulator, 0.05)
    await until(lambda: simulator.control()["waiting"] == 0)
    assert simulator.control()["calls"] == (1 if kind == "late" else 0)


def test_no_reply(simulator: Simulator) -> None:
    simulator.control(faults=[{"kind": "timeout", "seconds": 0}])
    with pytest.raises(httpx2.ReadError):
        send_request(simulator)
    assert simulator.control()["calls"] == 0


def test_a_held_simulator_still_completes_its_faults(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(faults=(Fault(kind="timeout"),))
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(httpx2.ReadError):
            send_request(simulator, None)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not simulator.control()["waiting"]:
        pass
    simulator.control(hold=False)
    assert ended.wait(WAIT_SECONDS)
    thread.join()


@pytest.mark.parametrize("kind", ["reset", "timeout"])
async def test_within_a_process_the_reset_is_an_exception(vk: Vk, kind: str) -> None:
    await vk.control(faults=[{"kind": kind} | ({"seconds": 0} if kind == "timeout" else {})])
    with pytest.raises(ConnectionResetError):
        await vk.answer("wall.get", owner_id=-1)


async def test_no_connection_to_reset() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    with pytest.raises(ConnectionResetError):
        await reset(receive)


async def test_faults_by_rate(vk: Vk) -> None:
    rates = [
        {"code": 6, "rate": 0.3},
        {"http": 502, "rate": 0.2, "method": "wall.get"},
        {"code": 1, "rate": 1, "method": "users.get"},
    ]
    state = await vk.control(fault_rates={"seed": 4, "rates": rates})
    assert state["fault_rates"]["limit"] is None
    assert [entry["rate"] for entry in state["fault_rates"]["rates"]] == [0.3, 0.2, 1]
    seen: Counter[object] = Counter()
    for _ in range(200):
        reply = await vk.http.get("/method/wall.get", params=CALL)
        seen[reply.status_code if reply.status_code != 200 else next(iter(reply.json()))] += 1
    assert 40 < seen["error"] < 80
    assert 15 < seen[502] < 45
    assert seen.keys() == {"error", 502, "response"}
    played = (await vk.http.get("/_control")).json()["played"]
    assert played == {"error 6": seen["error"], "http 502": seen[502]}
    assert (await vk.control(fault_rates=None))["fault_rates"] is None
    assert "count" in await vk.answer("wall.get", owner_id=-1)


async def test_faults_by_rate_inside_an_execute(vk: Vk) -> None:
    await vk.control(fault_rates={"rates": [{"code": 29, "rate": 0.5, "inner": True}], "limit": 3})
    assert "count" in await vk.answer("wall.get", owner_id=-1)
    calls = ",".join(['API.wall.get({"owner_id":-1,"count":0})'] * 25)
    reply = await vk.reply("execute", code=f"return [{calls}];")
    assert [error["error_code"] for error in reply["execute_errors"]] == [29] * 3
    assert reply["response"].count(False) == 3


def test_scripted_faults_precede_rates_and_equal_seeds_draw_equal_faults() -> None:
    def played(seed: int) -> list[str | None]:
        rates = FaultRates((RatedFault(code=1, rate=0.5), RatedFault(kind="reset", rate=0.5)), seed, limit=10)
        faults = Faults((Fault(code=6, times=2),), rates)
        taken = [faults.play("wall.get", {}) for _ in range(60)]
        return [None if fault is None else fault.label for fault in taken]

    first = played(1)
    assert first[:2] == ["error 6"] * 2
    assert set(first[2:]) == {"error 1", "reset", None}
    assert sum(label is not None for label in first) == 12
    assert played(1) == first != played(2)


async def test_faults_by_option() -> None:
    rates = FaultRates((RatedFault(http=500, rate=1),), limit=1)
    vk = Vk(SimulatorOptions(posts=1, comments=1, rps=0, faults=(Fault(code=9),), fault_rates=rates))
    async with vk.http:
        assert (await vk.refusal("wall.get", owner_id=-1))[0] == 9
        assert (await vk.http.get("/method/wall.get", params=CALL)).status_code == 500
        assert (await vk.answer("wall.get", owner_id=-1))["count"] == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"http": 500, "code": 6}, "code is valid for the kind error, not for http"),
        ({"kind": "reset", "code": 6}, "code is valid for the kind error, not for reset"),
        ({"kind": "reset", "http": 500}, "http (a status) is required for the kind http"),
        ({"kind": "http"}, "http (a status) is required for the kind http"),
        ({"kind": "fire"}, "kind of a fault cannot be fire"),
        ({"kind": "reset", "inner": True}, "inner is valid for the kinds error and answer, not for reset"),
        ({"http": 500, "message": "no"}, "message is valid for the kind error"),
        ({"kind": "reset", "seconds": 1}, "seconds is valid for the kinds late and timeout, not for reset"),
        ({"kind": "late", "seconds": -1}, "seconds of a fault cannot be -1"),
        ({"code": True}, "code of a fault cannot be True"),
        ({"rate": 1}, "a fault has no rate; valid names: code, "),
    ],
)
async def test_invalid_faults(vk: Vk, fault: dict[str, object], words: str) -> None:
    answer = await vk.http.post("/_control", json={"faults": [fault]})
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (6, "fault_rates is not an object"),
        ({"speed": 1}, "fault_rates has no speed; valid names: rates, seed, limit"),
        ({"rates": {}}, "rates of fault_rates is not a list"),
        ({"rates": [6]}, "a fault is not an object"),
        ({"rates": [{"code": 6}]}, "needs rate: a share from 0 to 1"),
        ({"rates": [{"code": 6, "rate": 1.5}]}, "rate of a fault cannot be 1.5"),
        ({"rates": [{"code": 6, "rate": 1, "times": 2}]}, "times is invalid for a fault by rate"),
        ({"seed": None}, "seed of fault_rates cannot be None"),
        ({"limit": -1}, "limit of fault_rates cannot be -1"),
    ],
)
async def test_invalid_fault_rates(vk: Vk, order: object, words: str) -> None:
    answer = await vk.http.post("/_control", json={"fault_rates": order})
    assert answer.status_code == 400
    assert words in answer.json()["error"]
