import json
from typing import Any

import pytest

from simulator.errors import MESSAGES
from tests.simulator.vk import Vk
from tests.vk_schema import SCHEMA

RECORDED = SCHEMA.parent / "samples" / "errors" / "14.json"
# The fields in negezor/vk-io issue 581 beside code, message and parameters.
NEW_FORM = {
    "redirect_uri", "captcha_sid", "is_refresh_enabled", "captcha_img", "captcha_ts", "captcha_attempt",
    "captcha_ratio", "is_sound_captcha_available", "captcha_track", "uiux_changes",
}  # fmt: skip


async def captcha_error(vk: Vk, times: int = 1, form: str = "new") -> dict[str, Any]:
    """Return the error of a request that gets a captcha; the first `times` requests get one."""
    await vk.control(faults=[{"code": 14, "times": times}], captcha=form)
    error: dict[str, Any] = (await vk.reply("wall.get", owner_id=-1))["error"]
    return error


async def test_the_old_form(vk: Vk) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))["error"]
    returned = await captcha_error(vk, form="old")
    assert returned.keys() == recorded.keys()
    assert returned["error_msg"] == recorded["error_msg"]
    assert returned["captcha_sid"] in returned["captcha_img"]


async def test_the_new_form(vk: Vk) -> None:
    returned = await captcha_error(vk)
    assert returned.keys() == NEW_FORM | {"error_code", "error_msg", "request_params"}
    assert "session_token=" in returned["redirect_uri"]
    assert isinstance(returned["captcha_sid"], str)


@pytest.mark.parametrize("form", ["new", "old"])
async def test_letters_are_accepted(vk: Vk, form: str) -> None:
    returned = await captcha_error(vk, times=3, form=form)
    answer = {"captcha_sid": returned["captcha_sid"], "captcha_key": "q2w3e"}
    assert "count" in await vk.answer("wall.get", owner_id=-1, **answer)
    assert (await vk.refusal("wall.get", owner_id=-1, **answer))[0] == 14


async def test_a_token_is_accepted(vk: Vk) -> None:
    await captcha_error(vk, times=3)
    assert "count" in await vk.answer("wall.get", owner_id=-1, success_token="solved")
    assert (await vk.refusal("wall.get", owner_id=-1, success_token="solved"))[0] == 14


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"captcha_sid": "1", "captcha_key": "letters"},
        {"captcha_key": "letters"},
        {"success_token": ""},
        {"captcha_sid": "548747100001"},
    ],
)
async def test_answers_that_are_rejected(vk: Vk, answer: dict[str, str]) -> None:
    first = await captcha_error(vk, times=2)
    assert first["captcha_sid"] == "548747100001"
    second = (await vk.reply("wall.get", owner_id=-1, **answer))["error"]
    assert (second["error_code"], second["captcha_attempt"]) == (14, 2)
    assert second["captcha_sid"] != first["captcha_sid"]


async def test_a_token_does_not_answer_the_old_form(vk: Vk) -> None:
    await captcha_error(vk, times=2, form="old")
    assert (await vk.refusal("wall.get", owner_id=-1, success_token="solved"))[0] == 14


async def test_an_answer_has_no_effect_on_other_errors(vk: Vk) -> None:
    returned = await captcha_error(vk)
    await vk.control(faults=[{"code": 9}])
    answer = {"captcha_sid": returned["captcha_sid"], "captcha_key": "q2w3e"}
    assert (await vk.refusal("wall.get", owner_id=-1, **answer))[0] == 9


async def test_validation_names_a_page(vk: Vk) -> None:
    await vk.control(faults=[{"code": 17}])
    returned = (await vk.reply("wall.get", owner_id=-1))["error"]
    recorded = json.loads((RECORDED.parent / "17.json").read_text(encoding="utf-8"))["error"]
    assert returned.keys() == recorded.keys()
    assert returned["error_msg"] == recorded["error_msg"]


def test_all_errors_of_the_schema_have_a_message() -> None:
    errors = json.loads((SCHEMA / "errors.json").read_text(encoding="utf-8"))["errors"].values()
    assert MESSAGES.keys() == {error["code"] for error in errors}
    assert [error["code"] for error in errors if not MESSAGES[error["code"]].startswith(error["description"])] == []
