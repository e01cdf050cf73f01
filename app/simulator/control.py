"""This file obeys tests: commands that change the rules, script faults, and add or delete comments at run time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from app.simulator.faults import Fault

if TYPE_CHECKING:
    from app.simulator.server import Simulator
    from app.simulator.world import Comment, Post, Wall


class WrongCommand(Exception):
    """A command that cannot be obeyed; the message says why."""


def state(simulator: Simulator) -> dict[str, Any]:
    """Options, rules in force, faults to come, and counters; holds no token."""
    return {
        "options": asdict(simulator.options),
        "rps": simulator.limit.rps,
        "delay_ms": simulator.brake.delay_ms,
        "hold": simulator.brake.held,
        "waiting": simulator.brake.waiting,
        "faults": [asdict(fault) for fault in simulator.faults.waiting],
        "requests": simulator.requests,
        "calls": simulator.calls,
        "methods": dict(simulator.methods),
        "errors": {str(code): times for code, times in simulator.errors.items()},
        "execute_errors": {str(code): times for code, times in simulator.execute_errors.items()},
    }


def apply(simulator: Simulator, body: bytes) -> dict[str, Any]:
    """Obey the commands of a JSON object in its order; gives what they made.

    {"rps": 3} {"delay_ms": 50} {"hold": true} {"reset": true} {"revoke": "token"}
    {"faults": [{"code": 6 | "http": 500, "method": null, "times": 1, "inner": false, "message": null}]}
    {"add_comments": {"group_id", "post_id", "count", "reply_to": null}} gives {"added": [ids]}
    {"delete_comment": {"group_id", "comment_id"}}: a leaf vanishes, one with replies stays as a stub
    {"edit_comment": {"group_id", "comment_id", "text"}}
    {"close_comments": {"group_id", "post_id"}}, {"delete_post": {"group_id", "post_id"}}

    Raises:
        WrongCommand: the body is no JSON object, or a command or one of its values is wrong; commands before it hold.
    """
    try:
        commands = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise WrongCommand("the body is not JSON") from None
    if not isinstance(commands, dict):
        raise WrongCommand("the body is not an object")
    done: dict[str, Any] = {}
    for name, value in commands.items():
        if name not in _COMMANDS:
            raise WrongCommand(f"unknown command {name}; known are {', '.join(_COMMANDS)}")
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
    simulator.revoked.add(str(value))


def _faults(simulator: Simulator, value: object) -> None:
    if not isinstance(value, list):
        raise WrongCommand("faults is not a list")
    simulator.faults.replace([_fault(_object(entry, "fault")) for entry in value])


def _fault(entry: dict[str, Any]) -> Fault:
    for name, value in entry.items():
        if name not in _FAULT_FACTS:
            raise WrongCommand(f"a fault has no {name}; it may have {', '.join(_FAULT_FACTS)}")
        if not _FAULT_FACTS[name](value):
            raise WrongCommand(f"{name} of a fault cannot be {value}")
    return Fault(**entry)


_FAULT_FACTS: Final[dict[str, Callable[[Any], bool]]] = {
    "code": lambda value: isinstance(value, int),
    "http": lambda value: value is None or value in range(200, 600),
    "method": lambda value: value is None or isinstance(value, str),
    "times": lambda value: isinstance(value, int),
    "inner": lambda value: isinstance(value, bool),
    "message": lambda value: value is None or isinstance(value, str),
}


def _add_comments(simulator: Simulator, value: object) -> dict[str, Any]:
    order = _object(value, "add_comments")
    wall, post = _post(simulator, order)
    answers = _comment(simulator, {**order, "comment_id": order["reply_to"]})[1] if order.get("reply_to") else None
    return {"added": wall.add_comments(post, int(_number(order, "count")), answers)}


def _delete_comment(simulator: Simulator, value: object) -> None:
    wall, comment = _comment(simulator, _object(value, "delete_comment"))
    wall.delete_comment(comment)


def _edit_comment(simulator: Simulator, value: object) -> None:
    order = _object(value, "edit_comment")
    _comment(simulator, order)[1].text = str(order.get("text", ""))


def _close_comments(simulator: Simulator, value: object) -> None:
    _post(simulator, _object(value, "close_comments"))[1].comments_closed = True


def _delete_post(simulator: Simulator, value: object) -> None:
    wall, post = _post(simulator, _object(value, "delete_post"))
    wall.delete_post(post)


_COMMANDS: Final[dict[str, Callable[[Simulator, object], dict[str, Any] | None]]] = {
    "rps": _rps,
    "delay_ms": _delay_ms,
    "hold": _hold,
    "reset": _reset,
    "revoke": _revoke,
    "faults": _faults,
    "add_comments": _add_comments,
    "delete_comment": _delete_comment,
    "edit_comment": _edit_comment,
    "close_comments": _close_comments,
    "delete_post": _delete_post,
}


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongCommand(f"{name} is not an object")
    return value


def _number(order: dict[str, Any], name: str) -> float:
    value = order.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise WrongCommand(f"{name} is not a number from 0 on")
    return value


def _wall(simulator: Simulator, order: dict[str, Any]) -> Wall:
    wall = simulator.world.wall(int(_number(order, "group_id")))
    if wall is None:
        raise WrongCommand("no community has this group_id")
    return wall


def _post(simulator: Simulator, order: dict[str, Any]) -> tuple[Wall, Post]:
    wall = _wall(simulator, order)
    post = wall.posts.get(int(_number(order, "post_id")))
    if post is None:
        raise WrongCommand("the wall has no post with this post_id")
    return wall, post


def _comment(simulator: Simulator, order: dict[str, Any]) -> tuple[Wall, Comment]:
    wall = _wall(simulator, order)
    comment = wall.comments.get(int(_number(order, "comment_id")))
    if comment is None:
        raise WrongCommand("the wall has no comment with this comment_id")
    return wall, comment
