"""Lua code as a tree of statements and expressions. Pure.

Source of the grammar: LuaJIT's src/lj_parse.c. Statements behind a ``return`` are read too; they are never reached.
"""

from collections.abc import Sequence

from resty_metrics.nginx_config import lua_nodes as lua
from resty_metrics.nginx_config.lua_tokens import END, LuaError, Token

_DEEPEST = 100
_GOES_ON = 'a line that begins with "(" continues the line before it: put a semicolon between them'
_UNPARSED = "its Lua cannot be parsed"
_LAST = frozenset({"end", "else", "elseif", "until"})
# Binding powers on the left and on the right of each operator.
_POWERS = {
    "or": (1, 1), "and": (2, 2), "<": (3, 3), ">": (3, 3), "<=": (3, 3), ">=": (3, 3), "~=": (3, 3), "==": (3, 3),
    "..": (5, 4), "+": (6, 6), "-": (6, 6), "*": (7, 7), "/": (7, 7), "%": (7, 7), "^": (10, 9),
}  # fmt: skip
_UNARY_POWER = 8
_CONSTANTS = {"nil": None, "true": True, "false": False}


def parse(code: Sequence[Token]) -> lua.Block:
    """Parse the tokens of a chunk. Raises LuaError."""
    parser = _Parser(code)
    block = parser.block()
    if parser.next is not END:
        raise LuaError(_UNPARSED)
    return block


