import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from app.log import BlankSecrets, configure_logging, log
from app.settings import read_settings

SECRET = "vk1.a.hidden"
KEY = "key-hidden-from-all"


@pytest.fixture
def written() -> Iterator[Callable[..., io.StringIO]]:
    """Yield a function that redirects the log of this process to a text; restore pytest's handlers afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logger.level for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)
    }

    def start(**overrides: Any) -> io.StringIO:
        text = io.StringIO()
        defaults = {
            "vk_tokens": (SECRET, SECRET + "-and-more"),
            "api_keys": (KEY,),
            "database_url": "postgresql://user:pass-hidden@host/db",
            "log_level": "info",
            "log_format": "json",
        }
        settings = read_settings(**{**defaults, **overrides})
        configure_logging(settings, text)
        return text

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)
    structlog.reset_defaults()


def lines(text: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_an_event_as_json(written: Callable[..., io.StringIO]) -> None:
    text = written()
    with structlog.contextvars.bound_contextvars(request_id="r1", operation="groups", job_id=7):
        log.info("group_added", name="Тёплый полдень", count=2, share=0.5, nothing=None, places=("a", 1))
    log.info("later")
    first, second = lines(text)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "group_added",
        "level": "info",
        "logger": "tests.unit.test_log",
        "request_id": "r1",
        "operation": "groups",
        "job_id": 7,
        "name": "Тёплый полдень",
        "count": 2,
        "share": 0.5,
        "nothing": None,
        "places": ["a", 1],
    }
    assert not {"request_id", "operation", "job_id"} & second.keys()


def test_an_event_on_the_console(written: Callable[..., io.StringIO]) -> None:
    text = written(log_format="console")
    log.warning("group_added", name="Тёплый полдень", token=SECRET)
    line = text.getvalue()
    assert "group_added" in line
    assert "Тёплый полдень" in line
    assert "warning" in line
    assert "token=[secret]" in line
    assert "\x1b" not in line  # colours are for terminals


def test_libraries_log_by_the_same_rules(written: Callable[..., io.StringIO]) -> None:
    text = written()
    with structlog.contextvars.bound_contextvars(job_id=7):
        logging.getLogger("some.library").warning("called with %s", SECRET)
    logging.getLogger("some.library").debug("too much")
    logging.getLogger("httpx2").info("too much")
    [line] = lines(text)
    assert (line["event"], line["logger"], line["job_id"]) == ("called with [secret]", "some.library", 7)


def test_levels(written: Callable[..., io.StringIO]) -> None:
    text = written(log_level="error")
    log.warning("quiet")
    log.error("loud")
    assert [line["event"] for line in lines(text)] == ["loud"]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_traceback_shows_a_secret(written: Callable[..., io.StringIO], log_format: str) -> None:
    text = written(log_format=log_format)

    def fail(token: str) -> None:
        local = "x" * 60 + token  # so long that a shortened representation would cut the secret in two
        raise RuntimeError(f"refused {token} by postgresql+asyncpg://user:pass-hidden@host/db {len(local)}")

    for report in (log.exception, logging.getLogger("some.library").exception):
        try:
            try:
                fail(SECRET)
            except RuntimeError as error:
                raise ValueError(KEY) from error
        except ValueError:
            report("failed")
    output = text.getvalue()
    assert output.count("RuntimeError") >= 2
    assert output.count("ValueError") >= 2
    assert output.count("[secret]") >= 6
    assert "hidden" not in output


def test_secrets_are_masked_at_any_depth(written: Callable[..., io.StringIO]) -> None:
    class Named:
        def __str__(self) -> str:
            return f"named {SECRET}"

    text = written()
    log.info(
        "deep",
        nested={"list": [SECRET, {SECRET: (KEY,)}], "set": {SECRET}},
        thing=Named(),
        raw=SECRET.encode(),
        error=ValueError(SECRET),
        longer=SECRET + "-and-more",
    )
    [line] = lines(text)
    assert line["nested"]["list"] == ["[secret]", {"[secret]": ["[secret]"]}]
    assert line["thing"] == "named [secret]"
    assert line["error"] == "[secret]"
    assert line["longer"] == "[secret]"  # not the rest behind a shorter secret
    assert "hidden" not in text.getvalue()


def test_nothing_is_masked_without_secrets() -> None:
    event = {"event": "hello", "empty": "", "number": 1}
    assert BlankSecrets(["", ""])(None, "info", event) == event


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_short_secrets_do_not_change_ordinary_words(written: Callable[..., io.StringIO], log_format: str) -> None:
    settings = {"vk_tokens": ("a", "e", "event", "seven77"), "redis_url": "redis://:o@host", "log_format": log_format}
    text = written(**settings, api_keys=())
    log.warning("group_added", name="aeo a e seven77", cache="redis://:o@other")
    output = text.getvalue()
    for word in ("group_added", "name", "aeo a e seven77", "warning", "tests.unit.test_log"):
        assert word in output
    assert "redis[secret]" not in output
    assert "redis://[secret]other" in output  # a password in a URL is masked, however short


def test_names_of_fields_are_never_masked(written: Callable[..., io.StringIO]) -> None:
    text = written(vk_tokens=("timestamp", "group_name"))
    log.info("group_added", group_name="group_name of timestamp")
    [line] = lines(text)
    assert line["group_name"] == "[secret] of [secret]"
    assert "timestamp" in line
