"""This file reads VKScript: so far scripts that are one `return` of literals, lists, objects and API calls.

The tree it gives is evaluated by `execute`. Source of the language: dev.vk.com/ru/execute.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from app.simulator.errors import uncompilable

MAX_DEPTH: Final = 50

Expression: TypeAlias = "Literal | ListOf | ObjectOf | Call"


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true, false or null."""

    value: float | int | str | bool | None


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """`{"a": b}`."""

    entries: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`API.section.method(argument)`; `method` is "section.method", no argument is an empty object."""

    method: str
    argument: Expression


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of source with the line it stands in, from 1; `kind` is name, number, text, sign or end."""

    kind: str
    text: str
    line: int


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_LONGEST_INTEGER: Final = 18


def tokenize(code: str) -> Iterator[Token]:
    """The tokens of a script without spaces and comments, the last one of kind "end" with an empty text."""
    line = 1
    for match in _TOKEN.finditer(code):
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match.group(), line)
        line += match.group().count("\n")
    yield Token("end", "", line)


def parse(code: str) -> Expression:
    """What the script returns, as a tree.

    Raises:
        ApiError: 12 with VK's wording ("';' expected, '' found in line 1").
    """
    return _Parser(code).script()


class _Parser:
    """Recursive descent, one method a rule."""

    def __init__(self, code: str) -> None:
        self._tokens = tokenize(code)
        self._next = next(self._tokens)
        self._depth = 0

    def script(self) -> Expression:
        self._expect("return")
        result = Literal(None) if self._next.text == ";" else self._expression()
        self._expect(";")
        self._expect("")
        return result

    def _take(self) -> Token:
        token, self._next = self._next, next(self._tokens, Token("end", "", self._next.line))
        return token

    def _expect(self, text: str) -> None:
        if self._next.text != text:
            raise self._unexpected(text or "end of code")
        self._take()

    def _accept(self, text: str) -> bool:
        if self._next.kind != "sign" or self._next.text != text:
            return False
        self._take()
        return True

    def _unexpected(self, expected: str) -> Exception:
        return uncompilable(f"'{expected}' expected, '{self._next.text}' found in line {self._next.line}")

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise uncompilable(f"nesting is too deep in line {self._next.line}")
        found = self._operand()
        self._depth -= 1
        return found

    def _operand(self) -> Expression:
        if self._next.kind == "text":
            return Literal(unquote(self._take().text))
        if self._next.kind == "number" or self._next.text == "-":
            return self._number()
        if self._accept("["):
            return ListOf(tuple(self._items()))
        if self._accept("{"):
            return ObjectOf(tuple(self._entries()))
        if self._next.kind == "name":
            return self._named()
        raise self._unexpected("expression")

    def _number(self) -> Literal:
        sign = "-" if self._accept("-") else ""
        if self._next.kind != "number":
            raise self._unexpected("number")
        digits = self._take().text
        whole = digits.isdigit() and len(digits) <= _LONGEST_INTEGER
        return Literal(int(sign + digits) if whole else float(sign + digits))

    def _items(self) -> Iterator[Expression]:
        while not self._accept("]"):
            yield self._expression()
            if not self._accept(","):
                self._expect("]")
                return

    def _entries(self) -> Iterator[tuple[str, Expression]]:
        while not self._accept("}"):
            if self._next.kind not in {"text", "name", "number"}:
                raise self._unexpected("key")
            key = self._take()
            self._expect(":")
            yield unquote(key.text) if key.kind == "text" else key.text, self._expression()
            if not self._accept(","):
                self._expect("}")
                return

    def _named(self) -> Expression:
        if self._next.text in _WORDS:
            return Literal(_WORDS[self._take().text])
        self._expect("API")
        path = []
        while self._accept("."):
            if self._next.kind != "name":
                raise self._unexpected("method name")
            path.append(self._take().text)
        self._expect("(")
        argument: Expression = ObjectOf(()) if self._next.text == ")" else self._expression()
        self._expect(")")
        return Call(".".join(path), argument)


def unquote(quoted: str) -> str:
    """The text a quoted literal stands for; a half of a surrogate pair alone becomes U+FFFD."""
    text = _ESCAPE.sub(_unescape, quoted[1:-1])
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)
