"""This file runs execute: evaluates a script, makes its calls, and collects what failed."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from app.simulator import vkscript
from app.simulator.errors import ApiError, failed_run

MAX_CALLS: Final = 25
MAX_REPLY_BYTES: Final = 5 * 1024 * 1024

# method name, parameters -> VK's answer; raises ApiError
CallMethod = Callable[[str, Mapping[str, str]], Any]


class Run:
    """One run of a script; `errors` are the failed calls in order, as `execute_errors` shows them.

    Limits: 25 calls, a reply of 5 MB (vk_api issue 425).
    """

    def __init__(self, call: CallMethod) -> None:
        self.errors: list[dict[str, object]] = []
        self._call = call
        self._calls = 0

    def result(self, code: str) -> object:
        """What the script returns; a failed call is `false` at its place.

        Raises:
            ApiError: 12 when the script cannot be read, 13 when it makes more than 25 calls.
        """
        return self._value(vkscript.parse(code))

    def _value(self, expression: vkscript.Expression) -> object:
        if isinstance(expression, vkscript.Literal):
            return expression.value
        if isinstance(expression, vkscript.ListOf):
            return [self._value(item) for item in expression.items]
        if isinstance(expression, vkscript.ObjectOf):
            return {key: self._value(value) for key, value in expression.entries}
        return self._called(expression.method, self._value(expression.argument))

    def _called(self, method: str, argument: object) -> object:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise failed_run("too many api calls")
        parameters = argument if isinstance(argument, dict) else {}
        try:
            return self._call(method, {name: as_parameter(value) for name, value in parameters.items()})
        except ApiError as error:
            self.errors.append({"method": method, "error_code": error.code, "error_msg": error.message})
            return False


def as_parameter(value: object) -> str:
    """A script's value as the text a request would carry: lists with commas, flags as 1 and 0, null as nothing."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(as_parameter(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def check_size(reply: bytes) -> bytes:
    """The reply itself.

    Raises:
        ApiError: 13 when it is larger than VK sends.
    """
    if len(reply) > MAX_REPLY_BYTES:
        raise failed_run("response size is too big")
    return reply
