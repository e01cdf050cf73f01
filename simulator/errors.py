"""VK's errors: their codes, VK's wording, and their envelope.

Codes and short texts: VK API schema 5.199, errors.json; longer texts: recorded replies.
"""

from collections.abc import Mapping
from typing import Any, Final

MESSAGES: Final[dict[int, str]] = {
    1: "Unknown error occurred",
    2: "Application is disabled. Enable your application or use test mode",
    3: "Unknown method passed",
    4: "Incorrect signature",
    5: "User authorization failed: no access_token passed.",
    6: "Too many requests per second",
    7: "Permission to perform this action is denied",
    8: "Invalid request: v (version) is required",
    9: "Flood control",
    10: "Internal server error: Unknown error, try later",
    11: "In test mode application should be disabled or user should be authorized",
    12: "Unable to compile code",
    13: "Runtime error occurred during code invocation",
    14: "Captcha needed",
    15: "Access denied",
    16: "HTTP authorization failed",
    17: "Validation required: please open redirect_uri in browser",
    18: "User was deleted or banned",
    19: "Content blocked",
    20: "Permission to perform this action is denied for non-standalone applications",
    21: "Permission to perform this action is allowed only for standalone and OpenAPI applications",
    23: "This method was disabled",
    24: "Confirmation required",
    25: "Token confirmation required",
    27: "Group authorization failed: method is unavailable with group auth.",
    28: "Application authorization failed: method is unavailable with service token.",
    29: "Rate limit reached",
    30: "This profile is private",
    33: "Not implemented yet",
    34: "Client version deprecated",
    35: "Client update needed",
    37: "User was banned",
    38: "Unknown application",
    39: "Unknown user",
    40: "Unknown group",
    41: "Additional signup required",
    42: "IP is not allowed",
    43: "This section is temporary unavailable",
    100: "One of the parameters specified was missing or invalid",
    101: "Invalid application API ID",
    104: "Not found",
    113: "Invalid user id",
    114: "Invalid album id",
    125: "Invalid group id",
    150: "Invalid timestamp",
    200: "Access denied",
    201: "Access denied",
    203: "Access to group denied",
    204: "Access denied",
    210: "Access to wall's post denied",
    211: "Access to wall's comment denied",
    212: "Access to post comments denied",
    213: "Access to status replies denied",
    214: "Access to adding post denied",
    219: "Advertisement post was recently added",
    220: "Too many recipients",
    222: "Hyperlinks are forbidden",
    232: "Reaction can not be applied to the object",
    260: "Access to the groups list is denied due to the user's privacy settings",
    300: "This album is full",
    500: "Permission denied. You must enable votes processing in application settings",
    600: "Permission denied. You have no access to operations specified with given object(s)",
    603: "Some ads error occurs",
    801: "Comments for this video are closed",
    1114: "Anonymous token has expired",
    1116: "Anonymous token is invalid",
    1117: "Access token has expired",
    1118: "Anonymous token ip mismatch",
    1401: "Comments for this market are closed",
    3300: "Recaptcha needed",
    3301: "Phone validation needed",
    3302: "Password validation needed",
    3303: "Otp app validation needed",
    3304: "Email confirmation needed",
    3305: "Assert votes",
    3609: "Token extension required",
    3610: "User is deactivated",
    3611: "Service is deactivated for user",
    9999: "Not supported http method",
    11500: "CheckUserAction confirmation required",
}
# Codes whose envelope has further fields.
CAPTCHA: Final = 14
VALIDATION: Final = 17
_VALIDATION_PAGE: Final = "https://simulator.invalid/activation?act=validate"


class ApiError(Exception):
    """A rejection by VK: `code` and `message` as VK sends them."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = MESSAGES.get(code, MESSAGES[1]) if message is None else message
        super().__init__(f"[{code}] {self.message}")


def invalid(detail: str) -> ApiError:
    """Return error 100 in VK's wording; the detail names the parameter, for instance "count not integer"."""
    return ApiError(100, f"{MESSAGES[100]}: {detail}")


def denied(detail: str) -> ApiError:
    """Return error 15 in VK's wording; the detail is the reason, for instance "wall is disabled"."""
    return ApiError(15, f"{MESSAGES[15]}: {detail}")


def uncompilable(detail: str) -> ApiError:
    """Return error 12 in VK's wording: an execute script that cannot be parsed."""
    return ApiError(12, f"{MESSAGES[12]}: {detail}")


def failed_run(detail: str) -> ApiError:
    """Return error 13 in VK's wording: an execute script that fails while it runs."""
    return ApiError(13, f"{MESSAGES[13]}: {detail}")


def envelope(
    error: ApiError, method: str, parameters: Mapping[str, str], extras: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Return VK's error envelope (HTTP 200); it names oauth, method, v and the other parameters, never the token.

    `extras` are further fields of a code, such as a captcha (`Captchas.issue`); code 17 has a page to open.
    """
    if error.code == VALIDATION:
        extras = {"redirect_uri": _VALIDATION_PAGE}
    shown = {"oauth": "1", "method": method}
    if "v" in parameters:
        shown["v"] = parameters["v"]
    shown |= {name: value for name, value in parameters.items() if name not in shown and name != "access_token"}
    return {
        "error": {
            "error_code": error.code,
            "error_msg": error.message,
            **(extras or {}),
            "request_params": [{"key": name, "value": value} for name, value in shown.items()],
        }
    }
