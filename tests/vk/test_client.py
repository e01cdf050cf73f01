import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import circuitbreaker
import pytest
from structlog.testing import capture_logs

from app import metrics
from app.vk import client as client_module
from app.vk.client import CircuitOpen, HostFailed, Usage, VkClient
from app.vk.pace import TokenKind
from app.vk.wire import (
    Call,
    VkAccessDenied,
    VkExecuteRefused,
    VkFault,
    VkRateLimited,
    VkRequestRefused,
    VkScriptFailed,
    VkTokenRejected,
    VkUnavailable,
    groups_by_id,
)
from tests.conftest import Simulator, until
from tests.vk.conftest import TOKENS, MakeClient, Tokens

ASK = groups_by_id(["1"])


@pytest.fixture
def client(make_client: MakeClient, simulator: Simulator) -> VkClient:
    """Return a client of the simulated VK with two tokens."""
    return make_client(simulator.url, *TOKENS)


async def refusal(client: VkClient, call: Call = ASK) -> VkFault:
    with pytest.raises(VkFault) as caught:
        await client.call(call)
    return caught.value


def counted(outcome: str) -> float:
    return float(metrics.vk_requests.labels(outcome)._value.get())  # noqa: SLF001 - prometheus_client has no other way to read a counter


async def test_an_answer(client: VkClient, simulator: Simulator) -> None:
    before = counted("OK")
    answer = await client.call(ASK)
    assert [group["id"] for group in answer["groups"]] == [1]
    assert counted("OK") == before + 1
    assert client.last_fault is None
    assert simulator.control()["requests"] == 1


@pytest.mark.parametrize("fault", [{"code": 1}, {"code": 6}, {"code": 10}, {"http": 500}, {"http": 404}, {"http": 200}])
async def test_a_transient_failure_is_retried(
    client: VkClient, simulator: Simulator, tokens: Tokens, fault: dict[str, int]
) -> None:
    simulator.control(faults=[{**fault, "times": 3}])
    assert "groups" in await client.call(ASK)
    assert simulator.control()["requests"] == 4
    assert client.last_fault is None
    assert not tokens.blocked


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ({"code": 1}, VkUnavailable, "VK: Unknown error occurred (error 1)"),
        ({"code": 6}, VkRateLimited, "VK: Too many requests per second (error 6)"),
        ({"code": 10}, VkUnavailable, "VK: Internal server error: Unknown error, try later (error 10)"),
        ({"http": 502}, HostFailed, "VK answered with HTTP 502."),
        ({"http": 200}, VkUnavailable, "VK's answer is not JSON."),
    ],
)
async def test_the_number_of_retries_is_limited(
    client: VkClient, simulator: Simulator, fault: dict[str, int], kind: type[VkFault], message: str
) -> None:
    simulator.control(faults=[{**fault, "times": 100}])
    failed = await refusal(client)
    assert (type(failed), failed.message, failed.method) == (kind, message, "groups.getById")
    assert simulator.control()["requests"] == client_module.ATTEMPTS
    assert client.last_fault is failed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, VkAccessDenied) for code in (7, 15, 18, 19, 30, 212)),
        *((code, VkRequestRefused) for code in (3, 8, 100, 104, 113)),
        *((code, VkScriptFailed) for code in (12, 13)),
    ],
)
async def test_a_rejected_call_is_not_retried(
    client: VkClient, simulator: Simulator, tokens: Tokens, code: int, kind: type[VkFault]
) -> None:
    simulator.control(faults=[{"code": code, "times": 100}])
    failed = await refusal(client)
    assert (type(failed), failed.vk_code) == (kind, code)
    assert simulator.control()["requests"] == 1
    assert not tokens.blocked
    assert client.last_fault is None  # VK works: it rejects only this call


@pytest.mark.parametrize(
    ("code", "seconds"), [(5, None), (9, 60.0), (14, 3600.0), (17, 3600.0), (27, None), (28, None), (29, 3600.0)]
)
async def test_another_token_is_used(
    client: VkClient, simulator: Simulator, tokens: Tokens, code: int, seconds: float | None
) -> None:
    simulator.control(faults=[{"code": code}])
    assert "groups" in await client.call(ASK)
    assert simulator.control()["requests"] == 2
    assert list(tokens.blocked) == client._pace.fingerprints[:1]  # noqa: SLF001 - the one that was used first
    assert tokens.seconds(TOKENS[0]) == seconds


