"""Unexpected errors are masked with an id that is in the log; the engine's messages about a query are not masked."""

import io
import json

import httpx2
import pytest

from app import metrics
from app.errors import StartFailed
from app.log import configure_logging
from app.resources import Resources
from schema.errors import ERROR_TYPES, error_of
from tests.conftest import TOKEN, Api, MakeSettings
from tests.graphql.conftest import gid

SECRET = "postgresql://user:secret@host/db"


@pytest.fixture
def log_lines(make_settings: MakeSettings) -> io.StringIO:
    """Write the log as JSON lines to a text that the test can read."""
    stream = io.StringIO()
    configure_logging(make_settings(log_format="json", log_level="debug"), stream)
    return stream


async def broken(*_: object, **__: object) -> None:
    """Raise an unexpected error."""
    raise RuntimeError(f"no connection to {SECRET} with {TOKEN}")


async def test_unexpected_error_in_a_query(
    api: Api, resources: Resources, log_lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.health.HealthCheck.report", broken)
    before = metrics.unexpected_errors._value.get()  # noqa: SLF001 - prometheus_client has no other way to read a counter
    async with httpx2.AsyncClient() as http:
        reply = await http.post(
            f"{api.url}/graphql",
            json={"query": "query Doctor { health { status } }"},
            headers={"X-Request-ID": "0123456789abcdef0123456789abcdef"},
        )
    [error] = reply.json()["errors"]
    error_id = error["extensions"]["errorId"]
    assert error["message"] == f"An unexpected error. The server's log has its traceback under error id {error_id}."
    assert error["extensions"]["code"] == "INTERNAL"
    assert error["path"] == ["health"]
    assert "secret" not in reply.text
    lines = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    [line] = [line for line in lines if line.get("error_id") == error_id]
    assert line["event"] == "request_crashed"
    assert line["operation"] == "Doctor"
    assert line["request_id"] == "0123456789abcdef0123456789abcdef"
    assert "RuntimeError" in json.dumps(line["exception"])
    assert TOKEN not in log_lines.getvalue()
    assert metrics.unexpected_errors._value.get() == before + 1  # noqa: SLF001 - prometheus_client has no other way to read a counter
    assert resources.settings.vk_tokens[0].get_secret_value() == TOKEN


async def test_unexpected_error_in_a_subscription(
    api: Api, log_lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.health.HealthCheck.report", broken)
    async with api.socket() as socket:
        await socket.connection.send(
            json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "subscription { health { __typename } }"}})
        )
        message = json.loads(await socket.connection.recv())
    text = json.dumps(message)
    assert "An unexpected error" in text
    assert SECRET not in text
    assert "request_crashed" in log_lines.getvalue()


async def test_unexpected_error_in_a_mutation(
    api: Api, monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO
) -> None:
    monkeypatch.setattr("app.jobs.queue.cancel", broken)
    error = await api.fail(f'mutation {{ cancelJob(input: {{jobId: "{gid("Job", 1)}"}}) {{ __typename }} }}')
    assert error["extensions"]["code"] == "INTERNAL"
    assert error["extensions"]["errorId"] in log_lines.getvalue()


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("{ health { status ", "Syntax Error"),
        ("{ nothing }", "Cannot query field 'nothing'"),
        ("{ group(vkId: {}) { id } }", "BigInt"),
    ],
)
async def test_messages_of_the_engine_are_not_masked(api: Api, query: str, part: str) -> None:
    error = await api.fail(query)
    assert part in error["message"]


async def test_a_fault_in_a_query_has_its_code(api_without_postgresql: Api) -> None:
    error = await api_without_postgresql.fail("{ groups { nodes { id } } }")
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "service": "PostgreSQL", "retryAfterSeconds": 1.0}
    assert error["path"] == ["groups"]


def test_a_fault_without_a_type_is_raised_again() -> None:
    fault = StartFailed("no type stands for this one")
    with pytest.raises(StartFailed):
        error_of(fault)


def test_each_type_is_named_after_its_exception() -> None:
    for fault_type, error_type in ERROR_TYPES.items():
        # `VkTokenError` is the type of `VkTokenRejected`: clients depend on that name
        names = (fault_type.__name__, fault_type.__name__.removesuffix("Rejected"))
        assert error_type.__name__.removesuffix("Error") in names