class _Parser:
    """A parser by recursive descent; ``next`` is the token to be read."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0
        self._statements = {
            "local": self._local, "if": self._if, "while": self._while, "for": self._for, "repeat": self._repeat,
            "function": self._function_statement, "do": self._do, "return": self._return, "break": self._break,
            "goto": self._goto, "::": self._label, ";": self._empty,
        }  # fmt: skip

    @property
    def next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self.next
        self._at += token is not END
        return token

    def _is(self, *symbols: str) -> bool:
        return self.next.kind == "symbol" and self.next.text in symbols

    def _accept(self, symbol: str) -> bool:
        accepted = self._is(symbol)
        self._at += accepted
        return accepted

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            raise LuaError(_UNPARSED)

    def _name(self) -> str:
        if self.next.kind != "name":
            raise LuaError(_UNPARSED)
        return self._take().text

    # statements -------------------------------------------------------------------------------------------------------

    def block(self) -> lua.Block:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise LuaError("its blocks are too deep", limit=True)
        statements: list[lua.Statement] = []
        while self.next is not END and not self._is(*_LAST):
            statement = self._statement()
            if statement is not None:
                statements.append(statement)
        self._depth -= 1
        return tuple(statements)

    def _block_to_end(self) -> lua.Block:
        block = self.block()
        self._expect("end")
        return block

    def _statement(self) -> lua.Statement | None:
        read = self._statements.get(self.next.text) if self.next.kind == "symbol" else None
        if read is None:
            return self._assignment()
        self._take()
        return read()

    def _assignment(self) -> lua.Statement:
        targets = [self._suffixed()]
        if not self._is("=", ","):
            return lua.Run(targets[0])
        while self._accept(","):
            targets.append(self._suffixed())
        self._expect("=")
        return lua.Assign(tuple(targets), self._expressions())

    def _local(self) -> lua.Statement:
        if self._accept("function"):
            name = self._name()
            return lua.Local((name,), (self._function(),), recursive=True)
        names = self._names()
        return lua.Local(names, self._expressions() if self._accept("=") else ())

    def _names(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._accept(","):
            names.append(self._name())
        return tuple(names)

    def _if(self) -> lua.Statement:
        branches: list[tuple[lua.Expression, lua.Block]] = []
        while True:
            condition = self.expression()
            self._expect("then")
            branches.append((condition, self.block()))
            if not self._accept("elseif"):
                break
        otherwise = self.block() if self._accept("else") else ()
        self._expect("end")
        return lua.If(tuple(branches), otherwise)

    def _while(self) -> lua.Statement:
        condition = self.expression()
        self._expect("do")
        return lua.Loop((), (), condition, self._block_to_end())

    def _for(self) -> lua.Statement:
        names = self._names()
        if not (self._accept("=") or self._accept("in")):
            raise LuaError(_UNPARSED)
        values = self._expressions()
        self._expect("do")
        return lua.Loop(names, values, None, self._block_to_end())

    def _repeat(self) -> lua.Statement:
        body = self.block()
        self._expect("until")
        return lua.Loop((), (), self.expression(), body, until=True)

    def _function_statement(self) -> lua.Statement:
        target: lua.Expression = lua.Name(self._name())
        method = False
        while self._is(".", ":"):
            method = self._take().text == ":"
            target = lua.Index(target, lua.Constant(self._name()))
        return lua.Assign((target,), (self._function(("self",) if method else ()),))

    def _do(self) -> lua.Statement:
        return lua.Do(self._block_to_end())

    def _return(self) -> lua.Statement:
        ends = self.next is END or self._is(*_LAST, ";")
        return lua.Return(() if ends else self._expressions())

    def _break(self) -> lua.Statement:
        return lua.Jump("break")

    def _goto(self) -> lua.Statement:
        self._name()
        return lua.Jump("goto")

    def _label(self) -> None:
        self._name()
        self._expect("::")

    def _empty(self) -> None:
        return None

    # expressions ------------------------------------------------------------------------------------------------------

    def _expressions(self) -> tuple[lua.Expression, ...]:
        expressions = [self.expression()]
        while self._accept(","):
            expressions.append(self.expression())
        return tuple(expressions)

    def expression(self, power: int = 0) -> lua.Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise LuaError("its expressions are too deep", limit=True)
        left = self._operand()
        while self.next.kind == "symbol" and self.next.text in _POWERS and _POWERS[self.next.text][0] > power:
            operator = self._take().text
            left = lua.Operation(operator, (left, self.expression(_POWERS[operator][1])))
        self._depth -= 1
        return left

    def _operand(self) -> lua.Expression:
        if self._is("not", "-", "#"):
            return lua.Operation(self._take().text, (self.expression(_UNARY_POWER),))
        if self._is(*_CONSTANTS):
            return lua.Constant(_CONSTANTS[self._take().text])
        if self.next.kind in ("number", "string"):
            return lua.Constant(self._take().text)
        if self._accept("..."):
            return lua.Name("...")
        if self._is("{"):
            return self._table()
        return self._function() if self._accept("function") else self._suffixed()

    def _suffixed(self) -> lua.Expression:
        """Read a name or an expression in parentheses, and the fields and calls behind it."""
        if self._accept("("):
            expression = self.expression()
            self._expect(")")
        else:
            expression = lua.Name(self._name())
        while True:
            if self._accept("."):
                expression = lua.Index(expression, lua.Constant(self._name()))
            elif self._accept("["):
                expression = lua.Index(expression, self.expression())
                self._expect("]")
            elif self._accept(":"):
                method = self._name()
                expression = lua.Call(expression, self._arguments(), method)
            elif self._is("(", "{") or self.next.kind == "string":
                if self._is("(") and self.next.first:
                    raise LuaError(_GOES_ON)
                expression = lua.Call(expression, self._arguments())
            else:
                return expression

    def _arguments(self) -> tuple[lua.Expression, ...]:
        if self.next.kind == "string":
            return (lua.Constant(self._take().text),)
        if self._is("{"):
            return (self._table(),)
        self._expect("(")
        if self._accept(")"):
            return ()
        arguments = self._expressions()
        self._expect(")")
        return arguments

    def _function(self, parameters: tuple[str, ...] = ()) -> lua.Function:
        self._expect("(")
        names = [*parameters]
        while not self._accept(")"):
            names.append("..." if self._accept("...") else self._name())
            if not self._is(")"):
                self._expect(",")
        return lua.Function(tuple(names), self._block_to_end())

    def _table(self) -> lua.Table:
        self._expect("{")
        values: list[lua.Expression] = []
        while not self._accept("}"):
            if self._accept("["):
                values.append(self.expression())
                self._expect("]")
                self._expect("=")
            elif self.next.kind == "name" and self._tokens[self._at + 1][:2] == ("symbol", "="):
                self._at += 2
            values.append(self.expression())
            if not self._is("}") and not self._accept(","):
                self._expect(";")
        return lua.Table(tuple(values))
