"""This file holds VK's refusals: their codes, VK's wording, and the envelope they travel in.

Codes and short texts: VK API schema 5.199, errors.json; longer texts as seen in recorded replies.
"""

from collections.abc import Mapping
from typing import Any, Final

MESSAGES: Final[dict[int, str]] = {
    1: "Unknown error occurred",
    3: "Unknown method passed",
    5: "User authorization failed: no access_token passed.",
    6: "Too many requests per second",
    8: "Invalid request: v (version) is required",
    9: "Flood control",
    10: "Internal server error: Unknown error, try later",
    12: "Unable to compile code",
    13: "Runtime error occurred during code invocation",
    14: "Captcha needed",
    15: "Access denied",
    17: "Validation required: please open redirect_uri in browser",
    18: "User was deleted or banned",
    19: "Content blocked",
    27: "Group authorization failed: method is unavailable with group auth.",
    28: "Application authorization failed: method is unavailable with service token.",
    29: "Rate limit reached",
    30: "This profile is private",
    100: "One of the parameters specified was missing or invalid",
    104: "Not found",
    113: "Invalid user id",
    125: "Invalid group id",
    212: "Access to post comments denied",
}
# What VK adds to the envelope beside code, message and request_params.
_EXTRAS: Final[dict[int, dict[str, object]]] = {
    14: {
        "captcha_sid": "548747100691",
        "captcha_img": "https://simulator.invalid/captcha.php?sid=548747100691&s=1",
        "redirect_uri": "https://simulator.invalid/not_robot_captcha?session_token=simulated",
    },
    17: {"redirect_uri": "https://simulator.invalid/activation?act=validate"},
}


class ApiError(Exception):
    """A refusal by VK: `code` and `message` as VK sends them."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = MESSAGES.get(code, MESSAGES[1]) if message is None else message
        super().__init__(f"[{code}] {self.message}")


def invalid(detail: str) -> ApiError:
    """Error 100 in VK's wording; the detail names the parameter, for instance "count not integer"."""
    return ApiError(100, f"{MESSAGES[100]}: {detail}")


def denied(detail: str) -> ApiError:
    """Error 15 in VK's wording; the detail says why, for instance "wall is disabled"."""
    return ApiError(15, f"{MESSAGES[15]}: {detail}")


def uncompilable(detail: str) -> ApiError:
    """Error 12 in VK's wording: an execute script that cannot be read."""
    return ApiError(12, f"{MESSAGES[12]}: {detail}")


def failed_run(detail: str) -> ApiError:
    """Error 13 in VK's wording: an execute script that cannot be run to its end."""
    return ApiError(13, f"{MESSAGES[13]}: {detail}")


def envelope(error: ApiError, method: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """What VK sends instead of an answer (HTTP 200): names oauth, method, v, the other parameters, never the token."""
    told = {"oauth": "1", "method": method}
    if "v" in parameters:
        told["v"] = parameters["v"]
    told |= {name: value for name, value in parameters.items() if name not in told and name != "access_token"}
    return {
        "error": {
            "error_code": error.code,
            "error_msg": error.message,
            **_EXTRAS.get(error.code, {}),
            "request_params": [{"key": name, "value": value} for name, value in told.items()],
        }
    }
