"""Sends calls to VK: one HTTP request each, at the pace VK allows, tried again when a failure can pass."""

from collections.abc import Mapping
from typing import Any

import httpx2
import stamina
from pydantic import SecretStr

from app import metrics
from app.log import log
from app.vk.pace import Pace
from app.vk.wire import Call, VkExecuteRefused, VkFault, VkRateLimited, VkTokenRejected, VkUnavailable, read_reply

ATTEMPTS = 6
LONGEST_WAIT_SECONDS = 10.0
ASIDE_SECONDS: Mapping[int, float] = {9: 60.0, 14: 3600.0, 17: 3600.0, 29: 3600.0}
"""How long a token rests after these codes; after the other ones that reject a token it is not used again."""


class VkClient:
    """A client of VK's API at one address. Safe to share between tasks."""

    def __init__(self, http: httpx2.AsyncClient, api_version: str, pace: Pace) -> None:
        self._http = http
        self._version = api_version
        self._pace = pace
        self.last_fault: VkFault | None = None
        """What the newest request failed with; None when VK did answer it, be it by a refusal, or there was none."""
        self.may_execute = True
        """Whether no token of ours has been refused `execute` so far."""

    async def call(self, call: Call) -> dict[str, Any]:
        """Call a method and return the envelope `{"response": ...}`, for `execute` with its execute_errors.

        A failure that can pass is tried again up to five times, with growing
        pauses of 10 s at most. A rejected token, or one that VK wants to rest, is
        put aside for another one.

        Raises:
            VkFault: which one says what VK did; see `app.vk.wire`.
        """
        async for attempt in stamina.retry_context(
            on=_pause, attempts=ATTEMPTS, timeout=None, wait_initial=0.3, wait_max=LONGEST_WAIT_SECONDS, wait_jitter=0.5
        ):
            with attempt:
                return await self._request(call)
        raise AssertionError  # pragma: no cover - retry_context returns or raises

    async def _request(self, call: Call) -> dict[str, Any]:
        token = await self._turn()
        try:
            envelope = read_reply(await self._post(call, token.get_secret_value()), call.method)
        except VkFault as fault:
            self.last_fault = fault if isinstance(fault, VkUnavailable | VkRateLimited | VkTokenRejected) else None
            metrics.vk_requests.labels(fault.code.value).inc()
            log.debug("vk_refused", method=call.method, vk_code=fault.vk_code, reason=fault.message)
            if isinstance(fault, VkExecuteRefused):
                self.may_execute = False
            if _is_about_token(fault):
                await self._pace.put_aside(token, fault.message, ASIDE_SECONDS.get(fault.vk_code or 0))
            raise
        self.last_fault = None
        metrics.vk_requests.labels("OK").inc()
        return envelope

    async def _turn(self) -> SecretStr:
        try:
            return await self._pace.turn()
        except VkFault as fault:
            self.last_fault = fault
            raise

    async def _post(self, call: Call, token: str) -> bytes:
        try:
            reply = await self._http.post(
                f"/method/{call.method}",
                data={**call.params, "v": self._version},
                # in the header, a token reaches no access log
                headers={"Authorization": f"Bearer {token}"},
            )
        except httpx2.HTTPError as error:
            raise VkUnavailable(f"VK cannot be reached: {type(error).__name__}.", method=call.method) from error
        if reply.is_error:
            raise VkUnavailable(f"VK answered with HTTP {reply.status_code}.", method=call.method)
        return reply.content


def _pause(error: Exception) -> bool | float:
    """Tell stamina whether, or after how many seconds, to try again."""
    if isinstance(error, VkFault) and _is_about_token(error):
        return True  # another token may do; where none is left, its turn does not come
    if isinstance(error, VkRateLimited):
        return error.retry_after_seconds if error.retry_after_seconds <= LONGEST_WAIT_SECONDS else False
    return isinstance(error, VkUnavailable)


def _is_about_token(fault: VkFault) -> bool:
    """Whether VK refused one token, for good or for some time, so that another one may be accepted."""
    return fault.vk_code is not None and (isinstance(fault, VkTokenRejected) or fault.vk_code in ASIDE_SECONDS)
