"""Sends calls to VK, one HTTP request each, within VK's rate limits, and retries transient failures."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx2
import stamina
from circuitbreaker import CircuitBreaker
from pydantic import SecretStr

from app import metrics
from app.json_types import JsonObject, JsonValue
from app.log import log
from app.vk.pace import Pace, TokenKind, fingerprint
from app.vk.wire import (
    Answer,
    Call,
    VkExecuteRefused,
    VkFault,
    VkRateLimited,
    VkTokenRejected,
    VkUnavailable,
    execute,
    known_shape,
    read_execute,
    read_reply,
)

Read = TypeVar("Read")

ATTEMPTS = 6
HEAVY_ATTEMPTS = 2
LONGEST_WAIT_SECONDS = 10.0
COOLDOWN_SECONDS: Mapping[int, float] = {9: 60.0, 14: 3600.0, 17: 3600.0, 29: 3600.0}
"""VK code -> cooldown of the token; after other codes that reject a token it is not used again."""
GROUP_AUTH = 27
"""VK's code for a community's token that is not allowed for the method."""
FAULT_COUNTS_SECONDS = 300.0
BREAK_AFTER_FAILURES = 8
BREAK_SECONDS = 15
"""After this many consecutive requests that the host did not answer, no request is sent for this long."""


class HostFailed(VkUnavailable):
    """The host did not answer, or not with a reply of VK: all of VK may be down."""


class CircuitOpen(VkUnavailable):
    """The circuit breaker is open: the host failed too often; no request is sent for `retry_after_seconds`."""

    fact_names = (*VkUnavailable.fact_names, "retry_after_seconds")

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(f"VK has not answered for a while. The next request is sent in {retry_after_seconds:g} s.")
        self.retry_after_seconds = retry_after_seconds


@dataclass(slots=True)
class Usage:
    """The number of HTTP requests to VK, and of calls in them; an `execute` makes up to 25."""

    requests: int = 0
    calls: int = 0


class VkClient:
    """A client of VK's API at one address. Safe to share between tasks.

    A transient failure is retried up to five times, with growing pauses of at most
    10 s. A token that VK rejects or limits is blocked, and another one is used.
    While the host keeps failing, the circuit breaker is open for some seconds, and
    calls fail at once.
    """

    def __init__(self, http: httpx2.AsyncClient, api_version: str, pace: Pace, timeout_seconds: float = 15.0) -> None:
        self._http = http
        self._version = api_version
        self._pace = pace
        self._timeout_seconds = timeout_seconds
        self._breaker = CircuitBreaker(BREAK_AFTER_FAILURES, BREAK_SECONDS, HostFailed)
        self._last_fault: VkFault | None = None
        self._failed_at = 0.0

    @property
    def last_fault(self) -> VkFault | None:
        """The failure of the last request, for five minutes; None if VK answered it, even with a refusal."""
        return self._last_fault if time.monotonic() - self._failed_at < FAULT_COUNTS_SECONDS else None

    def _note(self, fault: VkFault | None) -> None:
        self._last_fault, self._failed_at = fault, time.monotonic()

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of the tokens in use."""
        return self._pace.fingerprints

    async def call(self, call: Call, usage: Usage | None = None) -> JsonValue:
        """Call a method and return its answer.

        Raises:
            VkFault: VK refused or failed; the subclasses are listed in `app.vk.wire`.
        """
        answer, _ = await self._with_retries(call, 1, usage or Usage(), lambda envelope: envelope["response"])
        return answer

    async def execute(self, calls: Sequence[Call], usage: Usage | None = None) -> tuple[list[Answer], int]:
        """Make up to 25 calls in one request; return the answer of each or its VkFault, and the size in bytes.

        If the host fails, the request is sent only twice: VK is known to answer
        heavy requests with HTTP 500, and smaller ones may succeed (vk_api issue 397).

        Raises:
            VkFault: the request failed as a whole.
        """
        return await self._with_retries(
            execute(calls), len(calls), usage or Usage(), lambda envelope: read_execute(envelope, calls)
        )

    async def _with_retries(
        self, call: Call, calls: int, usage: Usage, read: Callable[[JsonObject], Read]
    ) -> tuple[Read, int]:
        failures = 0

        def pause(error: Exception) -> bool | float:
            nonlocal failures
            failures += isinstance(error, HostFailed)
            return False if calls > 1 and failures >= HEAVY_ATTEMPTS else _retry_wait(error)

        async for attempt in stamina.retry_context(
            on=pause,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=0.3,
            wait_max=LONGEST_WAIT_SECONDS,
            wait_jitter=0.5,
        ):
            with attempt:
                return await self._with_any_token(call, calls, usage, read)
        raise AssertionError  # pragma: no cover - retry_context returns or raises

    async def _with_any_token(
        self, call: Call, calls: int, usage: Usage, read: Callable[[JsonObject], Read]
    ) -> tuple[Read, int]:
        # The loop ends: each round blocks a token, or marks it as not allowed `execute`, and reserving a slot
        # fails when no token is left.
        while True:
            try:
                return await self._request(call, calls, usage, read)
            except VkFault as fault:
                if not (is_about_token(fault) or _may_others_execute(fault)):
                    raise

    async def _request(
        self, call: Call, calls: int, usage: Usage, read: Callable[[JsonObject], Read]
    ) -> tuple[Read, int]:
        token = await self._slot(call, calls)
        usage.requests += 1
        usage.calls += calls
        try:
            body = await self._post(call, token.get_secret_value())
            with known_shape(call):
                answer = read(read_reply(body, call.method))
        except VkFault as fault:
            # A refusal of a token or of one call is an answer: VK works.
            has_failed = isinstance(fault, VkUnavailable | VkRateLimited) and not is_about_token(fault)
            self._note(fault if has_failed else None)
            metrics.vk_requests.labels(fault.code.value).inc()
            log.debug("vk_refused", method=call.method, vk_code=fault.vk_code, reason=fault.message)
            await self._update_token(token, fault)
            raise
        self._note(None)
        metrics.vk_requests.labels("OK").inc()
        if isinstance(answer, list) and call.method == "execute":
            await self._update_token_by_answers(token, answer)
        return answer, len(body)

    async def _slot(self, call: Call, calls: int) -> SecretStr:
        if self._breaker.opened:
            raise CircuitOpen(max(1.0, self._breaker.open_remaining))
        return await self._pace.wait_for_slot(calls, executes=call.method == "execute")

    async def _update_token(self, token: SecretStr, fault: VkFault) -> None:
        """Record the token's kind, or block it, if the fault concerns the token."""
        if isinstance(fault, VkExecuteRefused):
            await self._pace.note_kind(token, TokenKind.GROUP if fault.vk_code == GROUP_AUTH else TokenKind.SERVICE)
        elif is_about_token(fault):
            if fault.vk_code == GROUP_AUTH:
                await self._pace.note_kind(token, TokenKind.GROUP)
            seconds = COOLDOWN_SECONDS.get(fault.vk_code or 0)
            log.warning("vk_token_cooldown", token=fingerprint(token), reason=fault.message, seconds=seconds)
            await self._pace.block(token, fault, seconds)

    async def _update_token_by_answers(self, token: SecretStr, answers: Sequence[Answer]) -> None:
        """Record the token's kind, or block it, according to the answers of the calls of an `execute`."""
        rejected = [answer for answer in answers if isinstance(answer, VkFault) and is_about_token(answer)]
        if rejected:
            await self._update_token(token, rejected[0])
        elif not any(isinstance(answer, VkFault) for answer in answers):
            # Only a user's token can do this: a service token may not use `execute`, and a community's token may not
            # call the methods in it.
            await self._pace.note_kind(token, TokenKind.USER)

    async def _post(self, call: Call, token: str) -> bytes:
        sending = asyncio.ensure_future(self._send(call, token))
        try:
            await asyncio.wait({sending}, timeout=self._timeout_seconds)
        finally:
            is_late = not sending.done()
            sending.cancel()
        # Enter the breaker only for the outcome: it would count a request that we cancelled as a success.
        with self._breaker:
            if is_late:
                raise HostFailed(f"VK did not answer within {self._timeout_seconds:g} s.", method=call.method)
            return sending.result()

    async def _send(self, call: Call, token: str) -> bytes:
        try:
            reply = await self._http.post(
                f"/method/{call.method}",
                data={**call.params, "v": self._version},
                # In a header, the token does not appear in access logs.
                headers={"Authorization": f"Bearer {token}"},
            )
        except httpx2.HTTPError as error:
            raise HostFailed(f"VK cannot be reached: {type(error).__name__}.", method=call.method) from error
        if reply.is_error:
            raise HostFailed(f"VK answered with HTTP {reply.status_code}.", method=call.method)
        return reply.content


def _retry_wait(error: Exception) -> bool | float:
    """Return to stamina whether to retry, or after how many seconds."""
    if isinstance(error, CircuitOpen):
        return False
    if isinstance(error, VkRateLimited):
        return error.retry_after_seconds if error.retry_after_seconds <= LONGEST_WAIT_SECONDS else False
    return isinstance(error, VkUnavailable)


def _may_others_execute(fault: VkFault) -> bool:
    return isinstance(fault, VkExecuteRefused) and fault.vk_code is not None


def is_about_token(fault: VkFault) -> bool:
    """Return whether VK refused this token, permanently or for some time, so that another one may be accepted."""
    return fault.vk_code is not None and (isinstance(fault, VkTokenRejected) or fault.vk_code in COOLDOWN_SECONDS)