@pytest.mark.parametrize(
    ("code", "kind", "retry_after_seconds"),
    [(5, VkTokenRejected, None), (9, VkRateLimited, 60.0), (14, VkTokenRejected, None), (29, VkRateLimited, 3600.0)],
)
async def test_all_tokens_are_rejected(
    client: VkClient, simulator: Simulator, code: int, kind: type[VkFault], retry_after_seconds: float | None
) -> None:
    simulator.control(faults=[{"code": code, "times": 100}])
    failed = await refusal(client)
    assert type(failed) is kind
    assert f"(error {code})" in failed.message
    assert failed.facts().get("retryAfterSeconds") == retry_after_seconds
    assert simulator.control()["requests"] == 2
    assert client.last_fault is None  # VK works: the tokens are the problem
    assert type(await refusal(client)) is kind
    assert simulator.control()["requests"] == 2  # no useless requests


async def test_a_revoked_token(client: VkClient, simulator: Simulator, tokens: Tokens) -> None:
    simulator.control(revoke=TOKENS[0])
    assert "groups" in await client.call(ASK)
    assert tokens.seconds(TOKENS[0]) is None


async def test_no_token_is_configured(make_client: MakeClient, simulator: Simulator) -> None:
    client = make_client(simulator.url)
    failed = await refusal(client)
    assert (type(failed), failed.message) == (VkTokenRejected, "No VK token is configured. Set VK_TOKENS.")
    assert simulator.control()["requests"] == 0
    assert client.last_fault is None


@pytest.mark.parametrize(("code", "kind"), [(27, TokenKind.GROUP), (28, TokenKind.SERVICE)])
async def test_execute_rejected(
    client: VkClient, simulator: Simulator, tokens: Tokens, code: int, kind: TokenKind
) -> None:
    simulator.control(faults=[{"code": code, "method": "execute"}])
    found, _ = await client.execute([ASK, ASK])
    assert [type(answer) for answer in found] == [dict, dict]  # by the other token
    assert tokens.kind(TOKENS[0]) is kind
    assert tokens.kind(TOKENS[1]) is TokenKind.USER
    assert not tokens.blocked  # single calls work
    simulator.control(faults=[{"code": code, "method": "execute"}], reset=True)
    with pytest.raises(VkExecuteRefused, match="No VK token may use execute"):
        await client.execute([ASK, ASK])
    assert simulator.control()["requests"] == 1
    assert "groups" in await client.call(ASK)
    assert client.last_fault is None


async def test_requests_are_counted(client: VkClient, simulator: Simulator, tokens: Tokens) -> None:
    usage = Usage()
    simulator.control(faults=[{"code": 10}])
    _, size = await client.execute([ASK] * 3, usage)
    await client.call(ASK, usage)
    assert usage == Usage(requests=3, calls=7)
    assert tokens.calls == [3, 3, 1]
    assert size > 3 * 200


async def test_a_token_that_is_rejected_inside_is_blocked(
    client: VkClient, simulator: Simulator, tokens: Tokens
) -> None:
    simulator.control(faults=[{"code": 29, "inner": True}])
    found, _ = await client.execute([ASK] * 2)
    assert [type(answer) for answer in found] == [VkRateLimited, dict]
    assert tokens.seconds(TOKENS[0]) == 3600.0


@pytest.mark.parametrize("code", [5, 14, 28])
async def test_all_tokens_are_tried(make_client: MakeClient, simulator: Simulator, tokens: Tokens, code: int) -> None:
    names = [f"token-{number}" for number in range(12)]
    client = make_client(simulator.url, *names)
    simulator.control(faults=[{"code": code, "method": "execute", "times": 11}])
    found, _ = await client.execute([ASK] * 2)
    assert [type(answer) for answer in found] == [dict, dict]
    assert simulator.control()["requests"] == 12
    assert len(tokens.blocked) == (0 if code == 28 else 11)


