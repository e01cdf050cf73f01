"""The commands of `/_control`: change rules, script faults, and add or delete comments at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, get_args

import orjson

from simulator.attachments import COMMENT_KINDS
from simulator.captchas import CAPTCHA_FORMS
from simulator.faults import Fault, read_fault, read_fault_rates
from simulator.options import CHURN_KINDS, ChurnRates, WallState
from simulator.people import PersonState
from simulator.tokens import TOKEN_KINDS

if TYPE_CHECKING:
    from simulator.server import Simulator
    from simulator.world import Comment, Post, Wall


class InvalidCommand(Exception):
    """A command that cannot be executed; the message is the reason."""


def state(simulator: Simulator) -> dict[str, Any]:
    """Return options, current rules, scripted faults and counters; never a token."""
    return {
        "options": {name: value for name, value in asdict(simulator.options).items() if name != "tokens"},
        "rps": simulator.limit.rps,
        "day_quotas": dict(simulator.quotas.quotas),
        "service_may_execute": simulator.service_may_execute,
        "captcha": simulator.captchas.form,
        "tokens": [
            {**token, "today": simulator.quotas.counts(token["number"])} for token in simulator.tokens.as_json()
        ],
        "delay_ms": simulator.brake.delay_ms,
        "hold": simulator.brake.held,
        "waiting": simulator.brake.waiting,
        "churn": None if simulator.churn.rates is None else asdict(simulator.churn.rates),
        "changes": simulator.churn.counts(),
        "faults": [asdict(fault) for fault in simulator.faults.waiting],
        "fault_rates": None if simulator.faults.rates is None else asdict(simulator.faults.rates),
        "played": dict(simulator.faults.played),
        "requests": simulator.requests,
        "calls": simulator.calls,
        "methods": dict(simulator.methods),
        "errors": {str(code): times for code, times in simulator.errors.items()},
        "execute_errors": {str(code): times for code, times in simulator.execute_errors.items()},
    }


def apply(simulator: Simulator, body: bytes) -> dict[str, Any]:
    """Execute the commands of a JSON object in its order; return what they made.

    {"rps": 3} {"delay_ms": 50} {"hold": true} {"reset": true}
    {"tokens": {"text": "user" | "service" | "group"}} {"revoke": "text"} {"expire": "text"}
    {"day_quotas": {"method": calls}} {"service_may_execute": true} {"captcha": "new" | "old"}: the form of error 14
    {"faults": [{"code": 6 | "http": 500 | "kind": "reset", "method": null, "times": 1, "inner": false,
      "message": null, "seconds": null, "change": null, "where": null, "from_offset": 0}]}: see `Fault` for the kinds
    {"fault_rates": {"seed": 1, "limit": null, "rates": [{"code": 6, "rate": 0.05}, ...]} | null}
    {"add_comments": {"group_id", "post_id", "count", "reply_to": null, "from_id": null}} returns {"added": [ids]}
    {"add_posts": {"group_id", "count"}} returns {"added_posts": [ids]}
    {"delete_comment": {"group_id", "comment_id"}}: a leaf vanishes, one with replies stays as a stub
    {"edit_comment": {"group_id", "comment_id", "text"}}
    {"attach": {"group_id", "comment_id", "kind"}}: one of `attachments.COMMENT_KINDS`, or "" for none
    {"close_comments": {"group_id", "post_id"}} {"open_comments": the same} {"delete_post": the same}
    {"hide": {"group_id", "comment_ids": [], "post_ids": []}}: VK neither shows nor counts these and their replies
    {"show_hidden": {"group_id"}}: VK shows and counts them again
    {"pin_post": {"group_id", "post_id": 0 for none}} {"donut_post": {"group_id", "post_id", "donut": true}}
    {"wall": {"group_id", "state"}}: a `WallState`; {"person": {"person_id", "state": "" | "deleted" | "banned"}}
    {"churn": {"seed": 1, "comments": 0.5, "replies": 0.5, "likes": 0.5, "edits": 0.1, "deletions": 0.1, "posts": 0.0,
      "post_deletions": 0.0, "limit": 1000} | null}: `ChurnRates`; defaults: 0, seed 1, limit 1000

    Raises:
        InvalidCommand: the body is not a JSON object, or a command or one of its values is invalid; the commands before
            it stay in effect.
    """
    try:
        commands = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise InvalidCommand("the body is not JSON") from None
    if not isinstance(commands, dict):
        raise InvalidCommand("the body is not an object")
    done: dict[str, Any] = {}
    for name, value in commands.items():
        if name not in _COMMANDS:
            raise InvalidCommand(f"unknown command {name}; known are {', '.join(_COMMANDS)}")
        done |= _COMMANDS[name](simulator, value) or {}
    return done


def _rps(simulator: Simulator, value: object) -> None:
    simulator.limit.rps = _number({"rps": value}, "rps")


def _delay_ms(simulator: Simulator, value: object) -> None:
    simulator.brake.delay_ms = int(_number({"delay_ms": value}, "delay_ms"))


def _hold(simulator: Simulator, value: object) -> None:
    simulator.brake.hold(held=bool(value))


def _reset(simulator: Simulator, _value: object) -> None:
    simulator.reset_counters()


def _revoke(simulator: Simulator, value: object) -> None:
    simulator.tokens.token(str(value)).state = "revoked"


def _expire(simulator: Simulator, value: object) -> None:
    simulator.tokens.token(str(value)).state = "expired"


def _tokens(simulator: Simulator, value: object) -> None:
    for text, kind in _object(value, "tokens").items():
        if kind not in TOKEN_KINDS:
            raise InvalidCommand(f"a token is one of {', '.join(TOKEN_KINDS)}")
        simulator.tokens.token(text).kind = kind


def _day_quotas(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "day_quotas")
    simulator.quotas.quotas = {method: int(_number(arguments, method)) for method in arguments}


def _service_may_execute(simulator: Simulator, value: object) -> None:
    simulator.service_may_execute = bool(value)


def _captcha(simulator: Simulator, value: object) -> None:
    if value not in CAPTCHA_FORMS:
        raise InvalidCommand(f"a captcha is one of {', '.join(CAPTCHA_FORMS)}")
    simulator.captchas.form = value


def _faults(simulator: Simulator, value: object) -> None:
    if not isinstance(value, list):
        raise InvalidCommand("faults is not a list")
    try:
        simulator.faults.replace([read_fault(Fault, entry) for entry in value])
    except ValueError as error:
        raise InvalidCommand(str(error)) from None


def _fault_rates(simulator: Simulator, value: object) -> None:
    try:
        simulator.faults.rate(None if value is None else read_fault_rates(_object(value, "fault_rates")))
    except ValueError as error:
        raise InvalidCommand(str(error)) from None


def _churn(simulator: Simulator, value: object) -> None:
    if value is None:
        simulator.churn.start(None)
        return
    arguments = _object(value, "churn")
    for name in arguments:
        if name not in (*CHURN_KINDS, "seed", "limit"):
            raise InvalidCommand(f"churn has no {name}; valid names: {', '.join((*CHURN_KINDS, 'seed', 'limit'))}")
        _number(arguments, name)
    for name in ("seed", "limit"):
        if not isinstance(arguments.get(name, 0), int):
            raise InvalidCommand(f"{name} of churn is not a whole number")
    simulator.churn.start(ChurnRates(**arguments))


def _add_comments(simulator: Simulator, value: object) -> dict[str, Any]:
    arguments = _object(value, "add_comments")
    wall, post = _post(simulator, arguments)
    answers = (
        _comment(simulator, {**arguments, "comment_id": arguments["reply_to"]})[1]
        if arguments.get("reply_to")
        else None
    )
    author, population = arguments.get("from_id") or 0, simulator.world.population
    if author and (not isinstance(author, int) or not (population.person(author) or population.community(-author))):
        raise InvalidCommand("no author has this from_id")
    return {"added": wall.add_comments(post, int(_number(arguments, "count")), answers, author)}


def _add_posts(simulator: Simulator, value: object) -> dict[str, Any]:
    arguments = _object(value, "add_posts")
    wall = _wall(simulator, arguments)
    return {"added_posts": [wall.add_post().id for _ in range(int(_number(arguments, "count")))]}


def _delete_comment(simulator: Simulator, value: object) -> None:
    wall, comment = _comment(simulator, _object(value, "delete_comment"))
    wall.delete_comment(comment)


def _hide(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "hide")
    wall = _wall(simulator, arguments)
    for name in ("comment_ids", "post_ids"):
        if not isinstance(arguments.get(name, []), list):
            raise InvalidCommand(f"{name} is not a list")
    for post_id in arguments.get("post_ids", []):
        wall.hide_post(_post(simulator, arguments | {"post_id": post_id})[1])
    for comment_id in arguments.get("comment_ids", []):
        if comment_id not in wall.hidden:
            wall.hide_comment(_comment(simulator, arguments | {"comment_id": comment_id})[1])


def _show_hidden(simulator: Simulator, value: object) -> None:
    _wall(simulator, _object(value, "show_hidden")).show_hidden()


def _edit_comment(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "edit_comment")
    wall, comment = _comment(simulator, arguments)
    wall.edit_comment(comment, str(arguments.get("text", "")))


def _attach(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "attach")
    _comment(simulator, arguments)[1].attachment = _choice(arguments, "kind", ("", *COMMENT_KINDS))


def _close_comments(simulator: Simulator, value: object) -> None:
    _post(simulator, _object(value, "close_comments"))[1].comments_closed = True


def _open_comments(simulator: Simulator, value: object) -> None:
    _post(simulator, _object(value, "open_comments"))[1].comments_closed = False


def _pin_post(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "pin_post")
    wall, post = _post(simulator, arguments) if arguments.get("post_id") else (_wall(simulator, arguments), None)
    wall.pin(post)


def _donut_post(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "donut_post")
    wall, post = _post(simulator, arguments)
    wall.set_donut(post, donut=bool(arguments.get("donut", True)))


def _change_wall(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "wall")
    group_id, state = int(_number(arguments, "group_id")), _choice(arguments, "state", get_args(WallState))
    try:
        simulator.world.set_wall(group_id, state)
    except LookupError:
        raise InvalidCommand("no community has this group_id") from None


def _change_person(simulator: Simulator, value: object) -> None:
    arguments = _object(value, "person")
    person_id, state = int(_number(arguments, "person_id")), _choice(arguments, "state", get_args(PersonState))
    try:
        simulator.world.population.set_person(person_id, state)
    except LookupError:
        raise InvalidCommand("no person has this person_id") from None


def _delete_post(simulator: Simulator, value: object) -> None:
    wall, post = _post(simulator, _object(value, "delete_post"))
    wall.delete_post(post)


_COMMANDS: Final[dict[str, Callable[[Simulator, object], dict[str, Any] | None]]] = {
    "rps": _rps,
    "delay_ms": _delay_ms,
    "hold": _hold,
    "reset": _reset,
    "revoke": _revoke,
    "expire": _expire,
    "tokens": _tokens,
    "day_quotas": _day_quotas,
    "service_may_execute": _service_may_execute,
    "captcha": _captcha,
    "faults": _faults,
    "fault_rates": _fault_rates,
    "churn": _churn,
    "add_comments": _add_comments,
    "add_posts": _add_posts,
    "attach": _attach,
    "delete_comment": _delete_comment,
    "edit_comment": _edit_comment,
    "hide": _hide,
    "show_hidden": _show_hidden,
    "close_comments": _close_comments,
    "open_comments": _open_comments,
    "pin_post": _pin_post,
    "donut_post": _donut_post,
    "wall": _change_wall,
    "person": _change_person,
    "delete_post": _delete_post,
}


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidCommand(f"{name} is not an object")
    return value


def _number(arguments: dict[str, Any], name: str) -> float:
    value = arguments.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise InvalidCommand(f"{name} is not a number of 0 or more")
    return value


def _choice(arguments: dict[str, Any], name: str, choices: tuple[str, ...]) -> Any:
    value = arguments.get(name)
    if value not in choices:
        raise InvalidCommand(f"{name} is not one of {', '.join(map(repr, choices))}")
    return value


def _wall(simulator: Simulator, arguments: dict[str, Any]) -> Wall:
    wall = simulator.world.wall(int(_number(arguments, "group_id")))
    if wall is None:
        raise InvalidCommand("no community has this group_id")
    return wall


def _post(simulator: Simulator, arguments: dict[str, Any]) -> tuple[Wall, Post]:
    wall = _wall(simulator, arguments)
    post = wall.posts.get(int(_number(arguments, "post_id")))
    if post is None:
        raise InvalidCommand("the wall has no post with this post_id")
    return wall, post


def _comment(simulator: Simulator, arguments: dict[str, Any]) -> tuple[Wall, Comment]:
    wall = _wall(simulator, arguments)
    comment = wall.comments.get(int(_number(arguments, "comment_id")))
    if comment is None:
        raise InvalidCommand("the wall has no comment with this comment_id")
    return wall, comment
