"""The course of Lua code while it is followed: where it is, and what is known there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from resty_metrics.nginx_config.lua_nodes import Assign, Name
from resty_metrics.nginx_config.lua_reach import free, nodes
from resty_metrics.nginx_config.lua_state import Exits, State, Values, joined
from resty_metrics.nginx_config.lua_values import Closure, Global, Known, Part, Value, may_be_ours

_MOST_STEPS = 20_000
_MOST_COPIES = 300_000  # values in all copies of states together
_LONGEST_TEXT = 4096  # characters of a string that the code joins
_WIDEST = 1000  # variables that are visible in a place; LuaJIT has 200 in a function
_TOO_LARGE = "it is too large to follow"

Scope = dict[str, int]


class UnsureError(Exception):
    """Code that is too large to be followed."""


@dataclass(slots=True)
class _Begun:
    """The chunks that ran before: the code that they load, and the global variables that they leave behind."""

    modules: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    names: set[int | str] = field(default_factory=set)


class Course:
    """``state`` None: nothing gets here. ``modules`` and ``files``: the other code that is loaded.

    ``dynamic``: code is loaded whose name is not known; ``tampered``: the code changes our module or its environment;
    ``errors``, ``returns``, ``breaks``: the states in which protected calls, functions and loops are left, innermost
    last.

    ``live``: by identity, the statements and expressions that may run; ``free``: the global variables in them;
    ``context``: a function of ngx.ctx is called; ``escaped``: a function is stored where code that is not followed may
    call it; ``guessed``: code that was taken not to run may run all the same.
    """

    def __init__(self) -> None:
        self.state: State | None = State()
        self.doubts: list[str] = []
        self.modules: set[str] = set()
        self.files: set[str] = set()
        self.dynamic = self.tampered = self.context = self.escaped = self.guessed = False
        self.live: dict[int, object] = {}
        self.free: set[str] = set()
        self._watched: set[int | str] = set()
        self._shifting: set[int | str] = set()
        self._escaped: set[Closure] = set()
        self.begun = _Begun()
        self.errors = [Exits()]
        self.returns = [Exits()]
        self.breaks: list[Exits] = []
        self._steps = self._cells = self._copies = 0

    def end(self) -> State | None:
        """Return the state behind all ways through the chunk."""
        return self.joined([self.state, *self.returns[0].states, *self.errors[0].states])

    def begin_anew(self) -> None:
        """Keep what a chunk left behind, for the next chunk in the same Lua machine."""
        end = self.end() or State()
        self.state = State(values=end.values)
        self.errors, self.returns = [Exits()], [Exits()]
        self.doubts.clear()
        self.begun.modules |= self.modules
        self.begun.files |= self.files
        self.begun.names |= {cell for cell in end.values if isinstance(cell, str)}
        self.modules, self.files = set(), set()
        self.live, self.free = {}, set()
        self.context = self.escaped = self.guessed = False
        self._steps = self._copies = 0

    def count(self, doubt: str = "") -> None:
        """Record a call of ours. With a doubt it may be one."""
        if self.state is None:
            return
        if not doubt and not self.tampered:
            self.state.counted = True
        elif self.state.counted is not True:
            self.state.counted = None
            self.doubts.append(doubt or "it changes our module or its environment")

    def fail(self, *, guess: bool = False) -> None:
        """Leave the code with an error. ``guess``: a metatable might prevent it."""
        self.guessed |= guess and self.state is not None
        self.leave(self.errors[-1])

    def may_fail(self) -> None:
        """Leave the code with an error on one of two ways."""
        state = self.copied()
        if state is not None:
            self.errors[-1].states.append(state)

    def leave(self, exits: Exits, values: Values = ()) -> None:
        if self.state is not None:
            exits.states.append(self.state)
            exits.values.append(values)
        self.state = None

    def step(self, steps: int = 1) -> None:
        """Count steps. Raises UnsureError where there are too many."""
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise UnsureError(_TOO_LARGE)

    def reach(self, node: object) -> None:
        """Record a statement or an expression as one that may run, unless nothing gets here."""
        if self.state is not None:
            self.live[id(node)] = node

    def copied(self) -> State | None:
        """Return a copy of the state. Raises UnsureError where too much was copied."""
        if self.state is None:
            return None
        self._copies += len(self.state.values) + 1
        if self._copies > _MOST_COPIES:
            raise UnsureError(_TOO_LARGE)
        return self.state.copy()

    def joined(self, states: Sequence[State | None]) -> State | None:
        """Return the state behind several ways. Raises UnsureError where too much was joined."""
        self._copies += sum(len(state.values) for state in states if state is not None)
        if self._copies > _MOST_COPIES:
            raise UnsureError(_TOO_LARGE)
        return joined(states)

    def text(self, first: object, second: object) -> str:
        """Return two texts as one. Raises UnsureError where it is too long."""
        text = f"{first}{second}"
        if len(text) > _LONGEST_TEXT:
            raise UnsureError(_TOO_LARGE)
        return text

    def declare(self, name: str, value: Value, scope: Scope) -> None:
        self._cells += 1
        if len(scope) > _WIDEST:
            raise UnsureError(_TOO_LARGE)
        scope[name] = self._cells
        self.set(self._cells, value)

    def visible(self) -> int:
        """Return the newest cell of a variable so far."""
        return self._cells

    def set(self, cell: int | str, value: Value) -> None:
        """Assign a variable. Other code may assign a global variable too, so no constant in it is sure."""
        if self.state is None:
            return
        if isinstance(cell, str) or cell in self._watched:
            self.escape(value)
        constant = isinstance(cell, str) and isinstance(value, Known) and not isinstance(value.value, str)
        self.state.values[cell] = Part.OTHER if constant else value

    def escape(self, *values: Value) -> None:
        """Record that code which is not followed may get the values, and call them at any time."""
        for value in values:
            self.escaped |= may_be_ours((value,))
            if isinstance(value, Closure) and value not in self._escaped:
                self._escaped.add(value)
                self._watch(value)

    def _watch(self, closure: Closure) -> None:
        """Take all of a function for live, and its variables for changed at any time."""
        code = list(nodes(closure.function))
        self.step(len(code))
        self.live.update((id(node), node) for node in code)
        used = free(closure.function)
        self.free |= used - closure.scope.keys()
        targets = {
            target.name
            for node in code
            if isinstance(node, Assign)
            for target in node.targets
            if isinstance(target, Name)
        }
        for name in used & closure.scope.keys():
            cell = closure.scope[name]
            self._watched.add(cell)
            if name in targets:
                self._shifting.add(cell)
            if self.state is not None:
                self.escape(self.state.values.get(cell, Part.OTHER))

    def variable(self, cell: int | str) -> Value:
        if cell in self.begun.names:
            self.modules |= self.begun.modules
            self.files |= self.begun.files
        if cell in self._shifting:
            return Part.UNKNOWN
        absent = Global(cell) if isinstance(cell, str) else Part.OTHER
        return absent if self.state is None else self.state.values.get(cell, absent)
