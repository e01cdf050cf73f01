"""The wire format of VK's API: methods, envelopes of replies and error codes, as pure functions on plain values.

`app.vk.replies` parses the content of replies.

Every refusal and failure of VK is one of these:

    VkFault
    ├── VkUnavailable       no usable answer: transient (1, 10, unparsable bodies)
    │   ├── HostFailed          no reply of VK at all: HTTP 5xx, timeouts, broken connections (`app.vk.client`)
    │   └── CircuitOpen         the circuit breaker is open: no requests for some seconds (`app.vk.client`)
    ├── VkRateLimited       too fast, or too much (6, 9, 29): retryable after `retry_after_seconds`
    ├── VkAccessDenied      this wall or post may not be read (7, 15, 18, 19, 30, 200, 203, 210, 212, 801)
    ├── VkTokenRejected     this token cannot be used (5, 14, 17, 27, 28): another one may
    ├── VkScriptFailed      an `execute` failed as a whole (12, 13): a smaller one may work
    │   └── VkExecuteRefused    this kind of token may not use `execute` (27, 28): single calls work
    └── VkRequestRefused    the request itself is wrong (3, 8, 100, 104, 113 and all others)

Sources: VK API schema 5.199 (errors.json), recorded replies under tests/data/vk.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import msgspec
import orjson

from app.errors import ErrorCode, Fault
from app.json_types import JsonObject, JsonValue

PAGE_SIZE = 100
"""The maximum number of posts of wall.get and comments of wall.getComments in one reply."""
THREAD_PREVIEW = 10
"""The maximum number of replies inside a top comment."""
CALLS_PER_EXECUTE = 25
GROUPS_PER_CALL = 500
POSTS_PER_CALL = 100
GROUP_FIELDS = "description,members_count"
AUTHOR_FIELDS = "screen_name,photo_100"


class VkFault(Fault):
    """VK refused or failed. `vk_code` is VK's error_code, if it sent one."""

    code: ClassVar[ErrorCode] = ErrorCode.VK_REQUEST_REFUSED
    fact_names: ClassVar[tuple[str, ...]] = ("vk_code", "method")

    def __init__(self, message: str, vk_code: int | None = None, method: str | None = None) -> None:
        super().__init__(message)
        self.vk_code = vk_code
        self.method = method


class VkUnavailable(VkFault):
    """VK gave no usable answer; the same request may succeed later."""

    code = ErrorCode.VK_UNAVAILABLE
    is_transient = True


class VkRateLimited(VkFault):
    """VK refuses for now; retry after `retry_after_seconds`."""

    code = ErrorCode.VK_RATE_LIMITED
    fact_names = (*VkFault.fact_names, "retry_after_seconds")
    is_transient = True

    def __init__(
        self,
        message: str,
        vk_code: int | None = None,
        method: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, vk_code, method)
        if retry_after_seconds is None:
            retry_after_seconds = {6: 0.4, 9: 60.0}.get(vk_code or 0, 3600.0)
        self.retry_after_seconds = retry_after_seconds


class VkAccessDenied(VkFault):
    """This wall, post or community may not be read."""

    code = ErrorCode.VK_ACCESS_DENIED


class VkTokenRejected(VkFault):
    """The token cannot be used: revoked, of the wrong kind, or VK requires a person to act (captcha, validation)."""

    code = ErrorCode.VK_TOKEN


class VkScriptFailed(VkFault):
    """An `execute` did not compile or run as a whole, for instance because its answer is too big."""


class VkExecuteRefused(VkScriptFailed):
    """This kind of token may not use `execute`, but can call single methods."""


class VkRequestRefused(VkFault):
    """VK rejects the request itself; repeating it does not help."""


_FAULTS: Mapping[int, type[VkFault]] = {
    **dict.fromkeys((1, 10), VkUnavailable),
    **dict.fromkeys((6, 9, 29), VkRateLimited),
    **dict.fromkeys((7, 15, 18, 19, 30, 200, 203, 210, 212, 801), VkAccessDenied),
    **dict.fromkeys((5, 14, 17, 27, 28), VkTokenRejected),
    **dict.fromkeys((12, 13), VkScriptFailed),
}


Answer: TypeAlias = JsonValue | VkFault
"""The answer of a call, or the fault with which it failed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one method, with VK's parameter names."""

    method: str
    params: dict[str, JsonValue] = field(default_factory=dict)


# requests


def groups_by_id(references: Sequence[str]) -> Call:
    """Request communities by id or screen name, up to 500 in one call. Unknown ones are absent from the answer."""
    return Call("groups.getById", {"group_ids": ",".join(references), "fields": GROUP_FIELDS})


def wall_page(owner_id: int, offset: int) -> Call:
    """Request up to 100 posts of a wall, newest first."""
    return Call(
        "wall.get",
        {"owner_id": owner_id, "offset": offset, "count": PAGE_SIZE, "extended": 1, "fields": AUTHOR_FIELDS},
    )


def wall_probe(owner_id: int) -> Call:
    """Request one post of a wall, to see whether the wall can still be read."""
    return Call("wall.get", {"owner_id": owner_id, "count": 1})


