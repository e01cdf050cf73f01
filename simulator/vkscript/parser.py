"""Parses the tokens of a script into its tree, by recursive descent, with one method per rule."""

import math
from collections.abc import Iterator
from typing import Final

from simulator.errors import uncompilable
from simulator.vkscript.lexer import Token, tokenize, unquote
from simulator.vkscript.methods import METHODS
from simulator.vkscript.tree import (
    AllOf,
    AnyOf,
    ApiCall,
    Arguments,
    Assignment,
    Block,
    Chain,
    Choice,
    Condition,
    Declaration,
    Deletion,
    Each,
    Evaluation,
    Expression,
    Index,
    ListOf,
    Literal,
    Loop,
    Member,
    MethodCall,
    ObjectOf,
    Parsed,
    Path,
    Return,
    Statement,
    Step,
    Target,
    Unary,
    Variable,
)

# Maximum nesting of expressions and statements; running one level takes at most 20 nested Python calls.
MAX_DEPTH: Final = 30
# A second of parsing; 25 calls with 1,000 ids each take 50,000 tokens. (VK's own limit is not known.)
MAX_TOKENS: Final = 200_000
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_RESERVED: Final = {*_WORDS, "API", "Args", "var", "if", "else", "while", "return", "delete", "parseInt", "parseDouble"}
_OR, _AND = 0, 1
_RANKS: Final = {
    "||": _OR,
    "&&": _AND,
    **dict.fromkeys(("==", "!="), 2),
    **dict.fromkeys(("<", ">", "<=", ">="), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_ASSIGNMENTS: Final = {"=": "", "+=": "+", "-=": "-"}
_LONGEST_INTEGER: Final = 18


def parse(code: str) -> Block:
    """Parse the statements of a script.

    Raises:
        ApiError: 12 in VK's wording: "';' expected, '' found in line 1" (recorded), "undefined identifier 'a' in line
            1" and "non-variable in assignment" (seen in public code).
    """
    return _Parser(code).script()


class _Parser:
    def __init__(self, code: str) -> None:
        self._tokens = tokenize(code)
        self._next = next(self._tokens)
        self._depth = 0
        self._taken = 0
        self._declared: set[str] = set()

    def script(self) -> Block:
        statements = []
        while self._next.kind != "end":
            statements.append(self._statement())
        return Block(tuple(statements))

    # tokens

    def _take(self) -> Token:
        self._taken += 1
        if self._taken > MAX_TOKENS:
            raise self._wrong("code is too long")
        token, self._next = self._next, next(self._tokens, Token("end", "", self._next.line))
        return token

    def _sign(self) -> str:
        """Return the next token if it is a sign, otherwise an empty text."""
        return self._next.text if self._next.kind == "sign" else ""

    def _accept(self, text: str) -> bool:
        """Consume the next token if it is this sign or word; return whether it is."""
        if self._next.text != text:
            return False
        self._take()
        return True

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self._unexpected(text)

    def _name(self, expected: str) -> str:
        if self._next.kind != "name":
            raise self._unexpected(expected)
        return self._take().text

    def _unexpected(self, expected: str) -> Exception:
        return uncompilable(f"'{expected}' expected, '{self._next.text}' found in line {self._next.line}")

    def _wrong(self, what: str) -> Exception:
        return uncompilable(f"{what} in line {self._next.line}")

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong("nesting is too deep")

    # statements

    def _statement(self) -> Statement:
        self._descend()
        found = self._any_statement()
        self._depth -= 1
        return found

    def _any_statement(self) -> Statement:
        if self._accept("{"):
            statements = []
            while not self._accept("}"):
                if self._next.kind == "end":
                    raise self._unexpected("}")
                statements.append(self._statement())
            return Block(tuple(statements))
        if self._accept(";"):
            return Block(())
        if self._accept("if"):
            return self._condition()
        if self._accept("while"):
            return Loop(self._in_parentheses(), self._statement())
        return self._simple_statement()

    def _simple_statement(self) -> Statement:
        found: Statement
        if self._accept("var"):
            found = Declaration(tuple(self._declarations()))
        elif self._accept("return"):
            found = Return(Literal(None) if self._sign() == ";" else self._expression())
        elif self._accept("delete"):
            found = Deletion(self._target(self._postfix(), "delete"))
        else:
            found = Evaluation(self._expression())
        self._expect(";")
        return found

    def _declarations(self) -> Iterator[tuple[str, Expression | None]]:
        while True:
            if self._next.text in _RESERVED:
                raise self._unexpected("variable name")
            name = self._name("variable name")
            self._declared.add(name)
            yield name, self._expression() if self._accept("=") else None
            if not self._accept(","):
                return

    def _condition(self) -> Condition:
        branches = [(self._in_parentheses(), self._statement())]
        while self._accept("else"):
            if not self._accept("if"):
                return Condition(tuple(branches), self._statement())
            branches.append((self._in_parentheses(), self._statement()))
        return Condition(tuple(branches), Block(()))

    def _in_parentheses(self) -> Expression:
        self._expect("(")
        found = self._expression()
        self._expect(")")
        return found

    # expressions

    def _expression(self) -> Expression:
        self._descend()
        found = self._choice()
        if self._sign() in _ASSIGNMENTS:
            target = self._target(found, "assignment")
            operator = _ASSIGNMENTS[self._take().text]
            found = Assignment(target, operator, self._expression())
        self._depth -= 1
        return found

    def _target(self, found: Expression, purpose: str) -> Target:
        """Return what may be assigned to or deleted: a variable, or a member or item of one."""
        if isinstance(found, Variable):
            return found
        if isinstance(found, Path) and isinstance(found.start, Variable):
            last = found.steps[-1]
            if isinstance(last, Member | Index):
                return found
        raise self._wrong(f"non-variable in {purpose}")

    def _choice(self) -> Expression:
        condition = self._binary(_OR)
        if not self._accept("?"):
            return condition
        yes = self._expression()
        self._expect(":")
        return Choice(condition, yes, self._expression())

    def _binary(self, lowest: int) -> Expression:
        """Parse operands joined by operators of this rank and of those that bind tighter."""
        found = self._unary()
        while (rank := _RANKS.get(self._sign(), -1)) >= lowest:
            rest = []
            while _RANKS.get(self._sign()) == rank:
                operator = self._take().text
                rest.append((operator, self._binary(rank + 1)))
            if rank in {_OR, _AND}:
                operands = (found, *(operand for _, operand in rest))
                found = AnyOf(operands) if rank == _OR else AllOf(operands)
            else:
                found = Chain(found, tuple(rest))
        return found

    def _unary(self) -> Expression:
        signs = []
        while self._sign() in {"!", "-"}:
            signs.append(self._take().text)
        if signs == ["-"] and self._next.kind == "number":
            return self._number("-")
        operand = self._postfix()
        return Unary(tuple(signs), operand) if signs else operand

    def _number(self, sign: str = "") -> Literal:
        digits = self._take().text
        if digits.isdigit() and len(digits) <= _LONGEST_INTEGER:
            return Literal(int(sign + digits))
        number = float(sign + digits)
        if not math.isfinite(number):
            raise self._wrong("number is too large")
        return Literal(number)

    def _postfix(self) -> Expression:
        start = self._operand()
        steps: list[Step] = []
        while True:
            if self._accept("."):
                steps.append(self._member())
            elif self._accept("@."):
                steps.append(Each(self._name("member name")))
            elif self._accept("["):
                steps.append(Index(self._expression()))
                self._expect("]")
            else:
                return Path(start, tuple(steps)) if steps else start

    def _member(self) -> Member | MethodCall:
        name = self._name("member name")
        if self._sign() != "(":
            return Member(name)
        if name not in METHODS:
            raise self._wrong(f"undefined method '{name}'")
        self._take()
        return MethodCall(name, tuple(self._items(")")))

    def _operand(self) -> Expression:
        if self._next.kind == "text":
            return Literal(unquote(self._take().text))
        if self._next.kind == "number":
            return self._number()
        if self._accept("["):
            return ListOf(tuple(self._items("]")))
        if self._accept("{"):
            return ObjectOf(tuple(self._entries()))
        if self._sign() == "(":
            return self._in_parentheses()
        if self._next.kind == "name":
            return self._named()
        raise self._unexpected("expression")

    def _items(self, closing: str) -> Iterator[Expression]:
        while not self._accept(closing):
            yield self._expression()
            if not self._accept(","):
                self._expect(closing)
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
        name = self._next.text
        if name in _WORDS:
            return Literal(_WORDS[self._take().text])
        if name in {"parseInt", "parseDouble"}:
            self._take()
            return Parsed(self._in_parentheses(), whole=name == "parseInt")
        if self._accept("API"):
            return self._api_call()
        if self._accept("Args"):
            return Arguments()
        if name in _RESERVED:
            raise self._unexpected("expression")
        if name not in self._declared:
            raise self._wrong(f"undefined identifier '{name}'")
        return Variable(self._take().text)

    def _api_call(self) -> ApiCall:
        path = []
        while self._accept("."):
            path.append(self._name("method name"))
        self._expect("(")
        argument: Expression = ObjectOf(()) if self._sign() == ")" else self._expression()
        self._expect(")")
        return ApiCall(".".join(path), argument)
