import json
from typing import Any

import pytest

from simulator.errors import MESSAGES
from tests.simulator.vk import Vk
from tests.vk_schema import SCHEMA

RECORDED = SCHEMA.parent / "samples" / "errors" / "14.json"
# What negezor/vk-io issue 581 shows beside code, message and parameters.
NEW_FORM = {
    "redirect_uri", "captcha_sid", "is_refresh_enabled", "captcha_img", "captcha_ts", "captcha_attempt",
    "captcha_ratio", "is_sound_captcha_available", "captcha_track", "uiux_changes",
}  # fmt: skip


async def asked(vk: Vk, times: int = 1, form: str = "new") -> dict[str, Any]:
    """The error of a request that meets a captcha; the same captcha meets the following ones, `times` in all."""
    await vk.control(faults=[{"code": 14, "times": times}], captcha=form)
    error: dict[str, Any] = (await vk.reply("wall.get", owner_id=-1))["error"]
    return error


async def test_the_old_form(vk: Vk) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))["error"]
    told = await asked(vk, form="old")
    assert told.keys() == recorded.keys()
    assert told["error_msg"] == recorded["error_msg"]
    assert told["captcha_sid"] in told["captcha_img"]


async def test_the_new_form(vk: Vk) -> None:
    told = await asked(vk)
    assert told.keys() == NEW_FORM | {"error_code", "error_msg", "request_params"}
    assert "session_token=" in told["redirect_uri"]
    assert isinstance(told["captcha_sid"], str)


@pytest.mark.parametrize("form", ["new", "old"])
async def test_letters_pass(vk: Vk, form: str) -> None:
    told = await asked(vk, times=3, form=form)
    answer = {"captcha_sid": told["captcha_sid"], "captcha_key": "q2w3e"}
    assert "count" in await vk.answer("wall.get", owner_id=-1, **answer)
    assert (await vk.refusal("wall.get", owner_id=-1, **answer))[0] == 14


async def test_a_token_passes(vk: Vk) -> None:
    await asked(vk, times=3)
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
async def test_what_does_not_pass(vk: Vk, answer: dict[str, str]) -> None:
    first = await asked(vk, times=2)
    assert first["captcha_sid"] == "548747100001"
    second = (await vk.reply("wall.get", owner_id=-1, **answer))["error"]
    assert (second["error_code"], second["captcha_attempt"]) == (14, 2)
    assert second["captcha_sid"] != first["captcha_sid"]


async def test_a_token_does_not_answer_the_old_form(vk: Vk) -> None:
    await asked(vk, times=2, form="old")
    assert (await vk.refusal("wall.get", owner_id=-1, success_token="solved"))[0] == 14


async def test_an_answer_does_not_help_against_other_errors(vk: Vk) -> None:
    told = await asked(vk)
    await vk.control(faults=[{"code": 9}])
    answer = {"captcha_sid": told["captcha_sid"], "captcha_key": "q2w3e"}
    assert (await vk.refusal("wall.get", owner_id=-1, **answer))[0] == 9


async def test_validation_names_a_page(vk: Vk) -> None:
    await vk.control(faults=[{"code": 17}])
    told = (await vk.reply("wall.get", owner_id=-1))["error"]
    recorded = json.loads((RECORDED.parent / "17.json").read_text(encoding="utf-8"))["error"]
    assert told.keys() == recorded.keys()
    assert told["error_msg"] == recorded["error_msg"]


def test_all_errors_of_the_schema_have_their_words() -> None:
    errors = json.loads((SCHEMA / "errors.json").read_text(encoding="utf-8"))["errors"].values()
    assert MESSAGES.keys() == {error["code"] for error in errors}
    assert [error["code"] for error in errors if not MESSAGES[error["code"]].startswith(error["description"])] == []