def posts_by_id(owner_id: int, ids: Sequence[int]) -> Call:
    """Request up to 100 posts of a wall by their ids; those that do not exist are absent from the answer."""
    posts = ",".join(f"{owner_id}_{post_id}" for post_id in ids)
    return Call("wall.getById", {"posts": posts, "extended": 1, "fields": AUTHOR_FIELDS})


def comments_page(owner_id: int, post_id: int, offset: int, thread_id: int | None) -> Call:
    """Request up to 100 top comments of a post, each with up to 10 replies; or up to 100 replies of one thread."""
    params: dict[str, JsonValue] = {
        "owner_id": owner_id,
        "post_id": post_id,
        "offset": offset,
        "count": PAGE_SIZE,
        "sort": "asc",
        "need_likes": 1,
        "extended": 1,
        "fields": AUTHOR_FIELDS,
    }
    level: dict[str, JsonValue] = (
        {"thread_items_count": THREAD_PREVIEW} if thread_id is None else {"comment_id": thread_id}
    )
    return Call("wall.getComments", params | level)


def execute(calls: Sequence[Call]) -> Call:
    """Pack up to 25 calls into one; the answer is the list of their answers, `false` where one failed."""
    # The literals of VKScript include JSON's, so a JSON object is a valid argument.
    script = ",".join(f"API.{call.method}({orjson.dumps(call.params).decode()})" for call in calls)
    return Call("execute", {"code": f"return [{script}];"})


# replies


@contextmanager
def known_shape(call: Call) -> Iterator[None]:
    """Convert exceptions while the answer to `call` is read into a fault: VK's answer does not follow its schema.

    Raises:
        VkUnavailable: a value is missing or has another type.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        message = f"VK's answer has an unknown shape: {type(error).__name__} {error}"
        raise VkUnavailable(message, method=call.method) from error


def read_reply(body: bytes, method: str) -> JsonObject:
    """Return the envelope `{"response": ...}` of a reply, without characters that PostgreSQL cannot store as text.

    Raises:
        VkFault: the reply is an error of VK (the code determines the class), or cannot be parsed (VkUnavailable).
    """
    envelope = _load(body, method)
    if "error" in envelope:
        raise fault_of(envelope["error"], method)
    if "response" not in envelope:
        raise VkUnavailable("VK's answer contains neither a response nor an error.", method=method)
    return envelope


def _load(body: bytes, method: str) -> JsonObject:
    try:
        envelope = orjson.loads(body)
        is_clean = rb"\u0000" not in body
    except orjson.JSONDecodeError:
        try:  # VK cuts emoji into halves of surrogate pairs, which json accepts and orjson does not
            envelope, is_clean = json.loads(body), False
        except ValueError as error:
            raise VkUnavailable("VK's answer is not JSON.", method=method) from error
    if not isinstance(envelope, dict):
        raise VkUnavailable("VK's answer is not an object.", method=method)
    return envelope if is_clean else {name: _clean(value) for name, value in envelope.items()}


class _Error(msgspec.Struct):
    """VK's error object, or an element of execute_errors."""

    error_code: int
    error_msg: object = None


def fault_of(error: JsonValue, method: str) -> VkFault:
    """Return the exception for VK's error object or for an element of execute_errors."""
    try:
        found = msgspec.convert(error, _Error)
    except msgspec.ValidationError:
        return VkUnavailable("VK answered with an error without a code.", method=method)
    code = found.error_code
    kind = VkExecuteRefused if method == "execute" and code in (27, 28) else kind_of_fault(code)
    return kind(f"VK: {found.error_msg or 'no message'} (error {code})", code, method)


def kind_of_fault(code: int | None) -> type[VkFault]:
    """Return the exception class for one of VK's error codes."""
    return _FAULTS.get(code or 0, VkRequestRefused)


COMMENTS_CLOSED = 212
"""VK's code for a post whose comments are disabled: it says nothing about the wall."""


def may_be_about_wall(fault: VkFault) -> bool:
    """Return whether a post may be refused because its whole wall is: VK uses the same codes for both."""
    return isinstance(fault, VkAccessDenied) and fault.vk_code != COMMENTS_CLOSED


def read_execute(envelope: JsonObject, calls: Sequence[Call]) -> list[Answer]:
    """Return the answer of each packed call, or the VkFault with which it failed.

    VK returns `false` for a failed call, and the reasons, in order, in
    execute_errors. An element of the method `execute` belongs to none of the calls.

    Raises:
        VkUnavailable: the answer does not fit the calls.
    """
    answers = envelope["response"]
    if not isinstance(answers, list) or len(answers) != len(calls):
        raise VkUnavailable("VK's answer to an execute does not fit its calls.", method="execute")
    listed = envelope.get("execute_errors") or []
    found = [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []
    if found != listed:
        raise VkUnavailable(
            "VK's answer has an unknown shape: execute_errors is not a list of objects.", method="execute"
        )
    errors = (error for error in found if error.get("method") != "execute")
    return [
        fault_of(next(errors, {}), call.method) if answer is False else answer
        for answer, call in zip(answers, calls, strict=True)
    ]


def _clean(value: JsonValue) -> JsonValue:
    """Replace characters that PostgreSQL cannot store as text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        # Python's encoder replaces half of a pair by "?".
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {str(_clean(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
