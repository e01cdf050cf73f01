"""Issues captchas (error 14) in both of VK's forms, and accepts their answers.

The new form: negezor/vk-io issue 581, and dev.vk.com/en/api/captcha-error; the old one: samples/errors/14.json.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

CaptchaForm = Literal["new", "old"]
CAPTCHA_FORMS: Final[tuple[CaptchaForm, ...]] = get_args(CaptchaForm)

_SITE: Final = "https://simulator.invalid"
_FIRST_SID: Final = 548_747_100_000
_ISSUED_AT: Final = 1_772_323_200.5


class Captchas:
    """The captchas that were issued and not answered yet; `form` is the form of the next ones.

    A new one is answered by a `success_token`, which the page at its redirect_uri returns, or like an old one: by its
    `captcha_sid` with the letters of its picture as `captcha_key`. Any letters and any token are accepted, once each.
    """

    def __init__(self) -> None:
        self.form: CaptchaForm = "new"
        self._issued = 0
        self._open: dict[str, CaptchaForm] = {}
        self._spent: set[str] = set()

    def issue(self) -> dict[str, Any]:
        """Issue a captcha; return its fields in the error's envelope."""
        self._issued += 1
        sid = str(_FIRST_SID + self._issued)
        self._open[sid] = self.form
        picture = f"{_SITE}/captcha.php?sid={sid}&s=1"
        if self.form == "old":
            return {"captcha_sid": sid, "captcha_img": picture}
        return {
            "redirect_uri": f"{_SITE}/not_robot_captcha?domain=vk.com&session_token=simulated.{sid}",
            "captcha_sid": sid,
            "is_refresh_enabled": True,
            "captcha_img": picture,
            "captcha_ts": _ISSUED_AT + self._issued,
            "captcha_attempt": self._issued,
            "captcha_ratio": 2.6,
            "is_sound_captcha_available": True,
            "captcha_track": f"{_SITE}/sound_captcha.php?captcha_sid={sid}&act=get",
            "uiux_changes": True,
        }

    def accept_answer(self, parameters: Mapping[str, str]) -> bool:
        """Return whether a request answers an open captcha; if so, close the captcha."""
        sid = parameters.get("captcha_sid", "")
        if sid in self._open and parameters.get("captcha_key"):
            del self._open[sid]
            return True
        token = parameters.get("success_token")
        oldest = next((sid for sid, form in self._open.items() if form == "new"), None)
        if not token or token in self._spent or oldest is None:
            return False
        self._spent.add(token)
        del self._open[oldest]
        return True
