"""Splits a script into tokens."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<sign>@\.|[=!<>+-]=|&&|\|\||.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of source with its line number, from 1; `kind` is name, number, text, sign or end."""

    kind: str
    text: str
    line: int


def tokenize(code: str) -> Iterator[Token]:
    """Yield the tokens of a script without spaces and comments; the last one has kind "end" and an empty text."""
    line = 1
    for match in _TOKEN.finditer(code):
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match.group(), line)
        line += match.group().count("\n")
    yield Token("end", "", line)


def unquote(quoted: str) -> str:
    """Return the text of a quoted literal; a lone surrogate becomes U+FFFD."""
    text = _ESCAPE.sub(_unescape, quoted[1:-1])
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)
