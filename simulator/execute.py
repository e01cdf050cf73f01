"""Runs execute: parses a script, makes its calls, and serializes its result, within VK's limits."""

from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Any, Final

import orjson

from simulator.errors import ApiError, failed_run
from simulator.vkscript import Interpreter, parse
from simulator.vkscript.memory import EXPRESSION, Memory
from simulator.vkscript.values import Value, to_text

MAX_CALLS: Final = 25
MAX_REPLY_BYTES: Final = 5 * 1024 * 1024
# Only a script that puts a list into itself makes deeper nesting.
MAX_REPLY_DEPTH: Final = 100

# Each item may be a whole answer, and is in memory before its size is known.
ITEMS_AT_ONCE: Final = 20
_TOO_BIG: Final = "response size is too big"

# method name, parameters -> VK's answer; raises ApiError
CallMethod = Callable[[str, Mapping[str, str]], Any]


class Run:
    """One run of a script; `errors` are the failed calls in order, as in `execute_errors`.

    Limits: 25 calls, 1,000 operations (`Memory` defines an operation), a reply of 5 MB (vk_api issue 425).
    """

    def __init__(self, call: CallMethod, arguments: Mapping[str, str]) -> None:
        self.errors: list[dict[str, object]] = []
        self._call = call
        self._arguments = arguments
        self._calls = 0
        self._memory = Memory()

    def reply(self, code: str) -> bytes:
        """Run the script; return the reply as JSON: its result, in which failed calls are `false`, and their errors.

        Raises:
            ApiError: 12 if the script cannot be parsed, 13 if it fails or exceeds a limit.
        """
        result = Interpreter(self._called, self._arguments, self._memory).run(parse(code))
        written = Writer(self._memory).json(result)
        errors = b',"execute_errors":' + orjson.dumps(self.errors) if self.errors else b""
        return b'{"response":' + written + errors + b"}"

    def _called(self, method: str, argument: Value) -> Value:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise failed_run("too many api calls")
        given = argument if isinstance(argument, dict) else {}
        parameters = {name: as_parameter(value, self._memory) for name, value in given.items()}
        try:
            return self._call(method, parameters)
        except ApiError as error:
            self.errors.append({"method": method, "error_code": error.code, "error_msg": error.message})
            return False


def as_parameter(value: Value, memory: Memory) -> str:
    """Return a value as a request parameter: lists joined by commas, flags as 1 and 0, null as an empty text.

    Raises:
        ApiError: 13 if it is longer than a whole reply may be.
    """
    words = [_word(item, memory) for item in (value if isinstance(value, list) else [value])]
    if sum(map(len, words)) > MAX_REPLY_BYTES:
        raise failed_run(_TOO_BIG)
    return ",".join(words)


def _word(value: Value, memory: Memory) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return Writer(memory).json(value).decode()
    if value is None or isinstance(value, bool):
        return "" if value is None else str(int(value))
    return to_text(value)


class Writer:
    """Writes a value as JSON, and stops when it gets larger than VK's limit for replies.

    A value that the script did not change is written at once, as fast as any answer. A value that the script made is
    written item by item, because it may contain one list many times, or itself. Each item counts as work.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._parts: list[bytes] = []
        self._room = MAX_REPLY_BYTES

    def json(self, value: Value) -> bytes:
        """Return the value as JSON.

        Raises:
            ApiError: 13 if it is larger than 5 MB, contains itself, or is too much work.
        """
        self._write(value, MAX_REPLY_DEPTH)
        return b"".join(self._parts)

    def _write(self, value: Value, depth: int) -> None:
        if not self._is_made(value):
            self._put(orjson.dumps(value))
            return
        if not depth:
            raise failed_run(_TOO_BIG)
        self._memory.count_work(EXPRESSION * len(value))
        if isinstance(value, list):
            self._put(b"[")
            self._write_items(value, depth)
            self._put(b"]")
            return
        self._put(b"{")
        for place, (name, member) in enumerate(value.items()):
            self._put((b"," if place else b"") + orjson.dumps(name) + b":")
            self._write(member, depth - 1)
        self._put(b"}")

    def _write_items(self, items: list[Value], depth: int) -> None:
        start = 0
        while start < len(items):
            if start:
                self._put(b",")
            untouched = list(takewhile(lambda item: not self._is_made(item), items[start : start + ITEMS_AT_ONCE]))
            if untouched:
                self._put(orjson.dumps(untouched)[1:-1])
            else:
                self._write(items[start], depth - 1)
            start += len(untouched) or 1

    def _is_made(self, value: Value) -> bool:
        return isinstance(value, list | dict) and self._memory.is_made(value)

    def _put(self, part: bytes) -> None:
        self._room -= len(part)
        if self._room < 0:
            raise failed_run(_TOO_BIG)
        self._parts.append(part)
