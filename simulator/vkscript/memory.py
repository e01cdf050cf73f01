"""This file bounds a run: how much it does and holds, and what it may change."""

from typing import Final, TypeVar

from simulator.errors import failed_run
from simulator.vkscript.values import Value

MAX_OPERATIONS: Final = 1_000
# Copied items and letters, and evaluated expressions at EXPRESSION each: about a second of work, and 40 MB of lists.
MAX_WORK: Final = 5_000_000
EXPRESSION: Final = 25

Held = TypeVar("Held", list[Value], dict[str, Value])


class Memory:
    """What one run has used up, and the lists and objects it has made.

    VK allows 1,000 operations. An operation here is a statement that is run, a test of a loop's condition, or a call of
    a method: vk_api's loop of 25 pages takes about 350. A second bound, on work, holds what single operations copy.
    """

    def __init__(self) -> None:
        self._operations = 0
        self._work = 0
        self._made: dict[int, Value] = {}
        # the id of an answer's part -> the part, held so that nothing else gets its id, and its copy
        self._copies: dict[int, tuple[Value, Value]] = {}

    def count_operation(self) -> None:
        """Count one operation.

        Raises:
            ApiError: 13 when there were 1,000 before.
        """
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise failed_run("too many operations")

    def count_work(self, amount: int) -> None:
        """Count so many copied items or letters.

        Raises:
            ApiError: 13 when it is too much.
        """
        self._work += amount
        if self._work > MAX_WORK:
            raise failed_run("too many operations")

    def hold(self, made: Held) -> Held:
        """Remember a list or object that the script made; gives it back. Its items count as work.

        Raises:
            ApiError: 13 when it is too much.
        """
        self.count_work(len(made))
        self._made[id(made)] = made  # held, so that nothing else gets its id
        return made

    def is_made(self, value: Value) -> bool:
        """Whether the script made this list or object, or a copy of it; only such ones can hold themselves."""
        return id(value) in self._made

    def own(self, value: Value, variables: dict[str, Value]) -> Value:
        """A list or object that may be changed: itself where the script made it, else a copy.

        An answer may hold what the simulator keeps and tells others, too. So all parts of answers that the variables
        lead to are copied now, and stand in the places of the former ones. What is copied counts as work.

        Raises:
            ApiError: 13 when it is too much.
        """
        if not self.is_made(value) and id(value) not in self._copies:
            self._copy_answers([variables, [value]])
        return self._kept(value)

    def current(self, value: Value) -> Value:
        """The value itself, or the copy that stands in its place by now."""
        return self._copies[id(value)][1] if id(value) in self._copies else value

    def _copy_answers(self, holders: list[Value]) -> None:
        """Put copies into the places of all parts of answers that these lists and objects lead to."""
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
        """What the script made, or the copy of an answer's part; its own parts are not looked at."""
        if self.is_made(value):
            return value
        if id(value) not in self._copies:
            self._copies[id(value)] = value, self.hold(value.copy())
        return self.current(value)
