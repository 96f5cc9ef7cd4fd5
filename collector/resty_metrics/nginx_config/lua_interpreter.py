"""Follow Lua code and see whether ``log`` of our module is called on each way through it. Pure.

A *state* is what holds at one place of the code: the values of variables, and whether ours was called. A branch that
may or may not be taken is followed from a copy, and the states are joined behind it. No state is left behind a
``return`` or an ``error``.
"""

from collections.abc import Sequence
from itertools import count, zip_longest

from resty_metrics.nginx_config import lua_calls
from resty_metrics.nginx_config import lua_nodes as lua
from resty_metrics.nginx_config.lua_course import Course, Scope
from resty_metrics.nginx_config.lua_state import Exits, State, Values, merged
from resty_metrics.nginx_config.lua_values import (
    GLOBALS,
    OURS,
    Closure,
    Global,
    Known,
    Part,
    Value,
    either,
    equal,
    may_be_ours,
    truth,
)
from resty_metrics.nginx_config.lua_values import field as field_of

_DEEPEST_CALL = 8


class Interpreter:
    """``course``: where the code is, and what is known of it."""

    def __init__(self) -> None:
        self.course = Course()
        self._calls = 0

    def run(self, block: lua.Block) -> bool | None:
        """Follow a chunk, and return whether it calls ours."""
        self._block(block, {})
        end = self.course.end()
        return False if end is None else end.counted

    def begin(self, block: lua.Block) -> None:
        """Follow a chunk that runs before, for the global variables that it leaves behind."""
        self.run(block)
        self.course.begin_anew()

    # effects ----------------------------------------------------------------------------------------------------------

    def perhaps(self, function: Value) -> None:
        """Record that a function may be called, at some time."""
        if self.course.state is not None and (isinstance(function, Closure) or function in OURS):
            before = self.course.copied()
            self.apply(function, ())
            self.course.state = self.course.joined([before, self.course.state])

    def protected(self, function: Value, arguments: Values) -> Values:
        """Call a function as pcall does."""
        self.course.errors.append(Exits())
        values = self.apply(function, arguments)
        failed = self.course.errors.pop().states
        if failed:
            self.course.state = self.course.joined([self.course.state, *failed])
            return (Part.OTHER, *(either(value, Part.OTHER) for value in values or (Part.OTHER,)))
        if isinstance(function, Closure):  # code of others in it may fail
            return (
                Part.OTHER,
                *(Part.OTHER if isinstance(value, Known) else value for value in values or (Part.OTHER,)),
            )
        sure = function is Part.LOG or values[:1] == (Part.MODULE,)
        return (Known(True) if sure else Part.OTHER, *values)

    # statements -------------------------------------------------------------------------------------------------------

    def _block(self, block: lua.Block, scope: Scope) -> None:
        for statement in block:
            if self.course.state is None:
                return
            self.course.step()
            self.course.reach(statement)
            self._statement(statement, scope)

    def _statement(self, statement: lua.Statement, scope: Scope) -> None:
        match statement:
            case lua.Run(expression):
                self.value(expression, scope)
            case lua.Local():
                self._local(statement, scope)
            case lua.Assign(targets, values):
                for target, value in zip_longest(targets, self.values(values, scope)[: len(targets)], fillvalue=None):
                    self._assign(target, value or Known(None), scope)
            case lua.Do(body):
                self._block(body, dict(scope))
            case lua.If():
                self._if(statement, scope)
            case lua.Loop():
                self._loop(statement, scope)
            case lua.Return(values):
                self.course.leave(self.course.returns[-1], self.values(values, scope))
            case lua.Jump("break") if self.course.breaks:
                self.course.leave(self.course.breaks[-1])
            case lua.Jump():
                self.course.count("it has a goto")
                self.course.guessed = True
                self.course.leave(self.course.returns[-1], (Part.UNKNOWN,))

    def _local(self, local: lua.Local, scope: Scope) -> None:
        if local.recursive:
            self.course.declare(local.names[0], Part.OTHER, scope)
            self.course.set(scope[local.names[0]], Closure(_function(local), dict(scope)))
            return
        values = self.values(local.values, scope)
        for name, value in zip_longest(local.names, values[: len(local.names)], fillvalue=None):
            self.course.declare(name or "", value or Known(None), scope)

    def _assign(self, target: lua.Expression | None, value: Value, scope: Scope) -> None:
        if isinstance(target, lua.Name):
            if target.name not in scope:
                self.course.free.add(target.name)
            self.course.set(scope.get(target.name, target.name), value)
        elif isinstance(target, lua.Index):
            table, key = self.value(target.table, scope), self.value(target.key, scope)
            if table in (Known(None), Known(True), Known(False)):
                self.course.fail(guess=True)
            self.course.escape(value)
            self.course.tampered |= field_of(table, key) in OURS or table in OURS
            if table == GLOBALS and isinstance(key, Known):
                self.course.set(str(key.value), value)
                return
            root = target.table
            while isinstance(root, lua.Index):
                root = root.table
            if may_be_ours((value,)) and isinstance(root, lua.Name) and table not in OURS:
                self.course.set(scope.get(root.name, root.name), Part.UNKNOWN)

    def _if(self, statement: lua.If, scope: Scope) -> None:
        ends: list[State | None] = []
        for condition, body in statement.branches:
            known = truth(self.value(condition, scope))
            if known is False or self.course.state is None:
                continue
            before = self.course.copied()
            self._block(body, dict(scope))
            ends.append(self.course.state)
            self.course.state = None if known else before
        self._block(statement.otherwise, dict(scope))
        self.course.state = self.course.joined([*ends, self.course.state])

    def _loop(self, loop: lua.Loop, scope: Scope) -> None:
        values = self.values(loop.values, scope)
        known = None if loop.condition is None or loop.until else truth(self.value(loop.condition, scope))
        if known is False or self.course.state is None:
            return
        ends = [None if known or loop.until else self.course.copied()]
        endless = known is True
        self.course.breaks.append(Exits())
        visible = self.course.visible()
        for turn in count():
            before = self.course.copied()
            inner = dict(scope)
            for name in loop.names:
                self.course.declare(name, Part.UNKNOWN if may_be_ours(values) else Part.OTHER, inner)
            self._block(loop.body, inner)
            if loop.until and loop.condition is not None and self.course.state is not None:
                endless = truth(self.value(loop.condition, inner)) is False
            ends.append(None if endless or self.course.state is None else self.course.copied())
            if loop.condition is not None and not loop.until and self.course.state is not None:
                self.value(loop.condition, scope)
            if turn > 0:  # until another turn brings nothing new
                after = self.course.joined([before, self.course.state])
                if before is None or after is None or after.same(before, visible):
                    break
                self.course.state = after
        self.course.state = self.course.joined([*ends, *self.course.breaks.pop().states])

    # expressions ------------------------------------------------------------------------------------------------------

    def values(self, expressions: Sequence[lua.Expression], scope: Scope) -> Values:
        """Evaluate a list, of which the last may be a call that returns several values."""
        values: list[Value] = [self.value(expression, scope) for expression in expressions[:-1]]
        for last in expressions[-1:]:
            values += self._call(last, scope) if isinstance(last, lua.Call) else (self.value(last, scope),)
        return tuple(values)

    def value(self, expression: lua.Expression, scope: Scope) -> Value:
        self.course.reach(expression)
        match expression:
            case lua.Constant(value):
                return Known(value)
            case lua.Name(name):
                return self._variable(name, scope)
            case lua.Index(table, key):
                return self._field(self.value(table, scope), self.value(key, scope))
            case lua.Call():
                return next(iter(self._call(expression, scope)), Known(None))
            case lua.Function():
                return Closure(expression, dict(scope))
            case lua.Table(values):
                contents = [self.value(item, scope) for item in values]
                self.course.escape(*contents)
                return Part.UNKNOWN if may_be_ours(contents) else Part.OTHER
            case lua.Operation(operator, operands):
                return self._operation(operator, operands, scope)

    def _variable(self, name: str, scope: Scope) -> Value:
        if name not in scope and self.course.state is not None:
            self.course.free.add(name)
        return self.course.variable(scope.get(name, name))

    def _field(self, table: Value, key: Value) -> Value:
        if table in (Known(None), Known(True), Known(False)):
            self.course.fail(guess=True)  # it has no fields
        field = field_of(table, key)
        return self.course.variable(field.path) if table == GLOBALS and isinstance(field, Global) else field

    def _operation(self, operator: str, operands: Sequence[lua.Expression], scope: Scope) -> Value:
        left = self.value(operands[0], scope)
        if operator in ("and", "or"):
            return self._choice(left, operands[1], scope, goes_on=operator == "and")
        if operator == "not":
            known = truth(left)
            return Part.OTHER if known is None else Known(not known)
        right = self.value(operands[-1], scope) if len(operands) > 1 else left
        if operator == ".." and isinstance(left, Known) and isinstance(right, Known):
            return Known(self.course.text(left.value, right.value))
        same = equal(left, right) if operator in ("==", "~=") else None
        return Part.OTHER if same is None else Known(same is (operator == "=="))

    def _choice(self, left: Value, right: lua.Expression, scope: Scope, *, goes_on: bool) -> Value:
        known = truth(left)
        if self.course.state is None or known is (not goes_on):
            return left
        if known is goes_on:
            return self.value(right, scope)
        before = self.course.copied()
        value = self.value(right, scope)
        self.course.state = self.course.joined([before, self.course.state])
        if left is Part.LOADED and value is Part.MODULE and not goes_on:
            return Part.MODULE
        return either(left, value)

    # calls ------------------------------------------------------------------------------------------------------------

    def _call(self, call: lua.Call, scope: Scope) -> Values:
        self.course.reach(call)
        function = self.value(call.function, scope)
        first: Values = ()
        if call.method is not None:
            function, first = self._field(function, Known(call.method)), (function,)
        return self.apply(function, (*first, *self.values(call.arguments, scope)))

    def apply(self, function: Value, arguments: Values) -> Values:
        """Call a function, and return what it returns."""
        self.course.step()
        if self.course.state is None:
            return ()
        if isinstance(function, Closure):
            return self._inline(function, arguments)
        return lua_calls.call(self, function, arguments)

    def _inline(self, closure: Closure, arguments: Values) -> Values:
        if self._calls >= _DEEPEST_CALL:
            self.course.count("its functions call each other")
            self.course.guessed = True
            self.course.may_fail()
            return (Part.UNKNOWN,)
        scope = dict(closure.scope)
        for name, value in zip_longest(closure.function.parameters, arguments[: len(closure.function.parameters)]):
            self.course.declare(name, value or Part.OTHER, scope)
        if "..." in scope and may_be_ours(arguments):
            self.course.set(scope["..."], Part.UNKNOWN)
        self._calls += 1
        self.course.returns.append(Exits())
        self._block(closure.function.body, scope)
        self._calls -= 1
        exits = self.course.returns.pop()
        values = [*exits.values, ()] if self.course.state is not None else exits.values
        self.course.state = self.course.joined([self.course.state, *exits.states])
        return merged(values)


def _function(local: lua.Local) -> lua.Function:
    (value,) = local.values
    assert isinstance(value, lua.Function)
    return value
