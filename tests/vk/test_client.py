import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from app import metrics
from app.vk import client as client_module
from app.vk.client import VkClient
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
    execute,
    groups_by_id,
)
from tests.conftest import Simulator
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
    return float(metrics.vk_requests.labels(outcome)._value.get())  # noqa: SLF001 - prometheus-client offers no other way


async def test_an_answer(client: VkClient, simulator: Simulator) -> None:
    before = counted("OK")
    envelope = await client.call(ASK)
    assert [group["id"] for group in envelope["response"]["groups"]] == [1]
    assert counted("OK") == before + 1
    assert client.last_fault is None
    assert simulator.control()["requests"] == 1


@pytest.mark.parametrize("fault", [{"code": 1}, {"code": 6}, {"code": 10}, {"http": 500}, {"http": 404}, {"http": 200}])
async def test_a_failure_that_passes_is_tried_again(
    client: VkClient, simulator: Simulator, tokens: Tokens, fault: dict[str, int]
) -> None:
    simulator.control(faults=[{**fault, "times": 3}])
    assert "response" in await client.call(ASK)
    assert simulator.control()["requests"] == 4
    assert client.last_fault is None
    assert not tokens.aside


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ({"code": 1}, VkUnavailable, "VK: Unknown error occurred (error 1)"),
        ({"code": 6}, VkRateLimited, "VK: Too many requests per second (error 6)"),
        ({"code": 10}, VkUnavailable, "VK: Internal server error: Unknown error, try later (error 10)"),
        ({"http": 502}, VkUnavailable, "VK answered with HTTP 502."),
        ({"http": 200}, VkUnavailable, "VK's answer is not JSON."),
    ],
)
async def test_trying_again_has_an_end(
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
        *((code, VkAccessDenied) for code in (15, 18, 30, 212)),
        *((code, VkRequestRefused) for code in (3, 8, 100, 104, 113)),
        *((code, VkScriptFailed) for code in (12, 13)),
    ],
)
async def test_a_refusal_of_the_call_is_final(
    client: VkClient, simulator: Simulator, tokens: Tokens, code: int, kind: type[VkFault]
) -> None:
    simulator.control(faults=[{"code": code, "times": 100}])
    failed = await refusal(client)
    assert (type(failed), failed.vk_code) == (kind, code)
    assert simulator.control()["requests"] == 1
    assert not tokens.aside
    assert client.last_fault is None  # VK works: it is only this call that it refuses


@pytest.mark.parametrize(
    ("code", "seconds"), [(5, None), (9, 60.0), (14, 3600.0), (17, 3600.0), (27, None), (28, None), (29, 3600.0)]
)
async def test_another_token_takes_over(
    client: VkClient, simulator: Simulator, tokens: Tokens, code: int, seconds: float | None
) -> None:
    simulator.control(faults=[{"code": code}])
    assert "response" in await client.call(ASK)
    assert simulator.control()["requests"] == 2
    assert list(tokens.aside) == client._pace.fingerprints[:1]  # noqa: SLF001 - the one that was used first
    assert tokens.seconds(TOKENS[0]) == seconds


@pytest.mark.parametrize(
    ("code", "kind", "retry_after_seconds"),
    [(5, VkTokenRejected, None), (9, VkRateLimited, 60.0), (14, VkRateLimited, 3600.0), (29, VkRateLimited, 3600.0)],
)
async def test_no_token_is_left(
    client: VkClient, simulator: Simulator, code: int, kind: type[VkFault], retry_after_seconds: float | None
) -> None:
    simulator.control(faults=[{"code": code, "times": 100}])
    failed = await refusal(client)
    assert type(failed) is kind
    assert f"(error {code})" in failed.message
    assert failed.facts().get("retryAfterSeconds") == retry_after_seconds
    assert simulator.control()["requests"] == 2
    assert client.last_fault is failed
    assert type(await refusal(client)) is kind
    assert simulator.control()["requests"] == 2  # VK is not asked in vain


async def test_a_revoked_token(client: VkClient, simulator: Simulator, tokens: Tokens) -> None:
    simulator.control(revoke=TOKENS[0])
    assert "response" in await client.call(ASK)
    assert tokens.seconds(TOKENS[0]) is None


async def test_no_token_is_configured(make_client: MakeClient, simulator: Simulator) -> None:
    client = make_client(simulator.url)
    failed = await refusal(client)
    assert (type(failed), failed.message) == (VkTokenRejected, "No VK token is configured. Set VK_TOKENS.")
    assert simulator.control()["requests"] == 0
    assert client.last_fault is failed


@pytest.mark.parametrize("code", [27, 28])
async def test_execute_refused(client: VkClient, simulator: Simulator, tokens: Tokens, code: int) -> None:
    simulator.control(faults=[{"code": code, "method": "execute"}])
    assert type(await refusal(client, execute([ASK, ASK]))) is VkExecuteRefused
    assert not client.may_execute
    assert not tokens.aside  # single calls work
    assert client.last_fault is None


async def test_the_pauses_before_further_tries(client: VkClient, simulator: Simulator) -> None:
    decided = {
        code: client_module._pause(failed)  # noqa: SLF001 - real pauses are too long for a test
        for code, failed in [
            (0, VkUnavailable("")),
            (6, VkRateLimited("", 6)),
            (9, VkRateLimited("", 9)),
            (29, VkRateLimited("", 29)),
            (5, VkTokenRejected("", 5)),
        ]
    }
    assert decided == {0: True, 6: 0.4, 9: True, 29: True, 5: True}
    hopeless = [VkTokenRejected(""), VkRateLimited("", retry_after_seconds=60), VkAccessDenied("", 15), ValueError()]
    assert [client_module._pause(failed) for failed in hopeless] == [False] * 4  # noqa: SLF001 - see above
    assert simulator.control()["requests"] == 0
    assert client.last_fault is None


# the network

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """Serve connections by hand and lend the address."""

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
    """Say nothing at all."""


async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"250 mail.example.org\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("answer", [truncated, closed, nonsense])
async def test_a_broken_answer(make_client: MakeClient, answer: Answer) -> None:
    async with answering(answer) as url:
        failed = await refusal(make_client(url, *TOKENS))
    assert (type(failed), failed.message) == (VkUnavailable, "VK cannot be reached: RemoteProtocolError.")


async def test_no_answer_in_time(make_client: MakeClient, simulator: Simulator) -> None:
    simulator.control(hold=True)
    failed = await refusal(make_client(simulator.url, *TOKENS, timeout=0.02))
    assert (type(failed), failed.message) == (VkUnavailable, "VK cannot be reached: ReadTimeout.")
    simulator.control(hold=False)


async def test_nobody_listens(make_client: MakeClient) -> None:
    failed = await refusal(make_client("http://127.0.0.1:9", *TOKENS))
    assert (type(failed), failed.message) == (VkUnavailable, "VK cannot be reached: ConnectError.")


@pytest.mark.parametrize("fault", [{"code": 5}, {"code": 10}, {"code": 15}, {"http": 500}, {"http": 200}])
async def test_a_token_is_in_no_log_and_no_exception(
    client: VkClient, simulator: Simulator, fault: dict[str, int]
) -> None:
    simulator.control(faults=[{**fault, "times": 100}])
    with capture_logs() as logged:
        failed = await refusal(client)
    told = "".join(traceback.format_exception(failed)) + repr(logged) + repr(failed.facts()) + repr(vars(failed))
    assert "vk_refused" in told
    assert not any(token in told for token in TOKENS)
