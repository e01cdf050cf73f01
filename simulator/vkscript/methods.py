"""VKScript's methods of lists and texts; `METHODS` lists them under their names."""

from collections.abc import Callable, Sequence
from typing import Final

from simulator.errors import failed_run
from simulator.vkscript.memory import Memory
from simulator.vkscript.values import Value, are_equal, to_number, to_text

Method = Callable[[Memory, Value, Sequence[Value]], Value]


def _list(name: str, subject: Value) -> list[Value]:
    if not isinstance(subject, list):
        raise failed_run(f"Method {name} requires an array")  # VK's wording: vk_api issue 286
    return subject


def _text(name: str, subject: Value) -> str:
    if not isinstance(subject, str):
        raise failed_run(f"Method {name} requires a string")
    return subject


def _whole(arguments: Sequence[Value], place: int, default: int) -> int:
    return int(to_number(arguments[place])) if place < len(arguments) and arguments[place] is not None else default


def _changed(memory: Memory, name: str, subject: Value) -> list[Value]:
    """Return a list to change; moving its items counts as work."""
    found = _list(name, subject)
    memory.count_work(len(found))
    return found


def _slice(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    found = _list("slice", subject)
    return memory.hold(found[_whole(arguments, 0, 0) : _whole(arguments, 1, len(found))])


def _splice(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    found = _changed(memory, "splice", subject)
    start = _whole(arguments, 0, 0)
    start = max(0, len(found) + start) if start < 0 else min(start, len(found))
    end = start + max(0, _whole(arguments, 1, len(found)))
    removed = found[start:end]
    found[start:end] = arguments[2:]
    return memory.hold(removed)


def _push(_memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    found = _list("push", subject)
    found.extend(arguments)
    return len(found)


def _unshift(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    found = _changed(memory, "unshift", subject)
    found[:0] = arguments
    return len(found)


def _pop(_memory: Memory, subject: Value, _arguments: Sequence[Value]) -> Value:
    found = _list("pop", subject)
    return found.pop() if found else None


def _shift(memory: Memory, subject: Value, _arguments: Sequence[Value]) -> Value:
    found = _changed(memory, "shift", subject)
    return found.pop(0) if found else None


def _index_of(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    searched = arguments[0] if arguments else None
    if isinstance(subject, str):
        memory.count_work(len(subject))
        return subject.find(to_text(searched))
    found = _list("indexOf", subject)
    memory.count_work(len(found))
    return next((place for place, each in enumerate(found) if are_equal(each, searched)), -1)


def _substr(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    text = _text("substr", subject)
    start = _whole(arguments, 0, 0)
    start = max(0, len(text) + start) if start < 0 else start
    part = text[start : start + max(0, _whole(arguments, 1, len(text)))]
    memory.count_work(len(part))
    return part


def _split(memory: Memory, subject: Value, arguments: Sequence[Value]) -> Value:
    text = _text("split", subject)
    memory.count_work(len(text))
    separator = to_text(arguments[0]) if arguments else ","
    return memory.hold(text.split(separator) if separator else list(text))


# These change their list, which must be the script's own (`Memory.own`).
CHANGING: Final = {"splice", "push", "pop", "shift", "unshift"}
METHODS: Final[dict[str, Method]] = {
    "slice": _slice,
    "splice": _splice,
    "push": _push,
    "pop": _pop,
    "shift": _shift,
    "unshift": _unshift,
    "indexOf": _index_of,
    "substr": _substr,
    "split": _split,
}