async def test_malformed_execute_errors_do_not_crash(client: VkClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'{"response": [false, false], "execute_errors": [5, null]}'

    async def send(*_: object) -> bytes:
        return answer

    monkeypatch.setattr(client, "_send", send)
    with pytest.raises(VkUnavailable, match="unknown shape"):
        await client.execute([ASK] * 2)


# the host


async def test_cancelled_requests_do_not_affect_the_circuit_breaker(
    make_client: MakeClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BREAK_AFTER_FAILURES", 1)
    client = make_client(simulator.url, *TOKENS)
    simulator.control(hold=True)
    held = asyncio.create_task(client.call(ASK))
    await until(lambda: simulator.control()["waiting"])
    simulator.control(faults=[{"http": 503}])
    client._breaker._opened = time.monotonic()  # noqa: SLF001 - opened during that request
    client._breaker._state = "open"  # noqa: SLF001 - see above
    held.cancel()
    await asyncio.wait({held})
    simulator.control(hold=False)
    assert type(await refusal(client)) is CircuitOpen


async def test_an_old_failure_does_not_affect_health(
    client: VkClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.control(faults=[{"code": 10, "times": 100}])
    failed = await refusal(client)
    assert client.last_fault is failed
    now = time.monotonic() + client_module.FAULT_COUNTS_SECONDS
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: now)
        found = client.last_fault
    assert found is None


async def test_the_circuit_opens_after_repeated_failures(
    client: VkClient, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(circuitbreaker, "monotonic", lambda: now[0])
    simulator.control(faults=[{"http": 503, "times": 1000}])
    kinds = [type(await refusal(client)) for _ in range(3)]
    # six attempts and two, then no more requests
    assert kinds == [HostFailed, CircuitOpen, CircuitOpen]
    assert simulator.control()["requests"] == client_module.BREAK_AFTER_FAILURES
    avoided = await refusal(client)
    assert avoided.message == "VK has not answered for a while. The next request is sent in 15 s."
    assert avoided.facts()["retryAfterSeconds"] == 15.0
    assert avoided.is_transient
    assert type(client.last_fault) is HostFailed  # what health reports

    now[0] += client_module.BREAK_SECONDS
    assert type(await refusal(client)) is CircuitOpen  # one failed probe was enough
    assert simulator.control()["requests"] == client_module.BREAK_AFTER_FAILURES + 1
    now[0] += client_module.BREAK_SECONDS
    simulator.control(faults=[])
    assert "groups" in await client.call(ASK)
    assert client.last_fault is None


async def test_a_rejection_shows_that_the_host_works(client: VkClient, simulator: Simulator) -> None:
    simulator.control(faults=[{"code": 10, "times": 1000}])
    assert [type(await refusal(client)) for _ in range(3)] == [VkUnavailable] * 3


async def test_the_pauses_before_retries(client: VkClient, simulator: Simulator) -> None:
    decided = {
        code: client_module._retry_wait(failed)  # noqa: SLF001 - real pauses are too long for a test
        for code, failed in [
            (0, VkUnavailable("")),
            (6, VkRateLimited("", 6)),
            (9, VkRateLimited("", 9)),
            (29, VkRateLimited("", 29)),
            (5, VkTokenRejected("", 5)),
        ]
    }
    # after an error of a token, the next token is tried at once
    assert decided == {0: True, 6: 0.4, 9: False, 29: False, 5: False}
    hopeless = [
        VkTokenRejected(""),
        VkRateLimited("", retry_after_seconds=60),
        VkAccessDenied("", 15),
        VkExecuteRefused(""),
        CircuitOpen(15),
        ValueError(),
    ]
    assert [client_module._retry_wait(failed) for failed in hopeless] == [False] * 6  # noqa: SLF001 - see above
    assert simulator.control()["requests"] == 0
    assert client.last_fault is None


# the network

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """Serve connections with a given answer and yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def truncated(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"response": [')
    await writer.drain()


async def closed(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """Send nothing."""


async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"250 mail.example.org\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("answer", [truncated, closed, nonsense])
async def test_a_broken_answer(make_client: MakeClient, answer: Answer) -> None:
    async with answering(answer) as url:
        failed = await refusal(make_client(url, *TOKENS))
    assert (type(failed), failed.message) == (HostFailed, "VK cannot be reached: RemoteProtocolError.")


async def test_no_answer_in_time(make_client: MakeClient, simulator: Simulator) -> None:
    simulator.control(hold=True)
    failed = await refusal(make_client(simulator.url, *TOKENS, timeout=0.02))
    assert (type(failed), failed.message) == (HostFailed, "VK did not answer within 0.02 s.")
    simulator.control(hold=False)


async def test_no_server_listens(make_client: MakeClient) -> None:
    failed = await refusal(make_client("http://127.0.0.1:9", *TOKENS))
    assert (type(failed), failed.message) == (HostFailed, "VK cannot be reached: ConnectError.")


@pytest.mark.parametrize("fault", [{"code": 5}, {"code": 10}, {"code": 15}, {"http": 500}, {"http": 200}])
async def test_a_token_is_in_no_log_and_no_exception(
    client: VkClient, simulator: Simulator, fault: dict[str, int]
) -> None:
    simulator.control(faults=[{**fault, "times": 100}])
    with capture_logs() as logged:
        failed = await refusal(client)
    output = "".join(traceback.format_exception(failed)) + repr(logged) + repr(failed.facts()) + repr(vars(failed))
    assert "vk_refused" in output
    assert not any(token in output for token in TOKENS)
