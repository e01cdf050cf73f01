import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ErrorCode
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
    comments_page,
    execute,
    fault_of,
    groups_by_id,
    posts_by_id,
    read_execute,
    read_reply,
    wall_page,
)

SAMPLES = Path(__file__).parents[1] / "data" / "vk" / "samples"


def body(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def answer(name: str) -> Any:
    return read_reply(body(f"vknet/{name}.json"), "any")["response"]


# requests


def test_a_call_for_groups() -> None:
    fields = "description,members_count"
    assert groups_by_id(["1", "apiclub"]) == Call("groups.getById", {"group_ids": "1,apiclub", "fields": fields})


def test_a_call_for_a_wall() -> None:
    params = {"owner_id": -1, "offset": 98, "count": 100, "extended": 1, "fields": "screen_name,photo_100"}
    assert wall_page(-1, 98) == Call("wall.get", params)


def test_a_call_for_posts() -> None:
    params = {"posts": "-1_2,-1_3", "extended": 1, "fields": "screen_name,photo_100"}
    assert posts_by_id(-1, [2, 3]) == Call("wall.getById", params)


COMMENTS = {
    "owner_id": -1,
    "post_id": 2,
    "offset": 0,
    "count": 100,
    "sort": "asc",
    "need_likes": 1,
    "extended": 1,
    "fields": "screen_name,photo_100",
}


def test_a_call_for_comments() -> None:
    assert comments_page(-1, 2, 0, None) == Call("wall.getComments", COMMENTS | {"thread_items_count": 10})


def test_a_call_for_replies() -> None:
    assert comments_page(-1, 2, 0, 3) == Call("wall.getComments", COMMENTS | {"comment_id": 3})


def test_a_script() -> None:
    script = execute([Call("wall.get", {"owner_id": -1, "text": 'a "б"'}), Call("users.get")])
    code = 'return [API.wall.get({"owner_id":-1,"text":"a \\"б\\""}),API.users.get({})];'
    assert script == Call("execute", {"code": code})


# recorded errors


@pytest.mark.parametrize(
    ("code", "kind", "error_code", "passes"),
    [
        (1, VkUnavailable, ErrorCode.VK_UNAVAILABLE, True),
        (5, VkTokenRejected, ErrorCode.VK_TOKEN, False),
        (7, VkAccessDenied, ErrorCode.VK_ACCESS_DENIED, False),
        (12, VkScriptFailed, ErrorCode.VK_REQUEST_REFUSED, False),
        (14, VkTokenRejected, ErrorCode.VK_TOKEN, False),
        (15, VkAccessDenied, ErrorCode.VK_ACCESS_DENIED, False),
        (17, VkTokenRejected, ErrorCode.VK_TOKEN, False),
        (100, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (103, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (104, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (125, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (204, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (214, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (260, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (913, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
        (914, VkRequestRefused, ErrorCode.VK_REQUEST_REFUSED, False),
    ],
)
def test_a_recorded_error(code: int, kind: type[VkFault], error_code: ErrorCode, *, passes: bool) -> None:
    sample = body(f"errors/{code}.json")
    with pytest.raises(VkFault) as caught:
        read_reply(sample, "some.method")
    fault = caught.value
    assert type(fault) is kind
    assert (fault.code, fault.is_transient, fault.vk_code, fault.method) == (error_code, passes, code, "some.method")
    assert fault.message == f"VK: {json.loads(sample)['error']['error_msg']} (error {code})"
    assert fault.facts() == {"vkCode": code, "method": "some.method"}


def test_every_recorded_error_is_tested() -> None:
    names = {path.stem for path in (SAMPLES / "errors").iterdir()}
    tested = {"1", "5", "7", "12", "14", "15", "17", "100", "103", "104", "125", "204", "214", "260", "913", "914"}
    assert names - {"ExecuteErrorsHandler"} == tested


@pytest.mark.parametrize("name", ["errors/ExecuteErrorsHandler.json", "vknet/Execute_ExecuteErrors.json"])
def test_a_recorded_execute_without_an_answer(name: str) -> None:
    envelope = read_reply(body(name), "execute")
    assert envelope["response"] is None
    with pytest.raises(VkUnavailable, match="does not fit"):
        read_execute(envelope, [Call("messages.removeChatUser")] * 2)


# errors


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((code, VkUnavailable) for code in (1, 10)),
        *((code, VkRateLimited) for code in (6, 9, 29)),
        *((code, VkAccessDenied) for code in (15, 18, 30, 200, 203, 210, 212)),
        *((code, VkTokenRejected) for code in (5, 14, 17, 27, 28)),
        *((code, VkScriptFailed) for code in (12, 13)),
        *((code, VkRequestRefused) for code in (3, 8, 100, 104, 113, 4_000)),
    ],
)
def test_the_exception_of_a_code(code: int, kind: type[VkFault]) -> None:
    fault = fault_of({"error_code": code}, "wall.get")
    assert type(fault) is kind
    assert fault.message == f"VK: no message (error {code})"


@pytest.mark.parametrize("code", [27, 28])
def test_execute_rejected(code: int) -> None:
    assert type(fault_of({"error_code": code}, "execute")) is VkExecuteRefused


@pytest.mark.parametrize(("code", "seconds"), [(6, 0.4), (9, 60.0), (29, 3600.0)])
def test_the_time_of_a_retry(code: int, seconds: float) -> None:
    fault = fault_of({"error_code": code}, "wall.get")
    assert fault.facts() == {"vkCode": code, "method": "wall.get", "retryAfterSeconds": seconds}


@pytest.mark.parametrize("error", [{}, {"error_code": "5"}, "invalid_request", None])
def test_an_error_without_a_code(error: object) -> None:
    fault = fault_of(error, "wall.get")
    assert type(fault) is VkUnavailable
    assert fault.vk_code is None


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "VK's answer is not JSON."),
        (b"<html></html>", "VK's answer is not JSON."),
        (b'{"response": {"items": [', "VK's answer is not JSON."),
        (b"\xff\xfe\xfd", "VK's answer is not JSON."),
        (b"[1]", "VK's answer is not an object."),
        (b"{}", "VK's answer contains neither a response nor an error."),
        (b'{"error": "invalid_request"}', "VK answered with an error without a code."),
    ],
)
def test_a_reply_that_cannot_be_read(reply: bytes, message: str) -> None:
    with pytest.raises(VkUnavailable) as caught:
        read_reply(reply, "wall.get")
    assert (caught.value.message, caught.value.method) == (message, "wall.get")


# execute


CALLS = [Call("wall.getComments"), Call("wall.get"), Call("wall.getById")]
DENIED = {"method": "wall.getComments", "error_code": 212, "error_msg": "Access to post comments denied"}
BROKEN = {"method": "wall.getById", "error_code": 10, "error_msg": "Internal server error"}
QUIRK = {"method": "execute", "error_code": 15, "error_msg": "Access denied"}


@pytest.mark.parametrize("errors", [[DENIED, BROKEN], [DENIED, BROKEN, QUIRK], [QUIRK, DENIED, BROKEN]])
def test_failed_calls_keep_their_positions(errors: list[dict[str, Any]]) -> None:
    first, second, third = read_execute({"response": [False, {"count": 0}, False], "execute_errors": errors}, CALLS)
    assert (type(first), first.vk_code, first.method) == (VkAccessDenied, 212, "wall.getComments")
    assert second == {"count": 0}
    assert (type(third), third.vk_code, third.method) == (VkUnavailable, 10, "wall.getById")


def test_a_failed_call_whose_reason_is_missing() -> None:
    [fault] = read_execute({"response": [False], "execute_errors": [QUIRK]}, CALLS[:1])
    assert (type(fault), fault.vk_code) == (VkUnavailable, None)


def test_no_failed_call() -> None:
    assert read_execute({"response": [1, [], {}]}, CALLS) == [1, [], {}]


@pytest.mark.parametrize("response", [None, False, {}, [], [1, 2]])
def test_an_execute_that_does_not_fit(response: object) -> None:
    with pytest.raises(VkUnavailable, match="does not fit"):
        read_execute({"response": response}, CALLS)


# characters that PostgreSQL cannot store


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"a\u0000b", "a�b"),
        (rb"cut \ud83d", "cut ?"),
        (rb"\ude00 and \u0000", "? and �"),
        (rb"whole \ud83d\ude00", "whole 😀"),
        (rb"written \\u0000", r"written \u0000"),
        ("Привет 😀".encode(), "Привет 😀"),
    ],
)
def test_text_that_postgresql_cannot_hold(sent: bytes, read: str) -> None:
    reply = b'{"response": {"%b": ["%b", {"text": "%b"}, 1, 0.5, null, true]}}' % (sent, sent, sent)
    assert read_reply(reply, "wall.get") == {"response": {read: [read, {"text": read}, 1, 0.5, None, True]}}
    read.encode()
