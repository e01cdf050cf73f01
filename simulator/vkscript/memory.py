"""Limits a run: how much it computes and stores, and what it may change."""

from typing import Final, TypeVar

from simulator.errors import failed_run
from simulator.vkscript.values import Value

MAX_OPERATIONS: Final = 1_000
# Copied items and characters, and evaluated expressions at EXPRESSION each: about a second, and 40 MB of lists.
MAX_WORK: Final = 5_000_000
EXPRESSION: Final = 25

Held = TypeVar("Held", list[Value], dict[str, Value])


class Memory:
    """What one run has used up, and the lists and objects that it made.

    VK allows 1,000 operations. An operation here is an executed statement, a test of a loop's condition, or a call of
    a method: vk_api's loop of 25 pages takes about 350. A second limit, on work, bounds what single operations copy.
    """

    def __init__(self) -> None:
        self._operations = 0
        self._work = 0
        self._made: dict[int, Value] = {}
        # id of a part of an answer -> the part, stored so that its id is not reused, and its copy
        self._copies: dict[int, tuple[Value, Value]] = {}

    def count_operation(self) -> None:
        """Count one operation.

        Raises:
            ApiError: 13 if there were 1,000 before.
        """
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise failed_run("too many operations")

    def count_work(self, amount: int) -> None:
        """Count this many copied items or characters.

        Raises:
            ApiError: 13 if the limit is exceeded.
        """
        self._work += amount
        if self._work > MAX_WORK:
            raise failed_run("too many operations")

    def hold(self, made: Held) -> Held:
        """Record a list or object that the script made, and return it. Its items count as work.

        Raises:
            ApiError: 13 if the limit is exceeded.
        """
        self.count_work(len(made))
        self._made[id(made)] = made  # stored, so that its id is not reused
        return made

    def is_made(self, value: Value) -> bool:
        """Return whether the script made this list or object, or a copy of it; only those can contain themselves."""
        return id(value) in self._made

    def own(self, value: Value, variables: dict[str, Value]) -> Value:
        """Return a list or object that may be changed: the value itself if the script made it, otherwise a copy.

        An answer may share objects with the simulator and with other answers. So all parts of answers that are
        reachable from the variables are copied now, and the copies replace them. Copied items count as work.

        Raises:
            ApiError: 13 if the limit is exceeded.
        """
        if not self.is_made(value) and id(value) not in self._copies:
            self._copy_answers([variables, [value]])
        return self._kept(value)

    def current(self, value: Value) -> Value:
        """Return the value itself, or the copy that has replaced it."""
        return self._copies[id(value)][1] if id(value) in self._copies else value

    def _copy_answers(self, holders: list[Value]) -> None:
        """Replace all parts of answers that are reachable from these lists and objects by copies."""
        reached: set[int] = set()
        while holders:
            holder = holders.pop()
            self.count_work(len(holder))
            for place, part in holder.items() if isinstance(holder, dict) else enumerate(holder):
                if isinstance(part, list | dict):
                    holder[place] = kept = self._kept(part)
                    if id(kept) not in reached:
                        reached.add(id(kept))
                        holders.append(kept)

    def _kept(self, value: Value) -> Value:
        """Return a value that the script made, or the copy of a part of an answer, without copying its own parts."""
        if self.is_made(value):
            return value
        if id(value) not in self._copies:
            self._copies[id(value)] = value, self.hold(value.copy())
        return self.current(value)
