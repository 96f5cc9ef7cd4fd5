"""Follow Lua code and see whether ``log`` of our module is called on each way through it. Pure.

A *state* is what holds at one place of the code: the values of variables, and whether ours was called. A branch that
may or may not be taken is followed from a copy, and the states are joined behind it. No state is left behind a
``return`` or an ``error``.
"""

from collections.abc import Sequence
from itertools import zip_longest

from resty_metrics.nginx_config import lua_calls
from resty_metrics.nginx_config.lua_nodes import (
    Assign,
    Block,
    Call,
    Constant,
    Do,
    Expression,
    Function,
    If,
    Index,
    Jump,
    Local,
    Loop,
    Name,
    Operation,
    Return,
    Run,
    Statement,
    Table,
)
from resty_metrics.nginx_config.lua_state import Exits, State, Values, joined, merged
from resty_metrics.nginx_config.lua_values import OURS, Closure, Global, Known, Part, Value, either, may_be_ours, truth
from resty_metrics.nginx_config.lua_values import field as field_of

_MOST_STEPS = 20_000
_DEEPEST_CALL = 8

Scope = dict[str, int]


class UnsureError(Exception):
    """Code that is too long to be followed."""


class Interpreter:
    """``state`` None: nothing gets here. ``modules`` and ``files``: the other code that is loaded.

    ``dynamic``: code is loaded whose name is not known.
    """

    def __init__(self) -> None:
        self.state: State | None = State()
        self.doubts: list[str] = []
        self.modules: set[str] = set()
        self.files: set[str] = set()
        self.dynamic = False
        self.errors = [Exits()]
        self._returns = [Exits()]
        self._breaks: list[Exits] = []
        self._steps = self._calls = self._cells = 0
        self._tampered = False

    def run(self, block: Block) -> bool | None:
        """Follow a chunk, and return whether it calls ours."""
        self._block(block, {})
        end = joined([self.state, *self._returns[0].states, *self.errors[0].states])
        return False if end is None else end.counted

    # effects ----------------------------------------------------------------------------------------------------------

    def count(self, doubt: str = "") -> None:
        """Record a call of ours. With a doubt it may be one."""
        if self.state is None:
            return
        if not doubt and not self._tampered:
            self.state.counted = True
        elif self.state.counted is not True:
            self.state.counted = None
            self.doubts.append(doubt or "it changes our module")

    def fail(self) -> None:
        """Leave the code with an error."""
        self._leave(self.errors[-1])

    def perhaps(self, function: Value) -> None:
        """Record that a function may be called, at some time."""
        if self.state is not None and (isinstance(function, Closure) or function in OURS):
            before = self.state.copy()
            self.apply(function, ())
            self.state = joined([before, self.state])

    def protected(self, function: Value, arguments: Values) -> Values:
        """Call a function as pcall does."""
        self.errors.append(Exits())
        values = self.apply(function, arguments)
        failed = self.errors.pop().states
        if failed:
            self.state = joined([self.state, *failed])
            return (Part.OTHER, *(either(value, Part.OTHER) for value in values))
        sure = function is Part.LOG or (values[:1] == (Part.MODULE,) and not isinstance(function, Closure))
        return (Known(True) if sure else Part.OTHER, *values)

    def _leave(self, exits: Exits, values: Values = ()) -> None:
        if self.state is not None:
            exits.states.append(self.state)
            exits.values.append(values)
        self.state = None

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise UnsureError("its Lua is too long to be followed")

    # statements -------------------------------------------------------------------------------------------------------

    def _block(self, block: Block, scope: Scope) -> None:
        for statement in block:
            if self.state is None:
                return
            self._step()
            self._statement(statement, scope)

    def _statement(self, statement: Statement, scope: Scope) -> None:
        match statement:
            case Run(expression):
                self.value(expression, scope)
            case Local():
                self._local(statement, scope)
            case Assign(targets, values):
                for target, value in zip_longest(targets, self.values(values, scope)[: len(targets)], fillvalue=None):
                    self._assign(target, value or Known(None), scope)
            case Do(body):
                self._block(body, dict(scope))
            case If():
                self._if(statement, scope)
            case Loop():
                self._loop(statement, scope)
            case Return(values):
                self._leave(self._returns[-1], self.values(values, scope))
            case Jump("break") if self._breaks:
                self._leave(self._breaks[-1])
            case Jump():
                self.count("it has a goto")
                self._leave(self._returns[-1], (Part.UNKNOWN,))

    def _local(self, local: Local, scope: Scope) -> None:
        if local.recursive:
            self._declare(local.names[0], Part.OTHER, scope)
            self._set(scope[local.names[0]], Closure(_function(local), dict(scope)))
            return
        values = self.values(local.values, scope)
        for name, value in zip_longest(local.names, values[: len(local.names)], fillvalue=None):
            self._declare(name or "", value or Known(None), scope)

    def _declare(self, name: str, value: Value, scope: Scope) -> None:
        self._cells += 1
        scope[name] = self._cells
        self._set(self._cells, value)

    def _set(self, cell: int | str, value: Value) -> None:
        if self.state is not None:
            self.state.values[cell] = value

    def _assign(self, target: Expression | None, value: Value, scope: Scope) -> None:
        if isinstance(target, Name):
            self._set(scope.get(target.name, target.name), value)
        elif isinstance(target, Index):
            table, key = self.value(target.table, scope), self.value(target.key, scope)
            self._tampered |= field_of(table, key) in OURS or table in OURS
            root = target.table
            while isinstance(root, Index):
                root = root.table
            if may_be_ours((value,)) and isinstance(root, Name) and table not in OURS:
                self._set(scope.get(root.name, root.name), Part.UNKNOWN)

    def _if(self, one: If, scope: Scope) -> None:
        ends: list[State | None] = []
        for condition, body in one.branches:
            known = truth(self.value(condition, scope))
            if known is False or self.state is None:
                continue
            before = self.state.copy()
            self._block(body, dict(scope))
            ends.append(self.state)
            self.state = None if known else before
        self._block(one.otherwise, dict(scope))
        self.state = joined([*ends, self.state])

    def _loop(self, loop: Loop, scope: Scope) -> None:
        values = self.values(loop.values, scope)
        known = None if loop.condition is None or loop.until else truth(self.value(loop.condition, scope))
        if known is False or self.state is None:
            return
        ends = [None if known or loop.until else self.state.copy()]
        endless = known is True
        self._breaks.append(Exits())
        for _ in range(2):  # the second time with what the first one assigned
            inner = dict(scope)
            for name in loop.names:
                self._declare(name, Part.UNKNOWN if may_be_ours(values) else Part.OTHER, inner)
            self._block(loop.body, inner)
            if loop.until and loop.condition is not None and self.state is not None:
                endless = truth(self.value(loop.condition, inner)) is False
            ends.append(None if endless or self.state is None else self.state.copy())
            if loop.condition is not None and not loop.until and self.state is not None:
                self.value(loop.condition, scope)
        self.state = joined([*ends, *self._breaks.pop().states])

    # expressions ------------------------------------------------------------------------------------------------------

    def values(self, expressions: Sequence[Expression], scope: Scope) -> Values:
        """Evaluate a list, of which the last may be a call that returns several values."""
        found: list[Value] = [self.value(one, scope) for one in expressions[:-1]]
        for last in expressions[-1:]:
            found += self._call(last, scope) if isinstance(last, Call) else (self.value(last, scope),)
        return tuple(found)

    def value(self, expression: Expression, scope: Scope) -> Value:
        match expression:
            case Constant(value):
                return Known(value)
            case Name(name):
                return self._variable(scope.get(name, name))
            case Index(table, key):
                return field_of(self.value(table, scope), self.value(key, scope))
            case Call():
                return next(iter(self._call(expression, scope)), Known(None))
            case Function():
                return Closure(expression, dict(scope))
            case Table(values):
                found = [self.value(one, scope) for one in values]
                return Part.UNKNOWN if may_be_ours(found) else Part.OTHER
            case Operation(operator, operands):
                return self._operation(operator, operands, scope)

    def _variable(self, cell: int | str) -> Value:
        absent = Global(cell) if isinstance(cell, str) else Part.OTHER
        return absent if self.state is None else self.state.values.get(cell, absent)

    def _operation(self, operator: str, operands: Sequence[Expression], scope: Scope) -> Value:
        left = self.value(operands[0], scope)
        if operator in ("and", "or"):
            return self._choice(left, operands[1], scope, goes_on=operator == "and")
        if operator == "not":
            known = truth(left)
            return Part.OTHER if known is None else Known(not known)
        right = self.value(operands[-1], scope) if len(operands) > 1 else left
        if operator == ".." and isinstance(left, Known) and isinstance(right, Known):
            return Known(f"{left.value}{right.value}")
        return Part.OTHER

    def _choice(self, left: Value, right: Expression, scope: Scope, *, goes_on: bool) -> Value:
        known = truth(left)
        if self.state is None or known is (not goes_on):
            return left
        if known is goes_on:
            return self.value(right, scope)
        before = self.state.copy()
        value = self.value(right, scope)
        self.state = joined([before, self.state])
        if left is Part.LOADED and value is Part.MODULE and not goes_on:
            return Part.MODULE
        return either(left, value)

    # calls ------------------------------------------------------------------------------------------------------------

    def _call(self, call: Call, scope: Scope) -> Values:
        function = self.value(call.function, scope)
        first: Values = ()
        if call.method is not None:
            function, first = field_of(function, Known(call.method)), (function,)
        return self.apply(function, (*first, *self.values(call.arguments, scope)))

    def apply(self, function: Value, arguments: Values) -> Values:
        """Call a function, and return what it returns."""
        self._step()
        if self.state is None:
            return ()
        if isinstance(function, Closure):
            return self._inline(function, arguments)
        return lua_calls.call(self, function, arguments)

    def _inline(self, closure: Closure, arguments: Values) -> Values:
        if self._calls >= _DEEPEST_CALL and self.state is not None:
            self.count("its functions call each other")
            self.errors[-1].states.append(self.state.copy())
            return (Part.UNKNOWN,)
        scope = dict(closure.scope)
        for name, value in zip_longest(closure.function.parameters, arguments[: len(closure.function.parameters)]):
            self._declare(name, value or Part.OTHER, scope)
        if "..." in scope and may_be_ours(arguments):
            self._set(scope["..."], Part.UNKNOWN)
        self._calls += 1
        self._returns.append(Exits())
        self._block(closure.function.body, scope)
        self._calls -= 1
        exits = self._returns.pop()
        values = [*exits.values, ()] if self.state is not None else exits.values
        self.state = joined([self.state, *exits.states])
        return merged(values)


def _function(local: Local) -> Function:
    (value,) = local.values
    assert isinstance(value, Function)
    return value
