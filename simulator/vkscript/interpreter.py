"""Interprets the tree of a script, with one method per kind of expression and statement."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.errors import failed_run
from simulator.vkscript import tree, values
from simulator.vkscript.memory import EXPRESSION, Memory
from simulator.vkscript.methods import CHANGING, METHODS
from simulator.vkscript.values import Value

# method name, argument (any value) -> the answer, or false if the call failed
CallApi = Callable[[str, Value], Value]
_CONTINUE: Final = object()


class Interpreter:
    """One run of a script; `memory` limits it and records which lists and objects it made.

    Assignments share lists and objects, and do not copy them. An answer is the method's own object, until the script
    changes a part of an answer.
    """

    def __init__(self, call: CallApi, arguments: Mapping[str, str], memory: Memory) -> None:
        self._call = call
        self._memory = memory
        self._arguments = arguments
        self._variables: dict[str, Value] = {}
        self._evaluators: dict[type, Callable[[Any], Value]] = {
            tree.Literal: lambda literal: literal.value,
            tree.Variable: lambda variable: self._variables.get(variable.name),
            tree.Arguments: lambda _: memory.hold(dict(self._arguments)),
            tree.ListOf: lambda made: memory.hold([self._value(item) for item in made.items]),
            tree.ObjectOf: lambda made: memory.hold({key: self._value(item) for key, item in made.entries}),
            tree.Path: self._path,
            tree.ApiCall: self._api_call,
            tree.Parsed: self._parsed,
            tree.Unary: self._unary,
            tree.Chain: self._chain,
            tree.AllOf: self._all_of,
            tree.AnyOf: self._any_of,
            tree.Choice: self._choice,
            tree.Assignment: self._assignment,
        }
        self._steps: dict[type, Callable[[Value, Any], Value]] = {
            tree.Member: lambda value, step: values.member(value, step.name),
            tree.Index: lambda value, step: values.item(value, self._value(step.place)),
            tree.Each: self._each,
            tree.MethodCall: self._method_call,
        }
        self._performers: dict[type, Callable[[Any], object]] = {
            tree.Block: self._block,
            tree.Declaration: self._declaration,
            tree.Evaluation: self._evaluation,
            tree.Condition: self._condition,
            tree.Loop: self._loop,
            tree.Return: lambda statement: self._value(statement.value),
            tree.Deletion: self._deletion,
        }

    def run(self, script: tree.Block) -> Value:
        """Run a script; return its result, null if it ends without a return.

        Raises:
            ApiError: 13 if it fails, or exceeds a limit.
        """
        result = self._block(script)
        return None if result is _CONTINUE else result

    # statements: each method returns the script's result, or _CONTINUE

    def _perform(self, statement: tree.Statement) -> object:
        if not isinstance(statement, tree.Block):
            self._memory.count_operation()
        return self._performers[type(statement)](statement)

    def _block(self, block: tree.Block) -> object:
        for statement in block.statements:
            result = self._perform(statement)
            if result is not _CONTINUE:
                return result
        return _CONTINUE

    def _declaration(self, declaration: tree.Declaration) -> object:
        for name, value in declaration.variables:
            self._variables[name] = None if value is None else self._value(value)
        return _CONTINUE

    def _evaluation(self, evaluation: tree.Evaluation) -> object:
        self._value(evaluation.expression)
        return _CONTINUE

    def _condition(self, statement: tree.Condition) -> object:
        for condition, then in statement.branches:
            if values.is_true(self._value(condition)):
                return self._perform(then)
        return self._perform(statement.otherwise)

    def _loop(self, loop: tree.Loop) -> object:
        while values.is_true(self._value(loop.condition)):
            self._memory.count_operation()
            result = self._perform(loop.body)
            if result is not _CONTINUE:
                return result
        return _CONTINUE

    def _deletion(self, deletion: tree.Deletion) -> object:
        if isinstance(deletion.target, tree.Variable):
            self._variables[deletion.target.name] = None
            return _CONTINUE
        holder, place = self._holder(deletion.target)
        if isinstance(holder, dict):
            self._own(holder).pop(values.to_text(place), None)
        elif values.item(holder, place) is not None:
            self._put(holder, place, None)
        return _CONTINUE

    # expressions

    def _value(self, expression: tree.Expression) -> Value:
        self._memory.count_work(EXPRESSION)
        return self._evaluators[type(expression)](expression)

    def _path(self, path: tree.Path) -> Value:
        value = self._value(path.start)
        for step in path.steps:
            value = self._steps[type(step)](value, step)
        return value

    def _each(self, value: Value, step: tree.Each) -> Value:
        if not isinstance(value, list):
            return None
        return self._memory.hold([values.member(item, step.name) for item in value])

    def _method_call(self, value: Value, step: tree.MethodCall) -> Value:
        self._memory.count_operation()
        arguments = [self._value(argument) for argument in step.arguments]
        subject = self._own(value) if step.name in CHANGING else value
        return METHODS[step.name](self._memory, subject, [self._memory.current(argument) for argument in arguments])

    def _api_call(self, call: tree.ApiCall) -> Value:
        self._memory.count_operation()
        return self._call(call.method, self._value(call.argument))

    def _parsed(self, parsed: tree.Parsed) -> Value:
        value = self._value(parsed.operand)
        return values.parse_int(value) if parsed.whole else values.parse_double(value)

    def _unary(self, unary: tree.Unary) -> Value:
        value = self._value(unary.operand)
        for sign in reversed(unary.signs):
            value = not values.is_true(value) if sign == "!" else values.calculate("-", 0, value)
        return value

    def _chain(self, chain: tree.Chain) -> Value:
        value = self._value(chain.first)
        for sign, operand in chain.rest:
            value = self._joined(sign, value, self._value(operand))
        return value

    def _joined(self, sign: str, left: Value, right: Value) -> Value:
        if sign in {"==", "!="}:
            return values.are_equal(left, right) is (sign == "==")
        if sign in {"<", ">="}:
            return values.is_less(left, right) is (sign == "<")
        if sign in {">", "<="}:
            return values.is_less(right, left) is (sign == ">")
        return self._sum(left, right) if sign == "+" else values.calculate(sign, left, right)

    def _sum(self, left: Value, right: Value) -> Value:
        """Add numbers, or concatenate texts or lists; null and false beside a list count as an empty list."""
        if isinstance(left, list) or isinstance(right, list):
            return self._memory.hold([*self._items(left), *self._items(right)])
        if isinstance(left, str) or isinstance(right, str):
            text = values.to_text(left) + values.to_text(right)
            self._memory.count_work(len(text))
            return text
        return values.calculate("+", left, right)

    def _items(self, value: Value) -> list[Value]:
        # A failed call's `false.items` is null. Public scripts add it to their list, and VK accepts that (vk-io).
        if value is None or value is False:
            return []
        if not isinstance(value, list):
            raise failed_run("Adding values of different or unsupported types")
        return value

    def _all_of(self, found: tree.AllOf) -> Value:
        value = None
        for operand in found.operands:
            value = self._value(operand)
            if not values.is_true(value):
                break
        return value

    def _any_of(self, found: tree.AnyOf) -> Value:
        value = None
        for operand in found.operands:
            value = self._value(operand)
            if values.is_true(value):
                break
        return value

    def _choice(self, choice: tree.Choice) -> Value:
        return self._value(choice.yes if values.is_true(self._value(choice.condition)) else choice.no)

    def _assignment(self, assignment: tree.Assignment) -> Value:
        target = assignment.target
        if isinstance(target, tree.Variable):
            value = self._assigned(assignment, self._variables.get(target.name))
            self._variables[target.name] = value
            return value
        holder, place = self._holder(target)
        value = self._assigned(assignment, values.item(holder, place))
        self._put(holder, place, value)
        return value

    def _assigned(self, assignment: tree.Assignment, former: Value) -> Value:
        value = self._value(assignment.value)
        return self._joined(assignment.operator, former, value) if assignment.operator else value

    def _holder(self, target: tree.Path) -> tuple[Value, Value]:
        """Return the container that the last step of a path changes, and the position: a name or a number."""
        holder = self._value(target.start)
        for step in target.steps[:-1]:
            holder = self._steps[type(step)](holder, step)
        last = target.steps[-1]
        return holder, self._value(last.place) if isinstance(last, tree.Index) else last.name

    def _put(self, holder: Value, place: Value, value: Value) -> None:
        """Set a member of an object, or an item of a list, at most one behind its last.

        Raises:
            ApiError: 13 if the position does not exist.
        """
        if isinstance(holder, dict):
            self._own(holder)[values.to_text(place)] = self._memory.current(value)
            return
        number = int(values.to_number(place)) if isinstance(holder, list) else -1
        if not isinstance(holder, list) or not 0 <= number <= len(holder):
            raise failed_run("Assigning to a member of an unsupported type")
        self._own(holder)[number : number + 1] = [self._memory.current(value)]

    def _own(self, value: Value) -> Value:
        """Return the value itself, or its replacement: a list or object that may be changed."""
        return self._memory.own(value, self._variables) if isinstance(value, list | dict) else value
